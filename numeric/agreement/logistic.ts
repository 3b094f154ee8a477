/** Logistic regression with a ridge, for few columns: fitted whole, by Newton's method. */
import { multiply, solveSymmetric } from "./newton.ts";

/** A fitted regression. */
export interface Logistic {
  readonly intercept: number;
  /** Weight of each column `[d]`. */
  readonly weights: readonly number[];
}

/** Rows to fit. */
export interface LogisticRows {
  /** Columns of each row, `[n][d]`, finite. */
  readonly x: readonly (readonly number[])[];
  /** Probability of 1 of each row `[n]`, in `[0, 1]`. */
  readonly y: ArrayLike<number>;
}

/** Most steps, and the size of a step that ends them. */
const steps = 100;
const tolerance = 1e-10;

/**
 * Fits `P(1) = 1 / (1 + exp(-(intercept + weights · x)))` by maximum likelihood, less
 * `ridge / 2 · Σ weights²`; the intercept pays nothing. Equals scikit-learn's `LogisticRegression` of
 * `C = 1 / ridge`. With `ridge` 0 separable rows have no maximum; the default keeps them finite.
 *
 * @throws {TypeError} when the lengths differ or rows have different numbers of columns.
 * @throws {RangeError} without rows, when a value is not finite, a probability is not in `[0, 1]` or the ridge is negative.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { fitLogistic, predictLogistic } from "./logistic.ts";
 *
 * const fit = fitLogistic({ x: [[-2], [-1], [1], [2]], y: [0, 0, 1, 1] });
 * assert(Math.abs(predictLogistic(fit, [0]) - 0.5) < 1e-9);
 * assert(predictLogistic(fit, [2]) > 0.8);
 * ```
 *
 * @see Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd edition, section 4.4.1
 */
export function fitLogistic({ x, y }: LogisticRows, ridge = 1): Logistic {
  const d = checkRows({ x, y });
  if (!(ridge >= 0)) throw new RangeError(`Cannot fit with a ridge of ${ridge}: it is negative`);
  // Column 0 is the constant.
  const rows = x.map((row) => [1, ...row]);
  let beta = new Float64Array(d + 1);
  let loss = measureLoss(rows, y, { beta, ridge });
  for (let step = 0; step < steps; step++) {
    const gradient = new Float64Array(d + 1);
    const hessian = Array.from({ length: d + 1 }, () => new Float64Array(d + 1));
    rows.forEach((row, i) => {
      const p = sigmoid(multiply(row, beta));
      const weight = p * (1 - p);
      for (let j = 0; j <= d; j++) {
        gradient[j] += (p - y[i]) * row[j];
        for (let k = 0; k <= d; k++) hessian[j][k] += weight * row[j] * row[k];
      }
    });
    for (let j = 0; j <= d; j++) {
      if (j > 0) gradient[j] += ridge * beta[j];
      // A trace of a ridge on the diagonal: the matrix of a saturated fit is singular.
      hessian[j][j] += (j > 0 ? ridge : 0) + 1e-12;
    }
    const move = solveSymmetric(hessian, gradient);
    let scale = 1;
    let next = beta;
    let nextLoss = Infinity;
    for (; scale > 1e-10; scale /= 2) {
      next = beta.map((value, j) => value - scale * move[j]);
      nextLoss = measureLoss(rows, y, { beta: next, ridge });
      if (nextLoss <= loss) break;
    }
    if (!(nextLoss <= loss)) break;
    beta = next;
    loss = nextLoss;
    if (Math.max(...move.map(Math.abs)) * scale < tolerance) break;
  }
  const [intercept, ...weights] = beta;
  return { intercept, weights };
}

/** Gives the probability of 1 of one row. */
export function predictLogistic({ intercept, weights }: Logistic, x: readonly number[]): number {
  return sigmoid(intercept + multiply(x, weights));
}

/** Gives `1 / (1 + exp(-x))`. */
export function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

function measureLoss(
  rows: readonly (readonly number[])[],
  y: ArrayLike<number>,
  { beta, ridge }: { readonly beta: Float64Array; readonly ridge: number },
): number {
  let loss = 0;
  for (let j = 1; j < beta.length; j++) loss += ridge / 2 * beta[j] ** 2;
  rows.forEach((row, i) => {
    const margin = multiply(row, beta);
    loss += Math.max(margin, 0) + Math.log1p(Math.exp(-Math.abs(margin))) - y[i] * margin;
  });
  return loss;
}

function checkRows({ x, y }: LogisticRows): number {
  if (x.length !== y.length) {
    throw new TypeError(`Cannot fit a regression: ${x.length} rows for ${y.length} outcomes`);
  }
  if (x.length === 0) throw new RangeError("Cannot fit a regression: there are no rows");
  const d = x[0].length;
  x.forEach((row, i) => {
    if (row.length !== d) {
      throw new TypeError(`Cannot fit a regression: row ${i} has ${row.length} columns, not ${d}`);
    }
    if (!row.every(Number.isFinite) || !(y[i] >= 0 && y[i] <= 1)) {
      throw new RangeError(`Cannot fit a regression: row ${i} is not finite, or not in [0, 1]`);
    }
  });
  return d;
}
