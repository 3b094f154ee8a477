/** Adaptive windowing: a window that is as long as its mean stays the same. */
import { checkState, type ResumableDetector } from "./detector.ts";

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

/** Buckets of one size, oldest first, in place: what a window needs is made when it has grown to it. */
class Level {
  count = 0;
  readonly sums: Float64Array;
  /** Sums of squared deviations from the bucket's own mean. */
  readonly squares: Float64Array;

  constructor(buckets: number) {
    this.sums = new Float64Array(buckets);
    this.squares = new Float64Array(buckets);
  }

  push(sum: number, squares: number): void {
    this.sums[this.count] = sum;
    this.squares[this.count++] = squares;
  }

  /** Takes the oldest out. */
  drop(buckets: number): void {
    this.sums.copyWithin(0, buckets, this.count);
    this.squares.copyWithin(0, buckets, this.count);
    this.count -= buckets;
  }
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
export class Adwin implements ResumableDetector {
  readonly #options: Required<AdwinOptions>;
  readonly #levels: Level[];
  /** Levels in use: those above have no bucket. */
  #depth = 1;
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
    this.#levels = [new Level(buckets + 1)];
  }

  /** Number of values in the window. */
  get width(): number {
    return this.#width;
  }

  /** Mean of the window; `null` when it is empty. */
  get mean(): number | null {
    return this.#width === 0 ? null : this.#sum / this.#width;
  }

  /** The window, from which a change cuts all that was before it. */
  get sinceChange(): number {
    return this.#width;
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

  save(): number[] {
    const state = [this.#width, this.#sum, this.#squares, this.#ticks, Number(this.#isDone)];
    for (const { count, sums, squares } of this.#levels.slice(0, this.#depth)) {
      state.push(count, ...sums.subarray(0, count), ...squares.subarray(0, count));
    }
    return state;
  }

  restore(state: readonly number[]): void {
    checkState(state, state.length);
    let at = 5;
    let depth = 0;
    let width = 0;
    for (; at < state.length; depth++) {
      const count = this.#checkCount(state[at]);
      width += count * 2 ** depth;
      at += 1 + 2 * count;
    }
    // What does not end with a level is no window.
    if (at !== state.length || depth === 0) checkState(state, Math.max(at, state.length + 1));
    if (width !== state[0]) {
      throw new RangeError(
        `Cannot restore a window of "${state[0]}" values: its buckets hold ${width}`,
      );
    }
    [this.#width, this.#sum, this.#squares, this.#ticks] = state;
    this.#isDone = state[4] === 1;
    this.#depth = depth;
    at = 5;
    for (let i = 0; i < depth; i++) {
      if (i === this.#levels.length) this.#levels.push(new Level(this.#options.buckets + 1));
      const level = this.#levels[i];
      level.count = state[at++];
      level.sums.set(state.slice(at, at += level.count));
      level.squares.set(state.slice(at, at += level.count));
    }
  }

  #checkCount(count: number): number {
    const { buckets } = this.#options;
    if (Number.isInteger(count) && count >= 0 && count <= buckets) return count;
    throw new RangeError(
      `Cannot restore a level of "${count}" buckets: the detector has at most ${buckets}`,
    );
  }

  #reset(): void {
    this.#depth = 1;
    this.#levels[0].count = 0;
    this.#width =
      this.#sum =
      this.#squares =
      this.#ticks =
        0;
    this.#isDone = false;
  }

  #insert(value: number): void {
    this.#levels[0].push(value, 0);
    if (this.#width > 0) {
      const gap = value - this.#sum / this.#width;
      this.#squares += this.#width * gap * gap / (this.#width + 1);
    }
    this.#width++;
    this.#sum += value;
    // Too many buckets of a size: the two oldest become one of twice the size.
    for (let i = 0; this.#levels[i].count > this.#options.buckets; i++) {
      const level = this.#levels[i];
      const a = level.sums[0];
      const b = level.sums[1];
      const va = level.squares[0];
      const vb = level.squares[1];
      level.drop(2);
      if (i + 1 === this.#depth) this.#deepen();
      this.#levels[i + 1].push(a + b, va + vb + (a - b) ** 2 / (2 * 2 ** i));
    }
  }

  #deepen(): void {
    if (this.#depth === this.#levels.length) {
      this.#levels.push(new Level(this.#options.buckets + 1));
    }
    this.#levels[this.#depth++].count = 0;
  }

  /** Drops the oldest bucket when the window has a cut, and says whether it had. */
  #cutOnce(): boolean {
    let oldCount = 0;
    let oldSum = 0;
    for (let i = this.#depth - 1; i >= 0; i--) {
      const { count, sums } = this.#levels[i];
      for (let j = 0; j < count; j++) {
        oldCount += 2 ** i;
        oldSum += sums[j];
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
    const top = this.#depth - 1;
    const size = 2 ** top;
    const level = this.#levels[top];
    const sum = level.sums[0];
    const squares = level.squares[0];
    level.drop(1);
    this.#width -= size;
    this.#sum -= sum;
    const gap = sum / size - this.#sum / this.#width;
    this.#squares -= squares + size * this.#width * gap * gap / (size + this.#width);
    if (level.count === 0) this.#depth--;
  }
}
