import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import {
  checkFilter,
  querySample,
  SamplingParams,
  type SamplingPlan,
} from "../../judges/sampling/plan.ts";
import { estimateMean, estimateTotal } from "../../numeric/survey/design.ts";
import { drawRow, drawSql } from "../../runtime/draw.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { addInferences, addModel, addRequests } from "../plugins/alerts/rows.ts";

const rows = Array.from({ length: 500 }, (_, i) => ({
  requestId: i % 3 === 0 ? `caller's id: ${i}` : `00000000-0000-4000-8000-${1000 + i}`,
  row: i % 7,
}));

function makePlan(more: Partial<SamplingPlan> = {}): SamplingPlan {
  return { ...SamplingParams.parse({}), model: "rocks", version: 1, rate: 0.1, seed: 42, ...more };
}

interface DrawnRow extends Record<string, unknown> {
  readonly request_id: string;
  readonly row: number;
  readonly probability: number;
  readonly stratum: string;
}

async function draw(store: Store, plan: SamplingPlan): Promise<DrawnRow[]> {
  const { sql, params } = querySample(plan, null);
  return await store.query<DrawnRow>(`${sql} order by all`, params);
}

/** 2,000 sure ones of one class, 200 unsure ones, 20 of a rare class. */
async function openMixed(): Promise<Store> {
  const store = await openStore(":memory:");
  await addModel(store);
  const of = { minutesAgo: 1 };
  await addInferences(store, { ...of, count: 2000, confidence: 0.95 });
  await addInferences(store, { ...of, count: 200, confidence: 0.4 });
  await addInferences(store, { ...of, count: 20, confidence: 0.95, label: "shale" });
  return store;
}

Deno.test("drawSql() gives what drawRow() gives", async () => {
  await using store = await openStore(":memory:");
  await store.transaction([
    { sql: "create table t (request_id varchar, row integer)" },
    {
      append: "t",
      columns: { request_id: rows.map((r) => r.requestId), row: rows.map((r) => r.row) },
    },
  ]);
  for (const seed of [42, 0, 2 ** 31 - 1]) {
    const drawn = await store.query<{ requestId: string; row: number; u: number }>(
      `select request_id as "requestId", row, ${drawSql(seed)} as u from t`,
    );
    for (const row of drawn) assertEquals(row.u, drawRow(row, seed));
  }
});

Deno.test("drawRow() is uniform, whatever the ids look like, and another with another seed", () => {
  const n = 20_000;
  for (const name of [(i: number) => `r${i}`, (i: number) => `${i}-${"x".repeat(40)}`]) {
    for (const rate of [0.02, 0.3]) {
      const count = Array.from({ length: n }, (_, i) => drawRow({ requestId: name(i), row: 0 }, 42))
        .filter((u) => u < rate).length;
      const deviation = Math.sqrt(n * rate * (1 - rate));
      assert(Math.abs(count - n * rate) < 4 * deviation, `${count} of ${n} at ${rate}`);
    }
  }
  const [a, b] = [1, 2].map((seed) =>
    Array.from({ length: 1000 }, (_, row) => drawRow({ requestId: "r", row }, seed) < 0.5)
  );
  const agreement = a.filter((is, i) => is === b[i]).length;
  assert(agreement > 430 && agreement < 570, `${agreement} of 1000 agree`);
});

Deno.test("querySample() nests the sample of a lower rate in that of a higher one, in every mode", async () => {
  await using store = await openMixed();
  for (const mode of ["uniform", "stratified", "uncertainty"] as const) {
    const key = ({ request_id, row }: DrawnRow) => `${request_id}/${row}`;
    const low = await draw(store, makePlan({ mode, rate: 0.05 }));
    const high = new Set((await draw(store, makePlan({ mode, rate: 0.3 }))).map(key));
    assert(low.length > 0 && low.length < high.size);
    assert(low.every((row) => high.has(key(row))), mode);
    assertEquals(await draw(store, makePlan({ mode, rate: 0.05 })), low);
    assertEquals(await draw(store, makePlan({ mode, rate: 0 })), []);
  }
});

Deno.test("querySample() shares rows equally among strata when stratified, and keeps the probability", async () => {
  await using store = await openMixed();
  const drawn = await draw(store, makePlan({ mode: "stratified", rate: 0.1 }));
  const counts = new Map<string, number[]>();
  for (const { stratum, probability } of drawn) {
    counts.set(stratum, [...counts.get(stratum) ?? [], probability]);
  }
  // 222 rows are to be drawn, 74 of each of three strata: all of the rare one.
  assertEquals([...counts.keys()].sort(), [
    "sandstone / confidence 1",
    "sandstone / confidence 3",
    "shale / confidence 3",
  ]);
  assertEquals(new Set(counts.get("shale / confidence 3")), new Set([1]));
  assertEquals(counts.get("shale / confidence 3")!.length, 20);
  assertAlmostEquals(counts.get("sandstone / confidence 3")![0], 74 / 2000, 1e-12);
  assertAlmostEquals(counts.get("sandstone / confidence 1")![0], 74 / 200, 1e-12);
  // Of what was drawn so unevenly the design still tells how many rows there are, and of which kind.
  const probabilities = drawn.map(({ probability }) => probability);
  const total = estimateTotal({ values: drawn.map(() => 1), probabilities });
  assert(total.low < 2220 && total.high > 2220);
  const rare = drawn.map(({ stratum }) => stratum.startsWith("shale") ? 1 : 0);
  const share = estimateMean({ values: rare, probabilities })!;
  assert(share.low < 20 / 2220 && share.high > 20 / 2220);
});

Deno.test("querySample() draws unsure rows more often, sure ones never less than a quarter as often", async () => {
  await using store = await openMixed();
  const drawn = await draw(store, makePlan({ mode: "uncertainty", rate: 0.2 }));
  const of = (stratum: string) => drawn.find((row) => row.stratum === stratum)!.probability;
  assertAlmostEquals(
    of("sandstone / confidence 3"),
    0.2 * 0.05 / ((2020 * 0.05 + 200 * 0.6) / 2220),
  );
  assertEquals(of("sandstone / confidence 1"), 1);
  const least = await draw(
    store,
    makePlan({ mode: "uncertainty", rate: 0.2, where: "confidence > 2" }),
  );
  assertEquals(least, []);
});

Deno.test("querySample() keeps a minimum per stratum, a most per requester and day, and the filter", async () => {
  await using store = await openMixed();
  const rare = (await draw(store, makePlan({ rate: 0.01, minPerStratum: 10 })))
    .find(({ stratum }) => stratum === "shale / confidence 3")!;
  assertEquals(rare.probability, 0.5);
  await addRequests(store, { count: 1, requester: "loud" });
  const [{ id }] = await store.query<{ id: string }>("select request_id as id from requests");
  await addInferences(store, { count: 1000, requestId: id, minutesAgo: 1 });
  const where = "requester = 'loud' -- nobody else";
  const drawn = await draw(store, makePlan({ rate: 0.5, maxPerRequester: 40, where }));
  assertEquals(new Set(drawn.map(({ request_id }) => request_id)), new Set([id]));
  assertEquals(new Set(drawn.map(({ probability }) => probability)), new Set([0.04]));
});

Deno.test("querySample() makes windows whose drift was seen strata of their own", async () => {
  await using store = await openMixed();
  await addInferences(store, { count: 50, slice: "P-130", minutesAgo: 1 });
  await store.query(`insert into core.drift_metrics by name select 'rocks' as model, 1 as version,
    1 as monitor_version, now()::timestamp - interval 1 hour as window_start,
    now()::timestamp + interval 1 hour as window_end, 'slice' as slice_key, 'P-130' as slice_value,
    'GR' as column_name, 'input' as column_kind, 'BASELINE' as drift_type, true as is_drifted,
    now()::timestamp as created_at`);
  const drawn = await draw(store, makePlan({ rate: 1 }));
  assertEquals(drawn.filter(({ stratum }) => stratum.endsWith(" / drift")).length, 50);
});

Deno.test("checkFilter() refuses what is no condition of one SELECT over the store", async () => {
  await using store = await openMixed();
  await checkFilter(store, null);
  await checkFilter(store, "label = 'shale' and confidence < 0.5");
  for (
    const where of [
      "label = ",
      "no_such_column = 1",
      "true); drop table core.inferences; --",
      "exists (from read_csv('/etc/passwd'))",
      "exists (select secret_hash from core.api_keys)",
    ]
  ) await assertRejects(() => checkFilter(store, where), UsageError);
  assertEquals((await store.query("select count(*) as n from core.inferences"))[0].n, 2220);
});
