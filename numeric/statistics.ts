/**
 * Statistics of one or two samples. `NaN` values are ignored everywhere; a sample without values
 * gives `null`, never a number.
 *
 * @module
 */

/**
 * Gives the arithmetic mean, or `null` for a sample without values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { computeMean } from "./statistics.ts";
 *
 * assertEquals(computeMean(Float64Array.of(1, NaN, 3)), 2);
 * assertEquals(computeMean([]), null);
 * ```
 */
export function computeMean(values: ArrayLike<number>): number | null {
  let sum = 0;
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) continue;
    sum += values[i];
    count++;
  }
  return count === 0 ? null : sum / count;
}

/**
 * Gives the population standard deviation (divisor n), or `null` for a sample without values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { computeStd } from "./statistics.ts";
 *
 * assertEquals(computeStd([1, 3, NaN]), 1);
 * assertEquals(computeStd([5]), 0);
 * ```
 */
export function computeStd(values: ArrayLike<number>): number | null {
  const mean = computeMean(values);
  if (mean === null) return null;
  let sum = 0;
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) continue;
    sum += (values[i] - mean) ** 2;
    count++;
  }
  return Math.sqrt(sum / count);
}

/**
 * Gives the quantiles of `values` at `probabilities` in `[0, 1]` by linear interpolation between
 * order statistics (type 7, numpy's default), or `null` for a sample without values.
 *
 * @throws {RangeError} when a probability is outside `[0, 1]`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { computeQuantiles } from "./statistics.ts";
 *
 * assertEquals(computeQuantiles([4, 1, 3, 2], [0, 0.5, 1]), [1, 2.5, 4]);
 * ```
 *
 * @see Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50(4),
 * 1996, definition 7
 */
export function computeQuantiles(
  values: ArrayLike<number>,
  probabilities: readonly number[],
): number[] | null {
  for (const probability of probabilities) {
    if (!(probability >= 0 && probability <= 1)) {
      throw new RangeError(`Cannot compute quantile "${probability}": it is not in [0, 1]`);
    }
  }
  const sorted = sortPresent(values);
  if (sorted.length === 0) return null;
  return probabilities.map((probability) => interpolate(sorted, probability));
}

function interpolate(sorted: Float64Array, probability: number): number {
  const place = probability * (sorted.length - 1);
  const lower = Math.floor(place);
  const upper = Math.min(lower + 1, sorted.length - 1);
  if (sorted[lower] === sorted[upper]) return sorted[lower];
  return sorted[lower] + (sorted[upper] - sorted[lower]) * (place - lower);
}

/** Gives the values in ascending order, without `NaN`. */
export function sortPresent(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values).filter((value) => !Number.isNaN(value)).sort();
}

/** Outcome of {@linkcode testKolmogorovSmirnov}. */
export interface KolmogorovSmirnov {
  /** Largest distance between the two distribution functions, in `[0, 1]`. */
  readonly statistic: number;
  /** Asymptotic two-sided p-value in `[0, 1]`. */
  readonly pValue: number;
}

/**
 * Tests whether two samples come from one distribution; `null` when either has no values.
 *
 * The statistic equals `scipy.stats.ks_2samp(a, b).statistic`. The p-value is Kolmogorov's limit
 * `scipy.special.kolmogorov(sqrt(n * m / (n + m)) * statistic)`, good from about 25 values each;
 * `ks_2samp(method="asymp")` replaces the limit by the one-sample law of size `n * m / (n + m)`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { testKolmogorovSmirnov } from "./statistics.ts";
 *
 * assertEquals(testKolmogorovSmirnov([1, 2, 3], [1, 2, 3]), { statistic: 0, pValue: 1 });
 * assertEquals(testKolmogorovSmirnov([1, 2], [3, 4])?.statistic, 1);
 * assertEquals(testKolmogorovSmirnov([], [1]), null);
 * ```
 *
 * @see Smirnov, "Table for Estimating the Goodness of Fit of Empirical Distributions", Annals of
 * Mathematical Statistics 19(2), 1948
 */
export function testKolmogorovSmirnov(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): KolmogorovSmirnov | null {
  const a = sortPresent(reference);
  const b = sortPresent(current);
  if (a.length === 0 || b.length === 0) return null;
  const statistic = largestDistance(a, b);
  const effectiveSize = a.length * b.length / (a.length + b.length);
  return { statistic, pValue: kolmogorovTail(Math.sqrt(effectiveSize) * statistic) };
}

/** Largest distance between the distribution functions of two sorted samples. */
export function largestDistance(a: Float64Array, b: Float64Array): number {
  let i = 0;
  let j = 0;
  let largest = 0;
  while (i < a.length && j < b.length) {
    const value = Math.min(a[i], b[j]);
    while (i < a.length && a[i] <= value) i++;
    while (j < b.length && b[j] <= value) j++;
    largest = Math.max(largest, Math.abs(i / a.length - j / b.length));
  }
  return largest;
}

/**
 * Gives the probability that Kolmogorov's limit exceeds `z` ≥ 0. Each of the two series converges
 * within a few terms on its side of 1.
 */
export function kolmogorovTail(z: number): number {
  if (z < 0.04) return 1; // The complement is below 1e-300.
  let sum = 0;
  if (z < 1) {
    for (let k = 1; k <= 9; k += 2) sum += Math.exp(-((k * Math.PI / z) ** 2) / 8);
    return 1 - Math.sqrt(2 * Math.PI) / z * sum;
  }
  for (let k = 1; k <= 6; k++) sum += (k % 2 === 1 ? 2 : -2) * Math.exp(-2 * (k * z) ** 2);
  return sum;
}

/** Options of {@linkcode measureStability}. */
export interface StabilityOptions {
  /** Number of quantile bins, 10 by custom. */
  readonly bins?: number;
  /** Smallest share of a bin, so that an empty one has a logarithm; 1e-4 by custom. */
  readonly epsilon?: number;
}

/**
 * Gives the population stability index (PSI) ≥ 0 of `current` against `reference`, or `null` when
 * either has no values: the sum over bins of `(c - r) * ln(c / r)`, with the shares c and r raised
 * to `epsilon` where they are smaller.
 *
 * Bin edges are the reference's quantiles `1/bins … (bins-1)/bins` (linear); a bin holds its upper
 * edge, and the outer bins are unbounded. A value that two or more of these quantiles share gets a
 * bin of its own, so that a shift away from a constant shows on either side.
 *
 * @throws {RangeError} when `bins` is not an integer ≥ 2 or `epsilon` is not in `(0, 1)`.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { measureStability } from "./statistics.ts";
 *
 * const reference = Float64Array.from({ length: 100 }, (_, i) => i);
 * assertEquals(measureStability(reference, reference), 0);
 * assert(measureStability(reference, reference.map((v) => v + 50))! > 0.25);
 * assertEquals(measureStability(reference, []), null);
 * ```
 *
 * @see Siddiqi, "Credit Risk Scorecards", Wiley 2006, chapter 6
 */
export function measureStability(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
  { bins = 10, epsilon = 1e-4 }: StabilityOptions = {},
): number | null {
  if (!Number.isInteger(bins) || bins < 2) {
    throw new RangeError(`Cannot measure stability over "${bins}" bins: it is not an integer ≥ 2`);
  }
  if (!(epsilon > 0 && epsilon < 1)) {
    throw new RangeError(`Cannot measure stability with epsilon "${epsilon}": it is not in (0, 1)`);
  }
  const a = sortPresent(reference);
  const b = sortPresent(current);
  if (a.length === 0 || b.length === 0) return null;
  const edges = quantileEdges((probability) => interpolate(a, probability), bins);
  const expected = countShares(a, edges);
  const actual = countShares(b, edges);
  return sumStability(expected, actual, epsilon);
}

/** Gives the population stability index of shares over the same bins; see {@linkcode measureStability}. */
export function sumStability(
  reference: readonly number[],
  current: readonly number[],
  epsilon = 1e-4,
): number {
  return reference.reduce((sum, share, bin) => {
    const r = Math.max(share, epsilon);
    const c = Math.max(current[bin], epsilon);
    return sum + (c - r) * Math.log(c / r);
  }, 0);
}

/**
 * Gives the ascending upper edges of all bins of {@linkcode measureStability} but the last, of a
 * reference with these quantiles.
 */
export function quantileEdges(
  quantileOf: (probability: number) => number,
  bins: number,
): number[] {
  const edges: number[] = [];
  for (let bin = 1; bin < bins; bin++) {
    const edge = quantileOf(bin / bins);
    if (edge !== edges.at(-1)) {
      edges.push(edge);
      continue;
    }
    // A repeated quantile: the edge just below it closes the bins of smaller values.
    const below = nextBelow(edge);
    if (edges.at(-2) !== below) edges.splice(-1, 0, below);
  }
  return edges;
}

/** The largest float64 smaller than a finite `value`. */
function nextBelow(value: number): number {
  if (value === 0) return -Number.MIN_VALUE;
  const bits = new BigInt64Array(Float64Array.of(value).buffer);
  bits[0] += value > 0 ? -1n : 1n;
  return new Float64Array(bits.buffer)[0];
}

/** Share of a sorted sample in each bin. */
function countShares(sorted: Float64Array, edges: readonly number[]): number[] {
  const shares: number[] = [];
  let start = 0;
  for (const edge of [...edges, Infinity]) {
    let end = start;
    while (end < sorted.length && sorted[end] <= edge) end++;
    shares.push((end - start) / sorted.length);
    start = end;
  }
  return shares;
}
