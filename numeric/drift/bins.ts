/**
 * Counts of two samples over shared bins: what every distance between distributions starts from. The
 * bins decide its value, so each rule is named and stated.
 *
 * @module
 */
import { computeQuantiles, sortPresent } from "../statistics.ts";

/** How often each bin holds a value of either sample. */
export interface BinCounts {
  /** `[k]`, sums to the number of the reference's values. */
  readonly reference: Float64Array;
  /** `[k]`, sums to the number of the current values. */
  readonly current: Float64Array;
  /** How the bins came about, for a report. */
  readonly bins: "categories" | "sturges";
}

/** A reference with at most this many distinct numbers is counted number by number (Evidently's rule). */
export const mostCategories = 20;

/**
 * Counts the categories of two samples; `null` and `NaN` do not count. A category's place is that of
 * its first appearance, the reference first. `null` when either sample has no values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { countCategories } from "./bins.ts";
 *
 * const counts = countCategories(["sand", "shale", "sand"], ["coal", null]);
 * assertEquals(counts?.reference, Float64Array.of(2, 1, 0));
 * assertEquals(counts?.current, Float64Array.of(0, 0, 1));
 * ```
 */
export function countCategories<T extends string | number>(
  reference: ArrayLike<T | null>,
  current: ArrayLike<T | null>,
): BinCounts | null {
  const places = new Map<T, number>();
  const a = countEach(reference, places);
  const b = countEach(current, places);
  if (a.size === 0 || b.size === 0) return null;
  const read = (counts: ReadonlyMap<number, number>) =>
    Float64Array.from({ length: places.size }, (_, place) => counts.get(place) ?? 0);
  return { reference: read(a), current: read(b), bins: "categories" };
}

function countEach<T>(values: ArrayLike<T | null>, places: Map<T, number>): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value === null || Number.isNaN(value)) continue;
    const place = places.get(value) ?? places.size;
    if (place === places.size) places.set(value, place);
    counts.set(place, (counts.get(place) ?? 0) + 1);
  }
  return counts;
}

/**
 * Counts two samples of numbers over shared bins. A reference of at most {@linkcode mostCategories}
 * distinct values is counted value by value. Any other is counted over `ceil(log2(n) + 1)` bins of
 * equal width between the smallest and the largest of all n values together (Sturges), each closed on
 * the left and the last one on both sides: what numpy's `histogram_bin_edges(bins="sturges")` and
 * Evidently's `get_binned_data` give. `NaN` does not count; `null` when either sample has no values.
 *
 * @throws {RangeError} when values that go into bins of equal width are infinite.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { countBins } from "./bins.ts";
 *
 * assertEquals(countBins([1, 1, 2], [2, NaN])?.current, Float64Array.of(0, 1));
 * const wide = countBins(Float64Array.from({ length: 32 }, (_, i) => i), [31, 31]);
 * assertEquals(wide?.reference.length, 7);
 * assertEquals(wide?.current.at(-1), 2);
 * ```
 *
 * @see Sturges, "The Choice of a Class Interval", Journal of the American Statistical Association
 * 21(153), 1926
 */
export function countBins(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): BinCounts | null {
  const a = sortPresent(reference);
  const b = sortPresent(current);
  if (a.length === 0 || b.length === 0) return null;
  if (countDistinct(a) <= mostCategories) return countCategories(a, b);
  const first = Math.min(a[0], b[0]);
  const last = Math.max(a[a.length - 1], b[b.length - 1]);
  const edges = sturgesEdges(first, last, a.length + b.length);
  return { reference: countSorted(a, edges), current: countSorted(b, edges), bins: "sturges" };
}

/**
 * Counts two samples of numbers over two bins, for a test of proportions: at most two distinct values
 * are a bin each; others are split at the reference's median, the upper bin being above it, which makes
 * that test Mood's median test. `NaN` does not count; `null` when either sample has no values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { countHalves } from "./bins.ts";
 *
 * assertEquals(countHalves([0, 0, 1], [1, 1])?.current, Float64Array.of(0, 2));
 * assertEquals(countHalves([1, 2, 3, 4], [3, 9])?.current, Float64Array.of(0, 2));
 * ```
 *
 * @see Mood, "Introduction to the Theory of Statistics", 1950, section 16.5
 */
export function countHalves(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): Omit<BinCounts, "bins"> | null {
  const a = sortPresent(reference);
  const b = sortPresent(current);
  if (a.length === 0 || b.length === 0) return null;
  const last = Math.max(a[a.length - 1], b[b.length - 1]);
  const least = Math.min(a[0], b[0]);
  const isEnd = (value: number) => value === least || value === last;
  const isBinary = a.every(isEnd) && b.every(isEnd);
  const edge = isBinary ? least : computeQuantiles(a, [0.5])![0];
  const count = (sorted: Float64Array) => {
    const upper = sorted.reduce((sum, value) => sum + (value > edge ? 1 : 0), 0);
    return Float64Array.of(sorted.length - upper, upper);
  };
  return { reference: count(a), current: count(b) };
}

/** Gives the number of distinct values of an ascending sample. */
export function countDistinct(sorted: Float64Array): number {
  let count = 0;
  for (let i = 0; i < sorted.length; i++) if (i === 0 || sorted[i] !== sorted[i - 1]) count++;
  return count;
}

/** Gives the ascending edges of Sturges bins of `n` values in `[first, last]`; see {@linkcode countBins}. */
export function sturgesEdges(
  first: number,
  last: number,
  n: number,
): Float64Array {
  if (!Number.isFinite(last - first)) {
    throw new RangeError(
      `Cannot bin values from "${first}" to "${last}": bins of equal width need finite values`,
    );
  }
  const count = first === last ? 1 : Math.ceil(Math.log2(n) + 1);
  if (first === last) [first, last] = [first - 0.5, last + 0.5];
  const step = (last - first) / count;
  return Float64Array.from({ length: count + 1 }, (_, i) => i === count ? last : first + i * step);
}

function countSorted(sorted: Float64Array, edges: Float64Array): Float64Array {
  const counts = new Float64Array(edges.length - 1);
  let bin = 0;
  for (const value of sorted) {
    while (bin < counts.length - 1 && value >= edges[bin + 1]) bin++;
    counts[bin]++;
  }
  return counts;
}
