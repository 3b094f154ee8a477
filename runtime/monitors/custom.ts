/**
 * Metrics of one's own, each a query of its own: one that fails leaves the others alone.
 *
 * @module
 */
import type { Store } from "../store/store.ts";
import { positionSql, wholeSql } from "./cells.ts";
import type { CustomMetric } from "./definition.ts";
import type { Measured } from "./measure.ts";

/** Numbers of a row by name. */
export type Metrics = Readonly<Record<string, number | null>>;

/** Hears of a metric that cannot be computed. */
export type OnMetricError = (metric: string, error: unknown) => void;

/**
 * Computes the metrics of each cell over its rows and over its other metrics, in the order in which they
 * are defined. What fails is `null`.
 */
export async function computeMetrics(
  store: Store,
  { measured, metrics, known, onError }: {
    readonly measured: Measured;
    readonly metrics: readonly CustomMetric[];
    /** What is known of each cell already. */
    readonly known: readonly Metrics[];
    readonly onError: OnMetricError;
  },
): Promise<Metrics[]> {
  const results: Record<string, number | null>[] = known.map(() => ({}));
  for (const { name, kind, sql } of metrics) {
    if (kind === "drift") continue;
    try {
      const values = kind === "aggregate"
        ? await aggregate(store, measured, sql)
        : await derive(store, known.map((row, i) => ({ ...row, ...results[i] })), sql);
      values.forEach((value, i) => results[i][name] = value);
    } catch (error) {
      onError(name, error);
      for (const result of results) result[name] = null;
    }
  }
  return results;
}

/** Computes the metrics of drift of pairs of rows. */
export async function compareMetrics(
  store: Store,
  { metrics, pairs, onError }: {
    readonly metrics: readonly CustomMetric[];
    readonly pairs: readonly { readonly current: Metrics; readonly base: Metrics }[];
    readonly onError: OnMetricError;
  },
): Promise<Metrics[]> {
  const results: Record<string, number | null>[] = pairs.map(() => ({}));
  for (const { name, kind, sql } of metrics) {
    if (kind !== "drift" || pairs.length === 0) continue;
    try {
      const { text, type } = toJson(pairs.flatMap(({ current, base }) => [current, base]));
      const values = await store.query<{ i: number; value: number | null }>(
        `select _i as i, (${sql})::double as value from (
           select x.i as _i, x.r as current, lead(x.r) over (order by x.i) as base
           from (select unnest(from_json(?, '${type}')) as x))
         where _i % 2 = 0`,
        [text],
      );
      for (const { i, value } of values) results[i / 2][name] = value;
    } catch (error) {
      onError(name, error);
      for (const result of results) result[name] = null;
    }
  }
  return results;
}

async function aggregate(
  store: Store,
  { relation, windows, slicings, cells, draw }: Measured,
  sql: string,
): Promise<(number | null)[]> {
  const keys = slicings.map((_, s) => `_s${s}`);
  const rows = await store.query<Record<string, unknown> & { _w: number; _value: number | null }>(
    `select coalesce(_w, _w0) as _w, ${
      keys.map((key) => `${key}, grouping(${key}) as g${key},`).join(" ")
    }
       (${sql})::double as _value
     from (select *, ${wholeSql(draw, windows)} as _w0, ${positionSql(windows)} as _w
       ${slicings.map((slicing, s) => `, ${slicing.sql} as _s${s}`).join("")} from ${relation})
     group by grouping sets (${["(_w0)", ...keys.map((key) => `(_w, ${key})`)].join(", ")})`,
  );
  const identify = (...parts: unknown[]) => JSON.stringify(parts);
  const values = new Map(rows.map((row) => {
    const s = keys.findIndex((key) => row[`g${key}`] === 0);
    return [identify(row._w, slicings[s]?.key ?? null, row[keys[s]] ?? null), row._value];
  }));
  return cells.map(({ window, sliceKey, sliceValue }) =>
    values.get(identify(window, sliceKey, sliceValue)) ?? null
  );
}

async function derive(
  store: Store,
  known: readonly Metrics[],
  sql: string,
): Promise<(number | null)[]> {
  if (known.length === 0) return [];
  const { text, type } = toJson(known);
  const rows = await store.query<{ i: number; value: number | null }>(
    `select _i as i, (${sql})::double as value from (select x.i as _i, unnest(x.r)
       from (select unnest(from_json(?, '${type}')) as x))`,
    [text],
  );
  const values: (number | null)[] = known.map(() => null);
  for (const { i, value } of rows) values[i] = value;
  return values;
}

/** Rows of numbers as JSON, and the type that DuckDB reads them with. */
function toJson(rows: readonly Metrics[]): { readonly text: string; readonly type: string } {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const fields = Object.fromEntries(names.map((name) => [name, "DOUBLE"]));
  return {
    text: JSON.stringify(rows.map((r, i) => ({ i, r }))),
    type: JSON.stringify([{ i: "INTEGER", r: fields }]),
  };
}
