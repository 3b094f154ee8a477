/** Adaptive windowing: a window that is as long as its mean stays the same. */
import type { Detector } from "./detector.ts";

/** How {@linkcode Adwin} decides. */
export interface AdwinOptions {
  /** Bound in `(0, 1)` on the probability of a false cut at one look; 0.002 when left out. */
  readonly delta?: number;
  /** Values between two looks; 32 when left out. */
  readonly clock?: number;
  /** Buckets of each size; 5 when left out. More give finer cuts. */
  readonly buckets?: number;
  /** Fewest values on either side of a cut; 5 when left out. */
  readonly fewest?: number;
  /** Values before the first look; 10 when left out. */
  readonly warmUp?: number;
}

/** Buckets of one size, oldest first. */
interface Level {
  readonly sums: number[];
  /** Sum of squared deviations from the bucket's own mean. */
  readonly squares: number[];
}

/**
 * Keeps a window of the latest values and cuts it where the means of an older and a newer part differ
 * more than chance explains (a Bernstein bound with Bonferroni's correction), which is an alarm. It
 * needs no reference and no size of window. The bound is for values in `[0, 1]`, such as errors or
 * confidences; scale others. The window is kept as sums over buckets of 1, 2, 4, … values: memory
 * grows with the logarithm of its length, a value costs constant time on average and a look the
 * logarithm. Equals river's `ADWIN`.
 *
 * @throws {RangeError} when an option is out of its range.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { Adwin } from "./adwin.ts";
 *
 * const detector = new Adwin();
 * for (let i = 0; i < 992; i++) assert(!detector.update(i % 2));
 * let delay = 1;
 * while (!detector.update(1)) delay++;
 * assertEquals(delay, 64);
 * ```
 *
 * @see Bifet and Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", SIAM
 * International Conference on Data Mining 2007
 */
export class Adwin implements Detector {
  readonly #options: Required<AdwinOptions>;
  #levels: Level[] = [newLevel()];
  #width = 0;
  #sum = 0;
  #squares = 0;
  #ticks = 0;
  #isDone = false;

  constructor(
    { delta = 0.002, clock = 32, buckets = 5, fewest = 5, warmUp = 10 }: AdwinOptions = {},
  ) {
    if (!(delta > 0 && delta < 1)) {
      throw new RangeError(`Cannot cut windows with delta "${delta}": it is not in (0, 1)`);
    }
    for (const [name, value] of Object.entries({ clock, buckets, fewest, warmUp })) {
      if (!Number.isInteger(value) || value < 1) {
        throw new RangeError(
          `Cannot cut windows with ${name} "${value}": it is not an integer ≥ 1`,
        );
      }
    }
    this.#options = { delta, clock, buckets, fewest, warmUp };
  }

  /** Number of values in the window. */
  get width(): number {
    return this.#width;
  }

  /** Mean of the window; `null` when it is empty. */
  get mean(): number | null {
    return this.#width === 0 ? null : this.#sum / this.#width;
  }

  update(value: number): boolean {
    if (Number.isNaN(value)) return false;
    if (this.#isDone) this.#reset();
    this.#insert(value);
    this.#ticks++;
    if (this.#ticks % this.#options.clock === 0 && this.#width > this.#options.warmUp) {
      while (this.#cutOnce()) this.#isDone = true;
    }
    return this.#isDone;
  }

  #reset(): void {
    this.#levels = [newLevel()];
    this.#width =
      this.#sum =
      this.#squares =
      this.#ticks =
        0;
    this.#isDone = false;
  }

  #insert(value: number): void {
    this.#levels[0].sums.push(value);
    this.#levels[0].squares.push(0);
    if (this.#width > 0) {
      const gap = value - this.#sum / this.#width;
      this.#squares += this.#width * gap * gap / (this.#width + 1);
    }
    this.#width++;
    this.#sum += value;
    // Too many buckets of a size: the two oldest become one of twice the size.
    for (let level = 0; this.#levels[level].sums.length > this.#options.buckets; level++) {
      const { sums, squares } = this.#levels[level];
      const size = 2 ** level;
      const [a, b] = sums.splice(0, 2);
      const [va, vb] = squares.splice(0, 2);
      if (level + 1 === this.#levels.length) this.#levels.push(newLevel());
      this.#levels[level + 1].sums.push(a + b);
      this.#levels[level + 1].squares.push(va + vb + (a - b) ** 2 / (2 * size));
    }
  }

  /** Drops the oldest bucket when the window has a cut, and says whether it had. */
  #cutOnce(): boolean {
    let oldCount = 0;
    let oldSum = 0;
    for (let level = this.#levels.length - 1; level >= 0; level--) {
      for (const sum of this.#levels[level].sums) {
        oldCount += 2 ** level;
        oldSum += sum;
        if (this.#isCut(oldCount, oldSum)) {
          this.#dropOldest();
          return true;
        }
      }
    }
    return false;
  }

  #isCut(oldCount: number, oldSum: number): boolean {
    const { delta, fewest } = this.#options;
    const newCount = this.#width - oldCount;
    if (oldCount < fewest || newCount < fewest) return false;
    const gap = Math.abs(oldSum / oldCount - (this.#sum - oldSum) / newCount);
    const log = Math.log(2 * Math.log(this.#width) / delta);
    const m = 1 / (oldCount - fewest + 1) + 1 / (newCount - fewest + 1);
    const variance = this.#squares / this.#width;
    return gap > Math.sqrt(2 * m * variance * log) + 2 / 3 * log * m;
  }

  #dropOldest(): void {
    const top = this.#levels.length - 1;
    const size = 2 ** top;
    const sum = this.#levels[top].sums.shift()!;
    const squares = this.#levels[top].squares.shift()!;
    this.#width -= size;
    this.#sum -= sum;
    const gap = sum / size - this.#sum / this.#width;
    this.#squares -= squares + size * this.#width * gap * gap / (size + this.#width);
    if (this.#levels[top].sums.length === 0) this.#levels.pop();
  }
}

function newLevel(): Level {
  return { sums: [], squares: [] };
}
