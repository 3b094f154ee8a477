/** Drift of the relations between columns: how badly the reference's main components describe rows. */
import {
  cutChunks,
  type Estimate,
  type Limits,
  thresholdOf,
  withBand,
} from "../estimation/bands.ts";
import type { Matrix } from "../matrix.ts";
import { solveSymmetric } from "../preprocess.ts";

/** How {@linkcode fitReconstruction} learns. */
export interface ReconstructionOptions {
  /** Share in `(0, 1)` of the variance that the components are to describe; 0.65 when left out. */
  readonly share?: number;
  /** Chunks of the reference that give the threshold; 10 when left out. */
  readonly chunks?: number;
}

/** What a reference taught. */
export interface Reconstruction {
  /** Number of components. */
  readonly components: number;
  /** Mean ± three standard deviations of the errors of the reference's chunks. */
  readonly threshold: Limits;
  /**
   * Gives the mean reconstruction error ≥ 0 of rows, in standard deviations of the reference's columns,
   * with its band of three standard errors; an alert is a value outside the threshold: rows can be too
   * easy, too. `null` for no rows.
   * @throws {TypeError} when `X` has another number of columns.
   */
  measure(X: Matrix): Estimate | null;
}

const positive: Limits = { low: 0, high: null };

/**
 * Learns how columns go together: standardizes `X` `[n, d]`, rows in the order of time, takes as few
 * principal components as describe more than `share` of the variance, and measures how far rows lie from
 * their projection. Rows whose columns go together in another way lie farther, even where no single
 * column drifts. A missing value is the column's mean. Equals NannyML's
 * `DataReconstructionDriftCalculator` on columns without missing values and chunks of equal size.
 *
 * @throws {RangeError} when `share` is not in `(0, 1)`, a value is infinite, there are fewer rows than
 * chunks or no column that varies.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { fitReconstruction } from "./reconstruction.ts";
 *
 * // Two columns that are nearly equal.
 * const X = matrix(100, 2);
 * for (let i = 0; i < 100; i++) X.data.set([i, i + (i % 3)], 2 * i);
 * const reconstruction = fitReconstruction(X);
 * assert(!reconstruction.measure(X)!.isAlert);
 * assert(reconstruction.measure(matrix(1, 2, Float32Array.of(10, 90)))!.isAlert);
 * ```
 *
 * @see NannyML 0.13, `drift.multivariate.data_reconstruction`
 */
export function fitReconstruction(
  X: Matrix,
  { share = 0.65, chunks }: ReconstructionOptions = {},
): Reconstruction {
  if (!(share > 0 && share < 1)) {
    throw new RangeError(
      `Cannot describe a share of "${share}" of the variance: it is not in (0, 1)`,
    );
  }
  const ranges = cutChunks(X.rows, chunks);
  const scaling = fitScaling(X);
  const components = findComponents(standardize(X, scaling), X.cols, share);
  const errorsOf = (X: Matrix) => measureRows(standardize(X, scaling), X.cols, components);
  const own = errorsOf(X);
  const threshold = thresholdOf(
    ranges.map(([start, end]) => momentsOf(own.subarray(start, end)).mean),
    positive,
  );
  return {
    components: components.length,
    threshold: { low: threshold.low === 0 ? null : threshold.low, high: threshold.high },
    measure(X) {
      if (X.cols !== scaling.means.length) {
        throw new TypeError(
          `Cannot reconstruct ${X.cols} columns: the reference has ${scaling.means.length}`,
        );
      }
      if (X.rows === 0) return null;
      const { mean, error } = momentsOf(errorsOf(X));
      return withBand(mean, error, { threshold, range: positive });
    },
  };
}

/** Mean and population deviation of each column; deviation 0 marks a constant. */
interface Scaling {
  readonly means: Float64Array;
  readonly scales: Float64Array;
}

function fitScaling({ data, rows, cols }: Matrix): Scaling {
  const means = new Float64Array(cols);
  const scales = new Float64Array(cols);
  for (let j = 0; j < cols; j++) {
    let count = 0;
    for (let i = 0; i < rows; i++) {
      const value = data[i * cols + j];
      if (Number.isNaN(value)) continue;
      if (!Number.isFinite(value)) {
        throw new RangeError(`Cannot reconstruct column "${j}": row ${i} is infinite`);
      }
      means[j] += (value - means[j]) / ++count;
    }
    for (let i = 0; i < rows; i++) {
      const value = data[i * cols + j];
      // Imputed values count in the deviation, as when the table was imputed first.
      if (!Number.isNaN(value)) scales[j] += (value - means[j]) ** 2 / rows;
    }
    scales[j] = Math.sqrt(scales[j]);
  }
  return { means, scales };
}

/** `[n, d]`, row-major. A constant column keeps its unit, so that leaving the constant shows. */
function standardize({ data, cols }: Matrix, { means, scales }: Scaling): Float64Array {
  return Float64Array.from(data, (value, i) => {
    const j = i % cols;
    return Number.isNaN(value) ? 0 : (value - means[j]) / (scales[j] || 1);
  });
}

/** The fewest components whose variances sum to more than a share of all. */
function findComponents(Z: Float64Array, d: number, share: number): Float64Array[] {
  const covariance = new Float64Array(d * d);
  for (let start = 0; start < Z.length; start += d) {
    for (let a = 0; a < d; a++) {
      for (let b = a; b < d; b++) covariance[a * d + b] += Z[start + a] * Z[start + b];
    }
  }
  for (let a = 0; a < d; a++) {
    for (let b = 0; b < a; b++) covariance[a * d + b] = covariance[b * d + a];
  }
  const { values, vectors } = solveSymmetric(covariance, d);
  const total = values.reduce((sum, value) => sum + value, 0);
  if (!(total > 0)) throw new RangeError(`Cannot reconstruct ${d} columns: none of them varies`);
  const order = [...values.keys()].sort((a, b) => values[b] - values[a]);
  let described = 0;
  const count = 1 + order.findIndex((which) => (described += values[which]) > share * total);
  return order.slice(0, count).map((which) => vectors[which]);
}

/** Distance of each row from its projection. */
function measureRows(
  Z: Float64Array,
  d: number,
  components: readonly Float64Array[],
): Float64Array {
  const rest = new Float64Array(d);
  return Float64Array.from({ length: Z.length / d }, (_, i) => {
    rest.set(Z.subarray(i * d, (i + 1) * d));
    for (const component of components) {
      let along = 0;
      for (let j = 0; j < d; j++) along += Z[i * d + j] * component[j];
      for (let j = 0; j < d; j++) rest[j] -= along * component[j];
    }
    return Math.sqrt(rest.reduce((sum, r) => sum + r * r, 0));
  });
}

/** Mean and its standard error (divisor n - 1; 0 for one row). */
function momentsOf(values: Float64Array): { mean: number; error: number } {
  const n = values.length;
  const mean = values.reduce((a, b) => a + b, 0) / n;
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, error: n > 1 ? Math.sqrt(squares / (n - 1) / n) : 0 };
}
