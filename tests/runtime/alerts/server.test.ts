import { assertEquals } from "@std/assert";
import type { Plugin } from "../../../plugins/plugin.ts";
import { AlertingParams } from "../../../runtime/alerts/params.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { serve } from "../../../server.ts";
import { registerTestModel } from "../../model_fixture.ts";
import { makeAlert } from "./alert_fixture.ts";

const eachSecond = { cron: "* * * * * *" };

async function serveWith(store: Store, alerts: readonly Plugin<"alert">[]) {
  await registerTestModel(store);
  return await serve({
    store,
    model: "rocks",
    quiet: true,
    serving: { port: 0 },
    alerts: {
      alerts,
      params: AlertingParams.parse({}),
      defaultSinks: [],
      target: () => Promise.resolve({ model: "rocks", version: 1 }),
    },
  });
}

/** Waits until a query gives a row. */
async function until(store: Store, sql: string): Promise<void> {
  while ((await store.query(sql)).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("serve() evaluates alerts by their schedules until it ends", async () => {
  await using store = await openStore(":memory:");
  const served = await serveWith(store, [
    makeAlert("a", "select 1 as n", { schedule: eachSecond }),
  ]);
  await until(store, "from alerts where state = 'firing'");
  await served.shutdown();
  const [{ n }] = await store.query("select count(*) as n from core.alert_log");
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  assertEquals(await store.query("select count(*) as n from core.alert_log"), [{ n }]);
  assertEquals(await store.query("from core.leases"), []);
});

Deno.test("serve() says nothing of an alert whose query runs when the server ends", async () => {
  await using store = await openStore(":memory:");
  const runaway = "select count(*) from range(1000000) a, range(1000000) b, range(1000000) c " +
    "where a.range * b.range + c.range < 0";
  const served = await serveWith(store, [makeAlert("a", runaway, { schedule: eachSecond })]);
  await until(store, "from core.leases where name = 'alert_evaluation'");
  await served.shutdown();
  assertEquals(await store.query("from core.alert_log"), []);
  assertEquals(await store.query("from core.leases"), []);
});
