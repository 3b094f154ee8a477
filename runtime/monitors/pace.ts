/**
 * Work that takes long beside a server: it gives way every few milliseconds, for so long that it has a
 * given share of the time. What it waits for (queries, transactions) is work, too, since they take the
 * same processors.
 *
 * @module
 */
import { sleep } from "../sleep.ts";

/** Work of less gives no way. */
const SLICE_MS = 2;

/** Longest rest, so that a long query does not put off the rest of the work for minutes. */
const MOST_REST_MS = 2_000;

/**
 * Gives way within work that takes long.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Pace } from "./pace.ts";
 *
 * const pace = new Pace(1); // nobody waits beside it
 * await pace.rest();
 * assertEquals(pace.restedMs, 0);
 * ```
 */
export class Pace {
  readonly #share: number;
  readonly #signal: AbortSignal;
  #from = performance.now();
  #restedMs = 0;

  /** Work that has this share of the time, in `(0, 1]`; all of it gives no way. */
  constructor(share: number, signal: AbortSignal = new AbortController().signal) {
    this.#share = share;
    this.#signal = signal;
  }

  /** Milliseconds of rest so far: they are nobody's cost. */
  get restedMs(): number {
    return this.#restedMs;
  }

  /**
   * Gives way when there was work enough since the last time.
   * @throws the signal's reason when it is aborted.
   */
  async rest(): Promise<void> {
    if (this.#share === 1) return;
    const start = performance.now();
    const workedMs = start - this.#from;
    if (workedMs < SLICE_MS) return;
    await sleep(Math.min(MOST_REST_MS, workedMs * (1 / this.#share - 1)), this.#signal);
    this.#signal.throwIfAborted();
    this.#from = performance.now();
    this.#restedMs += this.#from - start;
  }
}
