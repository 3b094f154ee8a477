/** Losses of a classifier's predictions, one number each. */
import type { Matrix } from "../matrix.ts";
import type { Limits } from "./bands.ts";

/** Losses of predictions `[n]`, as in `numeric/metrics.ts`. */
export interface Losses {
  /** Minus the natural logarithm of the true class's probability, clipped to `[2**-23, 1 - 2**-23]`. */
  readonly logLoss: Float64Array;
  /** Squared distance of the probabilities to the one-hot truth, in `[0, 2]`. */
  readonly brier: Float64Array;
}

/** Names of the losses. */
export type LossName = keyof Losses;

/** Names of the losses, in the order of reports. */
export const lossNames: readonly LossName[] = ["logLoss", "brier"];

const clip = 2 ** -23;

/** What a loss can be. */
export const lossRanges: Readonly<
  Record<LossName, Limits & { readonly low: number; readonly high: number }>
> = { logLoss: { low: 0, high: -Math.log(clip) }, brier: { low: 0, high: 2 } };

/**
 * Gives the losses of predictions with class probabilities `P` `[n, k]` and true classes `y` `[n]`.
 *
 * @throws {TypeError} when the numbers of rows differ.
 * @throws {RangeError} when a class is not in `0 … k-1` or a probability is `NaN`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { measureLosses } from "./losses.ts";
 *
 * const { logLoss, brier } = measureLosses(matrix(1, 2, Float32Array.of(0.25, 0.75)), Int32Array.of(1));
 * assertAlmostEquals(logLoss[0], Math.log(4 / 3), 1e-9);
 * assertAlmostEquals(brier[0], 0.125, 1e-9);
 * ```
 */
export function measureLosses(P: Matrix, y: Int32Array): Losses {
  const k = P.cols;
  if (y.length !== P.rows) {
    throw new TypeError(`Cannot measure losses: ${P.rows} predictions for ${y.length} rows`);
  }
  checkProbabilities(P);
  const losses = { logLoss: new Float64Array(P.rows), brier: new Float64Array(P.rows) };
  for (let i = 0; i < P.rows; i++) {
    if (!(y[i] >= 0 && y[i] < k)) {
      throw new RangeError(`Cannot read row "${i}": class ${y[i]} is not in 0 … ${k - 1}`);
    }
    const own = P.data[i * k + y[i]];
    losses.logLoss[i] = -Math.log(Math.min(1 - clip, Math.max(clip, own)));
    let distance = 0;
    for (let c = 0; c < k; c++) distance += (P.data[i * k + c] - (c === y[i] ? 1 : 0)) ** 2;
    losses.brier[i] = distance;
  }
  return losses;
}

/** @throws {RangeError} when a probability is `NaN`. */
export function checkProbabilities(P: Matrix): void {
  const bad = P.data.findIndex(Number.isNaN);
  if (bad >= 0) {
    throw new RangeError(`Cannot read row "${Math.floor(bad / P.cols)}": a probability is NaN`);
  }
}
