import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { type Held, Models } from "../../../serving/models.ts";
import { readRecords } from "../../../serving/records.ts";
import { MetricRegistry } from "../../../serving/metrics/registry.ts";
import { TrafficMetrics } from "../../../serving/traffic/metrics.ts";
import { ShadowParams } from "../../../serving/traffic/params.ts";
import { type Mirrored, Shadow } from "../../../serving/traffic/shadow.ts";
import { registerTestModel, testRecord } from "../../model_fixture.ts";
import { ask, askAll, type Body, get, registerBrokenModel, withTraffic } from "./fixture.ts";

async function waitForRows(store: Store, count: number): Promise<Body[]> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const rows: Body[] = await store.query("from shadow order by request_time, request_id, row");
    if (rows.length >= count) return rows;
    assert(Date.now() < deadline, `${rows.length} of ${count} shadow rows within 10 s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const shadow = { alias: "challenger" };

Deno.test("a shadow's predictions stand beside the answers, which are those of the champion", () =>
  withTraffic({ traffic: { shadow } }, async ({ app, store }) => {
    const answers = await askAll(app, 100);
    assert(answers.every(({ status, version }) => status === 200 && version === 1));
    const own = await ask(app, 7, { path: "/predict?alias=challenger" });
    const rows = await waitForRows(store, 100);
    assertEquals(rows.length, 100);
    assert(rows.every((row) => row.request_id !== own.request_id), "who names a version");
    const byRequest = new Map(rows.map((row) => [row.request_id, row]));
    let disagreed = 0;
    for (const [i, answer] of answers.entries()) {
      const { predictions: [expected] } = await ask(app, i, { path: "/predict?version=2" });
      const row = byRequest.get(answer.request_id);
      const [{ label, probabilities }] = answer.predictions;
      assertEquals([row.champion_label, row.shadow_label], [label, expected.label]);
      assertEquals([row.champion_version, row.shadow_version, row.error], [1, 2, null]);
      assertEquals(row.is_agreed, label === expected.label);
      const differences = Object.keys(probabilities).map((name) =>
        Math.abs(probabilities[name] - expected.probabilities[name])
      );
      assert(Math.abs(row.max_difference - Math.max(...differences)) < 1e-6);
      if (!row.is_agreed) disagreed++;
    }
    assert(disagreed > 0 && disagreed < 100, `${disagreed}`);
    const [summary] = await store.query<Body>("from shadow_summary");
    assertEquals(
      [summary.model, summary.champion_version, summary.shadow_version, summary.row_count],
      ["rocks", 1, 2, 100],
    );
    assertEquals([summary.errors, summary.agreement], [0, (100 - disagreed) / 100]);
    const metrics = await (await app.request("/metrics")).text();
    assertStringIncludes(metrics, `geophone_shadow_rows_total{outcome="differed"} ${disagreed}`);
    const { shadow: state } = await get(app, "/traffic");
    assertEquals([state.alias, state.version, state.queued_rows], ["challenger", 2, 0]);
  }));

Deno.test("a shadow takes its share of the requests, and none that it answered itself", () =>
  withTraffic({ traffic: { shadow: { ...shadow, percent: 30 } } }, async ({ app, store }) => {
    await askAll(app, 200);
    await waitForRows(store, 30);
    await app.close();
    const [{ n }] = await store.query<Body>("select count(*) as n from shadow");
    assert(n > 30 && n < 90, `${n} of 200`);
  }));

Deno.test("a shadow that fails, lacks a version or takes other columns is an error on record, and no caller's", () =>
  withTraffic({ traffic: { shadow: { alias: "next" } } }, async ({ app, store }) => {
    const missing = await ask(app, 1);
    assertEquals([missing.status, missing.version], [200, 1]);
    await registerBrokenModel(store, "next");
    await app.refresh();
    // A GR of 260.75 is beyond what the broken model can take.
    const broken = await ask(app, 7);
    assertEquals([broken.status, broken.version], [200, 1]);
    await registerTestModel(store, { seed: 4, isWindowed: true, alias: "next" });
    await app.refresh();
    const sequence = await app.request("/predict", {
      method: "POST",
      body: JSON.stringify({ records: [testRecord(1), testRecord(2)] }),
    });
    assertEquals(sequence.status, 200);
    await sequence.body?.cancel();
    assertEquals((await ask(app, 1)).status, 200);
    const rows = await waitForRows(store, 5);
    const errors = rows.map(({ shadow_version, row, error }) => [shadow_version, row, error]);
    assertEquals(errors.map(([version, row]) => [version, row]), [
      [null, 0],
      [3, 0],
      [4, 0],
      [4, 1],
      [4, 0],
    ]);
    assertStringIncludes(errors[0][2], '"@next"');
    assertStringIncludes(errors[1][2], "gives no number");
    assertStringIncludes(errors[2][2], '"DEPT", along which the shadow looks');
    assertEquals(errors[4][2], null);
    assertEquals([rows[1].shadow_label, rows[1].is_agreed, rows[1].probabilities], [
      null,
      null,
      null,
    ]);
    const metrics = await (await app.request("/metrics")).text();
    assertStringIncludes(metrics, 'geophone_shadow_rows_total{outcome="error"} 4');
  }));

/** A shadow over a real champion, whose own model is what `acquire` gives. */
async function withShadow(
  options: { acquire: () => Held | Promise<Held>; maxQueueRows?: number; timeoutMs?: number },
  action: (parts: {
    shadow: Shadow;
    offer: (i: number) => void;
    store: Store;
    metrics: () => Promise<string>;
    errors: string[];
  }) => Promise<void>,
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const models = await Models.open(store, {
    model: "rocks",
    preference: ["production"],
    maxBatchRows: 64,
    queueRows: 100,
  });
  const registry = new MetricRegistry();
  const errors: string[] = [];
  const { acquire, maxQueueRows = 2, ...rest } = options;
  const mirror = new Shadow({
    store,
    params: ShadowParams.parse({ alias: "challenger", maxQueueRows }),
    acquire,
    metrics: new TrafficMetrics(registry),
    onError: (error) => errors.push(error.message),
    ...rest,
  });
  const { model: champion } = await models.acquire();
  const records = readRecords({ records: [testRecord(1)] }, champion.layout, { maxRows: 1 });
  const prediction = await champion.predict(records);
  champion.release();
  const offer = (i: number) => {
    const mirrored: Mirrored = {
      requestId: `r${i}`,
      time: new Date(),
      champion,
      records,
      prediction,
    };
    mirror.offer(mirrored, 2);
  };
  try {
    await action({
      shadow: mirror,
      offer,
      store,
      metrics: () => registry.render("text/plain"),
      errors,
    });
  } finally {
    await mirror.close();
    await models.close();
  }
}

Deno.test("Shadow drops and counts what comes while the shadow hangs, and gives up on it in time", () =>
  withShadow({
    acquire: () => new Promise<Held>(() => {}),
    timeoutMs: 50,
  }, async ({ shadow, offer, store, metrics }) => {
    for (let i = 0; i < 5; i++) offer(i);
    assertEquals(shadow.queuedRows, 2);
    assertStringIncludes(await metrics(), "geophone_shadow_dropped_total 3");
    await shadow.settle();
    assertEquals(shadow.queuedRows, 0);
    const rows = await store.query<Body>("select request_id, error from shadow order by all");
    assertEquals(rows.map(({ request_id }) => request_id), ["r0", "r1"]);
    assertStringIncludes(rows[0].error, "50 ms have passed");
  }));

Deno.test("Shadow says what it could not write, counts it and goes on", () =>
  withShadow({
    acquire: () => Promise.reject(new Error("No memory")),
  }, async ({ shadow, offer, store, metrics, errors }) => {
    await store.transaction([{ sql: "alter table core.shadow_inferences rename to elsewhere" }]);
    offer(1);
    await shadow.settle();
    assertStringIncludes(errors[0], "Cannot write shadow rows");
    assertStringIncludes(await metrics(), "geophone_shadow_dropped_total 1");
    await store.transaction([{ sql: "alter table core.elsewhere rename to shadow_inferences" }]);
    offer(2);
    await shadow.settle();
    const [{ n }] = await store.query<Body>("select count(*) as n from core.shadow_inferences");
    assertEquals(n, 1);
  }));

Deno.test("Shadow.close() ends though the shadow hangs, and puts on record what it gave up", () =>
  withShadow({
    acquire: () => new Promise<Held>(() => {}),
  }, async ({ shadow, offer, store }) => {
    offer(1);
    await shadow.close();
    offer(2);
    assertEquals(shadow.queuedRows, 0);
    const rows = await store.query<Body>("select request_id, error from shadow");
    assertEquals(rows, [{ request_id: "r1", error: "Cannot mirror: the server is ending" }]);
  }));
