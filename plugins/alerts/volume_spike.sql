-- severity: warning
-- summary: a model got more than three times the most it got in the same hour of the last weeks
with clock as (select now() at time zone 'UTC' as t),
hours as (
  select model, epoch(t - request_time)::bigint // 604800 as week, count(*) as requests
  from requests, clock
  where model is not null and row_count > 0 and request_time <= t
    and request_time > t - interval 29 day and epoch(t - request_time)::bigint % 604800 < 3600
  group by all)
select model as subject, coalesce(max(requests) filter (week = 0), 0) as last_hour,
  max(requests) filter (week > 0) as most, count(*) filter (week > 0) as weeks,
  format('{} requests to {} in the last hour, and {} or less in the same hour of {} weeks before',
    last_hour, model, most, weeks) as message
from hours
group by model
having weeks >= 2 and last_hour >= 100 and last_hour > 3 * most
order by subject
