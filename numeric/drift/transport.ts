/**
 * Distances between two samples of numbers that need no bins: areas between their distribution
 * functions. `NaN` does not count; a sample without values gives `null`.
 *
 * @module
 */
import { computeStd, sortPresent } from "../statistics.ts";

/** Smallest deviation a distance is divided by (Evidently's), so that a constant has a scale. */
const smallestScale = 1e-3;

/**
 * Gives the Wasserstein-1 distance ≥ 0 in the values' own unit: the area between the two distribution
 * functions, the mean way that values have to go. Equals `scipy.stats.wasserstein_distance`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureWasserstein } from "./transport.ts";
 *
 * assertEquals(measureWasserstein([0, 1, 3], [5, 6, 8]), 5);
 * assertEquals(measureWasserstein([], [5]), null);
 * ```
 *
 * @see Vallender, "Calculation of the Wasserstein Distance Between Probability Distributions on the
 * Line", Theory of Probability and Its Applications 18(4), 1974
 */
export function measureWasserstein(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): number | null {
  return integrate(reference, current, (gap) => Math.abs(gap));
}

/**
 * Gives the Wasserstein-1 distance in standard deviations of the reference (population; at least
 * 0.001), which compares over columns of any unit. Equals Evidently's `wasserstein`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureNormedWasserstein } from "./transport.ts";
 *
 * assertEquals(measureNormedWasserstein([0, 4], [1, 5]), 0.5);
 * ```
 */
export function measureNormedWasserstein(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): number | null {
  const distance = measureWasserstein(reference, current);
  return distance === null ? null : distance / Math.max(computeStd(reference)!, smallestScale);
}

/**
 * Gives the energy distance ≥ 0, in the root of the values' unit:
 * `sqrt(2 E|X - Y| - E|X - X'| - E|Y - Y'|)`, twice the squared gap of the distribution functions
 * under a root. Equals `scipy.stats.energy_distance`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { measureEnergyDistance } from "./transport.ts";
 *
 * assertAlmostEquals(measureEnergyDistance([0], [2])!, 2);
 * ```
 *
 * @see Székely and Rizzo, "Energy Statistics: A Class of Statistics Based on Distances", Journal of
 * Statistical Planning and Inference 143(8), 2013
 */
export function measureEnergyDistance(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): number | null {
  const area = integrate(reference, current, (gap) => gap * gap);
  return area === null ? null : Math.sqrt(2 * area);
}

/** Integral over the line of a function of the gap between the two distribution functions. */
function integrate(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
  part: (gap: number) => number,
): number | null {
  const a = sortPresent(reference);
  const b = sortPresent(current);
  if (a.length === 0 || b.length === 0) return null;
  let i = 0;
  let j = 0;
  let last = Math.min(a[0], b[0]);
  let area = 0;
  while (i < a.length || j < b.length) {
    const next = Math.min(i < a.length ? a[i] : Infinity, j < b.length ? b[j] : Infinity);
    if (next > last) area += part(i / a.length - j / b.length) * (next - last);
    while (i < a.length && a[i] <= next) i++;
    while (j < b.length && b[j] <= next) j++;
    last = next;
  }
  return area;
}
