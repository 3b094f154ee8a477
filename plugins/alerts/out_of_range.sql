-- severity: warning
-- summary: more than 5 % of the last day's values of an input lie outside the range that the model takes
select coalesce(f.slice, 'all') || ' ' || f.feature as subject, count(*) as present,
  count(*) filter (where f.value < r.low or f.value > r.high) / count(*) as outside_share,
  format('{:.0f} % of {} values of {} of {} lie outside {} to {}', 100 * outside_share, present,
    f.feature, coalesce(f.slice, 'all'), any_value(r.low), any_value(r.high)) as message
from inference_features f join input_ranges r using (model, version, feature)
where f.request_time > now() at time zone 'UTC' - interval 1 day and f.value is not null
group by f.slice, f.feature
having present >= 100 and outside_share > 0.05
order by outside_share desc, subject
