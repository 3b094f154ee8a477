-- severity: warning
-- summary: a detector in the request path found that a series changed in the last day
-- empty: ok
select series as subject, detector, count(*) as alarms, max(alarmed_at) as latest,
  arg_max(mean_since, alarmed_at) as current_mean, arg_max(reference_mean, alarmed_at) as earlier_mean,
  format('{} changed at about {} UTC, as {} found after {} rows{}', series,
    strftime(arg_max(coalesce(changed_at, alarmed_at), alarmed_at), '%Y-%m-%d %H:%M:%S'), detector,
    arg_max(rows_since_change, alarmed_at),
    coalesce(format(': mean {:.4g}, and {:.4g} before', current_mean, earlier_mean), '')) as message
from online_alarms
where alarmed_at > now() at time zone 'UTC' - interval 1 day
group by series, detector
order by series, detector
