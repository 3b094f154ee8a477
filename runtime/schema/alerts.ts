/**
 * Version 10 of the schema: the memory of alerts, what changed and when, who silenced what, and what
 * was told. Transitions, marks and notifications are append-only; the memory, the groups and the
 * leases are what is so now.
 *
 * @module
 */

/** Statements that bring a store from version 9 to version 10. */
export const alertsSchema: readonly string[] = [
  "insert into core.schema_version values (10)",

  // `memory` is the machine's own: the clocks of each series, and the last states.
  `create table core.alert_states (
    alert varchar not null, model varchar not null, version integer not null, state varchar not null,
    since timestamp not null, firing integer not null, pending integer not null,
    is_flapping boolean not null, memory varchar not null, evaluated_at timestamp not null,
    primary key (alert, model, version))`,
  "create sequence core.alert_transition",
  // A null series is the alert as a whole.
  `create table core.alert_transitions (
    transition bigint primary key default nextval('core.alert_transition'), alert varchar not null,
    model varchar not null, version integer not null, series varchar, from_state varchar,
    to_state varchar not null, changed_at timestamp not null, value varchar, reason varchar not null)`,
  `create table core.silences (
    silence_id varchar not null, kind varchar not null, matchers varchar not null, note varchar,
    created_by varchar not null, created_at timestamp not null, starts_at timestamp not null,
    ends_at timestamp)`,
  `create table core.silence_ends (
    silence_id varchar not null, ended_by varchar not null, ended_at timestamp not null)`,
  `create table core.alert_groups (
    model varchar not null, version integer not null, group_key varchar not null,
    memory varchar not null, primary key (model, version, group_key))`,
  `create table core.alert_notifications (
    alert varchar not null, model varchar not null, version integer not null, kind varchar not null,
    series varchar, group_key varchar not null, sinks integer not null, failures json not null,
    told_at timestamp not null)`,
  `create table core.leases (
    name varchar primary key, holder varchar not null, expires_at timestamp not null)`,

  `create or replace view alerts as
    select l.* exclude (evaluation), s.since, s.firing, s.pending, s.is_flapping
    from (from core.alert_log
      qualify row_number() over (partition by model, alert order by evaluation desc) = 1) l
    left join core.alert_states s using (alert, model, version)`,
  "create view alert_transitions as select * from core.alert_transitions",
  "create view alert_notices as select * from core.alert_notifications",
  `create view silences as
    select s.* exclude (ends_at), least(s.ends_at, e.ended_at) as ends_at, e.ended_by,
      case when least(s.ends_at, e.ended_at) <= now() at time zone 'UTC' then 'expired'
        when s.starts_at > now() at time zone 'UTC' then 'pending' else 'active' end as state
    from core.silences s
    left join (select silence_id, min(ended_at) as ended_at, arg_min(ended_by, ended_at) as ended_by
      from core.silence_ends group by silence_id) e using (silence_id)`,
];
