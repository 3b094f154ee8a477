/**
 * How much one key may ask for in a minute: requests, and rows of predictions.
 *
 * A limit is a bucket of tokens, full at first, that refills evenly: after a pause a caller may take a
 * whole minute's worth at once, and then as much as comes in. What is refused takes nothing.
 *
 * Buckets are in the memory of one process. Behind a balancer, n processes let a key have up to n times
 * its limits, and a restart fills every bucket: this protects a server from a caller, and is no quota to
 * bill by. For that, count the rows of the inference table by `requester`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6585#section-4 status 429
 * @module
 */
import type { Caller } from "./access.ts";
import { HttpError } from "./http_error.ts";

const MINUTE_MS = 60_000;

/**
 * A bucket of tokens.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { TokenBucket } from "./rate_limit.ts";
 *
 * const bucket = new TokenBucket(0);
 * assertEquals(bucket.take(60, 60, 0), 0);
 * assertEquals(bucket.take(2, 60, 500), 1_500);
 * assertEquals(bucket.take(2, 60, 2_000), 0);
 * ```
 */
export class TokenBucket {
  /** Tokens that are gone, times {@linkcode MINUTE_MS}: whole numbers as long as times are. */
  #used = 0;
  #at: number;

  /** Gives a full bucket; `now` is in milliseconds of a clock that never goes back. */
  constructor(now: number) {
    this.#at = now;
  }

  /**
   * Takes `count` tokens from a bucket that holds and refills `perMinute`: 0 when it did, else after how
   * many milliseconds it could. More than `perMinute` is `Infinity`: that will never fit.
   */
  take(count: number, perMinute: number, now: number): number {
    this.#used = Math.max(0, this.#used - (now - this.#at) * perMinute);
    this.#at = now;
    if (count > perMinute) return Infinity;
    const excess = this.#used + (count - perMinute) * MINUTE_MS;
    if (excess > 0) return excess / perMinute;
    this.#used += count * MINUTE_MS;
    return 0;
  }
}

/** What {@linkcode RateLimiter} is told. */
export interface RateLimiterOptions {
  /** Milliseconds of a clock that never goes back; default `performance.now`. */
  readonly now?: () => number;
  /** Hears the key of each refused request. */
  readonly onLimited?: (key: string) => void;
}

/** Holds every caller to the limits of its key. */
export class RateLimiter {
  readonly #now: () => number;
  readonly #onLimited: (key: string) => void;
  /** By name, so that a key has no second share while it is rotated; there are as many as keys. */
  readonly #requests = new Map<string, TokenBucket>();
  readonly #rows = new Map<string, TokenBucket>();

  constructor(
    { now = () => performance.now(), onLimited = () => {} }: RateLimiterOptions = {},
  ) {
    this.#now = now;
    this.#onLimited = onLimited;
  }

  /**
   * Charges one request.
   * @throws {HttpError} 429 when the key has none left, with the seconds until it has.
   */
  takeRequest({ name, requestsPerMinute }: Caller): void {
    if (requestsPerMinute === null) return;
    this.#take(this.#requests, { name, count: 1, perMinute: requestsPerMinute, what: "requests" });
  }

  /**
   * Charges the rows of a request.
   * @throws {HttpError} 429 when the key has too few left, with the seconds until it has enough; 413
   * when they are more than it ever has at once, since to wait would not help.
   */
  takeRows({ name, rowsPerMinute }: Caller, rows: number): void {
    if (rowsPerMinute === null) return;
    if (rows > rowsPerMinute) {
      throw new HttpError(
        `Cannot take ${rows} rows of API key "${name}" at once: it may send ${rowsPerMinute} a minute; ` +
          "send them in parts",
        "too_large",
      );
    }
    this.#take(this.#rows, { name, count: rows, perMinute: rowsPerMinute, what: "rows" });
  }

  #take(
    buckets: Map<string, TokenBucket>,
    { name, count, perMinute, what }: {
      readonly name: string;
      readonly count: number;
      readonly perMinute: number;
      readonly what: string;
    },
  ): void {
    const now = this.#now();
    let bucket = buckets.get(name);
    if (!bucket) buckets.set(name, bucket = new TokenBucket(now));
    const waitMs = bucket.take(count, perMinute, now);
    if (waitMs === 0) return;
    this.#onLimited(name);
    const seconds = Math.ceil(waitMs / 1000);
    throw new HttpError(
      `Cannot answer API key "${name}" now: it may send ${perMinute} ${what} a minute; ` +
        `try again in ${seconds} s`,
      "rate_limited",
      { headers: { "retry-after": String(seconds) } },
    );
  }
}
