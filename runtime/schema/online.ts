/**
 * Version 17 of the schema: what detectors in the request path found, and what they know. Alarms are
 * append-only; the memory of a detector is what is so now.
 *
 * @module
 */

/** Statements that bring a store from version 16 to version 17. */
export const onlineSchema: readonly string[] = [
  "insert into core.schema_version values (17)",

  // The row that raised an alarm identifies it: one that is found again after a crash is the same.
  `create table core.online_alarms (
    model varchar not null, version integer not null, series varchar not null,
    detector varchar not null, request_id varchar not null, row integer not null,
    alarmed_at timestamp not null, value double not null, statistic double, threshold double,
    rate double not null, period integer not null, reference_source varchar, reference_mean double,
    reference_std double, rows_since_change bigint not null, changed_at timestamp,
    mean_since double, created_at timestamp not null,
    primary key (model, version, series, detector, request_id, row))`,

  // `position_…` is the last row that is in `memory`; a null request means that none was there.
  `create table core.online_detectors (
    model varchar not null, version integer not null, series varchar not null,
    detector varchar not null, definition varchar not null, memory varchar not null,
    position_request varchar, position_row integer, position_time timestamp,
    saved_at timestamp not null, primary key (model, version, series, detector))`,

  "create view online_alarms as select * from core.online_alarms",
  `create view online_detectors as
    select model, version, series, detector,
      case when memory->>'detector' is null then 'learning' else 'watching' end as state,
      (memory->>'rows')::bigint as rows, (memory->>'missing')::bigint as missing,
      (memory->>'alarms')::bigint as alarms, (definition->>'rate')::double as rate,
      (definition->>'period')::integer as period,
      memory->'reference'->>'source' as reference_source,
      (memory->'reference'->>'rows')::bigint as reference_rows,
      (memory->'reference'->>'mean')::double as reference_mean,
      (memory->'reference'->>'std')::double as reference_std,
      (memory->'reference'->>'threshold')::double as threshold, saved_at
    from core.online_detectors`,
];
