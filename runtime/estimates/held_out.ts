/**
 * Cross-validated predictions with their truth, kept with the store: what an estimator of performance
 * learns from, and what production is compared with when there is no earlier traffic.
 *
 * @module
 */
import { type Matrix, matrix } from "../../numeric/matrix.ts";
import { sha256 } from "../artifacts.ts";
import type { ColumnResult, Step, Store } from "../store/store.ts";

/** Predictions of rows by models that never saw them, in the order of time or depth. */
export interface HeldOut {
  /** Raw inputs `[n, d]` in the order of the signature; `NaN` is missing. */
  readonly X: Matrix;
  /** Class probabilities `[n, k]`. */
  readonly P: Matrix;
  /** True classes `[n]`, in `0 … k-1`. */
  readonly y: Int32Array;
  /** Group of each row `[n]`, such as a well; `null` has none. */
  readonly groups: readonly (string | null)[];
  /** Position of each row within its group `[n]`. */
  readonly order: Float64Array;
}

/** Where a report finds its held-out predictions. */
export interface HeldOutHandle {
  /** Table of the store. */
  readonly table: string;
  /** Value of its column `predictions`: sha256 of the content. */
  readonly predictions: string;
  readonly rows: number;
}

const TABLE = "core.held_out_predictions";

/** Gives the handle of predictions and the steps that store them; the same content is stored once. */
export async function heldOutSteps(
  heldOut: HeldOut,
): Promise<{ readonly handle: HeldOutHandle; readonly steps: readonly Step[] }> {
  const { X, P, y, groups, order } = heldOut;
  const rows = y.length;
  const parts = [X.data, P.data, y, order].map((array) =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
  );
  const predictions = await sha256(
    JSON.stringify([await Promise.all(parts.map(sha256)), groups, X.cols, P.cols]),
  );
  const lengths = (cols: number) => new Uint32Array(rows).fill(cols);
  return {
    handle: { table: TABLE, predictions, rows },
    steps: [
      { sql: `delete from ${TABLE} where predictions = ?`, params: [predictions] },
      {
        append: TABLE,
        columns: {
          predictions: Array.from({ length: rows }, () => predictions),
          position: Float64Array.from(y.keys()),
          group_name: groups,
          order_value: order,
          features: { values: X.data, lengths: lengths(X.cols) },
          class: Float64Array.from(y),
          probabilities: { values: P.data, lengths: lengths(P.cols) },
        },
      },
    ],
  };
}

/** Whether the store has the predictions of a handle. */
export async function hasHeldOut(store: Store, handle: HeldOutHandle): Promise<boolean> {
  const [{ rows }] = await store.query<{ rows: number }>(
    `select count(*) as rows from ${TABLE} where predictions = ?`,
    [handle.predictions],
  );
  return rows === handle.rows;
}

/** Reads the predictions that the report of a version names; `null` when it names none or they are gone. */
export async function readHeldOut(
  store: Store,
  { model, version }: { readonly model: string; readonly version: number },
): Promise<HeldOut | null> {
  const [found] = await store.query<{ predictions: string; d: number; k: number }>(
    `select h.predictions, len(h.features) as d, len(h.probabilities) as k
     from ${TABLE} h
     join core.model_versions v on h.predictions = (v.report->'predictions'->>'predictions')
     where v.model = ? and v.version = ? limit 1`,
    [model, version],
  );
  if (!found) return null;
  const { predictions, d, k } = found;
  const { columns } = await store.readColumns(
    `select group_name, order_value, class, ${listColumns("features", d)},
       ${listColumns("probabilities", k)}
     from ${TABLE} where predictions = ? order by position`,
    [predictions],
  );
  return {
    X: toMatrix(columns, "features", d),
    P: toMatrix(columns, "probabilities", k),
    y: Int32Array.from(columns.class as Float64Array),
    groups: columns.group_name as readonly (string | null)[],
    order: columns.order_value as Float64Array,
  };
}

/** SQL that gives the items of a list column as columns of numbers; see {@linkcode toMatrix}. */
export function listColumns(column: string, count: number): string {
  return Array.from({ length: count }, (_, j) => `${column}[${j + 1}]::double as ${column}_${j}`)
    .join(", ");
}

/** Gives the columns that {@linkcode listColumns} selects as a matrix `[n, count]`. */
export function toMatrix(
  columns: ColumnResult["columns"],
  column: string,
  count: number,
): Matrix {
  const parts = Array.from({ length: count }, (_, j) => columns[`${column}_${j}`] as Float64Array);
  const X = matrix(parts[0]?.length ?? 0, count);
  parts.forEach((values, j) => values.forEach((value, i) => X.data[i * count + j] = value));
  return X;
}
