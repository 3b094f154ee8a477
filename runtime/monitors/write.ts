/** What was measured as rows of the tables of profiles and drift. */
import type { ColumnValues, Step } from "../store/store.ts";
import type { Cell } from "./cells.ts";
import type { Column, ColumnProfile } from "./columns.ts";
import type { Decision, Difference } from "./compare.ts";
import type { Metrics } from "./custom.ts";
import type { Quality } from "./quality.ts";
import { weigh } from "./sampling.ts";
import type { Window } from "./windows.ts";

/** Whose rows these are. */
export interface Owner {
  readonly model: string;
  readonly version: number;
  readonly monitorVersion: number;
  /** `null` for a baseline. */
  readonly granularity: string | null;
  /** Last change of a label that was looked at. */
  readonly labelChange: number;
  readonly now: Date;
}

type About = Pick<Column, "name"> & {
  readonly kind: Column["kind"];
  readonly dataType: string | null;
};

/** A row of `core.profile_metrics`. */
export interface ProfileRow {
  readonly cell: Cell;
  readonly window: Window | null;
  readonly column: About;
  /** `null` for the row of the table, which has the cell's rows only. */
  readonly profile: ColumnProfile | null;
  readonly nonNullColumns?: readonly string[];
  readonly quality?: Quality | null;
  readonly custom?: Metrics;
}

/** A row of `core.drift_metrics`. */
export interface DriftRow {
  readonly cell: Cell;
  readonly window: Window;
  readonly column: About;
  readonly type: "CONSECUTIVE" | "BASELINE";
  /** Window that it is compared with; `null` for the baseline. */
  readonly compared: Window | null;
  /** Slice of the baseline that it is compared with; `null` for all of it. */
  readonly comparedSlice: string | null;
  readonly reference: Summary;
  readonly current: Summary;
  /** Probability with which rows of the reference were looked at. */
  readonly referenceFraction: number;
  readonly difference: Difference | null;
  readonly decision: Decision | null;
  readonly nonNullColumns?: { readonly added: string[]; readonly missing: string[] };
  readonly custom?: Metrics;
}

/** What the differences of profiles are taken of. */
export type Summary =
  & Pick<ColumnProfile, "count">
  & Partial<Pick<ColumnProfile, "avg" | "numNulls" | "numZeros" | "distinctCount">>;

/** Gives the steps that append rows of profiles; counts are those of all rows, drawn or not. */
export function profileSteps(owner: Owner, rows: readonly ProfileRow[]): Step[] {
  if (rows.length === 0) return [];
  const of = <K extends keyof ColumnProfile>(key: K) =>
    rows.map((row) => row.profile?.[key] ?? null);
  const counts = (read: (row: ProfileRow) => number | null | undefined) =>
    rows.map((row) => weighed(read(row), row.cell.fraction));
  return [{
    append: "core.profile_metrics",
    columns: {
      ...aboutColumns(owner, rows),
      log_type: rows.map(() => owner.granularity === null ? "BASELINE" : "INPUT"),
      count: counts(({ cell }) => cell.rows),
      num_nulls: counts(({ profile }) => profile?.numNulls),
      avg: of("avg"),
      quantiles: listNumbers(rows.map(({ profile }) => profile?.quantiles ?? [])),
      min: of("min"),
      max: of("max"),
      stddev: of("stddev"),
      num_zeros: counts(({ profile }) => profile?.numZeros),
      num_nan: counts(({ profile }) => profile?.numNan),
      min_length: of("minLength"),
      max_length: of("maxLength"),
      avg_length: of("avgLength"),
      non_null_columns: rows.map(({ nonNullColumns }) => toJson(nonNullColumns)),
      frequent_items: rows.map(({ profile, cell }) =>
        toJson(weighEach(profile?.frequentItems, cell))
      ),
      median: of("median"),
      distinct_count: of("distinctCount"),
      labeled_rows: counts(({ column, quality }) =>
        column.kind === "table" ? quality?.labeledRows ?? 0 : null
      ),
      accuracy: rows.map(({ quality }) => quality?.accuracy ?? null),
      precision: rows.map(({ quality }) => toJson(quality?.precision)),
      recall: rows.map(({ quality }) => toJson(quality?.recall)),
      f1_score: rows.map(({ quality }) => toJson(quality?.f1)),
      confusion_matrix: rows.map(({ quality, cell }) =>
        toJson(weighEach(quality?.confusion, cell))
      ),
      custom_metrics: rows.map(({ custom }) => toJson(custom)),
      label_change: rows.map(() => owner.labelChange),
      created_at: rows.map(() => owner.now),
      sampling_fraction: rows.map(({ cell }) => cell.fraction),
    },
  }];
}

/** Gives the steps that append rows of drift; the counts of a comparison are those of the sample. */
export function driftSteps(owner: Owner, rows: readonly DriftRow[]): Step[] {
  if (rows.length === 0) return [];
  const of = <T>(read: (difference: Difference) => T | null | undefined) =>
    rows.map(({ difference }) => difference === null ? null : read(difference) ?? null);
  return [{
    append: "core.drift_metrics",
    columns: {
      ...aboutColumns(owner, rows),
      drift_type: rows.map(({ type }) => type),
      cmp_start: rows.map(({ compared }) => compared?.start ?? null),
      cmp_end: rows.map(({ compared }) => compared?.end ?? null),
      cmp_slice: rows.map(({ comparedSlice }) => comparedSlice),
      count_delta: rows.map(({ cell, current, reference, referenceFraction }) =>
        weigh(current.count, cell.fraction) - weigh(reference.count, referenceFraction)
      ),
      avg_delta: rows.map((row) => subtract(row, (side) => side.avg)),
      percent_null_delta: rows.map((row) => subtract(row, (side) => share(side, side.numNulls))),
      percent_zeros_delta: rows.map((row) => subtract(row, (side) => share(side, side.numZeros))),
      percent_distinct_delta: rows.map((row) =>
        subtract(row, (side) => share(side, side.distinctCount))
      ),
      non_null_columns_delta: rows.map(({ nonNullColumns }) => toJson(nonNullColumns)),
      js_distance: of((d) => d.jsDistance),
      ks_statistic: of((d) => d.ks?.statistic),
      ks_pvalue: of((d) => d.ks?.pValue),
      wasserstein_distance: of((d) => d.wassersteinDistance),
      population_stability_index: of((d) => d.populationStabilityIndex),
      chi_squared_statistic: of((d) => d.chiSquared?.statistic),
      chi_squared_pvalue: of((d) => d.chiSquared?.pValue),
      tv_distance: of((d) => d.tvDistance),
      l_infinity_distance: of((d) => d.lInfinityDistance),
      method: of((d) => d.method),
      decision_path: of((d) => toJson(d.decisionPath)),
      effect_size: of((d) => d.effectSize),
      p_value: of((d) => d.pValue),
      adjusted_p_value: rows.map(({ decision }) => decision?.adjustedPValue ?? null),
      threshold: of((d) => d.threshold),
      is_drifted: rows.map(({ decision }) => decision?.isDrifted ?? null),
      methods: of((d) => d.methods.length === 0 ? null : toJson(d.methods)),
      custom_metrics: rows.map(({ custom }) => toJson(custom)),
      reference_count: of((d) => d.referenceCount),
      current_count: of((d) => d.currentCount),
      reason: of((d) => d.reason),
      created_at: rows.map(() => owner.now),
    },
  }];
}

function aboutColumns(
  owner: Owner,
  rows: readonly { readonly cell: Cell; readonly window: Window | null; readonly column: About }[],
): Record<string, ColumnValues> {
  return {
    model: rows.map(() => owner.model),
    version: rows.map(() => owner.version),
    monitor_version: rows.map(() => owner.monitorVersion),
    granularity: rows.map(() => owner.granularity),
    window_start: rows.map(({ window }) => window?.start ?? null),
    window_end: rows.map(({ window }) => window?.end ?? null),
    slice_key: rows.map(({ cell }) => cell.sliceKey),
    slice_value: rows.map(({ cell }) => cell.sliceValue),
    column_name: rows.map(({ column }) => column.name),
    column_kind: rows.map(({ column }) => column.kind),
    data_type: rows.map(({ column }) => column.dataType),
  };
}

/** Lists of numbers as a column. */
export function listNumbers(lists: readonly ArrayLike<number>[]): ColumnValues {
  const values = new Float64Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    values.set(list, at);
    at += list.length;
  }
  return { values, lengths: Uint32Array.from(lists, ({ length }) => length) };
}

function toJson(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}

function weighed(count: number | null | undefined, fraction: number): number | null {
  return count === null || count === undefined ? null : weigh(count, fraction);
}

function weighEach<T extends { readonly count: number }>(
  items: readonly T[] | null | undefined,
  { fraction }: Cell,
): readonly T[] | null {
  return items?.map((item) => ({ ...item, count: weigh(item.count, fraction) })) ?? null;
}

/** In percent of the rows. */
function share({ count }: Summary, part: number | null | undefined): number | null {
  return part === null || part === undefined || count === 0 ? null : 100 * part / count;
}

function subtract(
  { current, reference }: DriftRow,
  read: (side: Summary) => number | null | undefined,
): number | null {
  const [c, r] = [read(current), read(reference)];
  return c === null || c === undefined || r === null || r === undefined ? null : c - r;
}
