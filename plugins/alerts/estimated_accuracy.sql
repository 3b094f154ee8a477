-- severity: warning
-- summary: the accuracy estimated for the latest closed window is below what the version promised (upper bound)
-- empty: ok
with latest as (
  from estimates e semi join aliases a on e.model = a.model and e.version = a.version
  where metric = 'accuracy' and estimate is not null
    and window_end > now() at time zone 'UTC' - interval 8 day
  qualify rank() over (partition by e.model, e.version, granularity order by window_start desc) = 1)
select model, version, coalesce(slice, 'all') as slice, granularity, estimate, high as upper_bound,
  floor as contract,
  format('{:.0f} % of {} predictions of {} are estimated to be right, {:.0f} % at most; version {} promised {:.0f} %',
    100 * estimate, rows, coalesce(slice, 'all'), 100 * high, version, 100 * floor) as message,
  coalesce(slice, 'all') as subject
from latest
where is_below_contract
order by model, version, subject
