import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { methods } from "../../../plugins/drift/methods.ts";
import { ProfileParams } from "../../../runtime/monitors/definition.ts";
import { refreshMonitors } from "../../../runtime/monitors/refresh.ts";
import type { Store } from "../../../runtime/store/store.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { addLabels, addRows, day, openMonitored, plainRows, refreshAt } from "./fixture.ts";

function countOf(store: Store, column: string, from: Date): Promise<Record<string, unknown>[]> {
  return store.query(
    `select count, accuracy, avg, created_at from profile
     where column_name = ? and window_start = ? and slice_key is null and log_type = 'INPUT'`,
    [column, from],
  );
}

Deno.test("refreshMonitors() computes closed windows once, and not the one that is open", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(40), { requestId: "b", from: day(2) });
  const first = await refreshAt(store, day(2, 5));
  assertEquals([first.state, first.windows, first.rows], ["SUCCESS", 1, 40]);
  const again = await refreshAt(store, day(2, 6));
  assertEquals([again.state, again.refreshId], ["IDLE", null]);
  const later = await refreshAt(store, day(3));
  // The window before is read for the comparison, and not written.
  assertEquals([later.windows, later.rows], [1, 80]);
  const refreshes = await store.query(
    "select state, windows, failed, message from monitor_refreshes order by created_at",
  );
  assertEquals(
    refreshes,
    [1, 1].map((windows) => ({
      state: "SUCCESS",
      windows,
      failed: 0,
      message: null,
    })),
  );
});

Deno.test("refreshMonitors() waits for the lateness before it takes a window as closed", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40), { requestId: "a", from: day(1) });
  const definition = { lateness: "2h" };
  assertEquals((await refreshAt(store, day(2, 1), definition)).state, "IDLE");
  assertEquals((await refreshAt(store, day(2, 2), definition)).windows, 1);
});

Deno.test("refreshMonitors() computes a window anew when rows of it arrive late, and what follows it", async () => {
  await using store = await openMonitored();
  for (const [i, id] of ["a", "b", "c"].entries()) {
    await addRows(store, plainRows(40), { requestId: id, from: day(1 + i) });
  }
  await refreshAt(store, day(4));
  await addRows(store, plainRows(10, { gr: 90 }), { requestId: "late", from: day(1, 6) });
  const { windows } = await refreshAt(store, day(4, 1));
  assertEquals(windows, 2);
  assertEquals((await countOf(store, "GR", day(1)))[0].count, 50);
  const [{ count_delta }] = await store.query(
    `select count_delta from drift_metrics where column_name = 'GR' and window_start = ?
       and drift_type = 'CONSECUTIVE'`,
    [day(2)],
  );
  assertEquals(count_delta, -10);
});

Deno.test("refreshMonitors() computes a window anew when labels of it arrive late", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(40), { requestId: "b", from: day(5) });
  await refreshAt(store, day(6));
  assertEquals((await countOf(store, ":table", day(1)))[0].accuracy, null);
  await addLabels(store, "a", [{ row: 0, truth: "sandstone" }, { row: 1, truth: "sandstone" }]);
  const { windows } = await refreshAt(store, day(6, 1));
  assertEquals(windows, 2); // and the one compared with it
  assertEquals((await countOf(store, ":table", day(1)))[0].accuracy, 0.5);
  await addLabels(store, "a", [{ row: 1, truth: "siltstone" }]);
  await refreshAt(store, day(6, 2));
  const [row] = await countOf(store, ":table", day(1));
  assertEquals(row.accuracy, 1);
  assertEquals((await refreshAt(store, day(6, 3))).state, "IDLE");
});

Deno.test("refreshMonitors() leaves a window alone of which retention has taken rows", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40), { requestId: "a", from: day(1) });
  await refreshAt(store, day(2));
  await store.query("delete from core.inferences where row < 20");
  assertEquals((await refreshAt(store, day(2, 1), { minRows: 5 })).state, "IDLE");
  assertEquals((await countOf(store, "GR", day(1)))[0].count, 40);
});

Deno.test("refreshMonitors() backfills every window when the definition changes", async () => {
  await using store = await openMonitored();
  for (const i of [1, 2, 3]) {
    await addRows(store, plainRows(40, { slice: "P" }), { requestId: `r${i}`, from: day(i) });
  }
  assertEquals((await refreshAt(store, day(4))).monitorVersion, 1);
  const changed = await refreshAt(store, day(4), { slices: ["GR > 55"] });
  assertEquals([changed.monitorVersion, changed.windows], [2, 3]);
  const rows = await store.query(
    `select distinct monitor_version, slice_key from profile where log_type = 'INPUT'
     order by all`,
  );
  assertEquals(rows, [{ monitor_version: 2, slice_key: "GR > 55" }, {
    monitor_version: 2,
    slice_key: null,
  }]);
  // What says when windows close is no change of what is computed.
  const sooner = { slices: ["GR > 55"], lateness: "1h", granularities: ["1 day", "1 week"] };
  const { monitorVersion, windows } = await refreshAt(store, day(10), sooner);
  assertEquals([monitorVersion, windows], [2, 2]);
  assertEquals(
    await store.query("select monitor_version from monitor_definitions order by 1"),
    [{ monitor_version: 1 }, { monitor_version: 2 }],
  );
});

Deno.test("refreshMonitors() leaves whole windows when it is stopped, and goes on from there", async () => {
  await using store = await openMonitored();
  for (let i = 0; i < 60; i++) {
    const from = new Date(day(1).getTime() + i * 3_600_000);
    await addRows(store, plainRows(3), { requestId: `r${i}`, from });
  }
  const definition = { granularities: ["1 hour"] };
  const stop = new AbortController();
  const first = await refreshAt(store, day(9), definition, {
    signal: stop.signal,
    onProgress: () => stop.abort(),
  });
  assertEquals([first.state, first.windows], ["CANCELED", 24]);
  const [{ windows, columns }] = await store.query(
    `select count(distinct window_start) as windows, count(*) as columns from profile
     where slice_key is null and log_type = 'INPUT'`,
  );
  assertEquals([windows, columns], [24, 24 * 10]);
  assertEquals((await refreshAt(store, day(9), definition)).windows, 36);
});

Deno.test("refreshMonitors() calls a refresh failed whose process ended before it did", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40), { requestId: "a", from: day(1) });
  await store.query(
    `insert into core.monitor_refreshes by name select 'dead' as refresh_id, 'rocks' as model,
       1 as version, 1 as monitor_version, 'RUNNING' as state, 0 as windows, 0 as failed,
       0 as rows, now()::timestamp as created_at`,
  );
  await refreshAt(store, day(2));
  const [dead] = await store.query(
    "select state, message from monitor_refreshes where refresh_id = 'dead'",
  );
  assertEquals(dead, { state: "FAILED", message: "the process ended before it did" });
});

Deno.test("refreshMonitors() names a metric and a slice that fail, and computes the others", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40, { slice: "P" }), { requestId: "a", from: day(1) });
  const { state, message, windows } = await refreshAt(store, day(2), {
    slices: ["slice", "no_such_column", "count(*)"],
    metrics: [
      { name: "broken", kind: "aggregate", sql: "avg(no_such_column)" },
      { name: "mean_gr", kind: "aggregate", sql: "avg(GR)" },
    ],
  });
  assertEquals([state, windows], ["FAILED", 1]);
  assertMatch(message!, /slices "no_such_column": .*slices "count\(\*\)": .*metric "broken": /);
  const rows = await store.query(
    `select slice_value, custom_metrics from profile
     where column_name = ':table' and log_type = 'INPUT' order by slice_value`,
  );
  const custom_metrics = { broken: null, mean_gr: 54.75 };
  assertEquals(rows, [{ slice_value: "P", custom_metrics }, { slice_value: null, custom_metrics }]);
});

Deno.test("refreshMonitors() computes metrics of one's own over rows, metrics and pairs of rows", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40, { truth: "sandstone" }), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(40, { gr: 60, truth: "siltstone" }), {
    requestId: "b",
    from: day(2),
  });
  const { state } = await refreshAt(store, day(3), {
    metrics: [
      { name: "mean_gr", kind: "aggregate", sql: "avg(GR)" },
      { name: "wrong", kind: "aggregate", sql: "count(*) filter (label <> truth)" },
      { name: "error", kind: "derived", sql: "1 - accuracy" },
      { name: "cost", kind: "derived", sql: "100 * wrong + mean_gr" },
      { name: "change", kind: "drift", sql: "current.mean_gr - base.mean_gr" },
    ],
  });
  assertEquals(state, "SUCCESS");
  const [{ custom_metrics }] = await store.query(
    `select custom_metrics from profile where column_name = ':table' and window_start = ?
       and slice_key is null`,
    [day(2)],
  );
  assertEquals(custom_metrics, { mean_gr: 64.75, wrong: 20, error: 0.5, cost: 2064.75 });
  const drift = await store.query(
    `select custom_metrics from drift_metrics
     where column_name = ':table' and window_start = ? and slice_key is null
     order by drift_type desc`,
    [day(2)],
  );
  assertEquals(drift, [{ custom_metrics: { change: 10 } }, { custom_metrics: { change: 10 } }]);
});

Deno.test("refreshMonitors() takes the first closed window of enough rows for a baseline that is not kept", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(10), { requestId: "few", from: day(1) });
  await addRows(store, plainRows(50), { requestId: "a", from: day(2) });
  await addRows(store, plainRows(50, { gr: 90 }), { requestId: "b", from: day(3) });
  await refreshAt(store, day(4));
  const [baseline] = await store.query(
    `select "window", count from profile where log_type = 'BASELINE' and column_name = 'GR'
       and slice_key is null`,
  );
  assertEquals(baseline, { window: null, count: 50 });
  const [row] = await store.query(
    `select is_drifted, avg_delta, method from drift_metrics where drift_type = 'BASELINE'
       and column_name = 'GR' and window_start = ?`,
    [day(3)],
  );
  assertEquals(row, { is_drifted: true, avg_delta: 40, method: "ks" });
});

Deno.test("refreshMonitors() compares a slice with its own of the baseline, else with all of it", async () => {
  await using store = await openMonitored([
    ...plainRows(40, { slice: "P", truth: "sandstone" }),
    ...plainRows(40, { gr: 90, slice: "Q", truth: "siltstone" }),
  ]);
  await addRows(store, plainRows(40, { gr: 90, slice: "Q" }), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(40, { gr: 90, slice: "new" }), { requestId: "b", from: day(1) });
  await refreshAt(store, day(2));
  const rows = await store.query(
    `select slice_value, cmp_slice, reference_count, is_drifted from drift_metrics
     where column_name = 'GR' and drift_type = 'BASELINE' and slice_key is not null
     order by slice_value`,
  );
  assertEquals(rows, [
    { slice_value: "Q", cmp_slice: "Q", reference_count: 40, is_drifted: false },
    { slice_value: "new", cmp_slice: null, reference_count: 80, is_drifted: true },
  ]);
});

Deno.test("refreshMonitors() divides by count of rows, and late rows do not move what follows", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(100), { requestId: "a", from: day(1) });
  const definition = { granularities: ["40 rows"] };
  assertEquals((await refreshAt(store, day(2), definition)).windows, 2);
  await addRows(store, plainRows(5), { requestId: "late", from: day(1), stepSeconds: 1 });
  await addRows(store, plainRows(30), { requestId: "b", from: day(3) });
  assertEquals((await refreshAt(store, day(4), definition)).windows, 3);
  const rows = await store.query(
    `select count from profile where column_name = 'GR' and slice_key is null
       and log_type = 'INPUT' order by window_start`,
  );
  assertEquals(rows.map(({ count }) => count), [45, 40, 40]);
});

Deno.test("refreshMonitors() runs the methods that the definition names, besides its own", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(40, { gr: 90 }), { requestId: "b", from: day(2) });
  const hellinger = methods.find(({ name }) => name === "hellinger")!;
  await refreshAt(store, day(3), { methods: ["hellinger"] }, { methods: [hellinger] });
  const [{ methods: found }] = await store.query<{ methods: Record<string, unknown>[] }>(
    `select methods from drift_metrics where column_name = 'GR' and window_start = ?
       and drift_type = 'CONSECUTIVE'`,
    [day(2)],
  );
  assertEquals(found, [{ method: "hellinger", statistic: 1, p_value: null, is_drifted: true }]);
});

Deno.test("refreshMonitors() keeps the hundred most frequent slices of a window", async () => {
  await using store = await openMonitored();
  for (let i = 0; i < 120; i++) {
    await addRows(store, plainRows(i < 100 ? 2 : 1, { slice: `s${i}` }), {
      requestId: `r${i}`,
      from: day(1),
    });
  }
  await refreshAt(store, day(2));
  const [{ slices, rows }] = await store.query(
    `select count(*) as slices, min(count) as rows from profile
     where column_name = 'GR' and slice_key = 'slice' and log_type = 'INPUT'`,
  );
  assertEquals([slices, rows], [100, 2]);
});

Deno.test("refreshMonitors() records a window that fails, and computes it the next time", async () => {
  await using store = await openMonitored();
  await addRows(store, plainRows(40), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(40), { requestId: "b", from: day(2) });
  // The definition's number does not change with what a macro of its name does.
  await store.query(
    "create macro doubled(x) as case when x > 100 then error('spike') else 2 * x end",
  );
  await store.query("update core.inferences set features = [500, 2.5, 0.1] where request_id = 'a'");
  const definition = { slices: ["doubled(GR) > 110"] };
  const first = await refreshAt(store, day(3), definition);
  assertEquals([first.state, first.windows, first.failed], ["FAILED", 0, 2]);
  assertMatch(first.message!, /window of 1 day from 2026-11-01T00:00:00.000Z: .*spike/);
  const states = await store.query(
    "select state, error from monitor_windows order by window_start",
  );
  assertEquals(states.map(({ state }) => state), ["failed", "failed"]);
  assert(String(states[0].error).includes("spike"));
  await store.query("update core.inferences set features = [60, 2.5, 0.1] where request_id = 'a'");
  const second = await refreshAt(store, day(3), definition);
  assertEquals([second.state, second.windows], ["SUCCESS", 2]);
});

Deno.test("refreshMonitors() refuses a version that is not registered", async () => {
  await using store = await openMonitored();
  await assertRejects(
    () =>
      refreshMonitors(store, { model: "rocks", version: 7, definition: ProfileParams.parse({}) }),
    UsageError,
    'Cannot monitor "rocks" version 7: it is not registered; see "deno task models"',
  );
});

Deno.test("ProfileParams refuses windows that it cannot follow, and names that are there twice", () => {
  const read = (section: unknown) => ProfileParams.safeParse(section).error?.issues[0]?.message;
  assertEquals(read({}), undefined);
  assertMatch(
    read({ granularities: ["2 days"] })!,
    /^Cannot read windows "2 days": write one of 5/,
  );
  assertMatch(read({ granularities: ["10 chunks"] })!, /every new row would move them/);
  assertMatch(read({ lateness: "soon" })!, /^Cannot read duration "soon"/);
  assertMatch(read({ slices: ["slice", "slice"] })!, /^Cannot use "slice" twice/);
});
