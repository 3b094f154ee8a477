/** Whether two samples have the same mean. */
import { computeMean, computeStd } from "../statistics.ts";
import { studentTail } from "../special.ts";
import type { TestOutcome } from "./outcome.ts";

/** Outcome of {@linkcode testWelch}. */
export interface WelchOutcome extends TestOutcome {
  /** Degrees of freedom by Welch and Satterthwaite. */
  readonly degrees: number;
}

/**
 * Welch's t test, which does not take the variances for equal; `statistic` is positive when the
 * reference's mean is larger, and ±`Infinity` when two constants differ. `effect` is the correlation
 * that t stands for, `sqrt(t² / (t² + degrees))`. `NaN` does not count; a side with fewer than two
 * values gives `null`. Equals `scipy.stats.ttest_ind(equal_var=False)`. It sees a shift of the mean
 * and nothing else.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { testWelch } from "./means.ts";
 *
 * const { statistic, degrees } = testWelch([1, 2, 3], [2, 3, 4])!;
 * assertAlmostEquals(statistic, -Math.sqrt(1.5));
 * assertAlmostEquals(degrees, 4);
 * ```
 *
 * @see Welch, "The Generalization of Student's Problem…", Biometrika 34, 1947
 */
export function testWelch(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): WelchOutcome | null {
  const a = describe(reference);
  const b = describe(current);
  if (!a || !b) return null;
  const difference = a.mean - b.mean;
  const variance = a.error + b.error;
  if (variance === 0) {
    const degrees = a.count + b.count - 2;
    if (difference === 0) return { statistic: 0, pValue: 1, effect: 0, degrees };
    return { statistic: Math.sign(difference) * Infinity, pValue: 0, effect: 1, degrees };
  }
  const statistic = difference / Math.sqrt(variance);
  const degrees = variance ** 2 / (a.error ** 2 / (a.count - 1) + b.error ** 2 / (b.count - 1));
  return {
    statistic,
    pValue: Math.min(1, 2 * studentTail(Math.abs(statistic), degrees)),
    effect: Math.sqrt(statistic ** 2 / (statistic ** 2 + degrees)),
    degrees,
  };
}

/** Mean, size and squared standard error of the mean. */
function describe(
  values: ArrayLike<number>,
): { mean: number; count: number; error: number } | null {
  let count = 0;
  let isConstant = true;
  let first = NaN;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) continue;
    if (count++ === 0) first = values[i];
    else if (values[i] !== first) isConstant = false;
  }
  if (count < 2) return null;
  // Equal values are recognized by themselves: their computed variance need not be exactly 0.
  if (isConstant) return { mean: first, count, error: 0 };
  return { mean: computeMean(values)!, count, error: computeStd(values)! ** 2 / (count - 1) };
}
