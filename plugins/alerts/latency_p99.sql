-- severity: warning
-- summary: the 99th percentile of single-row latency in the last hour is above 100 ms
select endpoint as subject, count(*) as answered, quantile_cont(duration_ms, 0.99) as p99_ms,
  format('{} answers single rows in {:.1f} ms at the 99th percentile', endpoint, p99_ms) as message
from requests
where request_time > now() at time zone 'UTC' - interval 1 hour and row_count = 1 and status_code < 400
group by endpoint
having answered >= 100 and p99_ms > 100
