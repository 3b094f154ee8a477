/** Page and Hinkley's test for a change of a stream's mean. */
import { checkState, type ResumableDetector, type ThresholdDetector } from "./detector.ts";

/** How {@linkcode PageHinkley} decides. */
export interface PageHinkleyOptions {
  /** Alarm above this, in the values' unit; 50 when left out. See {@linkcode calibrateThreshold}. */
  readonly threshold?: number;
  /** Change that does not matter, in the values' unit; 0.005 when left out. */
  readonly tolerance?: number;
  /** Factor in `(0, 1]` by which the past is forgotten at every value; 0.9999 when left out. */
  readonly memory?: number;
  /** Values before the first alarm; 30 when left out. */
  readonly warmUp?: number;
}

/**
 * Watches the mean in both directions: sums how far values lie from the mean so far, less `tolerance`,
 * and alarms when the sum rises from its lowest point, or falls from its highest, by more than
 * `threshold`. It needs no reference. Time and memory per value are constant; equals river's
 * `PageHinkley`.
 *
 * @throws {RangeError} when an option is out of its range.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { PageHinkley } from "./page_hinkley.ts";
 *
 * const detector = new PageHinkley({ threshold: 5 });
 * for (let i = 0; i < 100; i++) assert(!detector.update(i % 2));
 * let delay = 1;
 * while (!detector.update(2)) delay++;
 * assertEquals(delay, 3);
 * ```
 *
 * @see Page, "Continuous Inspection Schemes", Biometrika 41, 1954
 * @see Gama et al., "A Survey on Concept Drift Adaptation", ACM Computing Surveys 46(4), 2014
 */
export class PageHinkley implements ThresholdDetector, ResumableDetector {
  readonly #threshold: number;
  readonly #tolerance: number;
  readonly #memory: number;
  readonly #warmUp: number;
  #count = 0;
  #mean = 0;
  #rise = 0;
  #fall = 0;
  #lowest = Infinity;
  #highest = -Infinity;
  /** Values since the lowest and the highest point. */
  #sinceLowest = 0;
  #sinceHighest = 0;
  #isDone = false;

  constructor(
    { threshold = 50, tolerance = 0.005, memory = 0.9999, warmUp = 30 }: PageHinkleyOptions = {},
  ) {
    if (!(threshold > 0)) {
      throw new RangeError(`Cannot detect changes above "${threshold}": it is not > 0`);
    }
    if (!(tolerance >= 0)) {
      throw new RangeError(`Cannot tolerate changes of "${tolerance}": it is not ≥ 0`);
    }
    if (!(memory > 0 && memory <= 1)) {
      throw new RangeError(`Cannot remember with factor "${memory}": it is not in (0, 1]`);
    }
    if (!Number.isInteger(warmUp) || warmUp < 1) {
      throw new RangeError(`Cannot warm up over "${warmUp}" values: it is not an integer ≥ 1`);
    }
    this.#threshold = threshold;
    this.#tolerance = tolerance;
    this.#memory = memory;
    this.#warmUp = warmUp;
  }

  /** In the values' unit; 0 while it warms up. */
  get statistic(): number {
    if (this.#count < this.#warmUp) return 0;
    return Math.max(this.#rise - this.#lowest, this.#highest - this.#fall);
  }

  /** Since the point that the sum has moved away from farthest. */
  get sinceChange(): number {
    const hasRisen = this.#rise - this.#lowest >= this.#highest - this.#fall;
    return hasRisen ? this.#sinceLowest : this.#sinceHighest;
  }

  update(value: number): boolean {
    if (Number.isNaN(value)) return false;
    if (this.#isDone) this.#reset();
    this.#count++;
    this.#mean += (value - this.#mean) / this.#count;
    const deviation = value - this.#mean;
    this.#rise = this.#memory * this.#rise + deviation - this.#tolerance;
    this.#fall = this.#memory * this.#fall + deviation + this.#tolerance;
    this.#sinceLowest++;
    this.#sinceHighest++;
    if (this.#rise < this.#lowest) {
      this.#lowest = this.#rise;
      this.#sinceLowest = 0;
    }
    if (this.#fall > this.#highest) {
      this.#highest = this.#fall;
      this.#sinceHighest = 0;
    }
    this.#isDone = this.statistic > this.#threshold;
    return this.#isDone;
  }

  /** Nothing, while it has read nothing: its extremes are no numbers for JSON then. */
  save(): number[] {
    if (this.#count === 0) return [];
    return [
      Number(this.#isDone),
      this.#count,
      this.#mean,
      this.#rise,
      this.#fall,
      this.#lowest,
      this.#highest,
      this.#sinceLowest,
      this.#sinceHighest,
    ];
  }

  restore(state: readonly number[]): void {
    if (state.length === 0) return this.#reset();
    checkState(state, 9);
    this.#isDone = state[0] === 1;
    this.#count = state[1];
    this.#mean = state[2];
    this.#rise = state[3];
    this.#fall = state[4];
    this.#lowest = state[5];
    this.#highest = state[6];
    this.#sinceLowest = state[7];
    this.#sinceHighest = state[8];
  }

  #reset(): void {
    this.#count =
      this.#mean =
      this.#rise =
      this.#fall =
      this.#sinceLowest =
      this.#sinceHighest =
        0;
    this.#lowest = Infinity;
    this.#highest = -Infinity;
    this.#isDone = false;
  }
}
