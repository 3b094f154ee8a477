-- severity: info
-- summary: a model in production had requests before, but none in the last day
select model as subject, max(request_time) as last_request,
  format('no request to {} since {}', model, last_request) as message
from requests
where row_count > 0 and model in (select model from aliases where alias = 'production')
group by model
having last_request < now() at time zone 'UTC' - interval 1 day
order by subject
