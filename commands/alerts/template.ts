/** What `deno task alerts new` writes. */

/** Text of a new alert's `.sql`. */
export const alertTemplate = (name: string) =>
  `-- severity: warning
-- summary: ${name} of a slice; say what it means and what to do
-- schedule: "*/15 * * * *"
-- for: 0s
select coalesce(slice, 'all') as subject, count(*) as predictions,
  format('{} predictions for {}', predictions, subject) as message
from inferences
where request_time > now() at time zone 'UTC' - interval 1 hour
group by slice
having predictions > 100000
order by subject
`;

/** Text of the tests beside it. */
export const testTemplate = (name: string) =>
  `- name: ${name} fires for a slice with many predictions
  rows:
    inferences:
      - { request_time: -1m, slice: P-130, repeat: 100001 }
      - { request_time: -1m, slice: P-135, repeat: 5 }
      - { request_time: -2h, slice: P-135, repeat: 200000 }
  at:
    - { time: 0m, state: firing, findings: [{ subject: P-130, predictions: 100001 }] }
    - { time: 2h, state: ok }
`;
