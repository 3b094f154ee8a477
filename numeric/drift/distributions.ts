/**
 * Samples of numbers as distinct values with counts: what a sample is sorted into once, whatever is
 * measured of it afterwards. A distribution may be thinned to a few thousand values, so that a large
 * reference is kept and compared at the cost of a small one.
 *
 * @module
 */
import { kolmogorovTail, quantileEdges, sumStability } from "../statistics.ts";
import { type BinCounts, mostCategories, sturgesEdges } from "./bins.ts";
import { lowerBound, upperBound } from "../sorting.ts";

/** Distinct values of a sample, ascending, and how many of the sample are at most each of them. */
export interface Distribution {
  readonly values: Float64Array;
  /** `[k]`, ascending; the last one is the size of the sample. */
  readonly upTo: Uint32Array;
  /** Whether values were merged: `values` are then means of neighbors. */
  readonly isThinned: boolean;
}

/** Gives the distribution of a sample in ascending order, without `NaN`. */
export function toDistribution(sorted: Float64Array): Distribution {
  let count = 0;
  for (let i = 0; i < sorted.length; i++) if (i === 0 || sorted[i] !== sorted[i - 1]) count++;
  const values = new Float64Array(count);
  const upTo = new Uint32Array(count);
  let at = -1;
  for (let i = 0; i < sorted.length; i++) {
    if (i === 0 || sorted[i] !== sorted[i - 1]) values[++at] = sorted[i];
    upTo[at] = i + 1;
  }
  return { values, upTo, isThinned: false };
}

/** Gives the number of values of the sample. */
export function sizeOf({ upTo }: Distribution): number {
  return upTo.length === 0 ? 0 : upTo[upTo.length - 1];
}

/**
 * Merges neighboring values into their mean until at most `most` are left. The smallest and the largest
 * value stay, as does each value that is more than a share of `2 / (most - 3)`. The distribution function
 * moves by less than that share anywhere, the mean not at all. A distribution of at most `most` values is
 * given back as it is.
 *
 * @throws {RangeError} when `most` is not an integer ≥ 8.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { sizeOf, thinDistribution, toDistribution } from "./distributions.ts";
 *
 * const all = toDistribution(Float64Array.from({ length: 10_000 }, (_, i) => i));
 * const few = thinDistribution(all, 100);
 * assertEquals([few.values.length <= 100, few.values[0], sizeOf(few)], [true, 0, 10_000]);
 * ```
 */
export function thinDistribution(distribution: Distribution, most: number): Distribution {
  if (!Number.isInteger(most) || most < 8) {
    throw new RangeError(`Cannot thin to "${most}" values: it is not an integer ≥ 8`);
  }
  const { values, upTo } = distribution;
  if (values.length <= most) return distribution;
  // Two neighboring groups together are more than a full one, so there are at most `most` of them.
  const full = 2 * sizeOf(distribution) / (most - 3);
  const means: number[] = [];
  const ends: number[] = [];
  let first = 0;
  let sum = 0;
  let count = 0;
  const close = (end: number) => {
    if (count === 0) return;
    // A mean of equal values is not always exactly that value.
    means.push(end - first === 1 ? values[first] : sum / count);
    ends.push(upTo[end - 1]);
    first = end;
    sum = count = 0;
  };
  for (let i = 0; i < values.length; i++) {
    const own = upTo[i] - (i === 0 ? 0 : upTo[i - 1]);
    if (i === 1 || i === values.length - 1 || count + own > full) close(i);
    sum += values[i] * own;
    count += own;
  }
  close(values.length);
  return { values: Float64Array.from(means), upTo: Uint32Array.from(ends), isThinned: true };
}

/** Gives the value at place `rank` in `[0, size)` of the sorted sample. */
function valueAt({ values, upTo }: Distribution, rank: number): number {
  return values[Math.min(upperBound(upTo, rank), upTo.length - 1)];
}

/**
 * Gives the quantile at a probability in `[0, 1]` by linear interpolation (type 7), as
 * `computeQuantiles()` of the sample; the distribution has values.
 */
export function quantileOf(distribution: Distribution, probability: number): number {
  const last = sizeOf(distribution) - 1;
  const place = probability * last;
  const lower = Math.floor(place);
  const a = valueAt(distribution, lower);
  const b = valueAt(distribution, Math.min(lower + 1, last));
  return a === b ? a : a + (b - a) * (place - lower);
}

/** Gives how many values of the sample are at most `value`, or less than it. */
export function countUpTo(
  { values, upTo }: Distribution,
  value: number,
  isIncluded: boolean,
): number {
  const place = isIncluded ? upperBound(values, value) : lowerBound(values, value);
  return place === 0 ? 0 : upTo[place - 1];
}

/** What one walk over two distributions gives. */
export interface Gaps {
  /** Largest gap of the distribution functions, the two-sample Kolmogorov–Smirnov statistic. */
  readonly largest: number;
  /** Kolmogorov's limit of its p-value, as `testKolmogorovSmirnov()`. */
  readonly pValue: number;
  /** Area between the distribution functions, the Wasserstein-1 distance in the values' unit. */
  readonly area: number;
  /** Distinct values of both together. */
  readonly distinct: number;
}

/** Measures the gaps between two distribution functions; `null` when either has no values. */
export function measureGaps(reference: Distribution, current: Distribution): Gaps | null {
  const n = sizeOf(reference);
  const m = sizeOf(current);
  if (n === 0 || m === 0) return null;
  const { values: a, upTo: r } = reference;
  const { values: b, upTo: c } = current;
  let i = 0;
  let j = 0;
  let largest = 0;
  let area = 0;
  let distinct = 0;
  let gap = 0;
  let last = Math.min(a[0], b[0]);
  while (i < a.length || j < b.length) {
    const next = i < a.length && (j >= b.length || a[i] <= b[j]) ? a[i] : b[j];
    // Not 0 times infinity.
    if (gap !== 0) area += gap * (next - last);
    if (i < a.length && a[i] === next) i++;
    if (j < b.length && b[j] === next) j++;
    gap = Math.abs((i === 0 ? 0 : r[i - 1] / n) - (j === 0 ? 0 : c[j - 1] / m));
    if (gap > largest) largest = gap;
    last = next;
    distinct++;
  }
  const pValue = kolmogorovTail(Math.sqrt(n * m / (n + m)) * largest);
  return { largest, pValue, area, distinct };
}

/**
 * Counts two distributions over shared bins by the rule of `countBins()`: value by value when the
 * reference has few, else over Sturges bins. `null` when either has no values, or when values that
 * would go into bins of equal width are infinite.
 */
export function countDistributions(
  reference: Distribution,
  current: Distribution,
): BinCounts | null {
  if (sizeOf(reference) === 0 || sizeOf(current) === 0) return null;
  if (reference.values.length <= mostCategories) {
    const values = new Set([...reference.values, ...current.values]);
    const read = (distribution: Distribution) =>
      Float64Array.from(
        values,
        (value) => countUpTo(distribution, value, true) - countUpTo(distribution, value, false),
      );
    return { reference: read(reference), current: read(current), bins: "categories" };
  }
  const first = Math.min(reference.values[0], current.values[0]);
  const last = Math.max(reference.values.at(-1)!, current.values.at(-1)!);
  if (!Number.isFinite(last - first)) return null;
  const edges = sturgesEdges(first, last, sizeOf(reference) + sizeOf(current));
  // Each bin is closed on the left, the last one on both sides.
  const read = (distribution: Distribution) => {
    const below = edges.map((edge, e) => countUpTo(distribution, edge, e === edges.length - 1));
    return Float64Array.from({ length: edges.length - 1 }, (_, bin) => below[bin + 1] - below[bin]);
  };
  return { reference: read(reference), current: read(current), bins: "sturges" };
}

/** Counts two distributions over two bins by the rule of `countHalves()`. */
export function countHalvesOf(
  reference: Distribution,
  current: Distribution,
): Omit<BinCounts, "bins"> | null {
  if (sizeOf(reference) === 0 || sizeOf(current) === 0) return null;
  const least = Math.min(reference.values[0], current.values[0]);
  const last = Math.max(reference.values.at(-1)!, current.values.at(-1)!);
  const isEnd = (value: number) => value === least || value === last;
  const isBinary = [reference, current].every(({ values }) =>
    values.length <= 2 && values.every(isEnd)
  );
  const edge = isBinary ? least : quantileOf(reference, 0.5);
  const read = (distribution: Distribution) => {
    const lower = countUpTo(distribution, edge, true);
    return Float64Array.of(lower, sizeOf(distribution) - lower);
  };
  return { reference: read(reference), current: read(current) };
}

/** Gives the population stability index over ten quantile bins, as `measureStability()`. */
export function measureStabilityOf(reference: Distribution, current: Distribution): number | null {
  if (sizeOf(reference) === 0 || sizeOf(current) === 0) return null;
  const edges = quantileEdges((probability) => quantileOf(reference, probability), 10);
  const read = (distribution: Distribution) => {
    const below = [0, ...edges.map((edge) => countUpTo(distribution, edge, true))];
    const size = sizeOf(distribution);
    return below.map((count, bin) => ((below[bin + 1] ?? size) - count) / size);
  };
  return sumStability(read(reference), read(current));
}
