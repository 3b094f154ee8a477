/**
 * Demand: how many predictions were asked for in each hour, what is to be expected, and how many
 * replicas that takes.
 *
 * @module
 */
import { backtest } from "../numeric/backtest.ts";
import { fitSmoothing } from "../numeric/forecast.ts";
import { predict } from "../numeric/smoothing.ts";
import { UsageError } from "./errors.ts";
import type { Store } from "./store/store.ts";

const HOUR_MS = 3_600_000;
const DAY = 24;
const WEEK = 7 * DAY;

/** Hours of history that a season needs to be seen: three of it. */
const SEASONS_SEEN = 3;

/** Hours of history below which nothing is forecast. */
const LEAST_HOURS = 16;

/** Days at most that are forecast again to see how good the forecast is. */
const BACKTEST_DAYS = 14;

/** Share of a replica's capacity that is planned with: what waits grows without bound toward 1. */
const TARGET_UTILIZATION = 0.6;

/** Requests that a model was asked in, by whole hours. */
export interface HourlyRequests {
  /** Beginning of the first hour. */
  readonly start: Date;
  /** `[hours]`; an hour without a request is 0. */
  readonly counts: Float64Array;
}

/** How many requests one replica answers in a second. */
export interface Capacity {
  readonly requestsPerSecond: number;
  /** What it rests on: the work of one request, or the busiest second that there was. */
  readonly basis: "duration" | "throughput";
  /** Mean milliseconds of a request, without its wait in the queue. */
  readonly meanMs: number;
  /** Answered requests of the busiest second. */
  readonly busiestSecond: number;
}

/** One hour to come. */
export interface DemandHour {
  readonly time: Date;
  /** Requests expected, and the ends of their interval; never below 0. */
  readonly requests: number;
  readonly low: number;
  readonly high: number;
  /** Replicas that take the high end at the target utilization. */
  readonly replicas: number;
}

/** What is to be expected. */
export interface Demand {
  readonly history: HourlyRequests;
  /** Hours of the seasons that were found long enough to count. */
  readonly periods: readonly number[];
  /** How good such forecasts of a day were, `null` when there is too little to say. */
  readonly backtest: {
    readonly days: number;
    readonly mase: number;
    readonly naiveMase: number;
    readonly coverage: number;
  } | null;
  readonly capacity: Capacity;
  readonly targetUtilization: number;
  /** Most of any hour. */
  readonly replicas: number;
  readonly hours: readonly DemandHour[];
}

/**
 * Counts requests by hour, from the first that there is to the last whole hour before `now`.
 * @throws {UsageError} when there are too few hours to forecast from.
 */
export async function readHourlyRequests(
  store: Store,
  { model, now = new Date() }: { readonly model: string; readonly now?: Date },
): Promise<HourlyRequests> {
  const end = Math.floor(now.getTime() / HOUR_MS);
  const rows = await store.query<{ hour: number; requests: number }>(
    `select (epoch_ms(request_time) // ${HOUR_MS})::bigint as hour, count(*) as requests
     from core.requests where model = ? and row_count > 0 and request_time < ?
     group by all order by hour`,
    [model, new Date(end * HOUR_MS)],
  );
  const first = rows[0]?.hour ?? end;
  if (end - first < LEAST_HOURS) {
    throw new UsageError(
      `Cannot forecast the requests of "${model}": there are ${
        end - first
      } whole hours since the ` +
        `first one; wait until there are ${LEAST_HOURS}`,
    );
  }
  const counts = new Float64Array(end - first);
  for (const { hour, requests } of rows) counts[hour - first] = requests;
  return { start: new Date(first * HOUR_MS), counts };
}

/**
 * Measures what one replica can answer, from the last week. One request after another takes the mean of
 * their durations, which is the least it can do; where requests overlap it has done more, and what it
 * has done in its busiest second counts.
 * @throws {UsageError} when it answered none.
 */
export async function measureCapacity(
  store: Store,
  { model, now = new Date() }: { readonly model: string; readonly now?: Date },
): Promise<Capacity> {
  const [row] = await store.query<{ mean: number | null; busiest: number | null }>(
    `with answered as (
       select request_time, greatest(duration_ms - coalesce(queue_ms, 0), 0) as ms from core.requests
       where model = ? and row_count > 0 and status_code < 400 and request_time >= ?)
     select (select avg(ms) from answered) as mean,
       (select max(n) from (select count(*) as n from answered
         group by date_trunc('second', request_time))) as busiest`,
    [model, new Date(now.getTime() - WEEK * HOUR_MS)],
  );
  const { mean: meanMs, busiest: busiestSecond } = row;
  if (meanMs === null || busiestSecond === null) {
    throw new UsageError(
      `Cannot tell what a replica of "${model}" can answer: it answered nothing in the last week`,
    );
  }
  const serial = meanMs > 0 ? 1000 / meanMs : 0;
  return {
    requestsPerSecond: Math.max(serial, busiestSecond),
    basis: serial >= busiestSecond ? "duration" : "throughput",
    meanMs,
    busiestSecond,
  };
}

/**
 * Forecasts the hours that follow a history, and the replicas they take.
 * @throws {RangeError} when `hours` is no positive integer or `level` is not in `(0, 1)`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { forecastDemand } from "./demand.ts";
 *
 * const history = { start: new Date(0), counts: new Float64Array(48).fill(36_000) };
 * const capacity = { requestsPerSecond: 8, basis: "duration", meanMs: 125, busiestSecond: 5 } as const;
 * const { hours } = forecastDemand(history, capacity, { hours: 3 });
 * assertEquals(hours.map(({ replicas }) => replicas), [3, 3, 3]);
 * assertEquals(hours[0].time, new Date("1970-01-03T00:00:00Z"));
 * ```
 */
export function forecastDemand(
  history: HourlyRequests,
  capacity: Capacity,
  { hours, level = 0.95 }: { readonly hours: number; readonly level?: number },
): Demand {
  const { counts, start } = history;
  const periods = [DAY, WEEK].filter((period) => counts.length >= SEASONS_SEEN * period);
  const { mean, low, high } = predict(fitSmoothing(counts, { periods }), hours, level);
  const end = start.getTime() + counts.length * HOUR_MS;
  const perHour = capacity.requestsPerSecond * 3_600 * TARGET_UTILIZATION;
  const rows = Array.from(mean, (requests, h) => ({
    time: new Date(end + h * HOUR_MS),
    requests: Math.max(0, requests),
    low: Math.max(0, low[h]),
    high: Math.max(0, high[h]),
    replicas: Math.max(1, Math.ceil(high[h] / perHour)),
  }));
  return {
    history,
    periods,
    backtest: testForecast(counts, { periods, level }),
    capacity,
    targetUtilization: TARGET_UTILIZATION,
    replicas: Math.max(...rows.map(({ replicas }) => replicas)),
    hours: rows,
  };
}

function testForecast(
  counts: Float64Array,
  { periods, level }: { readonly periods: readonly number[]; readonly level: number },
): Demand["backtest"] {
  const spare = counts.length - SEASONS_SEEN * Math.max(DAY, ...periods);
  const days = Math.min(BACKTEST_DAYS, Math.floor(spare / DAY));
  if (days < 1) return null;
  try {
    const result = backtest(counts, { periods, horizon: DAY, origins: days, level });
    const { mase, naiveMase, coverage } = result;
    return { days, mase, naiveMase, coverage };
  } catch (error) {
    // Demand that repeats itself exactly has no error to compare with.
    if (error instanceof RangeError) return null;
    throw error;
  }
}
