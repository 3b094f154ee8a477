-- severity: warning
-- summary: the confidence of labeled predictions is off by more than 0.1 in the mean (ECE of ten bins)
-- empty: no_data
with bins as (
  select least(floor(10 * i.confidence), 9) as bin, count(*) as labeled,
    abs(avg(i.confidence) - count(*) filter (where i.label = l.label) / count(*)) as gap,
    sum(i.confidence) as confidence, count(*) filter (where i.label = l.label) as correct
  from inferences i join labels l using (request_id, row)
  where i.request_time > now() at time zone 'UTC' - interval 30 day
  group by bin)
select 'calibration' as subject, sum(b.labeled) as labeled, sum(b.labeled * gap) / sum(b.labeled) as ece,
  format('{} labeled predictions have a mean confidence of {:.2f} and an accuracy of {:.2f}; ECE {:.2f}',
    sum(b.labeled), sum(confidence) / sum(b.labeled), sum(correct) / sum(b.labeled), ece) as message
from bins b
having sum(b.labeled) >= 200 and ece > 0.1
