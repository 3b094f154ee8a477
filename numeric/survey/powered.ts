/** PPI++ of a sample whose rows were drawn with unequal probabilities. */
import { sum, toEstimate } from "./design.ts";
import type { PoweredEstimate } from "./ppi.ts";

/** Rows of a sample that are labelled, and those that are not. */
export interface PoweredSample {
  /** Truth of the labelled rows `[n]`, … */
  readonly truth: ArrayLike<number>;
  /** … what predicts it `[n]`, … */
  readonly predicted: ArrayLike<number>;
  /** … and the probability in `(0, 1]` with which each was drawn `[n]`. */
  readonly probabilities: ArrayLike<number>;
  /** The same of rows without truth `[N]`. */
  readonly unlabelled: ArrayLike<number>;
  readonly unlabelledProbabilities: ArrayLike<number>;
}

/**
 * Gives the mean of the truth with its 95 % interval as
 * {@linkcode import("./ppi.ts").estimateWithPredictions} does, with Hájek's means in place of plain ones
 * and the jackknife's variance of these: weights that differ make a mean uncertain only by how far the
 * rows lie from it, and heavy rows more than light ones. λ is chosen so that this variance is least.
 * Labelled rows must be a random part of the sample. `null` with fewer than two rows of either kind.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a value is not finite or a probability is not in `(0, 1]`.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { estimatePowered } from "./powered.ts";
 *
 * const { value, lambda } = estimatePowered({
 *   truth: [1, 0, 1, 1],
 *   predicted: [0.9, 0.2, 0.8, 0.9],
 *   probabilities: [0.5, 0.5, 0.2, 0.2],
 *   unlabelled: Array.from({ length: 100 }, (_, i) => i % 2 ? 0.9 : 0.1),
 *   unlabelledProbabilities: Array(100).fill(0.5),
 * })!;
 * assert(value > 0.5 && value < 0.75 && lambda > 0.5);
 * ```
 *
 * @see Angelopoulos, Duchi and Zrnic, "PPI++: Efficient Prediction-Powered Inference", 2023,
 * https://arxiv.org/abs/2311.01453, section 6
 * @see Särndal, Swensson and Wretman, "Model Assisted Survey Sampling", Springer 1992, section 11.5
 */
export function estimatePowered(sample: PoweredSample): PoweredEstimate | null {
  const { truth, predicted, probabilities, unlabelled, unlabelledProbabilities } = sample;
  if (truth.length !== predicted.length) {
    throw new TypeError(`Cannot estimate: ${truth.length} truths, ${predicted.length} predictions`);
  }
  const y = toMean(truth, probabilities);
  const f = toMean(predicted, probabilities);
  const g = toMean(unlabelled, unlabelledProbabilities);
  const n = truth.length;
  if (n < 2 || unlabelled.length < 2) return null;
  const spread = covary(f, f) + covary(g, g);
  const lambda = spread === 0 ? 0 : Math.min(1, Math.max(0, covary(y, f) / spread));
  const value = lambda * g.value + y.value - lambda * f.value;
  const variance = covary(y, y) - 2 * lambda * covary(y, f) + lambda ** 2 * spread;
  return { ...toEstimate(value, Math.sqrt(Math.max(0, variance)), n), lambda };
}

/** Hájek's mean, and how far it moves when each row is left out `[n]`. */
interface WeightedMean {
  readonly value: number;
  readonly moves: Float64Array;
}

function toMean(values: ArrayLike<number>, probabilities: ArrayLike<number>): WeightedMean {
  const rows = values.length;
  if (rows !== probabilities.length) {
    throw new TypeError(
      `Cannot estimate: ${rows} values with ${probabilities.length} probabilities`,
    );
  }
  for (let i = 0; i < rows; i++) {
    if (Number.isFinite(values[i]) && probabilities[i] > 0 && probabilities[i] <= 1) continue;
    throw new RangeError(
      `Cannot estimate from row "${i}": value ${values[i]}, drawn with probability ${
        probabilities[i]
      }`,
    );
  }
  const size = sum(rows, (i) => 1 / probabilities[i]);
  const value = sum(rows, (i) => values[i] / probabilities[i]) / size;
  const moves = Float64Array.from({ length: rows }, (_, i) => {
    const weight = 1 / probabilities[i];
    return weight * (values[i] - value) / (size - weight);
  });
  return { value, moves };
}

/** The jackknife's covariance of two means over the same rows. */
function covary(a: WeightedMean, b: WeightedMean): number {
  const rows = a.moves.length;
  const middle = (moves: Float64Array) => sum(rows, (i) => moves[i]) / rows;
  const [ma, mb] = [middle(a.moves), middle(b.moves)];
  return (rows - 1) / rows * sum(rows, (i) => (a.moves[i] - ma) * (b.moves[i] - mb));
}
