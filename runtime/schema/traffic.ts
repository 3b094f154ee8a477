/**
 * Version 5 of the schema: what shadow versions would have answered, and what became of canaries. Both
 * tables are append-only.
 *
 * @module
 */

/** Statements that bring a store from version 4 to version 5. */
export const trafficSchema: readonly string[] = [
  "insert into core.schema_version values (5)",

  `create table core.shadow_inferences (
    request_id varchar not null, row integer not null, request_time timestamp not null,
    model varchar not null, champion_version integer not null, shadow_version integer,
    champion_label varchar not null, shadow_label varchar, probabilities float[],
    is_agreed boolean, max_difference double, ms double not null, error varchar)`,
  "create sequence core.traffic_change",
  `create table core.traffic_log (
    change bigint primary key default nextval('core.traffic_change'), kind varchar not null,
    model varchar not null, alias varchar not null, version integer not null,
    percent integer not null, reason varchar not null, changed_by varchar,
    changed_at timestamp not null)`,

  "create view shadow as select * from core.shadow_inferences",
  `create view shadow_summary as
    select model, champion_version, shadow_version, count(*) as row_count,
      avg(is_agreed::integer) as agreement, avg(max_difference) as mean_max_difference,
      count(error) as errors, avg(ms) filter (error is null) as mean_ms,
      min(request_time) as first_time, max(request_time) as last_time
    from core.shadow_inferences group by all`,
  "create view traffic_history as select * from core.traffic_log",
];
