/** How well a regressor does on rows whose truth is not known (DLE). */
import { type Matrix, matrix } from "../matrix.ts";
import {
  cutChunks,
  defaultChunks,
  type Estimate,
  type Limits,
  thresholdOf,
  withBand,
} from "./bands.ts";
import { type BoostedTreeOptions, fitBoostedTrees } from "./boosted_trees.ts";

/** Predictions whose truth is known. */
export interface KnownValues {
  /** Features `[n, d]`, in the order of time; `NaN` is missing. */
  readonly X: Matrix;
  /** Predicted values `[n]`. */
  readonly predicted: Float64Array;
  /** True values `[n]`. */
  readonly y: Float64Array;
}

/** What is expected of rows without truth: errors in the target's unit, `mse` in its square. */
export interface RegressorEstimate {
  readonly rows: number;
  readonly mae: Estimate;
  readonly mse: Estimate;
  readonly rmse: Estimate;
}

/** What a reference taught. */
export interface RegressorEstimator {
  /**
   * Estimates the errors of predictions, `null` for no rows.
   * @throws {TypeError} when `X` has another number of columns or `predicted` another length.
   */
  estimate(X: Matrix, predicted: Float64Array): RegressorEstimate | null;
  /**
   * Gives the expected absolute error ≥ 0 of each row, for {@linkcode rankFeatures}.
   * @throws {TypeError} as `estimate`.
   */
  expectErrors(X: Matrix, predicted: Float64Array): Float64Array;
}

/** Features may matter together; fewer rows say little of an error. */
const trees: BoostedTreeOptions = { leaves: 8, fewest: 20 };

const positive: Limits = { low: 0, high: null };

/**
 * Learns from predictions with known truth how large errors are for given features (direct loss
 * estimation): one regressor on the absolute and one on the squared error, over the features and the
 * prediction. Bands are three standard errors, thresholds three standard deviations over the chunks of
 * the reference, as in NannyML's `DLE`; the regressors are boosted trees ({@linkcode fitBoostedTrees}) of
 * eight leaves with 20 rows at least unless options say otherwise. Fit on rows that the monitored model
 * was not trained on: its training errors are too small.
 *
 * It holds as long as the error for given features stays what it was (covariate shift).
 *
 * @throws {TypeError} when lengths disagree.
 * @throws {RangeError} when a prediction or truth is not finite, or there are fewer rows than chunks.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { fitRegressorEstimator } from "./regressor.ts";
 *
 * // The error is twice as large above 50.
 * const X = matrix(100, 1, Float32Array.from({ length: 100 }, (_, i) => i));
 * const predicted = new Float64Array(100);
 * const y = predicted.map((_, i) => (i % 2 ? 1 : -1) * (i < 50 ? 1 : 2));
 * const estimator = fitRegressorEstimator({ X, predicted, y });
 * const { mae } = estimator.estimate(matrix(1, 1, Float32Array.of(80)), Float64Array.of(0))!;
 * assert(Math.abs(mae.value - 2) < 0.01);
 * ```
 *
 * @see NannyML 0.13, `performance_estimation.direct_loss_estimation`
 */
export function fitRegressorEstimator(
  { X, predicted, y }: KnownValues,
  { chunks = defaultChunks, ...options }: BoostedTreeOptions & { readonly chunks?: number } = {},
): RegressorEstimator {
  if (y.length !== X.rows) {
    throw new TypeError(`Cannot estimate errors: ${X.rows} rows for ${y.length} true values`);
  }
  const inputs = joinPrediction(X, predicted);
  const d = X.cols;
  const absolute = y.map((truth, i) => Math.abs(truth - predicted[i]));
  const bad = absolute.findIndex((error) => !Number.isFinite(error));
  if (bad >= 0) {
    throw new RangeError(`Cannot read row "${bad}": its prediction or its truth is not finite`);
  }
  const squared = absolute.map((error) => error * error);
  const ranges = cutChunks(y.length, chunks);
  const meansOf = (errors: Float64Array) =>
    ranges.map(([start, end]) => meanOf(errors.subarray(start, end)));
  const models = {
    absolute: fitBoostedTrees(inputs, absolute, { ...trees, ...options }),
    squared: fitBoostedTrees(inputs, squared, { ...trees, ...options }),
  };
  const thresholds = {
    mae: thresholdOf(meansOf(absolute), positive),
    mse: thresholdOf(meansOf(squared), positive),
    rmse: thresholdOf(meansOf(squared).map(Math.sqrt), positive),
  };
  const spread = { absolute: deviationOf(absolute), squared: deviationOf(squared) };
  const meanSquare = meanOf(squared);

  function expect(model: "absolute" | "squared", X: Matrix, predicted: Float64Array): Float64Array {
    if (X.cols !== d) {
      throw new TypeError(`Cannot estimate over ${X.cols} columns: the reference has ${d}`);
    }
    const errors = models[model].predict(joinPrediction(X, predicted));
    return errors.map((error) => Math.max(0, error));
  }
  return {
    expectErrors: (X, predicted) => expect("absolute", X, predicted),
    estimate(X, predicted) {
      const mae = expect("absolute", X, predicted);
      const mse = expect("squared", X, predicted);
      const rows = X.rows;
      if (rows === 0) return null;
      const root = Math.sqrt(rows);
      const band = (name: keyof typeof thresholds, value: number, error: number) =>
        withBand(value, error, { threshold: thresholds[name], range: positive });
      // The delta method: the root of a mean m moves by a half over the root of m.
      const rootError = meanSquare > 0 ? spread.squared / (2 * Math.sqrt(meanSquare) * root) : 0;
      return {
        rows,
        mae: band("mae", meanOf(mae), spread.absolute / root),
        mse: band("mse", meanOf(mse), spread.squared / root),
        rmse: band("rmse", Math.sqrt(meanOf(mse)), rootError),
      };
    },
  };
}

/** The features and, as the last column, the prediction. */
function joinPrediction(X: Matrix, predicted: Float64Array): Matrix {
  if (predicted.length !== X.rows) {
    throw new TypeError(
      `Cannot estimate errors: ${X.rows} rows for ${predicted.length} predictions`,
    );
  }
  const joined = matrix(X.rows, X.cols + 1);
  for (let i = 0; i < X.rows; i++) {
    joined.data.set(X.data.subarray(i * X.cols, (i + 1) * X.cols), i * joined.cols);
    joined.data[(i + 1) * joined.cols - 1] = predicted[i];
  }
  return joined;
}

function meanOf(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function deviationOf(values: Float64Array): number {
  const mean = meanOf(values);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
}
