/**
 * Version 12 of the schema: how well a version is expected to do on predictions whose truth is not
 * known, beside how well it turned out to do, and what that rests on. Held-out predictions are written
 * once; what is said of a window is replaced when more of it is known.
 *
 * @module
 */

/** Columns that say which rows something is about; a null slice is all rows of the window. */
const about = `model varchar not null, version integer not null, granularity varchar not null,
    window_start timestamp not null, window_end timestamp not null, slice varchar`;

/** Statements that bring a store from version 11 to version 12. */
export const estimatesSchema: readonly string[] = [
  "insert into core.schema_version values (12)",

  // Cross-validated: each row is predicted by a model that never saw it. `predictions` is the sha256
  // of the content, which the report of a version names; `features` are the raw inputs in order.
  `create table core.held_out_predictions (
    predictions varchar not null, position bigint not null, group_name varchar, order_value double,
    features double[] not null, class integer not null, probabilities float[] not null)`,

  // What of a window was there when it was estimated: more rows or labels make it due again.
  `create table core.estimate_windows (
    model varchar not null, version integer not null, granularity varchar not null,
    window_start timestamp not null, window_end timestamp not null, definition varchar not null,
    rows bigint not null, labeled_rows bigint not null, label_change bigint,
    estimated_at timestamp not null)`,
  `create table core.estimates (
    ${about}, metric varchar not null, rows bigint not null, labeled_rows bigint not null,
    estimate double, low double, high double, lower_threshold double, upper_threshold double,
    is_calibrated boolean, realized double, realized_low double, realized_high double, floor double,
    reason varchar)`,
  `create table core.estimate_confusion (
    ${about}, true_class varchar not null, predicted_class varchar not null, expected double,
    standard_error double, realized bigint)`,
  `create table core.estimate_causes (
    ${about}, feature varchar not null, position integer not null, change double not null,
    explained double not null, share double)`,

  `create view estimates as
    select e.model, e.version, e.window_start, e.window_end, e.granularity, e.slice, e.metric,
      e.estimate, e.low, e.high, e.lower_threshold, e.upper_threshold,
      e.estimate < e.lower_threshold or e.estimate > e.upper_threshold as is_beyond_threshold,
      e.is_calibrated, e.realized, e.realized_low, e.realized_high, e.rows, e.labeled_rows,
      e.labeled_rows / nullif(e.rows, 0) as label_coverage, e.floor,
      e.high < e.floor as is_below_contract, e.realized_high < e.floor as is_realized_below_contract,
      e.reason, w.estimated_at
    from core.estimates e
    join core.estimate_windows w using (model, version, granularity, window_start)`,
  "create view estimate_confusion as select * from core.estimate_confusion",
  "create view estimate_causes as select * from core.estimate_causes",
];
