/**
 * Version 18 of the schema: how far monitors have looked and which windows wait for them, which share of
 * the rows they looked at, and what that cost.
 *
 * @module
 */

/** Whose rows these are. */
const owner = `monitor varchar not null, model varchar not null, version integer not null,
    granularity varchar not null`;

/** JSON of a table as a typed value. */
const typed = (column: string, type: string) => `from_json(${column}, '${type}') as ${column}`;

const byClass = `{"one_vs_all": "MAP(VARCHAR, DOUBLE)", "macro": "DOUBLE", "weighted": "DOUBLE"}`;

/** Statements that bring a store from version 17 to version 18. */
export const monitorCostsSchema: readonly string[] = [
  "insert into core.schema_version values (18)",

  // The row that a monitor stands on, by its number and by what it is.
  `create table core.monitor_cursors (
    ${owner}, definition varchar not null, row_id bigint not null, request_id varchar, row integer,
    label_change bigint not null, looked_at timestamp not null)`,
  `create table core.monitor_pending (
    ${owner}, window_start timestamp not null, window_end timestamp not null,
    label_change bigint not null, is_forced boolean not null)`,

  // Probability with which a row of the cell was looked at; rows of before were looked at whole.
  "alter table core.profile_metrics add column sampling_fraction double default 1",
  "alter table core.estimates add column sampling_fraction double default 1",
  `create table core.monitor_costs (
    monitor varchar not null, model varchar not null, version integer not null, granularity varchar,
    refresh_id varchar, windows integer not null, rows_read bigint not null,
    rows_used bigint not null, ms double not null, rate double not null, next_factor double not null,
    next_rate double not null, budget_ms double, budget_rows bigint, created_at timestamp not null)`,

  // Distinct values are those of the sample, and so is their share.
  `create or replace view profile as
    select case when window_start is not null
        then {'start': window_start, 'end': window_end} end as "window", granularity, model,
      version, model || '/' || version as model_id, monitor_version,
      label_change as logging_table_commit_version, log_type, slice_key, slice_value, column_name,
      column_kind, data_type, count, num_nulls, avg, quantiles, min, max, stddev, num_zeros, num_nan,
      min_length, max_length, avg_length, ${typed("non_null_columns", '["VARCHAR"]')},
      ${
    typed("frequent_items", '[{"item": "VARCHAR", "count": "BIGINT"}]')
  }, median, distinct_count,
      100 * num_nan / nullif(count, 0) as percent_nan,
      100 * num_nulls / nullif(count, 0) as percent_null,
      100 * num_zeros / nullif(count, 0) as percent_zeros,
      100 * distinct_count / nullif(round(count * sampling_fraction), 0) as percent_distinct,
      labeled_rows, accuracy,
      ${typed("precision", byClass)}, ${typed("recall", byClass)}, ${typed("f1_score", byClass)},
      ${
    typed("confusion_matrix", '[{"prediction": "VARCHAR", "label": "VARCHAR", "count": "BIGINT"}]')
  },
      ${typed("custom_metrics", '"MAP(VARCHAR, DOUBLE)"')}, window_start, window_end, created_at,
      sampling_fraction
    from core.profile_metrics`,
  `create or replace view estimates as
    select e.model, e.version, e.window_start, e.window_end, e.granularity, e.slice, e.metric,
      e.estimate, e.low, e.high, e.lower_threshold, e.upper_threshold,
      e.estimate < e.lower_threshold or e.estimate > e.upper_threshold as is_beyond_threshold,
      e.is_calibrated, e.realized, e.realized_low, e.realized_high, e.rows, e.labeled_rows,
      e.labeled_rows / nullif(e.rows, 0) as label_coverage, e.floor,
      e.high < e.floor as is_below_contract, e.realized_high < e.floor as is_realized_below_contract,
      e.reason, w.estimated_at, e.sampling_fraction
    from core.estimates e
    join core.estimate_windows w using (model, version, granularity, window_start)`,

  // A judge has one row per day of its verdicts. Errors have no weight, and their time and tokens count.
  `create view monitor_costs as
    select monitor, model, version, granularity, refresh_id, windows, rows_read, rows_used, ms,
      null::bigint as tokens, rate, next_rate, budget_ms, budget_rows,
      sqrt(1 / rate) as standard_error_ratio, created_at
    from core.monitor_costs
    union all
    select 'judge:' || j.judge, i.model, i.version, '1 day', null, 1,
      round(sum(1 / j.inclusion_probability) filter (j.status <> 'error'))::bigint, count(*)::bigint,
      sum(j.ms), sum(coalesce(j.tokens_in, 0) + coalesce(j.tokens_out, 0))::bigint,
      count(*) filter (j.status <> 'error')
        / sum(1 / j.inclusion_probability) filter (j.status <> 'error'), null, null, null,
      sqrt(sum(1 / j.inclusion_probability ** 2) filter (j.status <> 'error')
        / sum(1 / j.inclusion_probability) filter (j.status <> 'error')),
      max(j.created_at)
    from core.judgements j join core.inferences i using (request_id, row)
    group by j.judge, i.model, i.version, j.created_at::date`,
];
