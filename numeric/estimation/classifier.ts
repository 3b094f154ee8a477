/** How well a classifier does on rows whose truth is not known (CBPE). */
import type { Matrix } from "../matrix.ts";
import {
  cutChunks,
  defaultChunks,
  type Estimate,
  type Limits,
  thresholdOf,
  withBand,
} from "./bands.ts";
import { needsCalibration } from "./calibration.ts";
import { fitIsotonic, type Isotonic } from "./isotonic.ts";
import { fitSamplingErrors } from "./sampling_error.ts";
import { expectConfusion, measureSoft, type MetricName, metricNames } from "./soft_metrics.ts";

/** Predictions whose truth is known. */
export interface KnownPredictions {
  /** Class probabilities `[n, k]`, in the order of time. */
  readonly P: Matrix;
  /** True classes `[n]`, in `0 … k-1`. */
  readonly y: Int32Array;
  /** Predicted classes `[n]`; those of the largest probability when left out. */
  readonly predicted?: Int32Array;
}

/** How {@linkcode fitClassifierEstimator} learns. */
export interface ClassifierEstimatorOptions {
  /** Chunks of the reference that give the thresholds; 10 when left out. */
  readonly chunks?: number;
  /** Whether to calibrate; {@linkcode needsCalibration} decides per class when left out. */
  readonly calibrate?: boolean;
  /** 0 when left out. */
  readonly seed?: number;
}

/** What is expected of rows without truth. */
export interface ClassifierEstimate extends Readonly<Record<MetricName, Estimate | null>> {
  readonly rows: number;
  /** Expected rows of each true class (row) and predicted class (column), `[k][k]`. */
  readonly confusion: readonly (readonly number[])[];
  /** Standard error of each expected count, `[k][k]`. */
  readonly confusionErrors: readonly (readonly number[])[];
}

/** What a reference taught. */
export interface ClassifierEstimator {
  /** Whether the scores of each class are calibrated `[k]`. */
  readonly isCalibrated: readonly boolean[];
  /** Threshold of each metric. */
  readonly thresholds: Readonly<Record<MetricName, Limits>>;
  /**
   * Gives the calibrated probabilities `[n, k]`, row-major, of `P` `[n, k]`.
   * @throws {TypeError} when `P` has another number of classes.
   */
  calibrate(P: Matrix): Float64Array;
  /**
   * Estimates the metrics of predictions, `null` for no rows.
   * @throws {TypeError} when `P` has another number of classes, or `predicted` another length.
   * @throws {RangeError} when a probability is `NaN`.
   */
  estimate(P: Matrix, predicted?: Int32Array): ClassifierEstimate | null;
}

const unit: Limits = { low: 0, high: 1 };

/**
 * Learns from predictions with known truth to estimate the metrics of predictions without: a calibrated
 * probability is the chance to be right, so the expected confusion matrix is a sum of probabilities
 * (confidence-based performance estimation). Metrics are of class 1 for two classes and the mean over
 * classes (macro) for more; the area under the ROC curve is one class against the rest.
 *
 * It holds as long as the probability of a class for given features stays what it was (covariate shift).
 * It cannot see that relation itself change (concept drift): only labels can.
 *
 * Equals NannyML 0.13 in values, bands and thresholds where its chunks are equal and its random splits
 * come to the same decision on calibration.
 *
 * @throws {TypeError} when lengths disagree.
 * @throws {RangeError} when there are fewer than two classes, a probability is `NaN`, a class is
 * unknown, or there are fewer rows than chunks.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { Random } from "../random.ts";
 * import { fitClassifierEstimator } from "./classifier.ts";
 *
 * const random = new Random(1);
 * const P = matrix(1000, 2);
 * for (let i = 0; i < 1000; i++) P.data.set([1 - (P.data[2 * i + 1] = random.uniform())], 2 * i);
 * const y = Int32Array.from({ length: 1000 }, (_, i) => random.uniform() < P.data[2 * i + 1] ? 1 : 0);
 *
 * const estimator = fitClassifierEstimator({ P, y }, { calibrate: false });
 * const { accuracy } = estimator.estimate(matrix(2, 2, Float32Array.of(0.1, 0.9, 0.8, 0.2)))!;
 * assert(Math.abs(accuracy!.value - 0.85) < 1e-6);
 * ```
 *
 * @see Białek et al., "Estimating Model Performance Under Covariate Shift Without Labels", 2024
 */
export function fitClassifierEstimator(
  reference: KnownPredictions,
  { chunks = defaultChunks, calibrate, seed = 0 }: ClassifierEstimatorOptions = {},
): ClassifierEstimator {
  const { P, y } = reference;
  const k = P.cols;
  if (k < 2) throw new RangeError(`Cannot estimate performance over "${k}" classes: it takes two`);
  if (y.length !== P.rows) {
    throw new TypeError(`Cannot estimate performance: ${P.rows} predictions for ${y.length} rows`);
  }
  const predicted = checkPredictions(P, k, reference.predicted);
  const truth = new Float64Array(P.rows * k);
  for (let i = 0; i < P.rows; i++) {
    if (!(y[i] >= 0 && y[i] < k)) {
      throw new RangeError(`Cannot read row "${i}": class ${y[i]} is not in 0 … ${k - 1}`);
    }
    truth[i * k + y[i]] = 1;
  }
  const ranges = cutChunks(P.rows, chunks);
  const fits = fitCalibrators(P, truth, { calibrate, seed });
  const errorOf = fitSamplingErrors({ k, scores: P.data, predicted, y });
  const realized = ranges.map(([start, end]) =>
    measureSoft({
      k,
      scores: P.data.subarray(start * k, end * k),
      predicted: predicted.subarray(start, end),
      truth: truth.subarray(start * k, end * k),
    })
  );
  const thresholds = Object.fromEntries(
    metricNames.map((name) => [name, thresholdOf(realized.map((chunk) => chunk[name]), unit)]),
  ) as Record<MetricName, Limits>;
  const cells = expectConfusion({ k, scores: P.data, predicted, truth })
    .map((count) => count / P.rows);

  return {
    // Of two classes, the first's probability is the rest of the second's.
    isCalibrated: fits.map((fit, c) => (k === 2 && c === 0 ? fits[1] : fit) !== null),
    thresholds,
    calibrate(P) {
      checkClasses(P, k);
      return applyCalibrators(P, fits);
    },
    estimate(P, given) {
      const predicted = checkPredictions(P, k, given);
      if (P.rows === 0) return null;
      const rows = { k, scores: P.data, predicted, truth: applyCalibrators(P, fits) };
      const metrics = measureSoft(rows);
      const confusion = expectConfusion(rows);
      const toRows = (values: Float64Array) =>
        Array.from({ length: k }, (_, c) => [...values.subarray(c * k, (c + 1) * k)]);
      const estimates = Object.fromEntries(metricNames.map((name) => {
        const value = metrics[name];
        if (value === null) return [name, null];
        const threshold = thresholds[name];
        return [name, withBand(value, errorOf(name, P.rows), { threshold, range: unit })];
      })) as Record<MetricName, Estimate | null>;
      return {
        rows: P.rows,
        ...estimates,
        confusion: toRows(confusion),
        confusionErrors: toRows(cells.map((share) => Math.sqrt(share * (1 - share) * P.rows))),
      };
    },
  };
}

function checkClasses(P: Matrix, k: number): void {
  if (P.cols !== k) {
    throw new TypeError(`Cannot estimate over ${P.cols} classes: the reference has ${k}`);
  }
}

/** The predicted classes, after a look at the probabilities. */
function checkPredictions(P: Matrix, k: number, given?: Int32Array): Int32Array {
  checkClasses(P, k);
  if (given && given.length !== P.rows) {
    throw new TypeError(`Cannot estimate: ${P.rows} probabilities for ${given.length} predictions`);
  }
  const predicted = new Int32Array(P.rows);
  for (let i = 0; i < P.rows; i++) {
    let best = 0;
    for (let c = 0; c < k; c++) {
      const probability = P.data[i * k + c];
      if (Number.isNaN(probability)) {
        throw new RangeError(`Cannot read row "${i}": a probability is NaN`);
      }
      if (probability > P.data[i * k + best]) best = c;
    }
    if (given && !(given[i] >= 0 && given[i] < k)) {
      throw new RangeError(`Cannot read row "${i}": class ${given[i]} is not in 0 … ${k - 1}`);
    }
    predicted[i] = given ? given[i] : best;
  }
  return predicted;
}

/** One calibrator per class, `null` where the scores stand as they are; of two classes, the second's. */
function fitCalibrators(
  P: Matrix,
  truth: Float64Array,
  { calibrate, seed }: { calibrate: boolean | undefined; seed: number },
): (Isotonic | null)[] {
  const k = P.cols;
  const column = (values: ArrayLike<number>, c: number) =>
    Float64Array.from({ length: P.rows }, (_, i) => values[i * k + c]);
  return Array.from({ length: k }, (_, c) => {
    if (k === 2 && c === 0) return null;
    const [scores, ones] = [column(P.data, c), column(truth, c)];
    const isNeeded = calibrate ?? needsCalibration(scores, ones, { seed });
    return isNeeded ? fitIsotonic(scores, ones) : null;
  });
}

function applyCalibrators(P: Matrix, fits: readonly (Isotonic | null)[]): Float64Array {
  const k = P.cols;
  const calibrated = Float64Array.from(P.data);
  for (let start = 0; start < calibrated.length; start += k) {
    let sum = 0;
    for (let c = 0; c < k; c++) {
      const fit = fits[c];
      if (fit) calibrated[start + c] = fit.at(calibrated[start + c]);
      sum += calibrated[start + c];
    }
    if (k === 2) calibrated[start] = 1 - calibrated[start + 1];
    else {for (let c = 0; c < k; c++) {
        calibrated[start + c] = sum > 0 ? calibrated[start + c] / sum : 1 / k;
      }}
  }
  return calibrated;
}
