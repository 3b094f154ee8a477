-- severity: critical
-- summary: the disk of the store has less than a tenth or less than 1 GiB left
with latest as (
  select arg_max(value, time) filter (where name = 'disk_free_bytes') as free,
    arg_max(value, time) filter (where name = 'disk_bytes') as size
  from resources
  where time > now() at time zone 'UTC' - interval 15 minute)
select 'disk_space' as subject, free, size,
  format('{:.1f} of {:.1f} GiB are left on the disk of the store', free / 1073741824, size / 1073741824)
    as message
from latest
where free < 0.1 * size or free < 1073741824
