-- severity: warning
-- summary: a judge's mean score of the last day differs from that of the week before by more than chance
with windows as (
  select judge, judge_version,
    created_at > now() at time zone 'UTC' - interval 1 day as is_current, count(*) as judged,
    avg(score) as mean_score, var_samp(score) as variance
  from judgements
  where status = 'scored' and created_at > now() at time zone 'UTC' - interval 8 day
  group by all)
select c.judge as subject, c.judged, c.mean_score as current_mean, e.mean_score as earlier_mean,
  (current_mean - earlier_mean) / sqrt(c.variance / c.judged + e.variance / e.judged) as z,
  format('{} scores {:.2f} in the mean, and {:.2f} in the week before', c.judge, current_mean,
    earlier_mean) as message
from windows c join windows e using (judge, judge_version)
where c.is_current and not e.is_current and c.judged >= 50 and e.judged >= 50
  and abs(current_mean - earlier_mean) > 0.1
  and (c.variance + e.variance = 0 or abs(z) > 4)
order by subject
