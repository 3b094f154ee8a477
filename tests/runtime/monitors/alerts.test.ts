import { assert, assertEquals, assertMatch } from "@std/assert";
import { evaluateAlerts } from "../../../runtime/alerts/engine.ts";
import { backtestAlert } from "../../../runtime/alerts/backtest.ts";
import { loadAlerts } from "../../../plugins/alerts/load.ts";
import type { Store } from "../../../runtime/store/store.ts";
import { addRows, openMonitored, plainRows, refreshAt } from "./fixture.ts";

const folder = new URL("../../../plugins/alerts/", import.meta.url);
const DAY_MS = 86_400_000;
const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;

async function evaluate(store: Store) {
  const alerts = (await loadAlerts(folder)).filter(({ name }) => name === "data_drift");
  const [outcome] = await evaluateAlerts(store, alerts, { model: "rocks", version: 1 });
  return outcome;
}

/** Rows of yesterday with all features moved, against a baseline of these. */
async function openDrifted(rows: number, gr: number): Promise<Store> {
  const store = await openMonitored(plainRows(100, { truth: "sandstone" }));
  const moved = plainRows(rows, { gr }).map((row) => ({
    ...row,
    features: [row.features[0], gr === 50 ? 2.5 : 2.9, row.features[2]],
  }));
  await addRows(store, moved, {
    requestId: "a",
    from: new Date(today - DAY_MS),
    stepSeconds: 1,
  });
  await refreshAt(store, new Date());
  return store;
}

Deno.test("data_drift fires when most features drifted in the latest closed window", async () => {
  await using store = await openDrifted(60, 90);
  const { state, findings } = await evaluate(store);
  assertEquals(state, "firing");
  assertMatch(
    findings[0].message,
    /^2 of 3 features of all drifted in the 1 day from \d{4}-\d\d-\d\d 00:00$/,
  );
});

Deno.test("data_drift is quiet when nothing drifted, or the window has too few rows to tell", async () => {
  for (const [rows, gr] of [[60, 50], [10, 90]]) {
    await using store = await openDrifted(rows, gr);
    assertEquals((await evaluate(store)).state, "ok");
  }
});

Deno.test("data_drift can be backtested: windows count from when they were computed", async () => {
  await using store = await openDrifted(60, 90);
  const [alert] = (await loadAlerts(folder)).filter(({ name }) => name === "data_drift");
  const result = await backtestAlert(store, alert, {
    model: "rocks",
    version: 1,
    from: Date.now() - 60_000,
    to: Date.now() + 60_000,
    stepMs: 10_000,
    signal: new AbortController().signal,
  });
  assertEquals([result.errors, result.error], [0, null]);
  assertEquals(result.episodes.length, 1);
  assert(result.firingShare > 0.3 && result.firingShare < 0.7);
});
