-- severity: warning
-- summary: more than 20 % of the requests of the last hour were refused (4xx); did a client change?
select 'rejected_rate' as subject, count(*) as total,
  count(*) filter (where status_code between 400 and 499) as refused,
  format('{:.1f} % of {} requests were refused', 100.0 * refused / total, total) as message
from requests
where request_time > now() at time zone 'UTC' - interval 1 hour
  and endpoint <> '/sql' and not starts_with(endpoint, '/api/')
having total >= 20 and refused / total > 0.2
