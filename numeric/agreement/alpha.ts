/** Agreement of any number of raters, some of whom may be silent. */
import { Random } from "../random.ts";
import { computeQuantiles } from "../statistics.ts";

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
  const units = toUnits(ratings, level);
  return computeAlpha(units, (i) => i, level);
}

/** α with the ends of its 95 % interval. */
export interface AlphaEstimate {
  readonly value: number;
  /** `null` when α is undefined in more than half of the replicates. */
  readonly low: number | null;
  readonly high: number | null;
  /** Units with at least two ratings. */
  readonly units: number;
}

/**
 * Gives Krippendorff's α as {@linkcode measureAlpha} does, with its 95 % interval: the percentile
 * bootstrap over units. Without disagreement it has no width: look at the number of units, too.
 *
 * @throws {TypeError} when raters have different numbers of units.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { estimateAlpha } from "./alpha.ts";
 *
 * const a = Array.from({ length: 100 }, (_, i) => i % 2);
 * const b = a.map((value, i) => (i % 10 === 0 ? 1 - value : value));
 * const { value, low, high } = estimateAlpha([a, b], "nominal")!;
 * assert(value > 0.79 && value < 0.81 && low! > 0.6 && high! < 0.95);
 * ```
 *
 * @see Zapf, Castell, Morawietz and Karch, "Measuring Inter-Rater Reliability for Nominal Data", BMC
 * Medical Research Methodology 16:93, 2016
 */
export function estimateAlpha(
  ratings: readonly ArrayLike<number>[],
  level: RatingLevel,
  { replicates = 1000, seed = 0 }: {
    /** 1000 when left out. */
    readonly replicates?: number;
    /** 0 when left out. */
    readonly seed?: number;
  } = {},
): AlphaEstimate | null {
  const units = toUnits(ratings, level);
  const value = computeAlpha(units, (i) => i, level);
  if (value === null) return null;
  const random = new Random(seed);
  const drawn: number[] = [];
  for (let replicate = 0; replicate < replicates; replicate++) {
    const alpha = computeAlpha(units, () => random.below(units.length), level);
    if (alpha !== null) drawn.push(alpha);
  }
  if (2 * drawn.length < replicates || drawn.length === 0) {
    return { value, low: null, high: null, units: units.length };
  }
  const [low, high] = computeQuantiles(Float64Array.from(drawn), [0.025, 0.975])!;
  return { value, low, high, units: units.length };
}

/** A unit with at least two ratings. */
interface Unit {
  /** Mean distance of its ratings from each other, times how many there are. */
  readonly observed: number;
  /** Places of its categories when nominal, else its ratings less the mean of all. */
  readonly values: readonly number[];
}

function toUnits(ratings: readonly ArrayLike<number>[], level: RatingLevel): Unit[] {
  const count = ratings[0]?.length ?? 0;
  if (ratings.some((row) => row.length !== count)) {
    throw new TypeError("Cannot measure agreement: raters have different numbers of units");
  }
  const given = Array.from(
    { length: count },
    (_, unit) => ratings.map((row) => row[unit]).filter((value) => !Number.isNaN(value)),
  ).filter((values) => values.length >= 2);
  const all = given.flat();
  const middle = all.reduce((a, b) => a + b, 0) / all.length;
  const places = new Map([...new Set(all)].map((value, place) => [value, place]));
  const place = (value: number) => level === "interval" ? value - middle : places.get(value)!;
  const distance = (a: number, b: number) => level === "interval" ? (a - b) ** 2 : a === b ? 0 : 1;
  return given.map((values) => ({
    observed: sumPairs(values, distance) / (values.length - 1),
    values: values.map(place),
  }));
}

/** α of as many units as there are, each the one that `draw` names. */
function computeAlpha(
  units: readonly Unit[],
  draw: (i: number) => number,
  level: RatingLevel,
): number | null {
  const counts: number[] = [];
  let observed = 0;
  let rows = 0;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < units.length; i++) {
    const unit = units[draw(i)];
    observed += unit.observed;
    rows += unit.values.length;
    for (const value of unit.values) {
      if (level === "nominal") counts[value] = (counts[value] ?? 0) + 1;
      else {
        sum += value;
        squares += value ** 2;
      }
    }
  }
  if (rows < 2) return null;
  // Sum of the distances of all ordered pairs, without looking at each.
  const expected = level === "interval"
    ? 2 * (rows * squares - sum ** 2)
    : counts.reduce((total, count) => total + count * (rows - count), 0);
  // What rounding leaves of equal ratings is no spread.
  return expected <= 1e-12 * rows * squares ? null : 1 - observed * (rows - 1) / expected;
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
