/**
 * Version 9 of the schema: what sinks are told, what a server takes of its machine, and how far keys
 * are with their quotas. Attempts and resources are append-only; the state of a delivery is updated.
 *
 * @module
 */

/** What a key has used on each day, as `DailyUse` counts it: refused requests took nothing. */
const dailyUse =
  `select key, day, unit, sum(amount)::bigint as used, max(request_time) as last_time,
      coalesce(sum(amount) filter (request_time > now() at time zone 'UTC' - interval 1 hour), 0)
        as last_hour
    from (
      select requester as key, request_time, request_time::date as day,
        unnest(['requests', 'rows']) as unit,
        unnest([1, case when status_code = 413 then 0 else row_count end]) as amount
      from core.requests where requester is not null and status_code not in (401, 403, 429))
    group by all`;

/** Statements that bring a store from version 8 to version 9. */
export const monitoringSchema: readonly string[] = [
  "insert into core.schema_version values (9)",

  // As the outbox of webhooks; `payload` is a list of events.
  `create table core.sink_outbox (
    delivery_id varchar not null, sink varchar not null, payload varchar not null,
    created_at timestamp not null, state varchar not null, series integer not null,
    attempts integer not null, next_at timestamp)`,
  `create table core.sink_attempts (
    delivery_id varchar not null, series integer not null, attempt integer not null,
    status_code integer, error varchar, ms double not null, created_at timestamp not null)`,

  // One row for each look, null where the system does not tell.
  `create table core.resources (
    created_at timestamp not null, cpu_cores double, memory_bytes double, heap_bytes double,
    disk_free_bytes double, disk_bytes double, received_bytes double, sent_bytes double,
    open_files double, event_loop_lag_seconds double, queue_rows double, log_backlog_rows double,
    journal_bytes double, store_bytes double)`,

  `create view sink_deliveries as
    select o.delivery_id, o.sink, o.payload::json as events, o.created_at, o.state, o.series,
      o.attempts, o.next_at, a.status_code, a.error, a.created_at as attempted_at
    from core.sink_outbox o
    left join core.sink_attempts a
      on a.delivery_id = o.delivery_id and a.series = o.series and a.attempt = o.attempts`,
  "create view sink_attempts as select * from core.sink_attempts",
  `create view resources as
    select created_at as time, name, value,
      regexp_extract(name, '(cores|bytes|files|seconds|rows)$', 1) as unit
    from (unpivot core.resources on columns(* exclude created_at) into name name value value)`,
  `create view input_ranges as
    select model, version, created_at, input->>'name' as feature, input->>'unit' as unit,
      (input->'range'->>0)::double as low, (input->'range'->>1)::double as high
    from (select model, version, created_at, unnest(from_json(signature->'inputs', '["json"]')) as input
      from core.model_versions)
    where low is not null and high is not null`,
  // The rest of today goes at the pace of the last hour.
  `create view quota_use as
    with limits as (
      select name as key, unnest(['requests', 'rows']) as unit,
        unnest([max(requests_per_day), max(rows_per_day)]) as quota
      from api_keys where state in ('active', 'rotated') group by name),
    used as (${dailyUse})
    select u.day, u.key, u.unit, u.used, l.quota, u.used / l.quota as share,
      case when u.used >= l.quota then u.last_time
        when day = (now() at time zone 'UTC')::date and last_hour > 0
          and l.quota - used <= last_hour * epoch((day + 1)::timestamp - now() at time zone 'UTC') / 3600
        then now() at time zone 'UTC' + to_seconds(3600 * (l.quota - used) / last_hour)
        end as reached_at,
      u.used < l.quota and reached_at is not null as is_forecast
    from used u left join limits l using (key, unit)`,
];
