/** Means of a truth that few rows have, helped by a prediction of it that many rows have. */
import { sum, type SurveyEstimate, toEstimate } from "./design.ts";

/** What is known. */
export interface PredictionPowered {
  /** Truth of the labelled rows `[n]`. */
  readonly truth: ArrayLike<number>;
  /** Prediction of the truth of the same rows `[n]`, such as a judge's score. */
  readonly predicted: ArrayLike<number>;
  /** Prediction of the truth of rows without it `[N]`. */
  readonly unlabelled: ArrayLike<number>;
  /** Weight of each labelled row `[n]`, such as 1 / inclusion probability; left out: equal. */
  readonly weights?: ArrayLike<number>;
  /** Weight of each row without truth `[N]`. */
  readonly unlabelledWeights?: ArrayLike<number>;
}

/** Outcome of {@linkcode estimateWithPredictions}. */
export interface PoweredEstimate extends SurveyEstimate {
  /** How far the predictions are trusted, in `[0, 1]`: 0 is the mean of the labelled rows alone. */
  readonly lambda: number;
}

/**
 * Gives the mean of the truth by PPI++ with its 95 % interval: the predictions' mean over the rows
 * without truth, corrected by what they miss on those with it. λ is chosen so that the variance is
 * least; predictions that are of no use leave the labelled rows' mean. Both kinds of rows must be drawn
 * from the same population, labelled ones independently of their truth. Equals the authors' package
 * `ppi_py`. `null` with fewer than two rows of either kind.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a value is not finite or a weight is not positive and finite.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { estimateWithPredictions } from "./ppi.ts";
 *
 * const { value, lambda } = estimateWithPredictions({
 *   truth: [1, 0, 1, 1],
 *   predicted: [0.9, 0.2, 0.8, 0.9],
 *   unlabelled: Array.from({ length: 100 }, (_, i) => i % 2 ? 0.9 : 0.1),
 * })!;
 * assert(value > 0.5 && value < 0.75 && lambda > 0.5);
 * assertEquals(estimateWithPredictions({ truth: [1], predicted: [1], unlabelled: [1, 1] }), null);
 * ```
 *
 * @see Angelopoulos, Duchi and Zrnic, "PPI++: Efficient Prediction-Powered Inference", 2023,
 * https://arxiv.org/abs/2311.01453, sections 3 and 6
 */
export function estimateWithPredictions(known: PredictionPowered): PoweredEstimate | null {
  const { truth, predicted, unlabelled } = known;
  if (truth.length !== predicted.length) {
    throw new TypeError(`Cannot estimate: ${truth.length} truths, ${predicted.length} predictions`);
  }
  const n = truth.length;
  const N = unlabelled.length;
  const w = normalize(known.weights, n);
  const v = normalize(known.unlabelledWeights, N);
  for (const values of [truth, predicted, unlabelled]) {
    for (let i = 0; i < values.length; i++) {
      if (Number.isFinite(values[i])) continue;
      throw new RangeError(`Cannot estimate from row "${i}": its value is ${values[i]}`);
    }
  }
  if (n < 2 || N < 2) return null;
  const slope = chooseLambda(known, w, v);
  const rectified = (i: number) => w[i] * (truth[i] - slope * predicted[i]);
  const imputed = (i: number) => v[i] * slope * unlabelled[i];
  const value = sum(N, imputed) / N + sum(n, rectified) / n;
  const variance = variate(N, imputed) / N + variate(n, rectified) / n;
  return { ...toEstimate(value, Math.sqrt(variance), n), lambda: slope };
}

/** The weight of the predictions that makes the variance least, as the authors' package computes it. */
function chooseLambda(
  { truth, predicted, unlabelled }: PredictionPowered,
  w: Float64Array,
  v: Float64Array,
): number {
  const n = truth.length;
  const N = unlabelled.length;
  // Deviations are taken from the labelled rows' own estimate at λ = 1.
  const start = sum(N, (i) => v[i] * unlabelled[i]) / N +
    sum(n, (i) => w[i] * (truth[i] - predicted[i])) / n;
  const y = Float64Array.from({ length: n }, (_, i) => w[i] * (truth[i] - start));
  const f = Float64Array.from({ length: n }, (_, i) => w[i] * (predicted[i] - start));
  const g = Float64Array.from({ length: N }, (_, i) => v[i] * (unlabelled[i] - start));
  const [my, mf] = [y, f].map((values) => values.reduce((a, b) => a + b, 0) / n);
  const covariance = sum(n, (i) => (y[i] - my) * (f[i] - mf)) / n;
  const all = [...f, ...g];
  const middle = all.reduce((a, b) => a + b, 0) / all.length;
  const spread = all.reduce((s, value) => s + (value - middle) ** 2, 0) / (all.length - 1);
  return spread === 0 ? 0 : Math.min(1, Math.max(0, covariance / ((1 + n / N) * spread)));
}

/** Weights whose mean is 1. */
function normalize(weights: ArrayLike<number> | undefined, rows: number): Float64Array {
  if (weights === undefined) return new Float64Array(rows).fill(1);
  if (weights.length !== rows) {
    throw new TypeError(`Cannot estimate: ${weights.length} weights for ${rows} rows`);
  }
  for (let i = 0; i < rows; i++) {
    if (weights[i] > 0 && weights[i] < Infinity) continue;
    throw new RangeError(`Cannot weigh row "${i}" by ${weights[i]}: it is not positive and finite`);
  }
  const mean = sum(rows, (i) => weights[i]) / rows;
  return Float64Array.from(weights, (weight) => weight / mean);
}

function variate(rows: number, read: (i: number) => number): number {
  const mean = sum(rows, read) / rows;
  return sum(rows, (i) => (read(i) - mean) ** 2) / rows;
}
