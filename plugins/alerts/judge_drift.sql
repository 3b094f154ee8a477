-- severity: warning
-- summary: a trusted judge tells canaries of the last day apart less well than those of the week before, by more than chance
-- empty: ok
with canaries as (
  select c.judge, c.judge_version, c.model, c.version, c.is_good, c.score,
    c.created_at > now() at time zone 'UTC' - interval 1 day as is_current
  from judge_cases c
  semi join (from judge_cards where status = 'trusted') t on c.judge = t.judge
    and c.judge_version = t.judge_version and c.model = t.model and c.version = t.version
  where c.kind = 'canary' and c.status = 'scored'
    and c.created_at > now() at time zone 'UTC' - interval 8 day),
areas as (
  select g.judge, g.judge_version, g.model, g.version, g.is_current,
    count(distinct (g.score, g.rowid)) as good, count(distinct (b.score, b.rowid)) as bad,
    avg(case when g.score > b.score then 1.0 when g.score = b.score then 0.5 else 0 end) as auc
  from (select *, row_number() over () as rowid from canaries where is_good) g
  join (select *, row_number() over () as rowid from canaries where not is_good) b
    using (judge, judge_version, model, version, is_current)
  group by all)
select c.judge as subject, c.auc as current_auc, e.auc as earlier_auc, c.good + c.bad as canaries,
  -- No variance of an area is larger than this.
  sqrt(c.auc * (1 - c.auc) / least(c.good, c.bad) + e.auc * (1 - e.auc) / least(e.good, e.bad)) as error,
  format('{} tells {} canaries apart with an AUC of {:.2f}, and {:.2f} in the week before', c.judge,
    c.good + c.bad, current_auc, earlier_auc) as message
from areas c join areas e using (judge, judge_version, model, version)
where c.is_current and not e.is_current and least(c.good, c.bad, e.good, e.bad) >= 10
  and earlier_auc - current_auc > greatest(0.1, 3 * error)
order by subject
