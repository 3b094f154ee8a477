/**
 * The area under the ROC curve with an interval, and whether that of one score differs from that of
 * another on the same rows.
 *
 * @module
 */
import { normalPoint, normalTail } from "../special.ts";
import { checkScored, type ScoredRows } from "./scores.ts";

/** A number with the ends of its 95 % interval. */
export interface AucEstimate {
  /** Area in `[0, 1]`. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly standardError: number;
}

/** The difference of two areas on the same rows. */
export interface AucDifference {
  /** Area of the first less that of the second. */
  readonly difference: number;
  readonly low: number;
  readonly high: number;
  readonly standardError: number;
  /** Two-sided p-value of "the areas are equal"; 1 when the scores rank alike. */
  readonly pValue: number;
}

const z95 = normalPoint(0.025);

/**
 * Gives the area under the ROC curve with DeLong's 95 % interval, cut at 0 and 1: the probability that
 * a row of truth 1 scores higher than one of truth 0, ties counting half. `null` with fewer than two
 * rows of either truth. Where the scores separate the rows wholly the interval has no width; say how
 * many rows there are beside it.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a score is `NaN` or a truth is neither 0 nor 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { estimateAuc } from "./auc.ts";
 *
 * assertEquals(estimateAuc({ scores: [1, 3, 2, 4], truth: [0, 0, 1, 1] })?.value, 0.75);
 * assertEquals(estimateAuc({ scores: [1, 2], truth: [0, 1] }), null);
 * ```
 *
 * @see DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver
 * Operating Characteristic Curves", Biometrics 44(3), 1988
 * @see Sun and Xu, "Fast Implementation of DeLong's Algorithm", IEEE Signal Processing Letters 21(11), 2014
 */
export function estimateAuc(rows: ScoredRows): AucEstimate | null {
  const placed = placeRows(rows);
  if (placed === null) return null;
  const standardError = Math.sqrt(covary(placed, placed));
  return {
    value: placed.area,
    low: Math.max(0, placed.area - z95 * standardError),
    high: Math.min(1, placed.area + z95 * standardError),
    standardError,
  };
}

/**
 * Compares the areas of two scores on the same rows by DeLong's paired test. An interval that holds 0
 * is no evidence that one ranks better. `null` with fewer than two rows of either truth.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a score is `NaN` or a truth is neither 0 nor 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { compareAucs } from "./auc.ts";
 *
 * const truth = [0, 0, 1, 1];
 * const { difference, pValue } = compareAucs([1, 2, 3, 4], [10, 20, 30, 40], truth)!;
 * assertEquals([difference, pValue], [0, 1]);
 * ```
 *
 * @see DeLong, DeLong and Clarke-Pearson, Biometrics 44(3), 1988, equation 5
 */
export function compareAucs(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  truth: ArrayLike<number>,
): AucDifference | null {
  const first = placeRows({ scores: a, truth });
  const second = placeRows({ scores: b, truth });
  if (first === null || second === null) return null;
  const difference = first.area - second.area;
  const variance = covary(first, first) + covary(second, second) - 2 * covary(first, second);
  const standardError = Math.sqrt(Math.max(0, variance));
  return {
    difference,
    low: difference - z95 * standardError,
    high: difference + z95 * standardError,
    standardError,
    pValue: difference === 0
      ? 1
      : standardError === 0
      ? 0
      : Math.min(1, 2 * normalTail(Math.abs(difference) / standardError)),
  };
}

/** The area, and what each row contributes to it. */
interface Placed {
  readonly area: number;
  /** Share of the negatives below each positive, ties half. */
  readonly positives: Float64Array;
  /** Share of the positives above each negative, ties half. */
  readonly negatives: Float64Array;
}

function placeRows(rows: ScoredRows): Placed | null {
  checkScored(rows);
  const { scores, truth } = rows;
  const split = [0, 1].map((kind) =>
    Int32Array.from({ length: scores.length }, (_, i) => i).filter((i) => truth[i] === kind)
  );
  const [negative, positive] = split.map((rows) => Float64Array.from(rows, (i) => scores[i]));
  const m = positive.length;
  const n = negative.length;
  if (m < 2 || n < 2) return null;
  const all = new Float64Array(m + n);
  all.set(positive);
  all.set(negative, m);
  const ranks = rankMiddle(all);
  const own = [positive, negative].map(rankMiddle);
  const positives = Float64Array.from({ length: m }, (_, i) => (ranks[i] - own[0][i]) / n);
  const negatives = Float64Array.from({ length: n }, (_, j) => 1 - (ranks[m + j] - own[1][j]) / m);
  return { area: positives.reduce((a, b) => a + b, 0) / m, positives, negatives };
}

/** Ranks from 1; equal values share the mean of theirs. */
function rankMiddle(values: Float64Array): Float64Array {
  const order = Int32Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
  const ranks = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let place = start; place < end; place++) ranks[order[place]] = (start + end + 1) / 2;
    start = end;
  }
  return ranks;
}

function covary(a: Placed, b: Placed): number {
  const part = (x: Float64Array, y: Float64Array) => {
    const [mx, my] = [x, y].map((values) => values.reduce((s, v) => s + v, 0) / values.length);
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += (x[i] - mx) * (y[i] - my);
    return sum / (x.length - 1) / x.length;
  };
  return part(a.positives, b.positives) + part(a.negatives, b.negatives);
}
