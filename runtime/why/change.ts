/**
 * A change of a mean outcome, and how much of it something explains: what would be gone of it without.
 *
 * @module
 */

/** Outcomes of rows `[n, m]`, row-major. */
export interface Outcomes {
  readonly data: Float64Array;
  readonly rows: number;
  readonly cols: number;
}

/** A change of the mean outcome from a reference to the current rows. */
export interface Change {
  /** Means `[m]`. */
  readonly reference: Float64Array;
  readonly current: Float64Array;
  /** Columns whose means moved clearly; the others would add noise. */
  readonly moved: readonly number[];
  /** Squared distance of these means that samples of these sizes have by chance. */
  readonly chance: number;
  /** Whether one of the means moved beyond what chance gives to samples of these sizes. */
  readonly isReal: boolean;
}

/** Standard errors that a mean must move by: of three hundred means, chance moves one in fifty times. */
const BEYOND = 4;

/** Standard errors of a column that counts, where another one is beyond chance. */
const CLEARLY = 2.5;

/** Gives the means of the columns `[m]`, of all rows or of those chosen. */
export function meanOutcome(
  { data, rows, cols }: Outcomes,
  index?: Int32Array | readonly number[],
): Float64Array {
  const means = new Float64Array(cols);
  const count = index?.length ?? rows;
  for (let at = 0; at < count; at++) {
    const i = index ? index[at] : at;
    for (let j = 0; j < cols; j++) means[j] += data[i * cols + j];
  }
  return means.map((sum) => sum / count);
}

/** Compares the mean outcomes of reference and current rows, both not empty. */
export function measureChange(reference: Outcomes, current: Outcomes): Change {
  const means = { reference: meanOutcome(reference), current: meanOutcome(current) };
  const errors = {
    reference: errorsOf(reference, means.reference),
    current: errorsOf(current, means.current),
  };
  const squares = errors.reference.map((square, j) => square + errors.current[j]);
  const z = squares.map((square, j) =>
    Math.abs(means.current[j] - means.reference[j]) / (Math.sqrt(square) || Number.MIN_VALUE)
  );
  const moved = [...z.keys()].filter((j) => z[j] > CLEARLY);
  return {
    ...means,
    moved,
    chance: moved.reduce((sum, j) => sum + squares[j], 0),
    isReal: z.some((each) => each > BEYOND),
  };
}

/** What is left of a change counts as nothing up to so many times what chance gives in the mean. */
const WITHIN = 2;

/** Gives the outcomes of some rows. */
export function takeOutcomes({ data, cols }: Outcomes, rows: readonly number[]): Outcomes {
  const taken = new Float64Array(rows.length * cols);
  rows.forEach((row, i) => taken.set(data.subarray(row * cols, (row + 1) * cols), i * cols));
  return { data: taken, rows: rows.length, cols };
}

/** At most this part of a squared change is taken for chance. */
const MOST_CHANCE = 0.75;

/**
 * Gives the share of a change in `[0, 1]` that is gone when the current mean is `instead`: 1 when it is
 * as near to the reference's as chance brings it, 0 when it is no nearer than before.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { explainedShare, measureChange } from "./change.ts";
 *
 * const rows = (...values: number[]) => ({ data: Float64Array.from(values), rows: values.length, cols: 1 });
 * const change = measureChange(rows(0, 0, 0, 0), rows(4, 4, 4, 4));
 * assertEquals(explainedShare(change, Float64Array.of(1)), 0.75);
 * assertEquals(explainedShare(change, Float64Array.of(9)), 0);
 * ```
 */
export function explainedShare(
  { reference, current, moved, chance }: Change,
  instead: Float64Array,
): number {
  const distance = (means: Float64Array) =>
    moved.reduce((sum, j) => sum + (means[j] - reference[j]) ** 2, 0);
  const whole = distance(current);
  if (whole === 0) return 0;
  const noise = Math.min(chance, MOST_CHANCE * whole);
  const left = Math.max(0, distance(instead) - WITHIN * noise);
  return Math.max(0, 1 - Math.sqrt(left / (whole - noise)));
}

/** Squared standard errors of the means `[m]`. */
function errorsOf({ data, rows, cols }: Outcomes, means: Float64Array): Float64Array {
  const sums = new Float64Array(cols);
  for (let at = 0; at < data.length; at++) sums[at % cols] += (data[at] - means[at % cols]) ** 2;
  return sums.map((sum) => sum / rows / rows);
}
