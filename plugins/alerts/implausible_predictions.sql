-- severity: warning
-- summary: by a trusted judge's card more than 30 % of a served version's predictions are wrong (lower bound)
-- empty: ok
with latest as (
  select judge, arg_max(judge_version, created_at) as judge_version from judgements group by judge),
judged as (
  select j.judge, j.model, j.version, 1 / j.inclusion_probability as weight,
    (j.score < c.threshold)::integer as is_low, c.tpr, c.tnr, c.good, c.n - c.good as bad
  from judgements j
  semi join latest on j.judge = latest.judge and j.judge_version = latest.judge_version
  semi join aliases a on j.model = a.model and j.version = a.version
  join judge_cards c on c.judge = j.judge and c.judge_version = j.judge_version
    and c.model = j.model and c.version = j.version
  where j.status = 'scored' and c.status = 'trusted' and c.tpr + c.tnr > 1),
-- Rogan and Gladen: a judge that calls some good ones bad says so of a faultless model, too.
shares as (
  select judge, model, version, tpr, tnr, good, bad, count(*) as judged, sum(weight) as total,
    sum(weight * is_low) / total as low_share,
    least(1, greatest(0, (low_share + tpr - 1) / (tpr + tnr - 1))) as share
  from judged group by judge, model, version, tpr, tnr, good, bad)
select s.judge || ' on ' || s.model || ' ' || s.version as subject, s.judged, s.low_share, s.share,
  sqrt(sum((j.weight * (j.is_low - s.low_share)) ** 2)) / s.total as error,
  s.share - 1.96 * sqrt(error ** 2 + s.share ** 2 * s.tnr * (1 - s.tnr) / s.bad + (1 - s.share) ** 2 * s.tpr * (1 - s.tpr) / s.good)
    / (s.tpr + s.tnr - 1) as lower_bound,
  format('{} finds {:.0f} % of {} judged predictions of version {} implausible', s.judge,
    100 * s.share, s.judged, s.version) as message
from shares s join judged j using (judge, model, version)
group by s.judge, s.model, s.version, s.judged, s.low_share, s.share, s.total, s.tpr, s.tnr, s.good, s.bad
having s.judged >= 50 and lower_bound > 0.3
  -- More low scores than of wrong predictions alone: the data have moved, and the card does not hold.
  and s.low_share - 1.96 * error <= s.tnr
order by subject
