-- severity: warning
-- summary: a feature is missing in more than half of the last day's predictions of a slice
select coalesce(slice, 'all') || ' ' || feature as subject, count(*) as predictions,
  count(*) filter (where value is null) / count(*) as missing_share,
  format('{} is missing in {:.0f} % of {} predictions of {}', feature, 100 * missing_share,
    predictions, coalesce(slice, 'all')) as message
from inference_features
where request_time > now() at time zone 'UTC' - interval 1 day
group by slice, feature
having predictions >= 100 and missing_share > 0.5
order by missing_share desc, subject
