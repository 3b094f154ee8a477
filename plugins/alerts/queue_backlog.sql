-- severity: warning
-- summary: more than 1000 records waited for a model run over most of the last five minutes
select 'queue_backlog' as subject, count(*) as looks, median(value) as waiting,
  format('{:.0f} records wait for a model run', waiting) as message
from resources
where name = 'queue_rows' and time > now() at time zone 'UTC' - interval 5 minute
having looks >= 5 and waiting > 1000
