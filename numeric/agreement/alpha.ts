/** Agreement of any number of raters, some of whom may be silent. */

/** How far apart two ratings are. */
export type RatingLevel = "nominal" | "interval";

/**
 * Gives Krippendorff's α, at most 1, of ratings `[raters][units]`; `NaN` is a rating that was not
 * given. 1 is agreement, 0 what chance gives. `nominal`: equal or not; `interval`: squared distance.
 * `null` when no unit has two ratings, and when all are equal: α is undefined then. Equals the Python
 * package `krippendorff`.
 *
 * @throws {TypeError} when raters have different numbers of units.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureAlpha } from "./alpha.ts";
 *
 * assertEquals(measureAlpha([[0, 1, 1], [0, 1, NaN]], "nominal"), 1);
 * assertEquals(measureAlpha([[0, 0], [0, 0]], "nominal"), null);
 * ```
 *
 * @see Krippendorff, "Computing Krippendorff's Alpha-Reliability", University of Pennsylvania 2011
 */
export function measureAlpha(
  ratings: readonly ArrayLike<number>[],
  level: RatingLevel,
): number | null {
  const units = ratings[0]?.length ?? 0;
  if (ratings.some((row) => row.length !== units)) {
    throw new TypeError("Cannot measure agreement: raters have different numbers of units");
  }
  const distance = (a: number, b: number) => level === "interval" ? (a - b) ** 2 : a === b ? 0 : 1;
  const paired: number[] = [];
  let observed = 0;
  for (let unit = 0; unit < units; unit++) {
    const values = ratings.map((row) => row[unit]).filter((value) => !Number.isNaN(value));
    if (values.length < 2) continue;
    observed += sumPairs(values, distance) / (values.length - 1);
    paired.push(...values);
  }
  if (paired.length < 2) return null;
  const expected = sumAll(paired, level) / (paired.length - 1);
  return expected === 0 ? null : 1 - observed / expected;
}

/** Sum of the distances of all ordered pairs. */
function sumPairs(
  values: readonly number[],
  distance: (a: number, b: number) => number,
): number {
  let sum = 0;
  for (const a of values) for (const b of values) sum += distance(a, b);
  return sum;
}

/** The same of all ratings, without looking at each pair. */
function sumAll(values: readonly number[], level: RatingLevel): number {
  const n = values.length;
  if (level === "interval") {
    const mean = values.reduce((a, b) => a + b, 0) / n;
    return 2 * n * values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  }
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts.values()].reduce((sum, count) => sum + count * (n - count), 0);
}
