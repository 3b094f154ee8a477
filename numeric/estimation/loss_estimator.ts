/** How large the losses of a classifier are on rows whose truth is not known (DLE of a classifier). */
import { type Matrix, takeRows } from "../matrix.ts";
import {
  cutChunks,
  defaultChunks,
  type Estimate,
  type Limits,
  thresholdOf,
  withBand,
} from "./bands.ts";
import { fitLossModel, joinInputs, type LossModel, meanOf, varianceOf } from "./loss_model.ts";
import {
  checkProbabilities,
  type LossName,
  lossNames,
  lossRanges,
  measureLosses,
} from "./losses.ts";
import { fitSupport, type Support } from "./support.ts";

/** Predictions whose truth is known, by models that never saw the rows. */
export interface KnownOutcomes {
  /** Features `[n, d]`, in the order of time; `NaN` is missing. */
  readonly X: Matrix;
  /** Class probabilities `[n, k]`. */
  readonly P: Matrix;
  /** True classes `[n]`, in `0 … k-1`. */
  readonly y: Int32Array;
}

/** How {@linkcode fitLossEstimator} learns. */
export interface LossEstimatorOptions {
  /** Chunks of the reference that give thresholds and the band; 10 when left out. */
  readonly chunks?: number;
  /** Most rows that are learned from, taken evenly over the reference; 10,000 when left out. */
  readonly mostRows?: number;
  /** Largest share of rows outside of the support of which something is said; 0.2 when left out. */
  readonly mostOutside?: number;
  /** Is awaited before each tree; throws to give up. */
  readonly pause?: () => void | Promise<void>;
}

/** What is expected of rows without truth; `null` when too many of them lie outside of the support. */
export interface LossEstimate extends Readonly<Record<LossName, Estimate | null>> {
  readonly rows: number;
  /** Share in `[0, 1]` of the rows with a feature beyond what the reference has. */
  readonly outsideShare: number;
  /** Column of the feature that is beyond most often; `null` when none is. */
  readonly outsideFeature: number | null;
}

/** Rows with what is expected of each. */
export interface ExpectedRows {
  /**
   * Estimates the mean losses of the rows at `index`, or of all; `null` for no rows. `of` is how many
   * rows these are a random sample of, when they are.
   */
  estimate(index?: ArrayLike<number>, options?: { readonly of?: number }): LossEstimate | null;
}

/** What a reference taught. */
export interface LossEstimator {
  /** Rows that were learned from. */
  readonly rows: number;
  readonly mostOutside: number;
  /** Threshold of each loss. */
  readonly thresholds: Readonly<Record<LossName, Limits>>;
  /**
   * Expects losses of rows with features `X` `[n, d]` and probabilities `P` `[n, k]`.
   * @throws {TypeError} when `X` or `P` has another number of columns, or they differ in rows.
   * @throws {RangeError} when a probability is `NaN`.
   */
  expect(X: Matrix, P: Matrix): ExpectedRows;
}

/**
 * Learns from predictions with known truth how large the losses of a classifier are for given inputs
 * (direct loss estimation, with the loss of a class for an error): boosted trees of the log loss and of
 * the Brier score over the features, the probabilities, the confidence and their entropy. No use is made
 * of a probability being the chance to be right, so that regions where the model is wrong and sure of
 * itself are seen, if the reference has them.
 *
 * The band is three standard errors, the root of the sum of three variances, all of rows that their
 * model did not see: of the single losses, as it is for these inputs, over the number of rows; of the
 * learned mean, by leaving out a fifth of the reference in turn (jackknife); and of what differs from one
 * chunk of the reference to the next without the inputs saying so. Thresholds are three standard
 * deviations over the chunks.
 *
 * It holds as long as the loss for given inputs stays what it was (covariate shift), and within the
 * ranges of the features in the reference: of rows of which more than `mostOutside` lie beyond, nothing
 * is said. The same data give the same estimates.
 *
 * @throws {TypeError} when lengths disagree.
 * @throws {RangeError} when a class is unknown, a probability is `NaN`, or there are fewer rows than
 * chunks.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { fitLossEstimator } from "./loss_estimator.ts";
 *
 * // A model that is always 90 % sure of class 1, and always wrong where the feature is above 50.
 * const X = matrix(1000, 1, Float32Array.from({ length: 1000 }, (_, i) => i % 100));
 * const P = matrix(1000, 2, Float32Array.from({ length: 2000 }, (_, at) => at % 2 ? 0.9 : 0.1));
 * const y = Int32Array.from(X.data, (x) => x > 50 ? 0 : 1);
 * const estimator = await fitLossEstimator({ X, P, y });
 * const rows = estimator.expect(matrix(1, 1, Float32Array.of(80)), matrix(1, 2, P.data.slice(0, 2)));
 * const { logLoss } = rows.estimate()!;
 * assert(Math.abs(logLoss!.value - Math.log(10)) < 0.01);
 * ```
 *
 * @see NannyML 0.13, `performance_estimation.direct_loss_estimation`
 * @see Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982, section 2 (groups)
 */
export async function fitLossEstimator(
  reference: KnownOutcomes,
  { chunks = defaultChunks, mostRows = 10_000, mostOutside = 0.2, pause = () => {} }:
    LossEstimatorOptions = {},
): Promise<LossEstimator> {
  const [d, k] = [reference.X.cols, reference.P.cols];
  if (reference.X.rows !== reference.P.rows) {
    throw new TypeError(
      `Cannot estimate losses: ${reference.X.rows} rows for ${reference.P.rows} predictions`,
    );
  }
  const losses = measureLosses(reference.P, reference.y);
  const kept = thin(reference.X.rows, mostRows);
  const X = takeRows(reference.X, kept);
  const inputs = joinInputs(X, takeRows(reference.P, kept));
  const support = fitSupport(reference.X);
  const models = {} as Record<LossName, Learned>;
  for (const name of lossNames) {
    const every = losses[name];
    const threshold = thresholdOf(
      cutChunks(every.length, chunks).map(([start, end]) => meanOf(every.subarray(start, end))),
      lossRanges[name],
    );
    const learned = await fitLossModel(inputs, Float64Array.from(kept, (i) => every[i]), {
      chunks,
      pause,
    });
    models[name] = { ...learned, threshold };
  }
  return {
    rows: kept.length,
    mostOutside,
    thresholds: { logLoss: models.logLoss.threshold, brier: models.brier.threshold },
    expect(X, P) {
      if (X.cols !== d || P.cols !== k) {
        throw new TypeError(
          `Cannot estimate over ${X.cols} columns and ${P.cols} classes: the reference has ${d} and ${k}`,
        );
      }
      if (X.rows !== P.rows) {
        throw new TypeError(`Cannot estimate losses: ${X.rows} rows for ${P.rows} predictions`);
      }
      checkProbabilities(P);
      return expectRows({ X, P, models, support, mostOutside });
    },
  };
}

/** Counts the rows at `index` with a mark, and finds the column with most of the marks `[n, d]`. */
function countOutside(
  marks: Uint8Array,
  index: ArrayLike<number>,
  d: number,
): Pick<LossEstimate, "outsideShare" | "outsideFeature"> {
  const counts = new Float64Array(d);
  let rows = 0;
  for (let at = 0; at < index.length; at++) {
    let isOutside = 0;
    for (let j = 0; j < d; j++) {
      const mark = marks[index[at] * d + j];
      counts[j] += mark;
      isOutside |= mark;
    }
    rows += isOutside;
  }
  const most = counts.indexOf(Math.max(...counts));
  return { outsideShare: rows / index.length, outsideFeature: rows > 0 ? most : null };
}

/** A loss as it was learned, with its threshold. */
interface Learned extends LossModel {
  readonly threshold: Limits;
}

/** Indices of at most `most` of n rows, evenly over them. */
function thin(n: number, most: number): Int32Array {
  const count = Math.min(n, most);
  return Int32Array.from({ length: count }, (_, at) => Math.floor(at * n / count));
}

function expectRows({ X, P, models, support, mostOutside }: {
  readonly X: Matrix;
  readonly P: Matrix;
  readonly models: Readonly<Record<LossName, Learned>>;
  readonly support: Support;
  readonly mostOutside: number;
}): ExpectedRows {
  const inputs = joinInputs(X, P);
  const outside = support.findOutside(X);
  const expected = lossNames.map((name) => {
    const { mean, without, variance } = models[name];
    return {
      name,
      mean: mean.predict(inputs),
      without: without.map((model) => model.predict(inputs)),
      variance: variance.predict(inputs).map((value) => Math.max(0, value)),
    };
  });
  return {
    estimate(index = Array.from({ length: X.rows }, (_, i) => i), { of = index.length } = {}) {
      const rows = index.length;
      if (rows === 0) return null;
      const pick = (values: ArrayLike<number>) => Float64Array.from(index, (i) => values[i]);
      const { outsideShare, outsideFeature } = countOutside(outside, index, X.cols);
      const estimates = expected.map(({ name, mean, without, variance }) => {
        if (outsideShare > mostOutside) return [name, null];
        const values = pick(mean);
        const value = meanOf(values);
        const { betweenChunks, threshold } = models[name];
        const left = Float64Array.from(without, (each) => meanOf(pick(each)));
        const jackknife = (left.length - 1) * varianceOf(left);
        const notDrawn = varianceOf(values) * Math.max(0, 1 / rows - 1 / of);
        const error = Math.sqrt(
          meanOf(pick(variance)) / rows + notDrawn + jackknife + betweenChunks,
        );
        const range = lossRanges[name];
        const within = Math.min(range.high, Math.max(range.low, value));
        return [name, withBand(within, error, { threshold, range })];
      });
      return {
        rows,
        outsideShare,
        outsideFeature,
        ...Object.fromEntries(estimates),
      } as LossEstimate;
    },
  };
}
