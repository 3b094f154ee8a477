/** What each key has used today, from midnight to midnight of UTC, whatever was restarted since. */
import type { Store } from "../runtime/store/store.ts";

const DAY_MS = 86_400_000;

/** What one key has used. */
export interface Use {
  requests: number;
  rows: number;
}

/**
 * Counts the use of a day by the name of a key.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { DailyUse } from "./daily_use.ts";
 *
 * let now = Date.parse("2026-01-02T23:59:59Z");
 * const daily = new DailyUse(() => now);
 * daily.of("ci").rows += 5;
 * assertEquals([daily.of("ci").rows, daily.msToMidnight()], [5, 1_000]);
 * now += 1_000;
 * assertEquals(daily.of("ci").rows, 0);
 * ```
 */
export class DailyUse {
  readonly #now: () => number;
  readonly #uses = new Map<string, Use>();
  #endsAt = 0;

  /** Begins with nothing used; `now` is in milliseconds of Unix time. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.#turn();
  }

  /**
   * Begins with what the inference table has of today. Requests without a valid key and those of 429
   * took nothing; a 413 was a request, but took no rows.
   */
  static async open(store: Store, now: () => number = Date.now): Promise<DailyUse> {
    const daily = new DailyUse(now);
    const rows = await store.query<{ name: string; requests: number; rows: number }>(
      `select requester as name, count(*) as requests,
         coalesce(sum(row_count) filter (status_code <> 413), 0)::bigint as rows
       from core.requests
       where request_time >= ?::timestamp and requester is not null
         and status_code not in (401, 403, 429)
       group by requester`,
      [new Date(daily.#endsAt - DAY_MS)],
    );
    for (const { name, requests, rows: count } of rows) {
      daily.#uses.set(name, { requests, rows: count });
    }
    return daily;
  }

  /** Gives what a key has used today; to add to it is to use it. */
  of(name: string): Use {
    if (this.#now() >= this.#endsAt) this.#turn();
    let use = this.#uses.get(name);
    if (use === undefined) this.#uses.set(name, use = { requests: 0, rows: 0 });
    return use;
  }

  /** Milliseconds until the next day begins. */
  msToMidnight(): number {
    return this.#endsAt - this.#now();
  }

  #turn(): void {
    this.#uses.clear();
    this.#endsAt = (Math.floor(this.#now() / DAY_MS) + 1) * DAY_MS;
  }
}
