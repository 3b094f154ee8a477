/** What every suspect of a change in predictions looks at. */
import type { Change, Outcomes } from "./change.ts";
import type { Measure } from "./outcome.ts";
import type { Sample } from "./sample.ts";
import type { Store } from "../store/store.ts";

/** One input of the model. */
export interface InputName {
  readonly name: string;
  readonly unit?: string | null | undefined;
}

/** A change of the outcome between two samples. */
export interface Problem {
  readonly store: Store;
  readonly model: string;
  readonly inputs: readonly InputName[];
  readonly reference: Sample;
  readonly current: Sample;
  /** Whether the reference are training rows, which nobody sent. */
  readonly isTraining: boolean;
  /** Begin of the reference and end of the current window, in milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
  readonly measure: Measure;
  readonly outcomes: { readonly reference: Outcomes; readonly current: Outcomes };
  readonly change: Change;
}

/** Rows of a cell that its reference must have to stand for it. */
export const FEWEST = 20;

/** Gives the rows of each value. */
export function groupRows<T>(values: ArrayLike<T>): Map<T, number[]> {
  const groups = new Map<T, number[]>();
  for (let i = 0; i < values.length; i++) {
    const rows = groups.get(values[i]);
    if (rows) rows.push(i);
    else groups.set(values[i], [i]);
  }
  return groups;
}

/** Gives column `j` of the rows. */
export function columnOf(
  { data, cols }: { readonly data: Float32Array; readonly cols: number },
  j: number,
  rows: readonly number[],
): Float64Array {
  return Float64Array.from(rows, (i) => data[i * cols + j]);
}
