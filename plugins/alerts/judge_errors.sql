-- severity: warning
-- summary: a judge failed to answer more than 10 % of what it was asked in the last day
select judge as subject, count(*) as asked, count(*) filter (where status = 'error') as failed,
  format('{} could not answer {} of {} predictions', judge, failed, asked) as message
from judgements
where created_at > now() at time zone 'UTC' - interval 1 day
group by judge
having asked >= 20 and failed / asked > 0.1
