import { assert, assertEquals } from "@std/assert";
import type { Plugin } from "../../../plugins/plugin.ts";
import { nextTick } from "../../../runtime/alerts/cron.ts";
import { withLease } from "../../../runtime/alerts/lease.ts";
import { AlertingParams } from "../../../runtime/alerts/params.ts";
import { AlertSchedule } from "../../../runtime/alerts/scheduler.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { makeAlert } from "./alert_fixture.ts";

const target = { model: "rocks", version: 1 };
const MINUTE = 60_000;
const noon = Date.UTC(2026, 4, 4, 12);

function ticks(cron: string, timezone: string, after: string, count: number): string[] {
  const times: string[] = [];
  for (let time = Date.parse(after); times.length < count;) {
    time = nextTick({ cron, timezone }, time)!;
    times.push(new Date(time).toISOString().slice(5, 16));
  }
  return times;
}

Deno.test("nextTick() skips no day and doubles none when Berlin changes its clocks", () => {
  const zone = "Europe/Berlin";
  // 2026-03-29: 02:00 to 03:00 is not there; the tick of 02:30 comes right after the gap.
  assertEquals(ticks("30 2 * * *", zone, "2026-03-28T00:00Z", 3), [
    "03-28T01:30",
    "03-29T01:00",
    "03-30T00:30",
  ]);
  // 2026-10-25: 02:00 to 03:00 is there twice; the tick comes the first time.
  assertEquals(ticks("30 2 * * *", zone, "2026-10-24T12:00Z", 2), ["10-25T00:30", "10-26T01:30"]);
});

Deno.test("nextTick() goes on every half an hour when Berlin changes its clocks", () => {
  for (const after of ["2026-03-28T23:45Z", "2026-10-24T23:15Z"]) {
    const times = ticks("*/30 * * * *", "Europe/Berlin", after, 8)
      .map((time) => Date.parse(`2026-${time}Z`));
    times.slice(1).forEach((time, i) => assertEquals(time - times[i], 30 * MINUTE));
  }
});

interface Watch {
  readonly store: Store;
  readonly alerts: readonly Plugin<"alert">[];
  now: number;
}

function makeSchedule(watch: Watch, events: string[] = []): AlertSchedule {
  return new AlertSchedule(watch.store, {
    alerts: watch.alerts,
    params: AlertingParams.parse({}),
    defaultSinks: ["log"],
    target: () => Promise.resolve(target),
  }, { now: () => watch.now, onEvent: (line) => events.push(line), timeoutMs: 200 });
}

async function countEvaluations(store: Store): Promise<number> {
  const [{ n }] = await store.query<{ n: number }>("select count(*) as n from core.alert_log");
  return n;
}

Deno.test("AlertSchedule evaluates at ticks, once when many were missed, and once for two processes", async () => {
  await using store = await openStore(":memory:");
  const watch = { store, alerts: [makeAlert("a", "select 1 as n")], now: noon + MINUTE };
  const [first, second] = [makeSchedule(watch), makeSchedule(watch)];
  await first.tick();
  await second.tick();
  assertEquals(await countEvaluations(store), 0);
  watch.now = noon + 15 * MINUTE;
  await Promise.all([first.tick(), second.tick()]);
  await first.tick();
  assertEquals(await countEvaluations(store), 1);
  // The machine slept over twenty ticks.
  watch.now = noon + 327 * MINUTE;
  await second.tick();
  await first.tick();
  assertEquals(await countEvaluations(store), 2);
  // A process that starts anew goes on where the others ended.
  watch.now = noon + 331 * MINUTE;
  await makeSchedule(watch).tick();
  assertEquals(await countEvaluations(store), 3);
});

Deno.test("AlertSchedule evaluates an alert at its own schedule and never one that is paused", async () => {
  await using store = await openStore(":memory:");
  const alerts = [
    makeAlert("daily", "select 1 as n", {
      schedule: { cron: "5 14 * * *", timezone: "Europe/Berlin" },
    }),
    makeAlert("paused", "select 1 as n", { schedule: { cron: "* * * * *", isPaused: true } }),
  ];
  const watch = { store, alerts, now: noon };
  const schedule = makeSchedule(watch);
  await schedule.tick();
  watch.now = noon + 5 * MINUTE;
  await schedule.tick();
  assertEquals(await store.query("select alert from core.alert_log"), [{ alert: "daily" }]);
});

Deno.test("AlertSchedule goes on when the clock jumps back, and waits no more than one schedule", async () => {
  await using store = await openStore(":memory:");
  const watch = { store, alerts: [makeAlert("a", "select 1 as n")], now: noon };
  const schedule = makeSchedule(watch);
  await schedule.tick();
  watch.now = noon + 15 * MINUTE;
  await schedule.tick();
  watch.now = noon - 24 * 60 * MINUTE;
  await schedule.tick();
  watch.now += 15 * MINUTE;
  await schedule.tick();
  assertEquals(await countEvaluations(store), 2);
});

Deno.test("AlertSchedule gives alerts that cannot be evaluated the state error, and the others go on", async () => {
  await using store = await openStore(":memory:");
  const runaway = "select count(*) from range(1000000) a, range(1000000) b, range(1000000) c " +
    "where a.range * b.range + c.range < 0";
  const alerts = [
    makeAlert("runaway", runaway),
    makeAlert("missing", "from no_such_table"),
    makeAlert("syntax", "selec 1"),
    makeAlert("fires", "select 'x' as subject"),
  ];
  const events: string[] = [];
  const watch = { store, alerts, now: noon };
  const schedule = makeSchedule(watch, events);
  await schedule.tick();
  watch.now += 15 * MINUTE;
  assertEquals(await schedule.tick(), 15_000);
  assertEquals(
    (await store.query("select state from alerts order by alert")).map(({ state }) => state),
    ["firing", "error", "error", "error"],
  );
  assertEquals(events.map((line) => line.split(":")[0]).sort(), [
    "Alert fires is firing",
    "Alert missing is error",
    "Alert runaway is error",
    "Alert syntax is error",
  ]);
  // All are in one group, which waits for half a minute.
  const told = "select json_array_length(events) as events from sink_deliveries";
  assertEquals(await store.query(told), []);
  watch.now += 30_000;
  await schedule.tick();
  assertEquals(await store.query(told), [{ events: 4 }]);
});

Deno.test("AlertSchedule.start() evaluates by itself and ends when it is closed", async () => {
  await using store = await openStore(":memory:");
  const { promise, resolve } = Promise.withResolvers<void>();
  const schedule = AlertSchedule.start(store, {
    alerts: [makeAlert("a", "select 1 as n", { schedule: { cron: "* * * * * *" } })],
    params: AlertingParams.parse({}),
    defaultSinks: [],
    target: () => Promise.resolve(target),
  }, { onEvent: () => resolve() });
  await promise;
  await schedule.close();
  assert(await countEvaluations(store) >= 1);
});

Deno.test("withLease() lets one of two in, and the other when the first has ended or is overdue", async () => {
  await using store = await openStore(":memory:");
  let now = 0;
  const options = { name: "x", ttlMs: 30_000, now: () => now };
  const inside = await withLease(store, options, async ({ guard }) => {
    assertEquals(await withLease(store, options, () => Promise.resolve(1)), null);
    now = 30_000;
    assertEquals(await withLease(store, options, () => Promise.resolve(2)), 2);
    // Whoever was overdue writes nothing any more.
    const late = store.transaction([guard]).then(() => "written", (error) => error.message);
    return await late;
  });
  assert(inside?.includes("another process has taken it over"), String(inside));
  assertEquals(await withLease(store, options, () => Promise.resolve(3)), 3);
});
