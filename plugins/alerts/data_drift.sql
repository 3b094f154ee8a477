-- severity: warning
-- summary: more than half of a slice's features drifted, in the latest monitoring run or closed window
-- empty: ok
with latest as (
  from drift_metrics
  where drift_type = 'BASELINE' and column_kind = 'feature'
    and window_end > now() at time zone 'UTC' - greatest(interval 8 day, 2 * (window_end - window_start))
  qualify rank() over (partition by granularity order by window_start desc) = 1),
compared as (
  select slice, 'by ' || method as how,
    count(distinct feature) filter (where is_drifted is not null) as features,
    count(distinct feature) filter (where is_drifted) as drifted
  from drift
  where run_id = (select arg_max(run_id, created_at) from drift)
  group by slice, method
  union all
  select coalesce(slice_value, 'all') as slice,
    format('in the {} from {}', granularity, strftime(window_start, '%Y-%m-%d %H:%M')) as how,
    count(*) filter (where is_drifted is not null) as features,
    count(*) filter (where is_drifted) as drifted
  from latest
  group by granularity, window_start, slice_key, slice_value)
select slice as subject, features, drifted,
  format('{} of {} features of {} drifted {}', drifted, features, slice, how) as message
from compared
where features > 0 and drifted / features > 0.5
order by slice, how
