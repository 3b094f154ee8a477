import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { forecastDemand, measureCapacity, readHourlyRequests } from "../../runtime/demand.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStoreAbroad } from "../plugins/alerts/rows.ts";
import type { Store } from "../../runtime/store/store.ts";

const NOW = new Date("2026-03-02T10:20:00Z");

/** So many requests in the hour that began `hoursAgo` before the one of `NOW`. */
async function addHour(store: Store, hoursAgo: number, count: number, more = ""): Promise<void> {
  await store.query(
    `insert into core.requests by name
     select uuid()::varchar as request_id, 'POST' as method, '/predict' as endpoint, 200 as status_code,
       'rocks' as model, 1 as version, 1 as row_count, 4 as duration_ms, 2 as queue_ms,
       timestamp '2026-03-02 10:00' - to_hours(?::integer) + to_seconds(range * 7 % 3600) as request_time
       ${more} from range(?::bigint)`,
    [hoursAgo, count],
  );
}

Deno.test("readHourlyRequests() counts whole hours of UTC, those without a request as 0", async () => {
  await using store = await openStoreAbroad("Asia/Kolkata");
  await addHour(store, 30, 5);
  await addHour(store, 1, 7);
  await addHour(store, 0, 9); // not over yet
  await store.query(
    "update core.requests set row_count = 0 where request_id in " +
      "(select request_id from core.requests where request_time >= timestamp '2026-03-02 09:00' limit 1)",
  );
  const { start, counts } = await readHourlyRequests(store, { model: "rocks", now: NOW });
  assertEquals(start, new Date("2026-03-01T04:00:00Z"));
  assertEquals(counts.length, 30);
  assertEquals([counts[0], counts[1], counts[28]], [5, 0, 0]);
  assert(counts[29] >= 6 && counts[29] <= 7);
});

Deno.test("readHourlyRequests() says how long to wait when there is too little, and of another model", async () => {
  await using store = await openStoreAbroad();
  await addHour(store, 15, 5);
  for (const model of ["rocks", "others"]) {
    await assertRejects(
      () => readHourlyRequests(store, { model, now: NOW }),
      UsageError,
      "wait until there are 16",
    );
  }
  await addHour(store, 16, 1);
  assertEquals((await readHourlyRequests(store, { model: "rocks", now: NOW })).counts.length, 16);
});

Deno.test("measureCapacity() takes the work of a request without its wait, or the busiest second", async () => {
  await using store = await openStoreAbroad();
  await assertRejects(
    () => measureCapacity(store, { model: "rocks", now: NOW }),
    UsageError,
    "answered nothing",
  );
  await addHour(store, 1, 10);
  await addHour(store, 24 * 8, 10, ", 9000 as response_bytes");
  const serial = await measureCapacity(store, { model: "rocks", now: NOW });
  assertEquals(serial, { requestsPerSecond: 500, basis: "duration", meanMs: 2, busiestSecond: 1 });
  await store.query("update core.requests set request_time = timestamp '2026-03-02 09:00:00.5'");
  await store.query("update core.requests set duration_ms = 402");
  const overlapping = await measureCapacity(store, { model: "rocks", now: NOW });
  assertEquals([overlapping.basis, overlapping.requestsPerSecond], ["throughput", 20]);
});

Deno.test("forecastDemand() follows the days, never goes below 0, and counts replicas for the high end", () => {
  const counts = Float64Array.from(
    { length: 30 * 24 },
    (_, t) => Math.max(0, 9_000 * Math.sin(2 * Math.PI * (t % 24) / 24)) + (t * 7919 % 97),
  );
  const history = { start: new Date("2026-01-01T00:00:00Z"), counts };
  const capacity = {
    requestsPerSecond: 2,
    basis: "duration",
    meanMs: 500,
    busiestSecond: 1,
  } as const;
  const demand = forecastDemand(history, capacity, { hours: 48 });
  assertEquals(demand.periods, [24, 168]);
  assertEquals(demand.hours[0].time, new Date("2026-01-31T00:00:00Z"));
  for (const { requests, low, high, replicas } of demand.hours) {
    assert(low >= 0 && low <= requests && requests <= high);
    assertEquals(replicas, Math.max(1, Math.ceil(high / (2 * 3600 * 0.6))));
  }
  assert(Math.abs(demand.hours[6].requests - 9_048) < 200, `${demand.hours[6].requests}`);
  assertEquals(demand.replicas, 3);
  assertEquals(demand.backtest!.days, 9);
  assert(demand.backtest!.mase < 1.2);
});

Deno.test("forecastDemand() takes no season from a short history, and tells no quality it cannot", () => {
  const history = { start: NOW, counts: Float64Array.from({ length: 20 }, (_, t) => 100 + t % 3) };
  const capacity = {
    requestsPerSecond: 9,
    basis: "duration",
    meanMs: 1,
    busiestSecond: 1,
  } as const;
  const demand = forecastDemand(history, capacity, { hours: 2 });
  assertEquals([demand.periods, demand.backtest, demand.replicas], [[], null, 1]);
  assertThrows(() => forecastDemand(history, capacity, { hours: 0 }), RangeError);
  const even = { start: NOW, counts: Float64Array.from({ length: 24 * 9 }, (_, t) => t % 24) };
  assertEquals(forecastDemand(even, capacity, { hours: 2 }).backtest, null);
});
