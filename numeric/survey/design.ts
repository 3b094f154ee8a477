/**
 * Estimates from a sample whose rows were drawn one by one, each with a probability of its own (Poisson
 * sampling): what the draw makes uncertain, and nothing else.
 *
 * @module
 */
import { normalPoint } from "../special.ts";

/** A sample. */
export interface Sample {
  /** Value of each drawn row `[n]`. */
  readonly values: ArrayLike<number>;
  /** Probability in `(0, 1]` with which each row was drawn `[n]`. */
  readonly probabilities: ArrayLike<number>;
}

/** A number with the ends of its 95 % interval. */
export interface SurveyEstimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly standardError: number;
  /** Rows it rests on. */
  readonly rows: number;
}

/** The normal point of a 95 % interval. */
export const z95 = normalPoint(0.025);

/**
 * Gives Hájek's estimate of the mean over all rows, drawn or not: the sum of value / probability over
 * the sum of 1 / probability. The variance is that of the linearized ratio under Poisson sampling,
 * scaled by n / (n - 1); where every row was drawn it is 0. `null` with fewer than two rows.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a value is not finite or a probability is not in `(0, 1]`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { estimateMean } from "./design.ts";
 *
 * const { value } = estimateMean({ values: [1, 0, 0], probabilities: [0.5, 0.25, 0.5] })!;
 * assertAlmostEquals(value, 0.25);
 * ```
 *
 * @see Särndal, Swensson and Wretman, "Model Assisted Survey Sampling", Springer 1992, result 7.3.1 and
 * example 3.5.2
 */
export function estimateMean(sample: Sample): SurveyEstimate | null {
  checkSample(sample);
  const { values, probabilities } = sample;
  const rows = values.length;
  if (rows < 2) return null;
  const size = sum(rows, (i) => 1 / probabilities[i]);
  const value = sum(rows, (i) => values[i] / probabilities[i]) / size;
  const spread = sum(
    rows,
    (i) => (1 - probabilities[i]) * ((values[i] - value) / probabilities[i]) ** 2,
  );
  return toEstimate(value, Math.sqrt(spread * rows / (rows - 1)) / size, rows);
}

/**
 * Gives Horvitz and Thompson's estimate of the total over all rows, drawn or not: the sum of value /
 * probability, with its variance under Poisson sampling. Without rows it is 0 ± 0.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a value is not finite or a probability is not in `(0, 1]`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { estimateTotal } from "./design.ts";
 *
 * assertEquals(estimateTotal({ values: [1, 1], probabilities: [0.5, 0.25] }).value, 6);
 * ```
 *
 * @see Horvitz and Thompson, "A Generalization of Sampling Without Replacement From a Finite Universe",
 * Journal of the American Statistical Association 47(260), 1952
 */
export function estimateTotal(sample: Sample): SurveyEstimate {
  checkSample(sample);
  const { values, probabilities } = sample;
  const value = sum(values.length, (i) => values[i] / probabilities[i]);
  const variance = sum(
    values.length,
    (i) => (1 - probabilities[i]) * (values[i] / probabilities[i]) ** 2,
  );
  return toEstimate(value, Math.sqrt(variance), values.length);
}

/** A stratum and what was drawn of it. */
export interface Stratum extends Sample {
  /** Rows of the stratum, drawn or not. */
  readonly size: number;
}

/**
 * Gives the mean over all rows from the strata's own means, each weighted by its known size: narrower
 * than {@linkcode estimateMean} where strata differ. `null` when a stratum that has rows has fewer than
 * two in the sample: nothing is known of it.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a value is not finite, a probability is not in `(0, 1]` or a size negative.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { estimateStratified } from "./design.ts";
 *
 * const strata = [
 *   { size: 30, values: [1, 1], probabilities: [0.1, 0.1] },
 *   { size: 10, values: [0, 0], probabilities: [0.5, 0.5] },
 * ];
 * assertEquals(estimateStratified(strata)?.value, 0.75);
 * ```
 *
 * @see Särndal, Swensson and Wretman, Springer 1992, section 7.6
 */
export function estimateStratified(strata: readonly Stratum[]): SurveyEstimate | null {
  const filled = strata.filter(({ size }) => {
    if (!(size >= 0)) throw new RangeError(`Cannot weigh a stratum of ${size} rows`);
    return size > 0;
  });
  const total = filled.reduce((sum, { size }) => sum + size, 0);
  const means = filled.map(estimateMean);
  if (total === 0 || means.includes(null)) return null;
  let value = 0;
  let variance = 0;
  means.forEach((mean, h) => {
    const share = filled[h].size / total;
    value += share * mean!.value;
    variance += (share * mean!.standardError) ** 2;
  });
  const rows = filled.reduce((sum, { values }) => sum + values.length, 0);
  return toEstimate(value, Math.sqrt(variance), rows);
}

/** A value with its normal interval. */
export function toEstimate(value: number, standardError: number, rows: number): SurveyEstimate {
  const half = z95 * standardError;
  return { value, low: value - half, high: value + half, standardError, rows };
}

function checkSample({ values, probabilities }: Sample): void {
  if (values.length !== probabilities.length) {
    throw new TypeError(
      `Cannot estimate: ${values.length} values with ${probabilities.length} probabilities`,
    );
  }
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i]) && probabilities[i] > 0 && probabilities[i] <= 1) continue;
    throw new RangeError(
      `Cannot estimate from row "${i}": value ${values[i]}, drawn with probability ${
        probabilities[i]
      }`,
    );
  }
}

/** Sum over `0 … count - 1`. */
export function sum(count: number, read: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += read(i);
  return total;
}
