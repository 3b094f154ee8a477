/** A regressor that needs no tuning: boosted trees of one split, a sum of steps in each feature. */
import type { Matrix } from "../matrix.ts";
import { computeQuantiles } from "../statistics.ts";

/** How {@linkcode fitStumps} learns. */
export interface StumpOptions {
  /** Number of splits; 100 when left out. */
  readonly rounds?: number;
  /** Share in `(0, 1]` of each step that is taken; 0.1 when left out. */
  readonly rate?: number;
  /** Bins of each feature, between which it can be split; 32 when left out. */
  readonly bins?: number;
  /** Fewest rows on a side of a split; 1 when left out. */
  readonly fewest?: number;
}

/** A fitted sum of steps. */
export interface Stumps {
  /** Gives a value for each row of `X` `[n, d]`. */
  predict(X: Matrix): Float64Array;
}

/** One split: what rows on each side add; a missing value adds what its rows did. */
interface Stump {
  readonly feature: number;
  readonly edge: number;
  readonly below: number;
  readonly above: number;
  readonly missing: number;
}

/**
 * Fits `y` `[n]` over `X` `[n, d]` by least squares: each round adds the single split that takes away
 * most of the squared error, times `rate`. Splits lie between the quantiles of a feature, or between its
 * values when it has no more than `bins`; then it equals scikit-learn's
 * `GradientBoostingRegressor(max_depth=1)`. A missing value (`NaN`) is a side of its own. The same data
 * give the same fit. Time is rounds × features × rows.
 *
 * @throws {TypeError} when `X` and `y` have different numbers of rows.
 * @throws {RangeError} when there are no rows, a target is not finite or an option is out of its range.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { fitStumps } from "./stumps.ts";
 *
 * const X = matrix(4, 1, Float32Array.of(1, 2, 3, 4));
 * const model = fitStumps(X, Float64Array.of(0, 0, 8, 8));
 * assertAlmostEquals(model.predict(matrix(1, 1, Float32Array.of(9)))[0], 8, 1e-3);
 * ```
 *
 * @see Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics
 * 29(5), 2001, algorithm 2
 */
export function fitStumps(
  X: Matrix,
  y: Float64Array,
  { rounds = 100, rate = 0.1, bins = 32, fewest = 1 }: StumpOptions = {},
): Stumps {
  for (
    const [name, value, least] of [["rounds", rounds, 0], ["bins", bins, 2], [
      "fewest",
      fewest,
      1,
    ]] as const
  ) {
    if (!Number.isInteger(value) || value < least) {
      throw new RangeError(
        `Cannot fit stumps with ${name} "${value}": it is not an integer ≥ ${least}`,
      );
    }
  }
  if (!(rate > 0 && rate <= 1)) {
    throw new RangeError(`Cannot fit stumps with rate "${rate}": it is not in (0, 1]`);
  }
  if (X.rows !== y.length) {
    throw new TypeError(`Cannot fit stumps: ${X.rows} rows for ${y.length} targets`);
  }
  if (y.length === 0) throw new RangeError("Cannot fit stumps: there are no rows");
  const bad = y.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new RangeError(`Cannot fit stumps: target ${bad} is "${y[bad]}"`);

  const start = y.reduce((sum, value) => sum + value, 0) / y.length;
  const residual = y.map((value) => value - start);
  const columns = Array.from({ length: X.cols }, (_, j) => binColumn(X, j, bins));
  const stumps: Stump[] = [];
  for (let round = 0; round < rounds; round++) {
    const best = findSplit(columns, residual, fewest);
    if (!best) break;
    const { feature, bin, below, above, missing } = best;
    const { codes, edges } = columns[feature];
    for (let i = 0; i < residual.length; i++) {
      const step = codes[i] < 0 ? missing : codes[i] <= bin ? below : above;
      residual[i] -= rate * step;
    }
    stumps.push({
      feature,
      edge: edges[bin],
      below: rate * below,
      above: rate * above,
      missing: rate * missing,
    });
  }
  return {
    predict(X) {
      return Float64Array.from({ length: X.rows }, (_, i) => {
        let value = start;
        for (const { feature, edge, below, above, missing } of stumps) {
          const x = X.data[i * X.cols + feature];
          value += Number.isNaN(x) ? missing : x <= edge ? below : above;
        }
        return value;
      });
    },
  };
}

/** A feature as bin numbers; -1 is missing. */
interface Binned {
  readonly codes: Int16Array;
  /** Upper edges of all bins but the last, ascending. */
  readonly edges: Float64Array;
}

function binColumn(X: Matrix, j: number, bins: number): Binned {
  const values = Float64Array.from({ length: X.rows }, (_, i) => X.data[i * X.cols + j]);
  const edges = edgesOf(values, bins);
  const codes = Int16Array.from(values, (value) => {
    if (Number.isNaN(value)) return -1;
    let low = 0;
    let high = edges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (value <= edges[middle]) high = middle;
      else low = middle + 1;
    }
    return low;
  });
  return { codes, edges };
}

function edgesOf(values: Float64Array, bins: number): Float64Array {
  const distinct = new Set<number>();
  for (const value of values) {
    if (!Number.isNaN(value)) distinct.add(value);
    if (distinct.size > bins) break;
  }
  if (distinct.size <= bins) {
    const sorted = Float64Array.from(distinct).sort();
    return sorted.subarray(1).map((value, i) => (value + sorted[i]) / 2);
  }
  const shares = Array.from({ length: bins - 1 }, (_, bin) => (bin + 1) / bins);
  return Float64Array.from(new Set(computeQuantiles(values, shares)!));
}

/** A split in terms of bins. */
interface Split {
  readonly feature: number;
  readonly bin: number;
  readonly below: number;
  readonly above: number;
  readonly missing: number;
}

/** The split that takes away most of the squared error; `null` when none takes any. */
function findSplit(
  columns: readonly Binned[],
  residual: Float64Array,
  fewest: number,
): Split | null {
  let best: Split | null = null;
  let largest = 1e-14 * residual.reduce((sum, r) => sum + r * r, 0);
  columns.forEach(({ codes, edges }, feature) => {
    const sums = new Float64Array(edges.length + 1);
    const counts = new Float64Array(edges.length + 1);
    let missingSum = 0;
    let missingCount = 0;
    for (let i = 0; i < codes.length; i++) {
      if (codes[i] < 0) {
        missingSum += residual[i];
        missingCount++;
      } else {
        sums[codes[i]] += residual[i];
        counts[codes[i]]++;
      }
    }
    const total = sums.reduce((a, b) => a + b, 0);
    const count = counts.reduce((a, b) => a + b, 0);
    let sum = 0;
    let n = 0;
    for (let bin = 0; bin < edges.length; bin++) {
      sum += sums[bin];
      n += counts[bin];
      if (n < fewest || count - n < fewest) continue;
      const rest = total - sum;
      const gain = sum * sum / n + rest * rest / (count - n) +
        (missingCount > 0 ? missingSum * missingSum / missingCount : 0);
      if (gain > largest * (1 + 1e-12)) {
        largest = gain;
        const missing = missingCount > 0 ? missingSum / missingCount : 0;
        best = { feature, bin, below: sum / n, above: rest / (count - n), missing };
      }
    }
  });
  return best;
}
