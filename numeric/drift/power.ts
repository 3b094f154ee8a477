/**
 * What a test of two samples can see: its power at given sizes, the sizes it needs for an effect, and
 * the smallest effect it finds. And what many tests at once may claim.
 *
 * @module
 */
import { normalPoint, normalTail } from "../special.ts";

/**
 * Which test is planned, and so the unit of its effect:
 *
 * - `mean`: Welch's t or Student's t. The difference of the means in standard deviations (Cohen's d).
 *   The normal limit; below about 20 values a side the t test has less power.
 * - `proportion`: two proportions. Cohen's h, `|2 asin(sqrt(p)) - 2 asin(sqrt(q))|`
 *   ({@linkcode measureProportionEffect}). The normal limit of the arcsine transform.
 * - `ks`: Kolmogorov–Smirnov. The largest distance of the distribution functions, in `[0, 1]`. Massey's
 *   lower bound on the asymptotic power: at the point of the largest distance, the distance that is
 *   seen is normal with a deviation of at most `sqrt(1/n + 1/m) / 2`.
 */
export type PlannedTest = "mean" | "proportion" | "ks";

/** A question to a test: what it is given besides what it is asked. */
export interface Plan {
  readonly test: PlannedTest;
  /** Significance level in `(0, 1)`, two-sided; 0.05 when left out. */
  readonly alpha?: number;
}

/** How sizes n and m act on all three tests: as one sample of `n m / (n + m)` values. */
function effectiveSize(n: number, m: number): number {
  for (const size of [n, m]) {
    if (!(size >= 1)) throw new RangeError(`Cannot plan for "${size}" values: it is not ≥ 1`);
  }
  return n * m / (n + m);
}

function checkShare(name: string, share: number): number {
  if (!(share > 0 && share < 1)) {
    throw new RangeError(`Cannot plan with ${name} "${share}": it is not in (0, 1)`);
  }
  return share;
}

/** Smallest standardized distance that is significant. */
function criticalPoint({ test, alpha = 0.05 }: Plan): number {
  checkShare("alpha", alpha);
  return test === "ks" ? Math.sqrt(-Math.log(alpha / 2) / 2) : normalPoint(alpha / 2);
}

/** Deviation of the standardized distance. */
function spreadOf({ test }: Plan): number {
  return test === "ks" ? 0.5 : 1;
}

/**
 * Gives Cohen's h ≥ 0 of two proportions in `[0, 1]`.
 *
 * @throws {RangeError} when a proportion is not in `[0, 1]`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { measureProportionEffect } from "./power.ts";
 *
 * assertAlmostEquals(measureProportionEffect(0, 1), Math.PI);
 * ```
 *
 * @see Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd edition, 1988, chapter 6
 */
export function measureProportionEffect(p: number, q: number): number {
  for (const share of [p, q]) {
    if (!(share >= 0 && share <= 1)) {
      throw new RangeError(`Cannot compare proportion "${share}": it is not in [0, 1]`);
    }
  }
  return Math.abs(2 * Math.asin(Math.sqrt(p)) - 2 * Math.asin(Math.sqrt(q)));
}

/**
 * Gives the probability in `[0, 1]` that the test finds an effect ≥ 0 with `n` reference and `m`
 * current values. The approximation is that of {@linkcode PlannedTest}.
 *
 * @throws {RangeError} when a size is below 1, the effect below 0 or alpha outside `(0, 1)`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { estimatePower } from "./power.ts";
 *
 * const power = estimatePower({ test: "mean", effect: 0.5, n: 64, m: 64 });
 * assertAlmostEquals(power, 0.807, 1e-3);
 * ```
 *
 * @see Massey, "A Note on the Power of a Non-Parametric Test", Annals of Mathematical Statistics
 * 21(3), 1950
 */
export function estimatePower(
  plan: Plan & { readonly effect: number; readonly n: number; readonly m: number },
): number {
  if (!(plan.effect >= 0)) {
    throw new RangeError(`Cannot plan for effect "${plan.effect}": it is not ≥ 0`);
  }
  const shift = plan.effect * Math.sqrt(effectiveSize(plan.n, plan.m));
  const critical = criticalPoint(plan);
  const spread = spreadOf(plan);
  const power = normalTail((critical - shift) / spread);
  // The other side counts for the tests that are normal under the hypothesis: at no effect, alpha.
  const other = plan.test === "ks" ? 0 : normalTail((critical + shift) / spread);
  return Math.min(1, power + other);
}

/**
 * Gives the smallest effect that the test finds with a probability of `power` (0.8 when left out).
 *
 * @throws {RangeError} when a size is below 1 or a probability outside `(0, 1)`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { findDetectableEffect } from "./power.ts";
 *
 * assertAlmostEquals(findDetectableEffect({ test: "mean", n: 63, m: 63 }), 0.499, 1e-3);
 * ```
 */
export function findDetectableEffect(
  plan: Plan & { readonly n: number; readonly m: number; readonly power?: number },
): number {
  return neededDistance(plan, plan.power) / Math.sqrt(effectiveSize(plan.n, plan.m));
}

/** The standardized distance that is found with this power. */
function neededDistance(plan: Plan, power = 0.8): number {
  const needed = criticalPoint(plan) - spreadOf(plan) * normalPoint(checkShare("power", power));
  return Math.max(0, needed);
}

/**
 * Gives the number of current values, at least 1, with which the test finds an effect > 0 with a
 * probability of `power` (0.8 when left out), or `null` when no number is enough beside `n` reference
 * values. Without `n`, both sides have the same number.
 *
 * @throws {RangeError} when the effect is not > 0, `n` below 1 or a probability outside `(0, 1)`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { findSampleSize } from "./power.ts";
 *
 * assertEquals(findSampleSize({ test: "mean", effect: 0.5 }), 63);
 * assertEquals(findSampleSize({ test: "mean", effect: 0.5, n: 1000 }), 33);
 * assertEquals(findSampleSize({ test: "mean", effect: 0.5, n: 20 }), null);
 * ```
 */
export function findSampleSize(
  plan: Plan & { readonly effect: number; readonly n?: number; readonly power?: number },
): number | null {
  if (!(plan.effect > 0)) {
    throw new RangeError(`Cannot plan for effect "${plan.effect}": it is not > 0`);
  }
  const needed = (neededDistance(plan, plan.power) / plan.effect) ** 2;
  if (plan.n === undefined) return Math.max(1, Math.ceil(2 * needed));
  effectiveSize(plan.n, 1);
  if (plan.n <= needed) return null;
  return Math.max(1, Math.ceil(needed * plan.n / (plan.n - needed)));
}

/**
 * Adjusts the p-values of many tests (Benjamini and Hochberg): calling those drifted whose adjusted
 * value is below q makes the expected share of false ones among them at most q, for tests that are
 * independent or depend positively. `null`, a test without data, stays `null` and does not count.
 * Equals `scipy.stats.false_discovery_control`.
 *
 * @throws {RangeError} when a p-value is not in `[0, 1]`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { adjustPValues } from "./power.ts";
 *
 * assertEquals(adjustPValues([0.01, null, 0.5, 0.02]), [0.03, null, 0.5, 0.03]);
 * ```
 *
 * @see Benjamini and Hochberg, "Controlling the False Discovery Rate", Journal of the Royal
 * Statistical Society B 57(1), 1995
 */
export function adjustPValues(pValues: readonly (number | null)[]): (number | null)[] {
  const adjusted: (number | null)[] = pValues.map(() => null);
  const order = pValues.flatMap((p, i) => {
    if (p === null) return [];
    if (!(p >= 0 && p <= 1)) {
      throw new RangeError(`Cannot adjust p-value "${p}": it is not in [0, 1]`);
    }
    return [{ p, i }];
  }).sort((a, b) => b.p - a.p);
  let least = 1;
  order.forEach(({ p, i }, place) => {
    least = Math.min(least, p * order.length / (order.length - place));
    adjusted[i] = least;
  });
  return adjusted;
}
