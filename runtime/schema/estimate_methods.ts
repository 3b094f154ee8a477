/**
 * Version 23 of the schema: by which method a metric of a window is estimated, and which share of its
 * rows lies beyond what that method has learned from. What was estimated before is CBPE's.
 *
 * @module
 */

/** Statements that bring a store of the version before to version 23. */
export const estimateMethodsSchema: readonly string[] = [
  "insert into core.schema_version values (23)",

  "alter table core.estimates add column method varchar default 'cbpe'",
  "alter table core.estimates add column outside_share double",
  `create or replace view estimates as
    select e.model, e.version, e.window_start, e.window_end, e.granularity, e.slice, e.metric,
      e.estimate, e.low, e.high, e.lower_threshold, e.upper_threshold,
      e.estimate < e.lower_threshold or e.estimate > e.upper_threshold as is_beyond_threshold,
      e.is_calibrated, e.realized, e.realized_low, e.realized_high, e.rows, e.labeled_rows,
      e.labeled_rows / nullif(e.rows, 0) as label_coverage, e.floor,
      e.high < e.floor as is_below_contract, e.realized_high < e.floor as is_realized_below_contract,
      e.reason, w.estimated_at, e.sampling_fraction, e.method, e.outside_share
    from core.estimates e
    join core.estimate_windows w using (model, version, granularity, window_start)`,
];
