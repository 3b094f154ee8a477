/**
 * The baseline of a version: its training rows with what models that never saw them said of each. It is
 * measured once per version and definition; what is kept are profiles and distributions, not rows. A
 * version without held-out predictions has its first closed window of enough rows as its baseline.
 *
 * @module
 */
import { thinDistribution } from "../../numeric/drift/distributions.ts";
import type { Store } from "../store/store.ts";
import { type Cell, listCells, prepareSlicings } from "./cells.ts";
import { type ColumnProfile, numberColumns, type Side, TABLE } from "./columns.ts";
import { computeMetrics, type Metrics, type OnMetricError } from "./custom.ts";
import type { ProfileDefinition } from "./definition.ts";
import { measureColumns } from "./measure.ts";
import { scoreCell } from "./quality.ts";
import { baselineRows, findBaseline, type MonitoredVersion, predictionRows } from "./rows.ts";
import { everyRow } from "./sampling.ts";
import { knownMetrics, tableColumn } from "./table_rows.ts";
import type { Window } from "./windows.ts";
import { listNumbers, type Owner, type ProfileRow, profileSteps } from "./write.ts";

/** Most distinct values of a column that are kept: the distribution function is right to 0.05 %. */
const MOST_KEPT = 4096;

/** … and of a slice. */
const MOST_KEPT_OF_SLICE = 512;

/** What to measure. */
export interface BaselineOptions {
  readonly monitored: MonitoredVersion;
  readonly monitorVersion: number;
  readonly definition: ProfileDefinition;
  /** Gives the window that is the baseline of a version without held-out predictions. */
  readonly fallback: () => Promise<Window | null>;
  readonly now: Date;
  readonly onError: OnMetricError;
}

/** A cell of the baseline; see {@linkcode readBaselineSides}. */
export interface BaselineCell {
  readonly rows: number;
  readonly nonNullColumns: readonly string[];
  readonly metrics: Metrics;
}

/** Identifies a slice; all rows have null twice. */
export function sliceId(sliceKey: string | null, sliceValue: string | null): string {
  return JSON.stringify([sliceKey, sliceValue]);
}

/** Measures the baseline unless it is there already; one without rows is measured when there are some. */
export async function ensureBaseline(store: Store, options: BaselineOptions): Promise<void> {
  const { monitored: { model, version }, monitorVersion } = options;
  const [{ count }] = await store.query<{ count: number }>(
    `select count(*) as count from core.baseline_sketches
     where model = ? and version = ? and monitor_version = ?`,
    [model, version, monitorVersion],
  );
  if (count === 0) await measureBaseline(store, options);
}

async function measureBaseline(
  store: Store,
  { monitored, monitorVersion, definition, now, onError, ...options }: BaselineOptions,
): Promise<void> {
  const { model, version } = monitored;
  const expressions = ["truth", ...definition.slices, ...definition.metrics.map(({ sql }) => sql)];
  const predictions = await findBaseline(store, monitored);
  const fallback = predictions === null ? await options.fallback() : null;
  if (predictions === null && fallback === null) return;
  const relation = predictions !== null
    ? baselineRows(monitored, predictions)
    : predictionRows(monitored, [fallback!], expressions);
  // Production may be sliced by what training rows do not have: those are compared with all of them.
  const slicings = await prepareSlicings(store, {
    relation,
    slices: definition.slices,
    onError: () => {},
  });
  const windows = [{ start: now, end: now }];
  const cells = await listCells(store, { relation, windows, slicings });
  const numbers = numberColumns(monitored);
  const measured = { relation, windows, slicings, cells, numbers, draw: everyRow };
  const rows: ProfileRow[] = [];
  const sketches: Sketch[] = [];
  const present = cells.map((): string[] => []);
  await measureColumns(store, measured, (column, sides) =>
    sides.forEach((side, i) => {
      rows.push({ cell: cells[i], window: null, column, profile: side.profile });
      if (side.profile.count > side.profile.numNulls) present[i].push(column.name);
      sketches.push({ cell: cells[i], column: column.name, ...toSketch(side, cells[i]) });
    }));
  const qualities = cells.map(scoreCell);
  const custom = await computeMetrics(store, {
    measured,
    metrics: definition.metrics,
    known: cells.map((cell, i) => knownMetrics(cell, qualities[i])),
    onError,
  });
  cells.forEach((cell, i) =>
    rows.push({
      cell,
      window: null,
      column: tableColumn,
      profile: null,
      nonNullColumns: present[i],
      quality: qualities[i],
      custom: custom[i],
    })
  );
  const owner: Owner = { model, version, monitorVersion, granularity: null, labelChange: 0, now };
  await store.transaction([
    {
      sql:
        `delete from core.profile_metrics where model = ? and version = ? and log_type = 'BASELINE'`,
      params: [model, version],
    },
    {
      sql: "delete from core.baseline_sketches where model = ? and version = ?",
      params: [model, version],
    },
    ...profileSteps(owner, rows),
    {
      append: "core.baseline_sketches",
      columns: {
        model: sketches.map(() => model),
        version: sketches.map(() => version),
        monitor_version: sketches.map(() => monitorVersion),
        slice_key: sketches.map(({ cell }) => cell.sliceKey),
        slice_value: sketches.map(({ cell }) => cell.sliceValue),
        column_name: sketches.map(({ column }) => column),
        categories: sketches.map(({ categories }) => categories && JSON.stringify(categories)),
        sample: listNumbers(sketches.map(({ sample }) => sample)),
        up_to: listNumbers(sketches.map(({ upTo }) => upTo)),
        is_thinned: sketches.map(({ isThinned }) => isThinned),
      },
    },
  ]);
}

/** What is kept of a column's values. */
interface Kept {
  readonly categories: Readonly<Record<string, number>> | null;
  readonly sample: ArrayLike<number>;
  readonly upTo: ArrayLike<number>;
  readonly isThinned: boolean;
}

interface Sketch extends Kept {
  readonly cell: Cell;
  readonly column: string;
}

function toSketch({ distribution, categories }: Side, { sliceKey }: Cell): Kept {
  if (distribution === null) {
    return {
      categories: Object.fromEntries(categories!),
      sample: [],
      upTo: [],
      isThinned: false,
    };
  }
  const most = sliceKey === null ? MOST_KEPT : MOST_KEPT_OF_SLICE;
  const { values, upTo, isThinned } = thinDistribution(distribution, most);
  return { categories: null, sample: values, upTo, isThinned };
}

/** Reads the cells of a baseline, by {@linkcode sliceId}; none when it was not measured yet. */
export async function readBaselineCells(
  store: Store,
  { model, version }: Pick<MonitoredVersion, "model" | "version">,
): Promise<Map<string, BaselineCell>> {
  const rows = await store.query<{
    slice_key: string | null;
    slice_value: string | null;
    rows: number;
    columns: string;
    known: string;
    custom: string | null;
  }>(
    `select slice_key, slice_value, count as rows, non_null_columns::varchar as columns,
       json_object('labeled_rows', labeled_rows, 'accuracy', accuracy,
         'precision', (precision->>'macro')::double, 'recall', (recall->>'macro')::double,
         'f1_score', (f1_score->>'macro')::double)::varchar as known,
       custom_metrics::varchar as custom
     from core.profile_metrics
     where model = ? and version = ? and log_type = 'BASELINE' and column_name = '${TABLE}'`,
    [model, version],
  );
  return new Map(rows.map((row) => [sliceId(row.slice_key, row.slice_value), {
    rows: row.rows,
    nonNullColumns: JSON.parse(row.columns),
    metrics: { count: row.rows, ...JSON.parse(row.known), ...JSON.parse(row.custom ?? "{}") },
  }]));
}

/** Reads one column of a baseline, by {@linkcode sliceId}. */
export async function readBaselineSides(
  store: Store,
  { model, version }: Pick<MonitoredVersion, "model" | "version">,
  column: string,
): Promise<Map<string, Side>> {
  const rows = await store.query<{
    slice_key: string | null;
    slice_value: string | null;
    categories: string | null;
    sample: number[];
    up_to: number[];
    is_thinned: boolean;
    profile: string;
  }>(
    `select s.slice_key, s.slice_value, s.categories::varchar as categories, s.sample, s.up_to,
       s.is_thinned, json_object('count', p.count, 'numNulls', p.num_nulls, 'numNan', p.num_nan,
         'numZeros', p.num_zeros, 'avg', p.avg, 'stddev', p.stddev,
         'distinctCount', p.distinct_count)::varchar as profile
     from core.baseline_sketches s
     join core.profile_metrics p on p.model = s.model and p.version = s.version
       and p.log_type = 'BASELINE' and p.column_name = s.column_name
       and p.slice_key is not distinct from s.slice_key
       and p.slice_value is not distinct from s.slice_value
     where s.model = ? and s.version = ? and s.column_name = ?`,
    [model, version, column],
  );
  return new Map(rows.map((row) => [sliceId(row.slice_key, row.slice_value), {
    profile: { ...unknownProfile, ...JSON.parse(row.profile) } as ColumnProfile,
    distribution: row.categories !== null ? null : {
      values: Float64Array.from(row.sample),
      upTo: Uint32Array.from(row.up_to),
      isThinned: row.is_thinned,
    },
    categories: row.categories === null
      ? null
      : new Map(Object.entries(JSON.parse(row.categories) as Record<string, number>)),
  }]));
}

/** What comparisons do not look at. */
const unknownProfile = {
  min: null,
  max: null,
  median: null,
  quantiles: null,
  minLength: null,
  maxLength: null,
  avgLength: null,
  frequentItems: [],
} as const;
