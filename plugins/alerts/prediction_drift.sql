-- severity: warning
-- summary: a quarter of the last day's predictions of a slice would have another class in the week before
with counted as (
  select coalesce(slice, 'all') as slice, label,
    count(*) filter (where request_time > now() at time zone 'UTC' - interval 1 day) as current,
    count(*) filter (where request_time <= now() at time zone 'UTC' - interval 1 day) as earlier
  from inferences
  where request_time > now() at time zone 'UTC' - interval 8 day
  group by all),
shares as (
  select *, current / sum(current) over (partition by slice) as current_share,
    earlier / sum(earlier) over (partition by slice) as earlier_share
  from counted)
select slice as subject, sum(current) as predictions, sum(earlier) as before,
  sum(abs(current_share - earlier_share)) / 2 as distance,
  format('the classes of {} predictions of {} differ by {:.0f} % from those of the week before, {} most',
    predictions, slice, 100 * distance, arg_max(label, abs(current_share - earlier_share))) as message
from shares
group by slice
having predictions >= 200 and before >= 200 and distance > 0.25
order by subject
