import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { matrix } from "../../../numeric/matrix.ts";
import { PredictionCache } from "../../../serving/traffic/cache.ts";
import { registerTestModel, testRecord } from "../../model_fixture.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { createApp, type GeophoneApp } from "../../../server.ts";
import { ask, get, withTraffic } from "./fixture.ts";

const params = { maxBytes: 10_000, maxEntries: 3, ttlSeconds: 60 };
const row = (...values: number[]) => matrix(1, values.length, Float32Array.from(values));
const prediction = (p: number) => ({ labels: Int32Array.of(0), probabilities: row(p, 1 - p) });

Deno.test("PredictionCache.get() tells inputs, shapes, signs and models apart, and knows NaN", () => {
  const cache = new PredictionCache(params);
  cache.set("a", matrix(1, 2, Float32Array.of(0, NaN)), prediction(0.25));
  assertEquals(cache.get("a", row(0, NaN))?.probabilities.data[0], 0.25);
  for (const other of [row(-0, NaN), row(0, 1), row(0), matrix(2, 1, Float32Array.of(0, NaN))]) {
    assertEquals(cache.get("a", other), null);
  }
  assertEquals(cache.get("b", row(0, NaN)), null);
});

Deno.test("PredictionCache keeps what was used last, within its entries, bytes and seconds", () => {
  let now = 0;
  const cache = new PredictionCache(params, () => now);
  for (let i = 0; i < 3; i++) cache.set("a", row(i), prediction(i / 10));
  assert(cache.get("a", row(0)));
  cache.set("a", row(3), prediction(0.5));
  assertEquals([0, 1, 2, 3].map((i) => cache.get("a", row(i)) !== null), [true, false, true, true]);
  const { bytes } = cache.stats;
  cache.set("a", row(3), prediction(0.75));
  assertEquals(cache.stats, { entries: 3, bytes });
  assertEquals(cache.get("a", row(3))?.probabilities.data[0], 0.75);
  now = 60_000;
  assertEquals(cache.get("a", row(3)), null);
  assertEquals(cache.stats.entries, 2);
  // Larger than all it may hold: not kept, and nothing makes room for it.
  cache.set("a", matrix(1, 3_000), prediction(1));
  assertEquals(cache.stats.entries, 2);
  cache.set("a", matrix(1, 2_300), prediction(1));
  assertEquals(cache.stats.entries, 1);
  assert(cache.stats.bytes <= params.maxBytes);
});

Deno.test("PredictionCache keeps copies: memory that is used again changes no answer", () => {
  const cache = new PredictionCache(params);
  const X = row(1, 2);
  const answer = prediction(0.25);
  cache.set("a", X, answer);
  X.data[0] = 9;
  answer.probabilities.data[0] = 9;
  assertEquals(cache.get("a", row(9, 2)), null);
  assertEquals(cache.get("a", row(1, 2))?.probabilities.data[0], 0.25);
});

Deno.test("a server with a cache answers the same again without a run, says so and puts it on record", () =>
  withTraffic({ cache: {} }, async ({ app, store }) => {
    const first = await ask(app, 1);
    const second = await ask(app, 1);
    assertEquals([first, second].map(({ headers }) => headers.get("x-cache")), ["miss", "hit"]);
    assertEquals(second.predictions, first.predictions);
    assertEquals((await ask(app, 2)).headers.get("x-cache"), "miss");
    const invocations = await app.request("/invocations", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ dataframe_records: [testRecord(1)] }),
    });
    assertEquals(invocations.headers.get("x-cache"), "hit");
    await invocations.body?.cancel();
    const rows = await store.query(
      `select queue_ms = 0 and model_ms = 0 as is_cached, count(*) as n from requests
       where queue_ms is not null group by all order by all`,
    );
    assertEquals(rows, [{ is_cached: false, n: 2 }, { is_cached: true, n: 2 }]);
    const [{ n }] = await store.query("select count(*) as n from inferences");
    assertEquals(n, 4);
    const { model_stats: [stats] } = await get(app, "/v2/models/rocks/stats");
    assertEquals([stats.inference_count, stats.execution_count], [2, 2]);
    const { success, cache_hit, cache_miss } = stats.inference_stats;
    assertEquals([success.count, cache_hit.count, cache_miss.count], [4, 2, 2]);
    const metrics = await (await app.request("/metrics")).text();
    assertStringIncludes(metrics, "geophone_cache_hits_total 2");
    assertStringIncludes(metrics, "geophone_cache_misses_total 2");
  }));

Deno.test("a cache never answers across versions", () =>
  withTraffic({ cache: {} }, async ({ app }) => {
    for (const round of [1, 2]) {
      for (const version of [1, 2]) {
        const answer = await ask(app, 3, { path: `/predict?version=${version}` });
        assertEquals(answer.headers.get("x-cache"), round === 1 ? "miss" : "hit");
        assertEquals(answer.version, version);
      }
    }
    const [one, two] = await Promise.all(
      [1, 2].map((version) => ask(app, 3, { path: `/predict?version=${version}` })),
    );
    assert(JSON.stringify(one.predictions) !== JSON.stringify(two.predictions));
  }));

Deno.test("a cache sees the windows: the same records in another order along the depth are another input", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { isWindowed: true });
  const records = [0, 1, 2].map((i) => testRecord(i, true));
  const moved = records.map((record, i) => ({ ...record, DEPT: [100, 100.5, 150][i] }));
  const send = async (app: GeophoneApp, records: unknown) => {
    const body = JSON.stringify({ records });
    const response = await app.request("/predict", { method: "POST", body });
    return [response.headers.get("x-cache"), (await response.json()).predictions];
  };
  await using cached = await createApp({
    store,
    model: "rocks",
    quiet: true,
    serving: { cache: { maxBytes: 1e6, maxEntries: 100, ttlSeconds: 60 } },
  });
  await using plain = await createApp({ store, model: "rocks", quiet: true });
  for (const expected of ["miss", "hit"]) {
    for (const each of [records, moved]) {
      const [outcome, predictions] = await send(cached, each);
      assertEquals(outcome, expected);
      assertEquals(await send(plain, each), [null, predictions]);
    }
  }
});
