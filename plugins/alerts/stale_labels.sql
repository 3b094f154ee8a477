-- severity: info
-- summary: a model in production is used, but its newest label is older than two weeks
with newest as (
  select r.model, max(l.created_at) as labeled_at
  from labels l join requests r using (request_id) where r.model is not null group by r.model)
select model as subject, labeled_at,
  format('the newest label of {} is of {}', model, labeled_at) as message
from newest
where labeled_at < now() at time zone 'UTC' - interval 14 day
  and model in (select model from aliases where alias = 'production')
  and model in (
    select model from requests
    where row_count > 0 and request_time > now() at time zone 'UTC' - interval 7 day)
order by subject
