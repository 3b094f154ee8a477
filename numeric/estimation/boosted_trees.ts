/** A regressor that needs no tuning: boosted trees over the bins of each feature. */
import type { Matrix } from "../matrix.ts";
import { computeQuantiles } from "../statistics.ts";
import { lowerBound } from "../sorting.ts";

/** How {@linkcode fitBoostedTrees} learns. */
export interface BoostedTreeOptions {
  /** Number of trees; 100 when left out. */
  readonly rounds?: number;
  /** Share in `(0, 1]` of each tree's step that is taken; 0.1 when left out. */
  readonly rate?: number;
  /** Bins of each feature, between which it can be split; 32 when left out. */
  readonly bins?: number;
  /** Fewest rows on a side of a split; 1 when left out. */
  readonly fewest?: number;
  /** Most leaves of a tree, missing values' own not counted; 2 when left out, trees of one split. */
  readonly leaves?: number;
}

/** A fitted sum of trees. */
export interface BoostedTrees {
  /** Gives a value for each row of `X` `[n, d]`. */
  predict(X: Matrix): Float64Array;
}

/** A leaf, or where its rows go on; a missing value that was never seen goes where nothing is known. */
interface Node {
  readonly value: number;
  next: {
    readonly feature: number;
    readonly edge: number;
    readonly below: Node;
    readonly above: Node;
    readonly missing: Node;
  } | null;
}

/**
 * Fits `y` `[n]` over `X` `[n, d]` by least squares: each round adds a tree, grown by the split that takes
 * away most of the squared error until it has its leaves, times `rate`. Trees of two leaves are steps in
 * single features; more leaves see features that matter together. Splits lie between the quantiles of a
 * feature, or between its values when it has no more than `bins`; then it equals scikit-learn's
 * `GradientBoostingRegressor`: `max_depth=1` for two leaves, `max_leaf_nodes` for more. A missing value
 * (`NaN`) is a side of its own. The same data give the same fit. Time is rounds × features × rows × depth.
 *
 * @throws {TypeError} when `X` and `y` have different numbers of rows.
 * @throws {RangeError} when there are no rows, a target is not finite or an option is out of its range.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { fitBoostedTrees } from "./boosted_trees.ts";
 *
 * const X = matrix(4, 1, Float32Array.of(1, 2, 3, 4));
 * const model = fitBoostedTrees(X, Float64Array.of(0, 0, 8, 8));
 * assertAlmostEquals(model.predict(matrix(1, 1, Float32Array.of(9)))[0], 8, 1e-3);
 * ```
 *
 * @see Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics
 * 29(5), 2001, algorithm 3
 */
export function fitBoostedTrees(
  X: Matrix,
  y: Float64Array,
  options?: BoostedTreeOptions,
): BoostedTrees {
  const steps = growBoostedTrees(X, y, options);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The same, one tree at each step, for whoever has something else to do in between. */
export function* growBoostedTrees(
  X: Matrix,
  y: Float64Array,
  { rounds = 100, rate = 0.1, bins = 32, fewest = 1, leaves = 2 }: BoostedTreeOptions = {},
): Generator<void, BoostedTrees> {
  checkOptions({ rounds, rate, bins, fewest, leaves });
  if (X.rows !== y.length) {
    throw new TypeError(`Cannot fit trees: ${X.rows} rows for ${y.length} targets`);
  }
  if (y.length === 0) throw new RangeError("Cannot fit trees: there are no rows");
  const bad = y.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new RangeError(`Cannot fit trees: target ${bad} is "${y[bad]}"`);

  const start = y.reduce((sum, value) => sum + value, 0) / y.length;
  const residual = y.map((value) => value - start);
  const columns = Array.from({ length: X.cols }, (_, j) => binColumn(X, j, bins));
  const trees: Node[] = [];
  for (let round = 0; round < rounds; round++) {
    const { root, ends } = growTree(columns, residual, { leaves, fewest, rate });
    if (root.next === null) break;
    for (const { node, rows } of ends) {
      for (const i of rows) residual[i] -= node.value;
    }
    trees.push(root);
    yield;
  }
  return {
    predict(X) {
      return Float64Array.from({ length: X.rows }, (_, i) => {
        let value = start;
        for (let node of trees) {
          while (node.next !== null) {
            const { feature, edge, below, above, missing } = node.next;
            const x = X.data[i * X.cols + feature];
            node = Number.isNaN(x) ? missing : x <= edge ? below : above;
          }
          value += node.value;
        }
        return value;
      });
    },
  };
}

function checkOptions({ rate, ...counts }: Required<BoostedTreeOptions>): void {
  const least = { rounds: 0, bins: 2, fewest: 1, leaves: 2 };
  for (const name of Object.keys(least) as (keyof typeof least)[]) {
    const value = counts[name];
    if (!Number.isInteger(value) || value < least[name]) {
      throw new RangeError(
        `Cannot fit trees with ${name} "${value}": it is not an integer ≥ ${least[name]}`,
      );
    }
  }
  if (!(rate > 0 && rate <= 1)) {
    throw new RangeError(`Cannot fit trees with rate "${rate}": it is not in (0, 1]`);
  }
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
  const codes = Int16Array.from(
    values,
    (value) => Number.isNaN(value) ? -1 : lowerBound(edges, value),
  );
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

/** A leaf while its tree grows. */
interface Leaf {
  readonly node: Node;
  readonly rows: Int32Array;
  readonly split: Split | null;
}

/** Grows a tree, at each step by the split that takes away most; gives its leaves with their rows. */
function growTree(
  columns: readonly Binned[],
  residual: Float64Array,
  { leaves, fewest, rate }: Required<Pick<BoostedTreeOptions, "leaves" | "fewest" | "rate">>,
): { readonly root: Node; readonly ends: readonly Leaf[] } {
  const least = 1e-14 * residual.reduce((sum, r) => sum + r * r, 0);
  const open = (rows: Int32Array, isLast: boolean): Leaf => {
    const mean = rows.reduce((sum, i) => sum + residual[i], 0) / rows.length;
    const split = isLast ? null : findSplit(columns, residual, { rows, fewest, least });
    return { node: { value: rate * mean, next: null }, rows, split };
  };
  const first = open(Int32Array.from(residual.keys()), false);
  const ends = [first];
  for (let count = 2; count <= leaves; count++) {
    const best = ends.reduce((a, b) => (b.split?.gain ?? 0) > (a.split?.gain ?? 0) ? b : a);
    if (best.split === null) break;
    const { feature, bin } = best.split;
    const { codes, edges } = columns[feature];
    const isLast = count === leaves;
    const [below, above] = [
      best.rows.filter((i) => codes[i] >= 0 && codes[i] <= bin),
      best.rows.filter((i) => codes[i] > bin),
    ].map((rows) => open(rows, isLast));
    const lost = best.rows.filter((i) => codes[i] < 0);
    const missing = lost.length > 0 ? open(lost, isLast) : null;
    best.node.next = {
      feature,
      edge: edges[bin],
      below: below.node,
      above: above.node,
      missing: missing?.node ?? { value: best.node.value, next: null },
    };
    ends.splice(ends.indexOf(best), 1, below, above, ...(missing ? [missing] : []));
  }
  return { root: first.node, ends };
}

/** A split in terms of bins, with the squared error that it takes away. */
interface Split {
  readonly feature: number;
  readonly bin: number;
  readonly gain: number;
}

/** The split of rows that takes away most of the squared error; `null` when none takes any. */
function findSplit(
  columns: readonly Binned[],
  residual: Float64Array,
  { rows, fewest, least }: {
    readonly rows: Int32Array;
    readonly fewest: number;
    readonly least: number;
  },
): Split | null {
  let best: Split | null = null;
  let largest = least;
  const all = rows.reduce((sum, i) => sum + residual[i], 0);
  const before = all * all / rows.length;
  for (let feature = 0; feature < columns.length; feature++) {
    const { codes, edges } = columns[feature];
    const sums = new Float64Array(edges.length + 1);
    const counts = new Float64Array(edges.length + 1);
    let missingSum = 0;
    let missingCount = 0;
    for (let at = 0; at < rows.length; at++) {
      const i = rows[at];
      const code = codes[i];
      if (code < 0) {
        missingSum += residual[i];
        missingCount++;
      } else {
        sums[code] += residual[i];
        counts[code]++;
      }
    }
    const total = sums.reduce((a, b) => a + b, 0);
    const count = counts.reduce((a, b) => a + b, 0);
    const ofMissing = missingCount > 0 ? missingSum * missingSum / missingCount : 0;
    let sum = 0;
    let n = 0;
    for (let bin = 0; bin < edges.length; bin++) {
      sum += sums[bin];
      n += counts[bin];
      if (n < fewest || count - n < fewest) continue;
      const rest = total - sum;
      const gain = sum * sum / n + rest * rest / (count - n) + ofMissing - before;
      if (gain > largest * (1 + 1e-12)) {
        largest = gain;
        best = { feature, bin, gain };
      }
    }
  }
  return best;
}
