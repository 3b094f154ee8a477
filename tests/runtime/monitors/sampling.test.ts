import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { estimateMean, estimateTotal } from "../../../numeric/survey/design.ts";
import { Random } from "../../../numeric/random.ts";
import { measureWindow } from "../../../runtime/estimates/measure.ts";
import { refreshEstimatesOf } from "../../../runtime/estimates/refresh.ts";
import { matrix } from "../../../numeric/matrix.ts";
import { drawRow } from "../../../runtime/draw.ts";
import { type Cell, drawSlicings, listCells } from "../../../runtime/monitors/cells.ts";
import { type ColumnProfile, numberColumns } from "../../../runtime/monitors/columns.ts";
import { adaptFactor } from "../../../runtime/monitors/costs.ts";
import { ProfileParams } from "../../../runtime/monitors/definition.ts";
import { measureColumns } from "../../../runtime/monitors/measure.ts";
import { predictionRows, readMonitored } from "../../../runtime/monitors/rows.ts";
import {
  type DrawPlan,
  everyRow,
  MonitorSamplingParams,
  type MonitorsSampling,
  weigh,
} from "../../../runtime/monitors/sampling.ts";
import type { Store } from "../../../runtime/store/store.ts";
import { registerWithHeldOut } from "../estimates/fixture.ts";
import { addModel, openStoreAbroad } from "../../plugins/alerts/rows.ts";
import { addRows, day, type FixtureRow, openMonitored, plainRows, refreshAt } from "./fixture.ts";

const window = { start: day(1), end: day(2) };

/** Rows of two slices, of which some lack `GR`. */
function mixedRows(count: number): FixtureRow[] {
  const random = new Random(7);
  return plainRows(count).map((row, i) => ({
    ...row,
    features: [i % 9 === 0 ? null : 50 + 30 * random.uniform(), 2.5, 0],
    slice: i % 4 === 0 ? "B" : "A",
  }));
}

/** What one draw says of `GR` of all rows and of slice B. */
async function measureDrawn(store: Store, draw: DrawPlan) {
  const monitored = (await readMonitored(store, { model: "rocks", version: 1 }))!;
  const slicings = drawSlicings(draw, [{ key: "slice", sql: "slice" }]);
  const relation = predictionRows(monitored, [window], ["slice"], draw);
  const cells = await listCells(store, { relation, windows: [window], slicings, draw });
  const numbers = numberColumns(monitored).slice(0, 1);
  const measured = { relation, windows: [window], slicings, cells, numbers, draw };
  const profiles: (ColumnProfile & { readonly cell: Cell })[] = [];
  await measureColumns(store, measured, (column, sides) => {
    if (column.name !== "GR") return;
    sides.forEach(({ profile }, i) => profiles.push({ ...profile, cell: cells[i] }));
  });
  const of = (value: string | null) => profiles.find(({ cell }) => cell.sliceValue === value)!;
  return { all: of(null), b: of("B") };
}

/** Whether a mean of draws is its truth, up to four of its standard errors. */
function assertUnbiased(values: readonly number[], truth: number): void {
  const { value, standardError } = meanOf(values);
  assert(Math.abs(value - truth) < 4 * standardError, `${value} ± ${standardError}, not ${truth}`);
}

function meanOf(values: readonly number[]) {
  const n = values.length;
  const value = values.reduce((sum, x) => sum + x, 0) / n;
  const squares = values.reduce((sum, x) => sum + (x - value) ** 2, 0);
  return { value, standardError: Math.sqrt(squares / (n - 1) / n) };
}

Deno.test("profiles of a sample are unbiased in counts and means, and their intervals cover, over 400 draws", async () => {
  await using store = await openMonitored();
  await addRows(store, mixedRows(1000), { requestId: "a", from: day(1) });
  const truth = await measureDrawn(store, everyRow);
  assertEquals([truth.all.count, truth.all.numNulls, truth.b.count], [1000, 112, 250]);
  const draws: Awaited<ReturnType<typeof measureDrawn>>[] = [];
  for (let seed = 0; seed < 400; seed++) {
    draws.push(await measureDrawn(store, { rate: 0.2, slices: { B: 0.6 }, seed }));
  }
  for (const [cell, fraction] of [["all", 0.2], ["b", 0.6]] as const) {
    const of = draws.map((draw) => draw[cell]);
    assertEquals(new Set(of.map((profile) => profile.cell.fraction)), new Set([fraction]));
    assertUnbiased(of.map(({ count }) => weigh(count, fraction)), truth[cell].count);
    assertUnbiased(of.map(({ numNulls }) => weigh(numNulls, fraction)), truth[cell].numNulls);
    assertUnbiased(of.map(({ avg }) => avg!), truth[cell].avg!);
    // The interval of the mean that a reader of the row computes.
    const covered = of.filter(({ avg, stddev, count, numNulls }) => {
      const error = stddev! * Math.sqrt((1 - fraction) / (count - numNulls));
      return Math.abs(avg! - truth[cell].avg!) < 1.96 * error;
    });
    const share = covered.length / draws.length;
    assert(share > 0.92 && share < 0.98, `${cell}: ${share}`);
  }
});

Deno.test("a mean of a sample and its count are Hájek's and Horvitz and Thompson's", async () => {
  await using store = await openMonitored();
  const rows = mixedRows(300);
  await addRows(store, rows, { requestId: "a", from: day(1) });
  const { all } = await measureDrawn(store, { rate: 0.3, slices: {}, seed: 5 });
  const values = rows.flatMap(({ features: [gr] }, row) =>
    gr !== null && drawRow({ requestId: "a", row }, 5) < 0.3 ? [Number(gr)] : []
  );
  const probabilities = values.map(() => 0.3);
  assertAlmostEquals(all.avg!, estimateMean({ values, probabilities })!.value, 1e-9);
  const ones = values.map(() => 1);
  const total = estimateTotal({ values: ones, probabilities })!.value;
  assertEquals(weigh(all.count - all.numNulls, 0.3), Math.round(total));
});

Deno.test("measureWindow() gives realized accuracy without bias and intervals that cover, over 400 draws", () => {
  const random = new Random(3);
  const n = 2_000;
  const P = matrix(n, 2, Float32Array.from({ length: 2 * n }, (_, at) => at % 2 === 0 ? 0.8 : 0.2));
  const predicted = new Int32Array(n);
  const y = Int32Array.from({ length: n }, () => random.uniform() < 0.8 ? 0 : 1);
  const slices = Array.from({ length: n }, (_, i) => i % 5 === 0 ? "B" : "A");
  const measuring = { estimator: null, reason: "none", floors: {}, minRows: 50, minLabels: 30 };
  const of = (draw: DrawPlan, draws: Float64Array) => {
    const all = measureWindow({ P, predicted, y, slices, draws }, { ...measuring, draw });
    return [null, "B"].map((slice) => all.find((measured) => measured.slice === slice)!);
  };
  const truth = of(everyRow, new Float64Array(n)).map(({ metrics }) => metrics[0].realized!.value);
  const draw = { rate: 0.05, slices: { B: 0.3 }, seed: 0 };
  const drawn = Array.from(
    { length: 400 },
    () => of(draw, Float64Array.from({ length: n }, () => random.uniform())),
  );
  for (const [i, [count, fraction]] of ([[n, 0.05], [n / 5, 0.3]] as const).entries()) {
    const cells = drawn.map((each) => each[i]);
    assertUnbiased(cells.map(({ rows }) => weigh(rows, fraction)), count);
    const realized = cells.map(({ metrics }) => metrics[0].realized!);
    assertEquals(cells[0].metrics[0].metric, "accuracy");
    assertUnbiased(realized.map(({ value }) => value), truth[i]);
    const covered = realized.filter(({ low, high }) => low <= truth[i] && truth[i] <= high);
    assert(covered.length > 370, `${covered.length} of 400`);
  }
});

function sampled(
  profile: Record<string, unknown>,
  estimates: Record<string, unknown> = {},
): MonitorsSampling {
  return { ...MonitorSamplingParams.parse({ profile, estimates }), seed: 1 };
}

Deno.test("refreshMonitors() looks at the rates of the config and keeps them on the rows", async () => {
  await using store = await openMonitored();
  const definition = {
    metrics: [{ name: "n", kind: "aggregate", sql: "count(*)" }, {
      name: "all_rows",
      kind: "derived",
      sql: "count",
    }],
  };
  await addRows(store, mixedRows(1000), { requestId: "a", from: day(1) });
  await addRows(store, mixedRows(1000), { requestId: "b", from: day(2) });
  const sampling = sampled({ rate: 0.2, slices: { B: 0.8 } });
  const done = await refreshAt(store, day(4), definition, { sampling });
  assertEquals([done.state, done.windows], ["SUCCESS", 2], done.message ?? "");
  const rows = await store.query<
    { slice: string | null; count: number; fraction: number; n: number; all_rows: number }
  >(
    `select slice_value as slice, count, sampling_fraction as fraction,
       custom_metrics['n'] as n, custom_metrics['all_rows'] as all_rows
     from profile where column_name = ':table' and log_type = 'INPUT' and window_start = ?
     order by slice nulls first`,
    [day(1)],
  );
  assertEquals(rows.map(({ slice, fraction }) => [slice, fraction]), [
    [null, 0.2],
    ["A", 0.2],
    ["B", 0.8],
  ]);
  for (const { count, fraction, n, all_rows } of rows) {
    // One's own aggregates are of the sample, and what is derived from counts is of all rows.
    assertEquals([count, all_rows], [weigh(n, fraction), weigh(n, fraction)]);
  }
  // Comparisons are of as many values as were drawn, and tables of the windows of all rows.
  const [drift] = await store.query<{ current: number; drawn: number; delta: number }>(
    `select d.current_count as current, d.count_delta as delta,
       round((p.count - p.num_nulls) * p.sampling_fraction)::integer as drawn
     from drift_metrics d join profile p using (window_start, column_name)
     where column_name = 'GR' and drift_type = 'CONSECUTIVE' and d.slice_key is null
       and p.slice_key is null`,
  );
  assertEquals(drift.current, drift.drawn);
  assert(Math.abs(drift.delta) < 200, String(drift.delta));
  assertEquals(await store.query("select distinct rows from monitor_windows"), [{ rows: 1000 }]);
  assertEquals((await refreshAt(store, day(4), definition, { sampling })).state, "IDLE");
  const [cost] = await store.query(
    `select monitor, windows, rows_read, rows_used < rows_read as is_less, rate, next_rate,
       standard_error_ratio from monitor_costs`,
  );
  assertEquals(cost, {
    monitor: "profile",
    windows: 2,
    rows_read: 2000,
    is_less: true,
    rate: 0.2,
    next_rate: 0.2,
    standard_error_ratio: Math.sqrt(5),
  });
});

Deno.test("refreshEstimatesOf() samples, weights rows back and writes down what it cost", async () => {
  await using store = await openStoreAbroad();
  await registerWithHeldOut(store);
  await addRows(store, plainRows(2000, { truth: "SS" }), {
    requestId: "a",
    from: day(1),
    stepSeconds: 30,
  });
  const about = {
    model: "rocks",
    version: 1,
    definition: ProfileParams.parse({}),
    now: day(2).getTime(),
    sampling: sampled({}, { rate: 0.25 }),
  };
  assertEquals((await refreshEstimatesOf(store, about)).windows, 1);
  const [row] = await store.query<{ rows: number; fraction: number; known: number }>(
    `select e.rows, sampling_fraction as fraction, w.rows as known from estimates e
     join core.estimate_windows w using (window_start) where metric = 'accuracy'`,
  );
  assertEquals([row.fraction, row.known], [0.25, 2000]);
  assert(row.rows % 4 === 0 && Math.abs(row.rows - 2000) < 4 * Math.sqrt(3 * 2000), `${row.rows}`);
  const [cost] = await store.query<{ used: number }>(
    "select rows_used as used from monitor_costs where monitor = 'estimates'",
  );
  assertEquals(4 * cost.used, row.rows);
  assertEquals((await refreshEstimatesOf(store, about)).windows, 0);
});

Deno.test("adaptFactor() is lower over a budget, higher where there is room, and bounded", () => {
  const sampling = { rate: 0.5, minRate: 0.05, budget: { ms: 10, rows: 100 } };
  const next = (factor: number, ms: number, rows: number, windows = 1) =>
    adaptFactor(sampling, factor, { windows, ms, rowsUsed: rows, rowsRead: rows });
  assertAlmostEquals(next(1, 20, 10), 0.45);
  assertAlmostEquals(next(1, 5, 180), 0.5);
  assertAlmostEquals(next(1, 40, 360, 2), 0.45);
  assertEquals(next(1, 1000, 10), 0.25);
  assertEquals(next(0.2, 1000, 10), 0.1);
  assertEquals(next(0.6, 9, 10), 0.6);
  assertAlmostEquals(next(0.5, 6, 10), 0.75);
  assertEquals(next(0.2, 0, 0), 0.4);
  assertEquals(next(0.9, 0, 0), 1);
  const free = { ...sampling, budget: { ms: null, rows: null } };
  assertEquals(adaptFactor(free, 0.3, { windows: 1, ms: 99, rowsUsed: 99, rowsRead: 99 }), 1);
});

Deno.test("refreshMonitors() lowers the rate after a refresh over its budget, and raises it again", async () => {
  await using store = await openMonitored();
  const sampling = sampled({ budget: { rows: 100 } });
  const sizes = [200, 200, 200, 20, 20, 20, 20];
  for (const [i, size] of sizes.entries()) {
    await addRows(store, plainRows(size), { requestId: `r${i}`, from: day(i + 1) });
    await refreshAt(store, day(i + 2), {}, { sampling });
  }
  const costs = await store.query<{ rate: number; next_rate: number }>(
    "select rate, next_rate from monitor_costs order by created_at",
  );
  const rates = costs.map(({ rate }) => rate);
  assertEquals(rates.slice(0, 2), [1, 0.45]);
  assertEquals(rates.slice(1), costs.slice(0, -1).map(({ next_rate }) => next_rate));
  // The refreshes of small windows read the one before them, too.
  assert(rates.at(-1)! > Math.min(...rates), rates.join(" "));
  assert(rates.every((rate) => rate >= 0.01 && rate <= 1));
});

Deno.test("monitor_costs has judges by day, with the precision that their draw costs", async () => {
  await using store = await openStoreAbroad();
  await addModel(store);
  await addRows(store, plainRows(4), { requestId: "a", from: day(1) });
  await store.query(
    `insert into core.judgements by name select 'a' as request_id, range::integer as row,
       'rule' as judge, '1' as judge_version, if(range = 3, 'error', 'scored') as status,
       if(range = 0, 0.1, 0.5) as inclusion_probability, 100 as tokens_in, 10 as tokens_out,
       2.0 as ms, timestamp '2026-11-01 10:00' as created_at from range(4)`,
  );
  const [row] = await store.query<Record<string, number>>(
    `select monitor, rows_read, rows_used, ms, tokens, rate, standard_error_ratio as ratio
     from monitor_costs`,
  );
  assertEquals(
    [row.monitor, row.rows_read, row.rows_used, row.ms, row.tokens] as unknown[],
    ["judge:rule", 14, 4, 8, 440],
  );
  assertAlmostEquals(row.rate, 3 / 14);
  assertAlmostEquals(row.ratio, Math.sqrt(108 / 14));
});
