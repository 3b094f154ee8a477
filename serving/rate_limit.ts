/**
 * How much one key may ask for: requests and rows of predictions, in a minute and in a day.
 *
 * A limit of a minute is a bucket of tokens, full at first, that refills evenly: after a pause a caller
 * may take a whole minute's worth at once, and then as much as comes in. It protects a server from a
 * caller, and a restart fills every bucket. A quota of a day is a count that begins at midnight UTC,
 * whatever is restarted in between. What is refused takes nothing of either.
 *
 * Both are in the memory of one process: behind a balancer, n processes let a key have up to n times
 * its limits. To bill, count the rows of the inference table by `requester`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6585#section-4 status 429
 * @module
 */
import type { ApiKey } from "../runtime/api_keys.ts";
import type { Caller } from "./access.ts";
import { DailyUse } from "./daily_use.ts";
import { type ErrorCode, HttpError } from "./http_error.ts";

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

  /** Tokens that are gone now, of a bucket that holds and refills `perMinute`. */
  used(perMinute: number, now: number): number {
    return Math.max(0, this.#used - (now - this.#at) * perMinute) / MINUTE_MS;
  }
}

/** What {@linkcode RateLimiter} is told. */
export interface RateLimiterOptions {
  /** Milliseconds of a clock that never goes back; default `performance.now`. */
  readonly now?: () => number;
  /** Hears the key of each refused request. */
  readonly onLimited?: (key: string) => void;
  /** What was used today before; default nothing. */
  readonly daily?: DailyUse;
}

/** What is counted of a key. */
type Unit = "requests" | "rows";

/** How far a key is at one of its limits. */
export interface QuotaUse {
  readonly key: string;
  readonly unit: Unit;
  readonly period: "minute" | "day";
  readonly used: number;
  readonly limit: number;
}

/** Holds every caller to the limits of its key. */
export class RateLimiter {
  readonly #now: () => number;
  readonly #onLimited: (key: string) => void;
  readonly #daily: DailyUse;
  /** By name, so that a key has no second share while it is rotated; there are as many as keys. */
  readonly #requests = new Map<string, TokenBucket>();
  readonly #rows = new Map<string, TokenBucket>();

  constructor(
    {
      now = () => performance.now(),
      onLimited = () => {},
      daily = new DailyUse(),
    }: RateLimiterOptions = {},
  ) {
    this.#now = now;
    this.#onLimited = onLimited;
    this.#daily = daily;
  }

  /**
   * Charges one request.
   * @throws {HttpError} 429 when the key has none left, with the seconds until it has.
   */
  takeRequest({ name, requestsPerMinute, requestsPerDay }: Caller): void {
    const today = this.#daily.of(name);
    const unit = "requests";
    if (requestsPerDay !== null && today.requests >= requestsPerDay) {
      throw this.#refuseToday(name, requestsPerDay, unit);
    }
    if (requestsPerMinute !== null) {
      this.#take(this.#requests, { name, count: 1, perMinute: requestsPerMinute, unit });
    }
    today.requests++;
  }

  /**
   * Charges the rows of a request that {@linkcode takeRequest} has let in.
   * @throws {HttpError} 429 when the key has too few left, with the seconds until it has enough; 413
   * when they are more than it ever has at once, since to wait would not help.
   */
  takeRows({ name, rowsPerMinute, rowsPerDay }: Caller, rows: number): void {
    for (const [limit, period] of [[rowsPerMinute, "minute"], [rowsPerDay, "day"]] as const) {
      if (limit === null || rows <= limit) continue;
      throw new HttpError(
        `Cannot take ${rows} rows of API key "${name}" at once: it may send ${limit} a ${period}; ` +
          "send them in parts",
        "too_large",
      );
    }
    const today = this.#daily.of(name);
    const unit = "rows";
    try {
      if (rowsPerDay !== null && today.rows + rows > rowsPerDay) {
        throw this.#refuseToday(name, rowsPerDay, unit);
      }
      if (rowsPerMinute !== null) {
        this.#take(this.#rows, { name, count: rows, perMinute: rowsPerMinute, unit });
      }
    } catch (error) {
      today.requests = Math.max(0, today.requests - 1);
      throw error;
    }
    today.rows += rows;
  }

  /** Gives how far each of `keys` is at each of its limits. */
  *uses(keys: Iterable<ApiKey>): Generator<QuotaUse> {
    const now = this.#now();
    for (const { name: key, ...limits } of keys) {
      const today = this.#daily.of(key);
      const buckets = { requests: this.#requests, rows: this.#rows };
      for (const unit of ["requests", "rows"] as const) {
        const { [`${unit}PerMinute` as const]: perMinute, [`${unit}PerDay` as const]: perDay } =
          limits;
        if (perMinute !== null) {
          const used = buckets[unit].get(key)?.used(perMinute, now) ?? 0;
          yield { key, unit, period: "minute", used, limit: perMinute };
        }
        if (perDay !== null) {
          yield { key, unit, period: "day", used: today[unit], limit: perDay };
        }
      }
    }
  }

  #take(
    buckets: Map<string, TokenBucket>,
    { name, count, perMinute, unit }: {
      readonly name: string;
      readonly count: number;
      readonly perMinute: number;
      readonly unit: Unit;
    },
  ): void {
    const now = this.#now();
    let bucket = buckets.get(name);
    if (!bucket) buckets.set(name, bucket = new TokenBucket(now));
    const waitMs = bucket.take(count, perMinute, now);
    if (waitMs === 0) return;
    throw this.#refuse(name, {
      code: "rate_limited",
      limit: `now: it may send ${perMinute} ${unit} a minute`,
      waitMs,
    });
  }

  #refuseToday(name: string, perDay: number, unit: Unit): HttpError {
    return this.#refuse(name, {
      code: "quota_exceeded",
      limit: `today: it may send ${perDay} ${unit} a day`,
      waitMs: this.#daily.msToMidnight(),
    });
  }

  #refuse(
    name: string,
    { code, limit, waitMs }: {
      readonly code: ErrorCode;
      readonly limit: string;
      readonly waitMs: number;
    },
  ): HttpError {
    this.#onLimited(name);
    const seconds = Math.ceil(waitMs / 1000);
    return new HttpError(
      `Cannot answer API key "${name}" ${limit}; try again in ${seconds} s`,
      code,
      { headers: { "retry-after": String(seconds) } },
    );
  }
}
