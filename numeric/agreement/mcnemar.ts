/** Whether two who answered the same questions are right equally often. */
import { regularizedBeta } from "../special.ts";

/** Outcome of {@linkcode testMcNemar}. */
export interface McNemar {
  /** Rows that only the first got right. */
  readonly onlyFirst: number;
  /** Rows that only the second got right. */
  readonly onlySecond: number;
  /** Exact two-sided p-value of "both are right equally often"; 1 when they never differ. */
  readonly pValue: number;
}

/**
 * Compares what two got right (1) and wrong (0) on the same rows, both `[n]`, by McNemar's exact test.
 * Equals `statsmodels`' `mcnemar(exact=True)`.
 *
 * @throws {TypeError} when the lengths differ.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals, assertEquals } from "@std/assert";
 * import { testMcNemar } from "./mcnemar.ts";
 *
 * const { onlyFirst, onlySecond, pValue } = testMcNemar([1, 1, 1, 1], [0, 0, 0, 1]);
 * assertEquals([onlyFirst, onlySecond], [3, 0]);
 * assertAlmostEquals(pValue, 0.25);
 * ```
 *
 * @see McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions or
 * Percentages", Psychometrika 12(2), 1947
 */
export function testMcNemar(first: ArrayLike<number>, second: ArrayLike<number>): McNemar {
  if (first.length !== second.length) {
    throw new TypeError(`Cannot compare ${first.length} answers with ${second.length}`);
  }
  let onlyFirst = 0;
  let onlySecond = 0;
  for (let i = 0; i < first.length; i++) {
    if (first[i] > second[i]) onlyFirst++;
    else if (second[i] > first[i]) onlySecond++;
  }
  const fewer = Math.min(onlyFirst, onlySecond);
  const more = Math.max(onlyFirst, onlySecond);
  // P(X ≤ fewer) of a fair coin is the Beta distribution's value at one half.
  const pValue = fewer === more ? 1 : Math.min(1, 2 * regularizedBeta(more, fewer + 1, 0.5));
  return { onlyFirst, onlySecond, pValue };
}
