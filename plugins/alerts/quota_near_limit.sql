-- severity: warning
-- summary: a key has used 80 % of a quota of today, or half of it and will reach it at this pace
select key || ' ' || unit as subject, used, quota, share, reached_at,
  format('{} has used {:.0f} % of its {} {} a day{}', key, 100 * share, quota, unit,
    case when is_forecast then ' and will reach them at ' || strftime(reached_at, '%H:%M') else '' end)
    as message
from quota_use
where day = (now() at time zone 'UTC')::date and (share >= 0.8 or (share >= 0.5 and is_forecast))
order by subject
