-- severity: critical
-- summary: more than 5000 rows of the inference log waited to be written over most of the last five minutes
select 'log_backlog' as subject, count(*) as looks, median(value) as waiting,
  format('{:.0f} rows of the inference log are in no table yet', waiting) as message
from resources
where name = 'log_backlog_rows' and time > now() at time zone 'UTC' - interval 5 minute
having looks >= 5 and waiting > 5000
