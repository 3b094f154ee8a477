-- severity: warning
-- summary: the median confidence of a slice in the last day is below 0.5
select coalesce(slice, 'all') as subject, count(*) as predictions, median(confidence) as median_confidence,
  format('the median confidence of {} predictions of {} is {:.2f}', predictions,
    coalesce(slice, 'all'), median_confidence) as message
from inferences
where request_time > now() at time zone 'UTC' - interval 1 day
group by slice
having predictions >= 100 and median_confidence < 0.5
