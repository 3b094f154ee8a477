import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { loadAlerts } from "../../../plugins/alerts/load.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { findFloors, readMinimums } from "../../../runtime/estimates/contract.ts";
import { readHeldOut } from "../../../runtime/estimates/held_out.ts";
import { findWilsonInterval, realize } from "../../../runtime/estimates/realized.ts";
import { refreshEstimates } from "../../../runtime/estimates/refresh.ts";
import { recordLabels } from "../../../runtime/inference/labels.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { logDay, makeInputs, registerWithHeldOut } from "./fixture.ts";

const NOW = Date.parse("2026-03-10T00:00:00Z");
const of = { model: "rocks", version: 1, now: NOW };

interface EstimateRow extends Record<string, unknown> {
  readonly estimate: number | null;
  readonly low: number;
  readonly high: number;
  readonly realized: number | null;
  readonly realized_low: number;
  readonly realized_high: number;
  readonly labeled_rows: number;
  readonly label_coverage: number;
  readonly reason: string | null;
}

function read(store: Store, where: string): Promise<EstimateRow[]> {
  return store.query<EstimateRow>(
    `from estimates where ${where} order by window_start, slice nulls first, metric`,
  );
}

Deno.test("refreshEstimates() gives each closed window and slice all metrics, and the truth lies in the band when only the inputs moved", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store);
  const labels = [
    ...await logDay(store, { day: "2026-03-01" }),
    ...await logDay(store, { day: "2026-03-02", level: 35, seed: 3 }),
  ];
  await logDay(store, { day: "2026-03-10", rows: 200 }); // still open
  assertEquals((await refreshEstimates(store, of)).windows, 2);
  const before = await read(store, "true");
  assertEquals(before.length, 2 * 3 * 7);
  assert(before.every(({ estimate, low, high }) => low <= estimate! && estimate! <= high));
  assert(before.every(({ realized, reason }) => realized === null && reason!.includes("0 labels")));

  await recordLabels(store, labels, "lab");
  assertEquals((await refreshEstimates(store, of)).windows, 2);
  const after = await read(store, "metric in ('accuracy', 'recall', 'f1')");
  for (const { realized, low, high, realized_low, realized_high, label_coverage } of after) {
    assert(low <= realized! && realized! <= high, `${realized} in ${low} to ${high}`);
    assert(realized_low <= realized! && realized! <= realized_high);
    assertEquals(label_coverage, 1);
  }
  const cells = await store.query(
    `select sum(expected) as expected, sum(realized) as realized from estimate_confusion
     where slice is null`,
  );
  assertEquals(Math.round(cells[0].expected as number), 1_200);
  assertEquals(cells[0].realized, 1_200);
});

Deno.test("refreshEstimates() computes a window again only when it got rows, labels or another contract", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store);
  const labels = await logDay(store, { day: "2026-03-01" });
  await logDay(store, { day: "2026-03-02" });
  assertEquals((await refreshEstimates(store, of)).windows, 2);
  assertEquals((await refreshEstimates(store, of)).windows, 0);
  await recordLabels(store, labels.slice(0, 40), "lab");
  assertEquals((await refreshEstimates(store, of)).windows, 1);
  const [{ labeled_rows }] = await read(store, "metric = 'accuracy' and slice is null");
  assertEquals(labeled_rows, 40);
  await recordLabels(store, [{ ...labels[0], label: "anhydrite" }], "lab, corrected", {});
  await logDay(store, { day: "2026-03-02", rows: 10, request: "late" });
  assert((await refreshEstimates(store, of)).windows >= 1);
  assertEquals((await read(store, "metric = 'f1' and slice is null")).map(({ rows }) => rows), [
    600,
    610,
  ]);
  assertEquals((await refreshEstimates(store, { ...of, tolerance: 0.1 })).windows, 2);
  await store.query("delete from core.inferences where request_id = 'late-A'"); // retention
  assertEquals((await refreshEstimates(store, { ...of, tolerance: 0.1 })).windows, 0);
  // A week begins with its Monday, which 2026-03-02 is.
  assertEquals((await refreshEstimates(store, { ...of, granularity: "1 week" })).windows, 2);
});

Deno.test("refreshEstimates() says why there is no estimate when rows or held-out predictions are too few", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store);
  await logDay(store, { day: "2026-03-01", rows: 35 });
  await refreshEstimates(store, of);
  const [few] = await read(store, "slice is null");
  assertEquals(few.estimate, null);
  assertStringIncludes(few.reason!, "35 rows, an estimate takes 50");

  await using other = await openStore(":memory:");
  await registerWithHeldOut(other, 0);
  const labels = await logDay(other, { day: "2026-03-01" });
  await recordLabels(other, labels, "lab");
  const { reason } = await refreshEstimates(other, of);
  assertStringIncludes(reason!, "no held-out predictions");
  const [row] = await read(other, "metric = 'accuracy' and slice is null");
  assertEquals([row.estimate, row.is_below_contract], [null, null]);
  assert(row.realized! > 0);
  await assertRejects(() => refreshEstimates(other, { ...of, version: 7 }), UsageError, '"7"');
});

Deno.test("refreshEstimates() names the feature that moved as the cause, and the alert fires while the bound is below the contract", async () => {
  await using store = await openStore(":memory:");
  await registerWithHeldOut(store);
  const today = Date.now();
  const day = (back: number) => new Date(today - back * 86_400_000).toISOString().slice(0, 10);
  const [alert] = (await loadAlerts(new URL("../../../plugins/alerts/", import.meta.url)))
    .filter(({ name }) => name === "estimated_accuracy");
  await logDay(store, { day: day(3) });
  await refreshEstimates(store, { ...of, now: today });
  assertEquals((await store.queryReadOnly(alert.sql)).rows, []);
  assertEquals(await store.query("from estimate_causes"), []);
  // The classes meet where GR is near 0: the model is unsure there.
  await logDay(store, { day: day(1), level: -40, seed: 5 });
  const { belowContract } = await refreshEstimates(store, { ...of, now: today });
  assertEquals(belowContract, 1);
  const { columns, rows } = await store.queryReadOnly(alert.sql);
  assertEquals(rows.map((row) => row[columns.indexOf("slice")]), ["A", "B", "all"]);
  const causes = await store.query<{ feature: string; share: number }>(
    "select feature, share from estimate_causes where slice is null order by position",
  );
  assertEquals(causes[0].feature, "GR");
});

Deno.test("readHeldOut() gives what was kept, missing values too", async () => {
  await using store = await openStore(":memory:");
  const version = await registerWithHeldOut(store, 120);
  const kept = await readHeldOut(store, version);
  assertEquals(kept!.X.data, makeInputs(120).data);
  assertEquals(kept!.groups.slice(0, 3), ["A", "B", "A"]);
  assertEquals(await readHeldOut(store, { model: "rocks", version: 9 }), null);
});

Deno.test("findFloors() takes the larger of the gate's minimum and the evaluation, and promises nothing of one class of two", () => {
  const scores = {
    accuracy: { value: 0.9, low: 0.85, high: 0.95 },
    macroF1: { value: 0.8, low: 0.75, high: 0.85 },
  };
  assertEquals(findFloors({ scores }, { classes: 2, minimums: { accuracy: 0.9 } }), {
    accuracy: 0.9,
  });
  const three = findFloors({ scores }, { classes: 3, tolerance: 0 });
  assertEquals(three, { accuracy: 0.85, f1: 0.75 });
  assertEquals(findFloors({}, { classes: 3 }), {});
});

Deno.test("readMinimums() reads what the gate demanded when it decided last", async () => {
  await using store = await openStore(":memory:");
  const checks = JSON.stringify([
    { check: "score", limit: 0.5 },
    { check: "score_accuracy", limit: 0.6 },
    { check: "parity", limit: 1e-5 },
  ]);
  await store.query(
    `insert into core.promotions by name select 'rocks' as model, 1 as version, 'production' as alias,
       'dev' as environment, 'r' as reason, true as is_passed, false as is_forced,
       true as is_promoted, ?::json as checks, 'e' as evidence_hash, 'e' as evidence,
       now()::timestamp as decided_at`,
    [checks],
  );
  assertEquals(await readMinimums(store, { model: "rocks", version: 1 }), {
    macroF1: 0.5,
    accuracy: 0.6,
  });
  assertEquals(await readMinimums(store, { model: "rocks", version: 2 }), {});
});

Deno.test("findWilsonInterval() equals statsmodels' proportion_confint(method='wilson')", () => {
  const { low, high } = findWilsonInterval(8, 10);
  // 0.4901624715, 0.9433178485, as Wilson's formula gives with z = 1.959963985.
  assertEquals([low.toFixed(8), high.toFixed(8)], ["0.49016247", "0.94331785"]);
  assertEquals(findWilsonInterval(0, 10).low, 0);
  assertEquals(findWilsonInterval(10, 10).high, 1);
});

Deno.test("realize() counts a class that the model does not know as wrong, and refuses no rows", () => {
  const P = { data: Float32Array.of(0.9, 0.1, 0.2, 0.8), rows: 2, cols: 2 };
  const predicted = Int32Array.of(0, 1);
  const { metrics, confusion } = realize({ P, predicted, y: Int32Array.of(0, 2) });
  assertEquals(metrics.accuracy!.value, 0.5);
  assertEquals([...confusion], [1, 0, 0, 0]);
  const none = { P: { data: new Float32Array(0), rows: 0, cols: 2 }, predicted: new Int32Array(0) };
  let message = "";
  try {
    realize({ ...none, y: new Int32Array(0) });
  } catch (error) {
    message = (error as Error).message;
  }
  assertStringIncludes(message, "no labeled rows");
});
