-- severity: critical
-- summary: of the last week's labeled predictions of a slice, fewer than half are right (upper bound)
-- empty: no_data
select coalesce(i.slice, 'all') as subject, count(*) as labeled,
  count(*) filter (where i.label = l.label) / count(*) as accuracy,
  accuracy + 1.96 * sqrt(accuracy * (1 - accuracy) / labeled) as upper_bound,
  format('{:.0f} % of {} labeled predictions of {} are right', 100 * accuracy, labeled,
    coalesce(i.slice, 'all')) as message
from inferences i join labels l using (request_id, row)
where i.request_time > now() at time zone 'UTC' - interval 7 day
group by i.slice
having labeled >= 30 and upper_bound < 0.5
order by subject
