/**
 * Windows over time: `[start, end)` in UTC, by granularity as lakehouse monitors have them, by count
 * of rows, or as a number of chunks. Every window is an interval of time, so a request is never split,
 * and its rows are found by their time alone.
 *
 * @module
 */

/** Widths of windows that are known by name. */
export const granularities = [
  "5 minutes",
  "30 minutes",
  "1 hour",
  "1 day",
  "1 week",
  "2 weeks",
  "3 weeks",
  "4 weeks",
  "1 month",
  "1 year",
] as const;

/** Width of a window of time. Weeks begin on Monday. */
export type Granularity = typeof granularities[number];

/** How rows are divided into windows. */
export type Windowing =
  | { readonly kind: "time"; readonly granularity: Granularity }
  /** A window ends with the first request that makes it have this many rows. */
  | { readonly kind: "rows"; readonly rows: number }
  /** As many windows of about equally many rows, over all rows there are. */
  | { readonly kind: "chunks"; readonly chunks: number };

/** An interval of time in UTC, without its end. */
export interface Window {
  readonly start: Date;
  readonly end: Date;
}

/**
 * Monday, 3 January 2000: where DuckDB's `time_bucket` counts widths below a month from. Windows of
 * two to four weeks need an origin; the others begin where a calendar has them begin.
 */
const ORIGIN_MS = Date.UTC(2000, 0, 3);

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;

/** Widths in milliseconds, of those that have one … */
const widths: Readonly<Partial<Record<Granularity, number>>> = {
  "5 minutes": 5 * MINUTE_MS,
  "30 minutes": 30 * MINUTE_MS,
  "1 hour": 60 * MINUTE_MS,
  "1 day": DAY_MS,
  "1 week": 7 * DAY_MS,
  "2 weeks": 14 * DAY_MS,
  "3 weeks": 21 * DAY_MS,
  "4 weeks": 28 * DAY_MS,
};

/** … and in months, of the others. */
const months: Readonly<Partial<Record<Granularity, number>>> = { "1 month": 1, "1 year": 12 };

/**
 * Reads a windowing as people write it: a granularity, `N rows` or `N chunks`.
 *
 * @throws {RangeError} when the text is none of these.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatWindowing, parseWindowing } from "./windows.ts";
 *
 * assertEquals(parseWindowing("1 day"), { kind: "time", granularity: "1 day" });
 * assertEquals(formatWindowing(parseWindowing("1000 rows")), "1000 rows");
 * ```
 */
export function parseWindowing(text: string): Windowing {
  const granularity = granularities.find((known) => known === text);
  if (granularity) return { kind: "time", granularity };
  const [, count, kind] = /^([1-9]\d{0,9}) (rows|chunks)$/.exec(text) ?? [];
  if (kind === "rows") return { kind, rows: Number(count) };
  if (kind === "chunks") return { kind, chunks: Number(count) };
  throw new RangeError(
    `Cannot read windows "${text}": write one of ${granularities.join(", ")}, ` +
      'or a count such as "1000 rows" or "10 chunks"',
  );
}

/** Gives a windowing in the form that {@linkcode parseWindowing} reads. */
export function formatWindowing(windowing: Windowing): string {
  switch (windowing.kind) {
    case "time":
      return windowing.granularity;
    case "rows":
      return `${windowing.rows} rows`;
    case "chunks":
      return `${windowing.chunks} chunks`;
  }
}

/**
 * Gives the window of a granularity that holds a time.
 *
 * @throws {RangeError} when the time is invalid.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { windowOf } from "./windows.ts";
 *
 * const { start, end } = windowOf("1 week", new Date("2026-11-25T13:00:00Z"));
 * assertEquals(start, new Date("2026-11-23T00:00:00Z"));
 * assertEquals(end, new Date("2026-11-30T00:00:00Z"));
 * ```
 */
export function windowOf(granularity: Granularity, time: Date): Window {
  const ms = time.getTime();
  if (Number.isNaN(ms)) throw new RangeError("Cannot find the window of an invalid time");
  const width = widths[granularity];
  if (width === undefined) {
    const count = months[granularity]!;
    const month = count * Math.floor((12 * time.getUTCFullYear() + time.getUTCMonth()) / count);
    const startOf = (m: number) => new Date(Date.UTC(Math.floor(m / 12), m % 12, 1));
    return { start: startOf(month), end: startOf(month + count) };
  }
  const start = ORIGIN_MS + width * Math.floor((ms - ORIGIN_MS) / width);
  return { start: new Date(start), end: new Date(start + width) };
}

/** Gives the window of a granularity that ends where this one begins. */
export function windowBefore(granularity: Granularity, { start }: Window): Window {
  return windowOf(granularity, new Date(start.getTime() - 1));
}

/**
 * Gives the SQL expression that is the same for all rows of a window, of a column of UTC timestamps:
 * the window's start for a granularity, else its number from 0. The latter are window functions, over
 * the rows of the query; rows of the same time share a window.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseWindowing, windowSql } from "./windows.ts";
 *
 * const sql = windowSql(parseWindowing("1 hour"), "request_time");
 * assertEquals(sql, "time_bucket(interval '1 hour', request_time)");
 * ```
 */
export function windowSql(windowing: Windowing, column: string): string {
  // rank() - 1 is how many rows are earlier.
  const earlier = `(rank() over (order by ${column}) - 1)`;
  switch (windowing.kind) {
    case "time":
      return `time_bucket(interval '${windowing.granularity}', ${column})`;
    case "rows":
      return `${earlier} // ${windowing.rows}`;
    case "chunks":
      return `${earlier} * ${windowing.chunks} // count(*) over ()`;
  }
}

/**
 * Gives the SQL that lists the windows that have rows, the earliest first, with `window_start`,
 * `window_end` and `rows`. `from` is what follows `from`, with its conditions.
 *
 * A window by count begins at a whole millisecond and ends where the next one begins; the last one of
 * `rows` has no end yet (null), the last one of `chunks` ends a millisecond after its last row.
 */
export function windowsSql(windowing: Windowing, column: string, from: string): string {
  if (windowing.kind === "time") {
    return `select ${windowSql(windowing, column)} as window_start,
        window_start + interval '${windowing.granularity}' as window_end, count(*) as rows
      from ${from} group by window_start order by window_start`;
  }
  const end = "lead(min(t)) over (order by key)";
  return `select min(t) as window_start, count(*) as rows, ${
    windowing.kind === "chunks" ? `coalesce(${end}, max(t) + interval 1 millisecond)` : end
  } as window_end
    from (select t, ${windowSql(windowing, "t")} as key
      from (select date_trunc('millisecond', ${column}) as t from ${from}))
    group by key order by key`;
}

/**
 * Whether a window takes no more rows: it ended `latenessMs` before `now`. One without an end is open.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { isClosed, windowOf } from "./windows.ts";
 *
 * const window = windowOf("1 hour", new Date("2026-11-25T13:00:00Z"));
 * const now = new Date("2026-11-25T14:05:00Z");
 * assertEquals(isClosed(window, { now, latenessMs: 300_000 }), true);
 * assertEquals(isClosed(window, { now, latenessMs: 300_001 }), false);
 * ```
 */
export function isClosed(
  { end }: { readonly end: Date | null },
  { now, latenessMs }: { readonly now: Date; readonly latenessMs: number },
): boolean {
  return end !== null && end.getTime() <= now.getTime() - latenessMs;
}
