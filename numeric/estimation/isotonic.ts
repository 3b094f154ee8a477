/** Isotonic regression: the increasing function that is nearest to the data. */

/** A fitted increasing function. */
export interface Isotonic {
  /** Gives the value at `x`: linear between the points of the fit, constant beyond its ends. */
  at(x: number): number;
}

/**
 * Fits the increasing function with the least squared error to `y` over `x`, both `[n]`, by pooling
 * adjacent violators. Equal x are averaged first. Equals scikit-learn's
 * `IsotonicRegression(out_of_bounds="clip")`.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when there are no rows or a value is `NaN`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { fitIsotonic } from "./isotonic.ts";
 *
 * const fit = fitIsotonic([1, 2, 3, 4], [0, 1, 0, 1]);
 * assertEquals([0, 2, 2.5, 3.5, 9].map((x) => fit.at(x)), [0, 0.5, 0.5, 0.75, 1]);
 * ```
 *
 * @see Barlow et al., "Statistical Inference under Order Restrictions", Wiley 1972, section 1.2
 */
export function fitIsotonic(x: ArrayLike<number>, y: ArrayLike<number>): Isotonic {
  if (x.length !== y.length) {
    throw new TypeError(`Cannot fit an increasing function: ${y.length} values over ${x.length}`);
  }
  if (x.length === 0) throw new RangeError("Cannot fit an increasing function: there are no rows");
  const order = Int32Array.from({ length: x.length }, (_, i) => i).sort((a, b) => x[a] - x[b]);
  const points = new Float64Array(x.length);
  const means = new Float64Array(x.length);
  const weights = new Float64Array(x.length);
  let count = 0;
  for (const i of order) {
    if (Number.isNaN(x[i]) || Number.isNaN(y[i])) {
      throw new RangeError(`Cannot fit an increasing function: row ${i} is NaN`);
    }
    if (count === 0 || points[count - 1] !== x[i]) points[count++] = x[i];
    weights[count - 1]++;
    means[count - 1] += (y[i] - means[count - 1]) / weights[count - 1];
  }
  const values = poolViolators(means.subarray(0, count), weights);
  return { at: (at) => interpolate(points.subarray(0, count), values, at) };
}

/** Joins neighbors that fall into blocks of their weighted mean, until none falls. */
function poolViolators(means: Float64Array, weights: Float64Array): Float64Array {
  const blocks: { mean: number; weight: number; length: number }[] = [];
  for (let i = 0; i < means.length; i++) {
    let block = { mean: means[i], weight: weights[i], length: 1 };
    while (blocks.length > 0 && blocks[blocks.length - 1].mean >= block.mean) {
      const before = blocks.pop()!;
      const weight = before.weight + block.weight;
      block = {
        mean: (before.mean * before.weight + block.mean * block.weight) / weight,
        weight,
        length: before.length + block.length,
      };
    }
    blocks.push(block);
  }
  const values = new Float64Array(means.length);
  let start = 0;
  for (const { mean, length } of blocks) {
    values.fill(mean, start, start + length);
    start += length;
  }
  return values;
}

function interpolate(points: Float64Array, values: Float64Array, x: number): number {
  if (Number.isNaN(x)) return NaN;
  let low = 0;
  let high = points.length - 1;
  if (x <= points[low]) return values[low];
  if (x >= points[high]) return values[high];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle] <= x) low = middle;
    else high = middle;
  }
  const share = (x - points[low]) / (points[high] - points[low]);
  return values[low] + share * (values[high] - values[low]);
}
