/** What one label set of a metric counts: numbers in place, and no object for an observation. */

/** A request that an observation can be followed back to. */
export interface Exemplar {
  readonly requestId: string;
  readonly traceId: string | null;
  readonly time: Date;
}

/** A number that only goes up. */
export class Counter {
  #value = 0;

  get value(): number {
    return this.#value;
  }

  inc(by = 1): void {
    this.#value += by;
  }
}

/** A number that goes anywhere. */
export class Gauge {
  value = 0;

  set(value: number): void {
    this.value = value;
  }
}

/**
 * Counts observations by buckets `(…, bound]`, the last one without a bound, and keeps of each bucket
 * the latest request that fell into it.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Histogram } from "./histogram.ts";
 *
 * const histogram = new Histogram(Float64Array.of(0.1, 1));
 * for (const seconds of [0.05, 0.1, 5]) histogram.observe(seconds);
 * assertEquals(histogram.counts, Float64Array.of(2, 0, 1));
 * assertEquals(histogram.count, 3);
 * ```
 */
export class Histogram {
  /** Ascending. */
  readonly bounds: Float64Array;
  /** Observations of each bucket alone, `[bounds + 1]`. */
  readonly counts: Float64Array;
  readonly #values: Float64Array;
  readonly #times: Float64Array;
  readonly #requestIds: string[];
  readonly #traceIds: (string | null)[];
  #sum = 0;

  constructor(bounds: Float64Array) {
    const buckets = bounds.length + 1;
    this.bounds = bounds;
    this.counts = new Float64Array(buckets);
    this.#values = new Float64Array(buckets);
    this.#times = new Float64Array(buckets);
    this.#requestIds = new Array(buckets).fill("");
    this.#traceIds = new Array(buckets).fill(null);
  }

  /** A histogram of what was counted elsewhere: observations of each bucket alone, and their sum. */
  static of(bounds: Float64Array, counts: Float64Array, sum: number): Histogram {
    const histogram = new Histogram(bounds);
    histogram.counts.set(counts);
    histogram.#sum = sum;
    return histogram;
  }

  /** Sum of all observations. */
  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /** Counts `value`, a finite number; of `exemplar` its ids and time are kept. */
  observe(value: number, exemplar?: Exemplar): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]) bucket++;
    this.counts[bucket]++;
    this.#sum += value;
    if (exemplar === undefined) return;
    this.#values[bucket] = value;
    this.#times[bucket] = exemplar.time.getTime();
    this.#requestIds[bucket] = exemplar.requestId;
    this.#traceIds[bucket] = exemplar.traceId;
  }

  /** The latest request of a bucket and what was observed of it, `null` when there was none. */
  exemplar(bucket: number): Exemplar & { readonly value: number } | null {
    const requestId = this.#requestIds[bucket];
    return requestId === "" ? null : {
      requestId,
      traceId: this.#traceIds[bucket],
      time: new Date(this.#times[bucket]),
      value: this.#values[bucket],
    };
  }
}
