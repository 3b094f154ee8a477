import { assert, assertEquals } from "@std/assert";
import { withLease } from "../../../runtime/alerts/lease.ts";
import { ProfileParams } from "../../../runtime/monitors/definition.ts";
import { MonitorSchedule } from "../../../runtime/monitors/schedule.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { registerTestModel } from "../../model_fixture.ts";
import { addRows, day, plainRows } from "./fixture.ts";

const target = () => Promise.resolve({ model: "rocks", version: 1 });
const definition = ProfileParams.parse({});

Deno.test("MonitorSchedule computes and estimates what has closed, once for two processes, and says so", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await addRows(store, plainRows(60), { requestId: "a", from: day(1) });
  const lines: string[] = [];
  const clock = { now: day(1, 5).getTime() };
  const make = () =>
    new MonitorSchedule(store, { definition, target }, {
      now: () => clock.now,
      onEvent: (line, level) => lines.push(`${level} ${line}`),
    });
  const [first, second] = [make(), make()];
  assertEquals(await first.tick(), true);
  assertEquals(lines, []);
  clock.now = day(2, 1).getTime();
  const turns = await Promise.all([first.tick(), second.tick()]);
  assert(turns.includes(true));
  assertEquals(lines, ["info Computed 1 windows and estimated 1, 0 below the contract"]);
  assertEquals(
    await store.query("select count(*) as n from monitor_windows where state = 'done'"),
    [{ n: 1 }],
  );
  await Promise.all([first.close(), second.close()]);
});

Deno.test("MonitorSchedule says once what fails, goes on with the rest, and waits for another's turn", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await addRows(store, plainRows(60), { requestId: "a", from: day(1) });
  const lines: string[] = [];
  const broken = ProfileParams.parse({
    metrics: [{ name: "bad", kind: "aggregate", sql: "sum(no_such_column)" }],
  });
  const schedule = new MonitorSchedule(store, { definition: broken, target }, {
    now: () => day(2, 1).getTime(),
    onEvent: (line, level) => lines.push(`${level} ${line}`),
  });
  const wasHeld = await withLease(
    store,
    { name: "monitor_refresh", now: () => day(2, 1).getTime() },
    () => schedule.tick(),
  );
  assertEquals(wasHeld, false);
  assertEquals(lines, []);
  await schedule.tick();
  await schedule.tick();
  assertEquals(lines.filter((line) => line.startsWith("warn")).length, 1, lines.join("\n"));
  assert(lines[0].includes("bad"), lines[0]);
  assertEquals(
    await store.query(
      "select count(*) as n from profile where column_name = ':table' and log_type = 'INPUT'",
    ),
    [{ n: 1 }],
  );
  await schedule.close();
});

Deno.test("MonitorSchedule.start() runs until it is closed, and not without windows", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await addRows(store, plainRows(60), { requestId: "a", from: day(1) });
  const { promise, resolve } = Promise.withResolvers<string>();
  const schedule = MonitorSchedule.start(store, { definition, target }, {
    now: () => day(2, 1).getTime(),
    onEvent: resolve,
  });
  assertEquals(await promise, "Computed 1 windows and estimated 1, 0 below the contract");
  await schedule!.close();
  const none = ProfileParams.parse({ granularities: [] });
  assertEquals(MonitorSchedule.start(store, { definition: none, target }), null);
});
