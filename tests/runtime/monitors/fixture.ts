/** A store with the version 1 of `rocks`, rows of days and their labels, for the tests of monitors. */
import { ProfileParams } from "../../../runtime/monitors/definition.ts";
import { type MonitorRefresh, refreshMonitors } from "../../../runtime/monitors/refresh.ts";
import type { MonitorsSampling } from "../../../runtime/monitors/sampling.ts";
import type { Store } from "../../../runtime/store/store.ts";
import type { Plugin } from "../../../plugins/plugin.ts";
import { testClasses } from "../../model_fixture.ts";
import { addModel, openStoreAbroad } from "../../plugins/alerts/rows.ts";

/** One prediction with what is known of it. */
export interface FixtureRow {
  /** `null` is missing, `"nan"` a value that is no number. */
  readonly features: readonly (number | "nan" | null)[];
  readonly label: string;
  readonly probabilities: readonly number[];
  readonly confidence: number;
  readonly slice: string | null;
  readonly truth: string | null;
}

/** Midnight of a day of November 2026, in UTC. */
export function day(number: number, hours = 0): Date {
  return new Date(Date.UTC(2026, 10, number, hours));
}

/** Opens a store with the registered model; the baseline, when there is one, is held out. */
export async function openMonitored(baseline?: readonly FixtureRow[]): Promise<Store> {
  const store = await openStoreAbroad("America/Lima");
  await addModel(store, { report: { predictions: { predictions: "held" } } });
  if (baseline) {
    await store.query(
      `insert into core.held_out_predictions by name
       select 'held' as predictions, r.i as position, r.slice as group_name, r.i as order_value,
         r.features::double[] as features, r.class::integer as class,
         r.probabilities as probabilities
       from (${unnestRows})`,
      [toJson(baseline)],
    );
  }
  return store;
}

const unnestRows = `select unnest(from_json(?, '[{"i": "INTEGER", "features": ["VARCHAR"],
  "label": "VARCHAR", "probabilities": ["FLOAT"], "confidence": "DOUBLE", "slice": "VARCHAR",
  "truth": "VARCHAR", "class": "INTEGER"}]')) as r`;

function toJson(rows: readonly FixtureRow[]): string {
  return JSON.stringify(rows.map((row, i) => ({
    ...row,
    i,
    class: row.truth === null ? 0 : testClasses.indexOf(row.truth),
  })));
}

/** Adds predictions, a minute apart from a time on; their labels when they have some. */
export async function addRows(
  store: Store,
  rows: readonly FixtureRow[],
  { requestId, from, stepSeconds = 60 }: {
    readonly requestId: string;
    readonly from: Date;
    readonly stepSeconds?: number;
  },
): Promise<void> {
  await store.query(
    `insert into core.inferences by name
     select ?::varchar as request_id, r.i as row,
       ?::timestamp + to_seconds(r.i * ?::integer) as request_time, 'rocks' as model, 1 as version,
       r.features::double[] as features, r.label as label, r.confidence as confidence,
       r.probabilities as probabilities, r.slice as slice
     from (${unnestRows})`,
    [requestId, from, stepSeconds, toJson(rows)],
  );
  const labels = rows.flatMap(({ truth }, row) => truth === null ? [] : [{ row, truth }]);
  await addLabels(store, requestId, labels);
}

/** Adds labels of rows of a request. */
export async function addLabels(
  store: Store,
  requestId: string,
  labels: readonly { readonly row: number; readonly truth: string }[],
): Promise<void> {
  if (labels.length === 0) return;
  await store.query(
    `insert into core.labels by name select ?::varchar as request_id, l.row, l.truth as label,
       now()::timestamp as created_at
     from (select unnest(from_json(?, '[{"row": "INTEGER", "truth": "VARCHAR"}]')) as l)`,
    [requestId, JSON.stringify(labels)],
  );
}

/** Refreshes as of a time. */
export function refreshAt(
  store: Store,
  now: Date,
  definition: Record<string, unknown> = {},
  options: {
    readonly methods?: readonly Plugin<"drift">[];
    readonly sampling?: MonitorsSampling;
    readonly signal?: AbortSignal;
    readonly onProgress?: (share: number) => void;
  } = {},
): Promise<MonitorRefresh> {
  const about = { model: "rocks", version: 1, definition: ProfileParams.parse(definition), now };
  return refreshMonitors(store, { ...about, ...options });
}

/** Rows that differ in nothing but the value of `GR`: `count` of them, from `gr` on, 0.5 apart. */
export function plainRows(
  count: number,
  { gr = 50, slice = null, truth = null }: {
    readonly gr?: number;
    readonly slice?: string | null;
    readonly truth?: string | null;
  } = {},
): FixtureRow[] {
  return Array.from({ length: count }, (_, i) => ({
    features: [gr + 0.5 * (i % 20), 2.5, 0.1 + (i % 10) / 50],
    label: testClasses[i % 2],
    probabilities: i % 2 === 0 ? [0.75, 0.25, 0] : [0.25, 0.75, 0],
    confidence: 0.75,
    slice,
    truth,
  }));
}
