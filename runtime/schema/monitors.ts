/**
 * Version 11 of the schema: profiles and drift of windows in the shape of a lakehouse's monitors, what
 * they were computed by, and how far they are. Rows of a window are replaced when more is known of it.
 *
 * @module
 */

/** Columns that say which rows something is about; a null slice key is all rows of the window. */
const about = `model varchar not null, version integer not null, monitor_version integer not null,
    granularity varchar, window_start timestamp, window_end timestamp,
    slice_key varchar, slice_value varchar, column_name varchar not null, column_kind varchar not null,
    data_type varchar`;

/** A window as a lakehouse writes it; null for a baseline. */
const asWindow = (start: string, end: string) =>
  `case when ${start} is not null then {'start': ${start}, 'end': ${end}} end`;

/** JSON of a table as a typed value. */
const typed = (column: string, type: string) => `from_json(${column}, '${type}') as ${column}`;

const byClass = `{"one_vs_all": "MAP(VARCHAR, DOUBLE)", "macro": "DOUBLE", "weighted": "DOUBLE"}`;

/** A test as a lakehouse writes it. */
const asTest = (name: string) =>
  `case when ${name}_statistic is not null
      then {'statistic': ${name}_statistic, 'pvalue': ${name}_pvalue} end as ${name}_test`;

/** Statements that bring a store from version 10 to version 11. */
export const monitorsSchema: readonly string[] = [
  "insert into core.schema_version values (11)",

  // A definition whose content changes gets the next number.
  `create table core.monitor_definitions (
    model varchar not null, monitor_version integer not null, hash varchar not null,
    definition json not null, created_at timestamp not null)`,
  // What of a window was there when it was computed: more rows or labels make it due again.
  `create table core.monitor_windows (
    model varchar not null, version integer not null, monitor_version integer not null,
    granularity varchar not null, window_start timestamp not null, window_end timestamp not null,
    rows bigint not null, label_change bigint not null, state varchar not null, error varchar,
    refreshed_at timestamp not null)`,
  `create table core.monitor_refreshes (
    refresh_id varchar not null, model varchar not null, version integer not null,
    monitor_version integer not null, state varchar not null, message varchar,
    windows integer not null, failed integer not null, rows bigint not null,
    label_change bigint, started_at timestamp, ended_at timestamp, created_at timestamp not null)`,
  // Distinct values of the baseline and how many rows are at most each; thinned where there are many.
  `create table core.baseline_sketches (
    model varchar not null, version integer not null, monitor_version integer not null,
    slice_key varchar, slice_value varchar, column_name varchar not null,
    categories json, sample double[] not null, up_to double[] not null, is_thinned boolean not null)`,

  `create table core.profile_metrics (
    ${about}, log_type varchar not null, count bigint not null, num_nulls bigint, avg double,
    quantiles double[], min double, max double, stddev double, num_zeros bigint, num_nan bigint,
    min_length double, max_length double, avg_length double, non_null_columns json,
    frequent_items json, median double, distinct_count bigint, labeled_rows bigint, accuracy double,
    precision json, recall json, f1_score json, confusion_matrix json, custom_metrics json,
    label_change bigint, created_at timestamp not null)`,
  `create table core.drift_metrics (
    ${about}, drift_type varchar not null, cmp_start timestamp, cmp_end timestamp,
    cmp_slice varchar, count_delta bigint, avg_delta double, percent_null_delta double,
    percent_zeros_delta double, percent_distinct_delta double, non_null_columns_delta json,
    js_distance double, ks_statistic double, ks_pvalue double, wasserstein_distance double,
    population_stability_index double, chi_squared_statistic double, chi_squared_pvalue double,
    tv_distance double, l_infinity_distance double, method varchar, decision_path json,
    effect_size double, p_value double, adjusted_p_value double, threshold double,
    is_drifted boolean, methods json, custom_metrics json, reference_count bigint,
    current_count bigint, reason varchar, created_at timestamp not null)`,

  `create view profile as
    select ${asWindow("window_start", "window_end")} as "window", granularity, model,
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
      100 * distinct_count / nullif(count, 0) as percent_distinct, labeled_rows, accuracy,
      ${typed("precision", byClass)}, ${typed("recall", byClass)}, ${typed("f1_score", byClass)},
      ${
    typed("confusion_matrix", '[{"prediction": "VARCHAR", "label": "VARCHAR", "count": "BIGINT"}]')
  },
      ${typed("custom_metrics", '"MAP(VARCHAR, DOUBLE)"')}, window_start, window_end, created_at
    from core.profile_metrics`,
  `create view drift_metrics as
    select ${asWindow("window_start", "window_end")} as "window", granularity, model,
      version, model || '/' || version as model_id, monitor_version, slice_key, slice_value,
      column_name, column_kind, data_type, ${asWindow("cmp_start", "cmp_end")} as window_cmp,
      drift_type, count_delta, avg_delta, percent_null_delta, percent_zeros_delta,
      percent_distinct_delta,
      ${typed("non_null_columns_delta", '{"added": ["VARCHAR"], "missing": ["VARCHAR"]}')},
      js_distance, ${asTest("ks")}, wasserstein_distance, population_stability_index,
      ${asTest("chi_squared")}, tv_distance, l_infinity_distance, method,
      ${typed("decision_path", '["VARCHAR"]')}, effect_size, p_value, adjusted_p_value, threshold,
      is_drifted,
      ${
    typed(
      "methods",
      '[{"method": "VARCHAR", "statistic": "DOUBLE", "p_value": "DOUBLE", "is_drifted": "BOOLEAN"}]',
    )
  },
      ${typed("custom_metrics", '"MAP(VARCHAR, DOUBLE)"')}, cmp_slice, reference_count,
      current_count, reason, window_start, window_end, created_at
    from core.drift_metrics`,
  "create view monitor_definitions as select * exclude (hash) from core.monitor_definitions",
  "create view monitor_windows as select * from core.monitor_windows",
  "create view monitor_refreshes as select * from core.monitor_refreshes",
];
