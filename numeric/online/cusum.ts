/** Cumulative sums for a shift of the mean away from a reference. */
import { normalTail } from "../special.ts";
import { computeMean, computeStd, sortPresent } from "../statistics.ts";
import { checkState, type ResumableDetector, type ThresholdDetector } from "./detector.ts";

/** How {@linkcode Cusum} decides. */
export interface CusumOptions {
  /** Mean of the stream while nothing has changed. */
  readonly mean: number;
  /** Standard deviation > 0 of single values while nothing has changed. */
  readonly std: number;
  /**
   * Alarm above this many standard deviations; 5 when left out, one false alarm in 465 normal values.
   * See {@linkcode findCusumThreshold} and {@linkcode calibrateThreshold}.
   */
  readonly threshold?: number;
  /** Half of the shift to find fastest, in standard deviations; 0.5 when left out. */
  readonly allowance?: number;
}

/**
 * Watches for a shift of the mean in both directions: sums the standardized values less `allowance`,
 * never below 0, and alarms when a sum exceeds `threshold`. Of all rules with the same rate of false
 * alarms it finds a shift of twice the allowance fastest (Moustakides 1986). Time and memory per value
 * are constant.
 *
 * @throws {RangeError} when an option is out of its range.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { Cusum } from "./cusum.ts";
 *
 * const detector = new Cusum({ mean: 10, std: 2 });
 * for (let i = 0; i < 100; i++) assert(!detector.update(10));
 * let delay = 1;
 * while (!detector.update(14)) delay++;
 * assertEquals(delay, 4);
 * ```
 *
 * @see Montgomery, "Introduction to Statistical Quality Control", 6th edition, section 9.1
 */
export class Cusum implements ThresholdDetector, ResumableDetector {
  readonly #mean: number;
  readonly #scale: number;
  readonly #threshold: number;
  readonly #allowance: number;
  #high = 0;
  #low = 0;
  /** Values since a sum was last 0. */
  #highCount = 0;
  #lowCount = 0;

  constructor({ mean, std, threshold = 5, allowance = 0.5 }: CusumOptions) {
    if (!Number.isFinite(mean)) {
      throw new RangeError(`Cannot watch a mean of "${mean}": it is not finite`);
    }
    if (!(std > 0 && std < Infinity)) {
      throw new RangeError(`Cannot watch values of deviation "${std}": it is not > 0`);
    }
    if (!(threshold > 0)) {
      throw new RangeError(`Cannot detect changes above "${threshold}": it is not > 0`);
    }
    if (!(allowance >= 0)) {
      throw new RangeError(`Cannot allow for changes of "${allowance}": it is not ≥ 0`);
    }
    this.#mean = mean;
    this.#scale = 1 / std;
    this.#threshold = threshold;
    this.#allowance = allowance;
  }

  /**
   * Gives a detector whose mean and deviation are those of a reference.
   *
   * @throws {RangeError} when the reference has no two different values.
   */
  static of(
    reference: ArrayLike<number>,
    options: Omit<CusumOptions, "mean" | "std"> = {},
  ): Cusum {
    const values = sortPresent(reference);
    // Equal values are recognized by themselves: their computed deviation need not be exactly 0.
    if (values.length === 0 || values[0] === values[values.length - 1]) {
      throw new RangeError(
        `Cannot watch a stream of ${reference.length} reference values: no two of them differ`,
      );
    }
    return new Cusum({ ...options, mean: computeMean(values)!, std: computeStd(values)! });
  }

  /** In standard deviations. */
  get statistic(): number {
    return Math.max(this.#high, this.#low);
  }

  /** Since the sum that is higher was last 0. */
  get sinceChange(): number {
    return this.#high >= this.#low ? this.#highCount : this.#lowCount;
  }

  update(value: number): boolean {
    if (Number.isNaN(value)) return false;
    if (this.statistic > this.#threshold) {
      this.#high =
        this.#low =
        this.#highCount =
        this.#lowCount =
          0;
    }
    const z = (value - this.#mean) * this.#scale;
    this.#high = Math.max(0, this.#high + z - this.#allowance);
    this.#low = Math.max(0, this.#low - z - this.#allowance);
    this.#highCount = this.#high > 0 ? this.#highCount + 1 : 0;
    this.#lowCount = this.#low > 0 ? this.#lowCount + 1 : 0;
    return this.statistic > this.#threshold;
  }

  save(): number[] {
    return [this.#high, this.#low, this.#highCount, this.#lowCount];
  }

  restore(state: readonly number[]): void {
    checkState(state, 4);
    [this.#high, this.#low, this.#highCount, this.#lowCount] = state;
  }
}

/** Intervals of Simpson's rule; 100 give seven digits of the run length. */
const intervals = 100;

/**
 * Gives the mean number of values between false alarms (ARL0) of {@linkcode Cusum} on independent
 * normal values of known mean and deviation, to about six digits.
 *
 * @throws {RangeError} when the threshold is not > 0 or the allowance is below 0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureRunLength } from "./cusum.ts";
 *
 * // Montgomery, table 9.3
 * assertEquals(Math.round(measureRunLength({ threshold: 4, allowance: 0.5 })), 168);
 * assertEquals(Math.round(measureRunLength({ threshold: 5, allowance: 0.5 })), 465);
 * ```
 *
 * @see Goel and Wu, "Determination of A.R.L. and a Contour Nomogram for CUSUM Charts to Control
 * Normal Mean", Technometrics 13(2), 1971 (the integral equation of one side)
 */
export function measureRunLength(
  { threshold: h, allowance: k }: { readonly threshold: number; readonly allowance: number },
): number {
  if (!(h > 0)) throw new RangeError(`Cannot measure runs to "${h}": it is not > 0`);
  if (!(k >= 0)) throw new RangeError(`Cannot measure runs with allowance "${k}": it is not ≥ 0`);
  // L(z) = 1 + L(0) F(k - z) + integral of L(y) f(y + k - z) dy, with Simpson's nodes y: a chain of
  // states from which `escape` is the probability of an alarm.
  const size = intervals + 1;
  const step = h / intervals;
  const chain = new Float64Array(size * size);
  const escape = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    escape[i] = normalTail(h + k - i * step);
    for (let j = 0; j < size; j++) {
      const weight = j === 0 || j === intervals ? 1 : j % 2 === 1 ? 4 : 2;
      const x = j * step + k - i * step;
      chain[i * size + j] = weight * step / 3 * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
    }
    chain[i * size] += normalTail(i * step - k);
  }
  // Both sides run side by side, and 1 / L adds over them.
  return absorb(chain, escape) / 2;
}

/**
 * Mean number of steps from state 0 of a chain until it escapes. States are taken out from the last,
 * and a step's total is summed anew from what can happen, so that nothing cancels however long the run
 * is (Grassmann, Taksar and Heyman 1985).
 */
function absorb(chain: Float64Array, escape: Float64Array): number {
  const size = escape.length;
  const steps = new Float64Array(size).fill(1);
  for (let p = size - 1; p > 0; p--) {
    let total = escape[p];
    for (let j = 0; j < p; j++) total += chain[p * size + j];
    for (let i = 0; i < p; i++) {
      const share = chain[i * size + p] / total;
      for (let j = 0; j < p; j++) chain[i * size + j] += share * chain[p * size + j];
      escape[i] += share * escape[p];
      steps[i] += share * steps[p];
    }
  }
  return steps[0] / escape[0];
}

/** Longest mean run that the integral equation resolves in float64. */
const longestRun = 1e9;

/**
 * Gives the threshold, in standard deviations, with which {@linkcode Cusum} runs `runLength` values on
 * average between false alarms. That holds for independent normal values of known mean and deviation;
 * for others, and for a mean that is estimated, take {@linkcode calibrateThreshold}.
 *
 * @throws {RangeError} when `runLength` is not in `[2, 1e9]` or the allowance is not in `[0, 2]`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { findCusumThreshold } from "./cusum.ts";
 *
 * // Montgomery, table 9.4
 * assertAlmostEquals(findCusumThreshold({ runLength: 370, allowance: 0.5 }), 4.77, 0.01);
 * ```
 */
export function findCusumThreshold(
  { runLength, allowance = 0.5 }: { readonly runLength: number; readonly allowance?: number },
): number {
  if (!(runLength >= 2 && runLength <= longestRun)) {
    throw new RangeError(`Cannot run "${runLength}" values without alarm: it is not in [2, 1e9]`);
  }
  if (!(allowance >= 0 && allowance <= 2)) {
    throw new RangeError(`Cannot allow for changes of "${allowance}": it is not in [0, 2]`);
  }
  let low = 1e-6;
  let high = 1;
  while (measureRunLength({ threshold: high, allowance }) < runLength) {
    [low, high] = [high, 2 * high];
  }
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    if (measureRunLength({ threshold: middle, allowance }) < runLength) low = middle;
    else high = middle;
  }
  return high;
}
