/** What is learned of one loss: its mean for given inputs, and how far that can be off. */
import { type Matrix, matrix, takeRows } from "../matrix.ts";
import { cutChunks } from "./bands.ts";
import { type BoostedTreeOptions, type BoostedTrees, growBoostedTrees } from "./boosted_trees.ts";

/** Parts of the reference that are left out in turn. */
const folds = 5;

/** Shallow trees on few rows of a noisy target. */
const trees: BoostedTreeOptions = { rounds: 60, rate: 0.1, leaves: 8, fewest: 20 };

/** What was learned of one loss. */
export interface LossModel {
  /** On all rows. */
  readonly mean: BoostedTrees;
  /** On all but a fold each. */
  readonly without: readonly BoostedTrees[];
  /** Of the squared residual of rows that the model of their fold did not see. */
  readonly variance: BoostedTrees;
  /** Variance of the mean loss from one chunk to the next that the inputs do not explain. */
  readonly betweenChunks: number;
}

/**
 * Learns a loss over inputs `[n, d]` in the order of time; `pause` is awaited before each of the trees.
 */
export async function fitLossModel(
  inputs: Matrix,
  losses: Float64Array,
  { chunks, pause }: { readonly chunks: number; readonly pause: () => void | Promise<void> },
): Promise<LossModel> {
  const n = losses.length;
  const cuts = cutChunks(n, chunks);
  const fit = async (rows: Matrix, targets: Float64Array) => {
    const steps = growBoostedTrees(rows, targets, trees);
    for (;;) {
      await pause();
      const { done, value } = steps.next();
      if (done) return value;
    }
  };
  const without: BoostedTrees[] = [];
  const residuals = new Float64Array(n);
  for (const [start, end] of cutChunks(n, folds)) {
    const rest = Int32Array.from(
      { length: n - (end - start) },
      (_, i) => i < start ? i : i + end - start,
    );
    const model = await fit(takeRows(inputs, rest), Float64Array.from(rest, (i) => losses[i]));
    const own = Int32Array.from({ length: end - start }, (_, i) => start + i);
    model.predict(takeRows(inputs, own)).forEach((value, i) =>
      residuals[start + i] = losses[start + i] - value
    );
    without.push(model);
  }
  const squares = residuals.map((residual) => residual * residual);
  const mean = await fit(inputs, losses);
  const variance = await fit(inputs, squares);
  // What chunks differ by beyond what single rows do.
  const excess = cuts.map(([start, end]) =>
    meanOf(residuals.subarray(start, end)) ** 2 -
    meanOf(squares.subarray(start, end)) / (end - start)
  );
  const betweenChunks = Math.max(0, excess.reduce((a, b) => a + b, 0) / excess.length);
  return { mean, without, variance, betweenChunks };
}

/**
 * What losses are learned over: the features, the class probabilities (of two classes the second's), the
 * largest of them, and for more than two classes their entropy, which is the loss that a model expects
 * of itself.
 */
export function joinInputs(X: Matrix, P: Matrix): Matrix {
  const k = P.cols;
  const own = k === 2 ? 2 : k + 2;
  const joined = matrix(X.rows, X.cols + own);
  for (let i = 0; i < X.rows; i++) {
    const p = P.data.subarray(i * k, (i + 1) * k);
    let confidence = 0;
    let entropy = 0;
    for (const value of p) {
      confidence = Math.max(confidence, value);
      if (value > 0) entropy -= value * Math.log(value);
    }
    const at = i * joined.cols;
    joined.data.set(X.data.subarray(i * X.cols, (i + 1) * X.cols), at);
    joined.data.set(k === 2 ? [p[1], confidence] : [...p, confidence, entropy], at + X.cols);
  }
  return joined;
}

/** Gives the mean of numbers; `NaN` for none. */
export function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Gives the variance of a population; `NaN` for none. */
export function varianceOf(values: Float64Array): number {
  const mean = meanOf(values);
  return meanOf(values.map((value) => (value - mean) ** 2));
}
