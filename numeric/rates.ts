/**
 * Rates of outcomes in `[0, 1]`: evidence that two of them differ and intervals around one, both valid
 * however often one looks.
 *
 * @module
 */
import { logGamma } from "./special.ts";

/** How sure a test is to be. */
export interface SequentialOptions {
  /** Greatest probability of a wrong decision, in `(0, 1)`; default 0.05. */
  readonly alpha?: number;
}

/** Sums of outcomes of one arm; outcomes in `[0, 1]` may be fractions. */
export interface Tally {
  /** Sum of the outcomes. */
  readonly successes: number;
  /** Sum of 1 minus the outcomes. */
  readonly failures: number;
}

/** JSON has no infinity, and evidence of this size needs none. */
const MAX_LOG = 300 * Math.LN10;

/** Gives an e-value from its logarithm, at most 1e300. */
export function toEValue(log: number): number {
  return Math.exp(Math.min(log, MAX_LOG));
}

/**
 * Gives the e-value ≥ 0 against "both arms have the same rate": the likelihood of each arm's outcomes
 * averaged over all rates (Beta(½, ½)), over the greatest that one common rate can reach. It is exact
 * for any number of outcomes, valid at any time and for any way of sending units to arms; it also
 * stands against "the arm that looks better is not". An arm without outcomes gives at most 1.
 *
 * @throws {RangeError} when a tally is negative or not finite.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { measureRateEvidence } from "./rates.ts";
 *
 * const baseline = { successes: 0, failures: 27 };
 * assert(measureRateEvidence(baseline, { successes: 1, failures: 2 }) < 1);
 * assert(measureRateEvidence(baseline, { successes: 3, failures: 0 }) > 100);
 * ```
 *
 * @see Wasserman, Ramdas and Balakrishnan, "Universal Inference", PNAS 117(29), 2020, section 8
 */
export function measureRateEvidence(a: Tally, b: Tally): number {
  checkTally(a);
  checkTally(b);
  return toEValue(logRateEvidence(a, b));
}

/** The logarithm of {@linkcode measureRateEvidence}, of tallies that were checked. */
export function logRateEvidence(a: Tally, b: Tally): number {
  const successes = a.successes + b.successes;
  const failures = a.failures + b.failures;
  const total = successes + failures;
  const common = xLog(successes, successes / total) + xLog(failures, failures / total);
  return logMixture(a) + logMixture(b) - common;
}

/** Logarithm of the likelihood averaged over Beta(½, ½). */
function logMixture({ successes, failures }: Tally): number {
  return logBeta(successes + 0.5, failures + 0.5) - Math.log(Math.PI);
}

/** Gives the mean of the outcomes, ½ when there are none. */
export function rateOf({ successes, failures }: Tally): number {
  const total = successes + failures;
  return total === 0 ? 0.5 : successes / total;
}

/** `x * ln(y)`, 0 when x is. */
function xLog(x: number, y: number): number {
  return x === 0 ? 0 : x * Math.log(y);
}

/** A mean with the ends of an interval around it. */
export interface RateInterval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Gives the mean of outcomes in `[0, 1]` with an interval that holds at all times at once with a
 * probability of `1 - alpha`, or `null` without outcomes: the rates that the Beta(½, ½) mixture has
 * not made improbable.
 *
 * @throws {RangeError} when a tally is negative or not finite, or `alpha` not in `(0, 1)`.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { computeRateInterval } from "./rates.ts";
 *
 * const { value, low, high } = computeRateInterval({ successes: 90, failures: 10 })!;
 * assertEquals(value, 0.9);
 * assert(low > 0.75 && low < 0.9 && high > 0.9 && high < 0.98);
 * assertEquals(computeRateInterval({ successes: 0, failures: 0 }), null);
 * ```
 *
 * @see Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", Annals of
 * Mathematical Statistics 41(5), 1970
 */
export function computeRateInterval(
  tally: Tally,
  { alpha = 0.05 }: SequentialOptions = {},
): RateInterval | null {
  checkTally(tally);
  const limit = -Math.log(checkAlpha(alpha));
  const { successes, failures } = tally;
  if (successes + failures === 0) return null;
  const value = rateOf(tally);
  const evidence = (rate: number) =>
    logMixture(tally) - xLog(successes, rate) - xLog(failures, 1 - rate);
  return {
    value,
    low: findEdge(evidence, limit, [0, value]),
    high: findEdge(evidence, limit, [1, value]),
  };
}

/** Where evidence that falls from `outside` to `inside` passes the limit, by bisection. */
function findEdge(
  evidence: (rate: number) => number,
  limit: number,
  [outside, inside]: [number, number],
): number {
  if (evidence(outside) <= limit) return outside;
  for (let i = 0; i < 60; i++) {
    const middle = (outside + inside) / 2;
    if (evidence(middle) > limit) outside = middle;
    else inside = middle;
  }
  return outside;
}

/** Gives `alpha`. @throws {RangeError} when it is not in `(0, 1)`. */
export function checkAlpha(alpha: number): number {
  if (alpha > 0 && alpha < 1) return alpha;
  throw new RangeError(`Cannot test with alpha "${alpha}": it is not in (0, 1)`);
}

function checkTally({ successes, failures }: Tally): void {
  for (const sum of [successes, failures]) {
    if (sum >= 0 && sum < Infinity) continue;
    throw new RangeError(`Cannot tally "${sum}" outcomes: it is not a finite number ≥ 0`);
  }
}

/**
 * Gives the natural logarithm of the Beta function for positive arguments, to about 14 digits of the
 * largest of its parts.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { logBeta } from "./rates.ts";
 *
 * assert(Math.abs(logBeta(3, 4) - Math.log(1 / 60)) < 1e-13);
 * ```
 */
export function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}
