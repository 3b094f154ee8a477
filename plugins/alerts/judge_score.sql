-- severity: warning
-- summary: a trusted judge's mean score of a version's predictions in the last week is below 0.5 (upper bound)
-- empty: ok
with latest as (
  select judge, arg_max(judge_version, created_at) as judge_version from judgements group by judge),
trusted as (
  select c.judge, c.judge_version, c.model, c.version from judge_cards c
  semi join latest on c.judge = latest.judge and c.judge_version = latest.judge_version
  where c.status = 'trusted'),
scored as (
  select j.judge, j.model, j.version, j.score, 1 / j.inclusion_probability as weight
  from judgements j
  semi join trusted t on j.judge = t.judge and j.judge_version = t.judge_version
    and j.model = t.model and j.version = t.version
  semi join aliases a on j.model = a.model and j.version = a.version
  where j.status = 'scored' and j.created_at > now() at time zone 'UTC' - interval 7 day),
means as (
  select judge, model, version, sum(weight * score) / sum(weight) as mean_score from scored group by all)
select s.judge || ' on ' || s.model || ' ' || s.version as subject, count(*) as judged,
  m.mean_score,
  m.mean_score + 1.96 * sqrt(sum((s.weight * (s.score - m.mean_score)) ** 2)) / sum(s.weight) as upper_bound,
  format('{} gives {} predictions of version {} a mean score of {:.2f}', s.judge, judged, s.version,
    m.mean_score) as message
from scored s join means m using (judge, model, version)
group by s.judge, s.model, s.version, m.mean_score
having judged >= 50 and upper_bound < 0.5
order by subject
