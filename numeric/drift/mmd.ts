/** Maximum mean discrepancy: whether two samples of rows come from one distribution. */
import { Random } from "../random.ts";
import { computeQuantiles } from "../statistics.ts";

/** How {@linkcode testMeanDiscrepancy} draws. */
export interface DiscrepancyOptions {
  /** Values per row; rows lie one after the other. 1 when left out. */
  readonly columns?: number;
  /** Rows of each side that are used, drawn without replacement; 500 when left out. */
  readonly rows?: number;
  /** Number of permutations; 200 when left out. The p-value is at least `1 / (permutations + 1)`. */
  readonly permutations?: number;
  /** 0 when left out. */
  readonly seed?: number;
}

/** Outcome of {@linkcode testMeanDiscrepancy}. */
export interface Discrepancy {
  /** The unbiased estimate of MMD², at most 2; around 0, and as often below, when nothing differs. */
  readonly statistic: number;
  /** Permutation p-value in `(0, 1]`. */
  readonly pValue: number;
  /** Variance of the Gaussian kernel, half the median squared distance of the pooled rows. */
  readonly kernelVariance: number;
}

/**
 * Tests whether two samples of rows come from one distribution by the unbiased squared maximum mean
 * discrepancy with the kernel `exp(-d² / (2 s²))`, where `s²` is half the median of the squared
 * distances d² > 0 between pooled rows. It sees differences of every kind, in any number of columns,
 * which should be scaled alike. Rows with `NaN` do not count; a side with fewer than two rows gives
 * `null`.
 *
 * Time and memory grow with the square of `rows`: with 500 a side it takes a million kernel values,
 * 8 MB. Rows beyond are left out by chance, with the seed, so that the power is that of `rows`.
 *
 * @throws {RangeError} when an option is not an integer ≥ 1 (`permutations`: ≥ 0), or the values are
 * no whole number of rows.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { testMeanDiscrepancy } from "./mmd.ts";
 *
 * const low = Float64Array.from({ length: 40 }, (_, i) => i);
 * assert(testMeanDiscrepancy(low, low.map((v) => v + 40))!.pValue < 0.01);
 * ```
 *
 * @see Gretton et al., "A Kernel Two-Sample Test", Journal of Machine Learning Research 13, 2012,
 * lemma 6
 */
export function testMeanDiscrepancy(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
  { columns = 1, rows = 500, permutations = 200, seed = 0 }: DiscrepancyOptions = {},
): Discrepancy | null {
  for (const [name, value, least] of [["columns", columns, 1], ["rows", rows, 2]] as const) {
    if (!Number.isInteger(value) || value < least) {
      throw new RangeError(
        `Cannot test the discrepancy with ${name} "${value}": it is not an integer ≥ ${least}`,
      );
    }
  }
  if (!Number.isInteger(permutations) || permutations < 0) {
    throw new RangeError(`Cannot draw "${permutations}" permutations: it is not an integer ≥ 0`);
  }
  const random = new Random(seed);
  const a = drawRows(reference, { columns, rows, random });
  const b = drawRows(current, { columns, rows, random });
  if (a.length < 2 || b.length < 2) return null;
  const pooled = [...a, ...b];
  const kernel = squaredDistances(pooled);
  const kernelVariance = medianOf(kernel) / 2 || 0.5;
  kernel.forEach((d, i) => kernel[i] = Math.exp(-d / (2 * kernelVariance)));
  const scorer = new Scorer(kernel, a.length, b.length);
  const labels = Int32Array.from(pooled.keys());
  const statistic = scorer.score(labels);
  let extreme = 1;
  for (let p = 0; p < permutations; p++) {
    if (scorer.score(random.shuffle(labels)) >= statistic - 1e-12) extreme++;
  }
  return { statistic, pValue: extreme / (permutations + 1), kernelVariance };
}

function drawRows(
  values: ArrayLike<number>,
  { columns, rows, random }: { columns: number; rows: number; random: Random },
): Float64Array[] {
  if (values.length % columns !== 0) {
    throw new RangeError(
      `Cannot read rows of "${columns}" values: ${values.length} is not a multiple of it`,
    );
  }
  const starts: number[] = [];
  for (let start = 0; start < values.length; start += columns) {
    let isWhole = true;
    for (let c = start; c < start + columns; c++) if (Number.isNaN(values[c])) isWhole = false;
    if (isWhole) starts.push(start);
  }
  if (starts.length > rows) random.shuffle(starts).length = rows;
  return starts.map((start) => Float64Array.from({ length: columns }, (_, c) => values[start + c]));
}

/** `[N, N]`, row-major. */
function squaredDistances(points: readonly Float64Array[]): Float64Array {
  const N = points.length;
  const distances = new Float64Array(N * N);
  for (let i = 0; i < N; i++) {
    for (let j = 0; j < i; j++) {
      let sum = 0;
      for (let c = 0; c < points[i].length; c++) sum += (points[i][c] - points[j][c]) ** 2;
      distances[i * N + j] = distances[j * N + i] = sum;
    }
  }
  return distances;
}

/** Median of those > 0, so that a column of few distinct values has a scale, too; 0 without any. */
function medianOf(distances: Float64Array): number {
  return computeQuantiles(distances.filter((d) => d > 0), [0.5])?.[0] ?? 0;
}

/** Gives MMD² for a split of the rows, in one pass over the kernel's rows of the first side. */
class Scorer {
  readonly #kernel: Float64Array;
  readonly #n: number;
  readonly #m: number;
  /** Sum of each row without its diagonal entry, which is 1. */
  readonly #rowSums: Float64Array;
  readonly #total: number;

  constructor(kernel: Float64Array, n: number, m: number) {
    this.#kernel = kernel;
    this.#n = n;
    this.#m = m;
    const N = n + m;
    this.#rowSums = Float64Array.from(
      { length: N },
      (_, i) => kernel.subarray(i * N, (i + 1) * N).reduce((sum, k) => sum + k, -1),
    );
    this.#total = this.#rowSums.reduce((sum, row) => sum + row, 0);
  }

  /** The first n of `labels` are the rows of the first side. */
  score(labels: Int32Array): number {
    const N = this.#n + this.#m;
    let within = 0;
    let all = 0;
    for (let i = 0; i < this.#n; i++) {
      const start = labels[i] * N;
      all += this.#rowSums[labels[i]];
      for (let j = 0; j < i; j++) within += this.#kernel[start + labels[j]];
    }
    within *= 2;
    const across = all - within;
    const other = this.#total - within - 2 * across;
    return within / (this.#n * (this.#n - 1)) + other / (this.#m * (this.#m - 1)) -
      2 * across / (this.#n * this.#m);
  }
}
