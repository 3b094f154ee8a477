-- severity: warning
-- summary: a judge finds more than 30 % of a served version's judged predictions implausible (lower bound)
-- empty: ok
with latest as (
  select judge, arg_max(judge_version, created_at) as judge_version from judgements group by judge)
select j.judge || ' on ' || i.model || ' ' || i.version as subject, count(*) as judged,
  count(*) filter (where j.score < 0.2) / count(*) as share,
  share - 1.96 * sqrt(share * (1 - share) / judged) as lower_bound,
  format('{} finds {:.0f} % of {} judged predictions of version {} implausible', j.judge,
    100 * share, judged, i.version) as message
from judgements j
semi join latest on j.judge = latest.judge and j.judge_version = latest.judge_version
join inferences i using (request_id, row)
semi join aliases a on i.model = a.model and i.version = a.version
where j.status = 'scored'
group by j.judge, i.model, i.version
having judged >= 50 and lower_bound > 0.3
order by subject
