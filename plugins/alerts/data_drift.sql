-- severity: warning
-- summary: more than half of the compared features of a slice drifted in the latest monitoring run
-- empty: ok
select slice as subject, count(distinct feature) filter (where is_drifted is not null) as features,
  count(distinct feature) filter (where is_drifted) as drifted,
  format('{} of {} features of {} drifted by {}', drifted, features, slice, method) as message
from drift
where run_id = (select arg_max(run_id, created_at) from drift)
group by slice, method
having features > 0 and drifted / features > 0.5
order by slice, method
