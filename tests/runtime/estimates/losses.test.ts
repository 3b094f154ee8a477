import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { readHeldOut } from "../../../runtime/estimates/held_out.ts";
import { openLossFit } from "../../../runtime/estimates/losses.ts";
import { refreshEstimates } from "../../../runtime/estimates/refresh.ts";
import { recordLabels } from "../../../runtime/inference/labels.ts";
import { MonitorSamplingParams } from "../../../runtime/monitors/sampling.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { logDay, registerWithHeldOut } from "./fixture.ts";

const of = { model: "rocks", version: 1, now: Date.parse("2026-03-10T00:00:00Z") };

interface LossRow extends Record<string, unknown> {
  readonly metric: string;
  readonly slice: string | null;
  readonly estimate: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly realized: number | null;
  readonly realized_low: number | null;
  readonly realized_high: number | null;
  readonly outside_share: number | null;
  readonly sampling_fraction: number;
  readonly reason: string | null;
}

function readLosses(store: Store, where = "true"): Promise<LossRow[]> {
  return store.query<LossRow>(
    `from estimates where method = 'dle' and ${where}
     order by window_start, slice nulls first, metric`,
  );
}

Deno.test("refreshEstimates() gives each window and slice its losses without labels, and with them the realized ones within the band", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store);
  const labels = await logDay(store, { day: "2026-03-01" });
  await refreshEstimates(store, of);
  const before = await readLosses(store);
  assertEquals(before.map(({ slice, metric }) => [slice, metric]), [
    [null, "brier"],
    [null, "logLoss"],
    ["A", "brier"],
    ["A", "logLoss"],
    ["B", "brier"],
    ["B", "logLoss"],
  ]);
  for (const { estimate, low, high, realized, reason } of before) {
    assert(low! < estimate! && estimate! < high! && realized === null);
    assertEquals(reason, "0 labels, a realized value takes 30");
  }
  await recordLabels(store, labels, "lab");
  assertEquals((await refreshEstimates(store, of)).windows, 1);
  for (const row of await readLosses(store)) {
    assert(row.low! <= row.realized! && row.realized! <= row.high!, row.metric);
    assert(row.realized_low! < row.realized! && row.realized! < row.realized_high!);
    assert(row.outside_share! < 0.05);
    assertEquals([row.reason, row.floor, row.is_below_contract, row.is_calibrated], [
      null,
      null,
      null,
      null,
    ]);
  }
  const methods = await store.query(
    "select distinct method, metric from estimates order by all",
  );
  assertEquals(methods.map(({ method, metric }) => `${method} ${metric}`), [
    "cbpe accuracy",
    "cbpe f1",
    "cbpe precision",
    "cbpe recall",
    "cbpe rocAuc",
    "dle brier",
    "dle logLoss",
  ]);
});

Deno.test("refreshEstimates() gives a reason and no loss where rows lie beyond the held-out ones, or came without features", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store);
  await logDay(store, { day: "2026-03-01", level: 200 });
  await logDay(store, { day: "2026-03-02", seed: 3 });
  await store.query(
    "update core.inferences set features = [] where request_time > timestamp '2026-03-02'",
  );
  await refreshEstimates(store, of);
  const rows = await readLosses(store, "slice is null and metric = 'logLoss'");
  assertEquals(rows.map(({ estimate, low, outside_share }) => [estimate, low, outside_share]), [
    [null, null, 1],
    [null, null, null],
  ]);
  assertStringIncludes(
    rows[0].reason!,
    "100 % of the rows have a feature beyond those of the held-out predictions (GR most often), of more than 20 % nothing is said",
  );
  assertStringIncludes(rows[1].reason!, "0 rows with their features, an estimate takes 50");
  const kept = await store.query(
    "select count(*) as n from estimates where metric = 'accuracy' and estimate is not null",
  );
  assertEquals(kept[0].n, 6);
});

Deno.test("refreshEstimates() estimates accuracy and gives a reason for losses when held-out predictions are few", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store, 200);
  const labels = await logDay(store, { day: "2026-03-01" });
  await recordLabels(store, labels, "lab");
  assertEquals((await refreshEstimates(store, of)).reason, null);
  const [row] = await readLosses(store, "metric = 'brier'");
  assertEquals(row.estimate, null);
  assertEquals(row.reason, "200 held-out predictions, a loss by features takes 300");
  assert(row.realized! > 0);

  await using other = await openStore(":memory:");
  await registerWithHeldOut(other, 0);
  await logDay(other, { day: "2026-03-01" });
  await refreshEstimates(other, of);
  assertStringIncludes((await readLosses(other))[0].reason!, "no held-out predictions");
});

Deno.test("refreshEstimates() learns losses from the rows that its sample holds, and computes windows of before again", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store);
  await logDay(store, { day: "2026-03-01" });
  const estimates = { rate: 0.5, slices: { B: 0.05 } };
  const sampling = { ...MonitorSamplingParams.parse({ estimates }), seed: 1 };
  await refreshEstimates(store, { ...of, sampling });
  const rows = await readLosses(store, "metric = 'brier'");
  assertEquals(rows.map(({ sampling_fraction }) => sampling_fraction), [0.5, 0.5, 0.05]);
  assertEquals(rows.map(({ estimate }) => estimate !== null), [true, true, false]);
  assertStringIncludes(rows[2].reason!, "rows with their features, an estimate takes 50");
  const [cost] = await store.query("select rows_read, rows_used from monitor_costs");
  assertEquals(cost.rows_read, 600);
  assert(cost.rows_used as number < 400);

  // What an earlier version of the estimates left.
  await store.query("update core.estimate_windows set definition = 'before'");
  await store.query("update core.monitor_cursors set definition = 'before'");
  await store.query("delete from core.estimates where method = 'dle'");
  assertEquals((await refreshEstimates(store, of)).windows, 1);
  assertEquals((await readLosses(store)).length, 6);
});

Deno.test("openLossFit() learns once for a version, gives up in time, and forgets a fit that was stopped", async () => {
  await using store = await openStore(":memory:");
  const { model, version } = await registerWithHeldOut(store);
  const heldOut = await readHeldOut(store, { model, version });
  const about = { model, version, inputs: 3, heldOut, reason: null };
  const controller = new AbortController();
  controller.abort(new Error("Stopped"));
  await assertRejects(
    () => openLossFit(store, { ...about, signal: controller.signal }),
    Error,
    "Stopped",
  );
  const first = await openLossFit(store, about);
  assert(first.estimator !== null);
  assert(await openLossFit(store, about) === first);
  const late = await openLossFit(store, { ...about, version: 2, mostMs: 0 });
  assertEquals(late, { estimator: null, reason: "learning losses takes more than 0 ms" });
  const wider = await openLossFit(store, { ...about, inputs: 4 });
  assertEquals(wider.reason, "held-out predictions have 3 features, the model takes 4");
});
