/**
 * Tests and intervals that hold however often one looks: e-processes, whose values are bets against
 * a hypothesis. Under the hypothesis no strategy of stopping lets a bet of 1 grow to `1 / alpha` with
 * a probability above `alpha` (Ville's inequality), so a result may be read after every observation.
 *
 * An observation is the outcome of one unit, in `[0, 1]`: right or wrong, or the share of a group that
 * was right. What is assumed is that its mean, given everything before it, is the one in question.
 * Neighbors that are alike break that: make a group of them one unit.
 *
 * @see Ramdas, Grünwald, Vovk and Shafer, "Game-Theoretic Statistics and Safe Anytime-Valid
 * Inference", Statistical Science 38(4), 2023
 * @module
 */
import {
  checkAlpha,
  logRateEvidence,
  rateOf,
  type SequentialOptions,
  type Tally,
  toEValue,
} from "./rates.ts";

/** What a test has seen so far. */
export interface SequentialOutcome {
  /** Observations so far. */
  readonly count: number;
  /** Evidence now: what a bet of 1 against "equal" has become; at most 1e300. */
  readonly eValue: number;
  /** Always-valid p-value in `(0, 1]`: the inverse of the largest e-value so far. */
  readonly pValue: number;
  /**
   * 1 when the challenger is better, -1 when the champion is, decided when the e-value first reached
   * `1 / alpha`; 0 while it has not. Whatever is true, the wrong one is ever named with a probability
   * of at most `alpha`.
   */
  readonly decision: -1 | 0 | 1;
}

/** Keeps the largest evidence and the decision of a stream of e-values. */
class Evidence {
  readonly #threshold: number;
  #largest = 0;
  #now = 0;
  #decision: -1 | 0 | 1 = 0;

  constructor(alpha: number) {
    this.#threshold = -Math.log(checkAlpha(alpha));
  }

  update(logE: number, direction: number): void {
    this.#now = logE;
    this.#largest = Math.max(this.#largest, logE);
    if (this.#decision === 0 && logE >= this.#threshold) {
      this.#decision = direction > 0 ? 1 : -1;
    }
  }

  read(count: number): SequentialOutcome {
    return {
      count,
      eValue: toEValue(this.#now),
      pValue: Math.exp(-this.#largest),
      decision: this.#decision,
    };
  }
}

/**
 * Compares two classifiers on the same units: an observation is the challenger's outcome minus the
 * champion's, in `[-1, 1]`. Under "equal" its mean is 0, so a gambler who stakes the share `l` of the
 * capital on the challenger multiplies it by `1 + l * difference` and gains nothing on average. The
 * e-value is the mean capital of many gamblers, their stakes spread evenly over `(-1, 1)`: half of
 * them bet on each side, so the decision has a direction.
 *
 * For outcomes right and wrong that is the betting form of McNemar's test: units on which both agree
 * say nothing, and w wins and l losses make `2**(w + l) * B(w + 1, l + 1)`, up to 255 of them exactly
 * and beyond as the capital of 128 gamblers.
 *
 * @throws {RangeError} when `alpha` is not in `(0, 1)` or a difference not in `[-1, 1]`.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { PairedTest } from "./sequential.ts";
 *
 * const test = new PairedTest();
 * for (let i = 0; i < 8; i++) test.add(1);
 * test.add(0);
 * const { eValue, decision } = test.read();
 * assert(Math.abs(eValue - 2 ** 8 / 9) < 1e-9);
 * assertEquals(decision, 1);
 * ```
 *
 * @see Waudby-Smith and Ramdas, "Estimating Means of Bounded Random Variables by Betting", Journal
 * of the Royal Statistical Society B 86(1), 2024
 */
export class PairedTest {
  readonly #evidence: Evidence;
  readonly #capital = new Float64Array(gamblers.stakes.length);
  #sum = 0;
  #count = 0;

  constructor({ alpha = 0.05 }: SequentialOptions = {}) {
    this.#evidence = new Evidence(alpha);
  }

  /** Adds one unit's difference, the challenger's outcome minus the champion's. */
  add(difference: number): void {
    if (!(difference >= -1 && difference <= 1)) {
      throw new RangeError(`Cannot add difference "${difference}": it is not in [-1, 1]`);
    }
    this.#count++;
    if (difference === 0) return;
    this.#sum += difference;
    const { stakes, logWeights } = gamblers;
    let largest = -Infinity;
    for (let k = 0; k < stakes.length; k++) {
      this.#capital[k] += Math.log1p(stakes[k] * difference);
      largest = Math.max(largest, this.#capital[k]);
    }
    let mean = 0;
    for (let k = 0; k < stakes.length; k++) {
      mean += Math.exp(logWeights[k] + this.#capital[k] - largest);
    }
    this.#evidence.update(largest + Math.log(mean), this.#sum);
  }

  read(): SequentialOutcome {
    return this.#evidence.read(this.#count);
  }
}

/** Stakes in `(-1, 1)` and the logarithms of their shares: nodes and weights of Gauss and Legendre. */
const gamblers = spreadStakes(128);

function spreadStakes(count: number): { stakes: Float64Array; logWeights: Float64Array } {
  const stakes = new Float64Array(count);
  const logWeights = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    let x = Math.cos(Math.PI * (i + 0.75) / (count + 0.5));
    let slope = 0;
    for (let step = 0; step < 50; step++) {
      const { value, derivative } = legendre(count, x);
      slope = derivative;
      const change = value / derivative;
      x -= change;
      if (Math.abs(change) < 1e-15) break;
    }
    stakes[i] = x;
    // The weights sum to 2, the length of the interval; the gamblers' to 1.
    logWeights[i] = -Math.log((1 - x * x) * slope * slope);
  }
  return { stakes, logWeights };
}

/** The Legendre polynomial of a degree ≥ 1 at x, by Bonnet's recursion. */
function legendre(degree: number, x: number): { value: number; derivative: number } {
  let before = 1;
  let value = x;
  for (let n = 2; n <= degree; n++) {
    [before, value] = [value, ((2 * n - 1) * x * value - (n - 1) * before) / n];
  }
  return { value, derivative: degree * (x * value - before) / (x * x - 1) };
}

/**
 * Compares two classifiers on units of their own, whichever of the two each next unit goes to. The
 * e-value is that of {@linkcode measureRateEvidence}.
 *
 * @throws {RangeError} when `alpha` is not in `(0, 1)` or an outcome not in `[0, 1]`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { UnpairedTest } from "./sequential.ts";
 *
 * const test = new UnpairedTest();
 * for (let i = 0; i < 20; i++) {
 *   test.add("champion", i % 2);
 *   test.add("challenger", 1);
 * }
 * assertEquals(test.read().decision, 1);
 * ```
 */
export class UnpairedTest {
  readonly #evidence: Evidence;
  readonly #tallies: Record<"champion" | "challenger", Tally> = {
    champion: { successes: 0, failures: 0 },
    challenger: { successes: 0, failures: 0 },
  };
  #count = 0;

  constructor({ alpha = 0.05 }: SequentialOptions = {}) {
    this.#evidence = new Evidence(alpha);
  }

  /** Adds the outcome of one unit. */
  add(arm: "champion" | "challenger", outcome: number): void {
    if (!(outcome >= 0 && outcome <= 1)) {
      throw new RangeError(`Cannot add outcome "${outcome}": it is not in [0, 1]`);
    }
    this.#count++;
    const { successes, failures } = this.#tallies[arm];
    this.#tallies[arm] = { successes: successes + outcome, failures: failures + 1 - outcome };
    const { champion, challenger } = this.#tallies;
    this.#evidence.update(
      logRateEvidence(champion, challenger),
      rateOf(challenger) - rateOf(champion),
    );
  }

  read(): SequentialOutcome {
    return this.#evidence.read(this.#count);
  }
}
