-- severity: critical
-- summary: more than 1 % of the requests of the last hour failed in the server (5xx)
select 'error_rate' as subject, count(*) as total,
  count(*) filter (where status_code >= 500) as failed,
  format('{:.1f} % of {} requests failed', 100.0 * failed / total, total) as message
from requests
where request_time > now() at time zone 'UTC' - interval 1 hour
  and endpoint <> '/sql' and not starts_with(endpoint, '/api/')
having total >= 20 and failed / total > 0.01
