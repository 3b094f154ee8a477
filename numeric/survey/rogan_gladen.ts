/** Rates seen through a test that errs. */
import { type SurveyEstimate, z95 } from "./design.ts";

/** What an imperfect test said, and how well it is known to work. */
export interface TestedRate {
  /** Share of positive answers in `[0, 1]`, … */
  readonly rate: number;
  /** … over this many rows; of a sample with weights, the effective number. */
  readonly rows: number;
  /** Share of true positives that the test calls so, … */
  readonly sensitivity: number;
  /** … over this many of them. */
  readonly positives: number;
  /** Share of true negatives that the test calls so, … */
  readonly specificity: number;
  /** … over this many of them. */
  readonly negatives: number;
}

/**
 * Gives the true rate of positives with its 95 % interval, both cut at 0 and 1: Rogan and Gladen's
 * estimate, the interval by Lang and Reiczigel, which knows that sensitivity and specificity were
 * estimated, too. `null` when nothing was tested, or the test is no better than a coin
 * (sensitivity + specificity ≤ 1): no correction exists then.
 *
 * @throws {RangeError} when a share is not in `[0, 1]` or a number of rows is negative.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { correctRate } from "./rogan_gladen.ts";
 *
 * const { value } = correctRate({
 *   rate: 0.3,
 *   rows: 1000,
 *   sensitivity: 0.9,
 *   positives: 100,
 *   specificity: 0.8,
 *   negatives: 100,
 * })!;
 * assertAlmostEquals(value, 1 / 7);
 * ```
 *
 * @see Rogan and Gladen, "Estimating Prevalence from the Results of a Screening Test", American Journal
 * of Epidemiology 107(1), 1978
 * @see Lang and Reiczigel, "Confidence Limits for Prevalence of Disease Adjusted for Estimated
 * Sensitivity and Specificity", Preventive Veterinary Medicine 113(1), 2014
 */
export function correctRate(tested: TestedRate): SurveyEstimate | null {
  const { rate, rows, sensitivity, positives, specificity, negatives } = tested;
  for (const share of [rate, sensitivity, specificity]) {
    if (share >= 0 && share <= 1) continue;
    throw new RangeError(`Cannot correct a rate by "${share}": it is not in [0, 1]`);
  }
  for (const count of [rows, positives, negatives]) {
    if (count >= 0) continue;
    throw new RangeError(`Cannot correct a rate over "${count}" rows: it is negative`);
  }
  const power = sensitivity + specificity - 1;
  if (rows === 0 || positives === 0 || negatives === 0 || power <= 0) return null;
  const value = clamp((rate + specificity - 1) / power);

  // Agresti and Coull's additions: z² rows to the rate, one of either answer to the others.
  const square = z95 ** 2;
  const [n, nSe, nSp] = [rows + square, positives + 2, negatives + 2];
  const p = (rows * rate + square / 2) / n;
  const se = (positives * sensitivity + 1) / nSe;
  const sp = (negatives * specificity + 1) / nSp;
  const adjustedPower = se + sp - 1;
  if (adjustedPower <= 0) return null;
  const center = clamp((p + sp - 1) / adjustedPower);
  const fromSe = center ** 2 * se * (1 - se) / nSe;
  const fromSp = (1 - center) ** 2 * sp * (1 - sp) / nSp;
  const standardError = Math.sqrt(p * (1 - p) / n + fromSe + fromSp) / adjustedPower;
  const shift = 2 * square *
    (center * se * (1 - se) / nSe - (1 - center) * sp * (1 - sp) / nSp);
  return {
    value,
    low: clamp(center + shift - z95 * standardError),
    high: clamp(center + shift + z95 * standardError),
    standardError,
    rows,
  };
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
