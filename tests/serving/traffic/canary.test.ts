import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { verifyAudit } from "../../../runtime/audit.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { setAlias } from "../../../runtime/registry/model_registry.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { createApp, type GeophoneApp } from "../../../server.ts";
import { Models } from "../../../serving/models.ts";
import { MetricRegistry } from "../../../serving/metrics/registry.ts";
import { Canary } from "../../../serving/traffic/canary.ts";
import { type CanaryWindow, judgeCanary } from "../../../serving/traffic/canary_verdict.ts";
import { readCanaryWindow } from "../../../serving/traffic/canary_window.ts";
import { TrafficMetrics } from "../../../serving/traffic/metrics.ts";
import { CanaryParams } from "../../../serving/traffic/params.ts";
import { registerTestModel } from "../../model_fixture.ts";
import { ask, askAll, type Body, get, registerBrokenModel, withTraffic } from "./fixture.ts";

const params = CanaryParams.parse({ alias: "challenger", minJudgedQuality: 0.7 });

function windowOf(
  canary: Partial<CanaryWindow["canary"]>,
  baseline: Partial<CanaryWindow["baseline"]> = {},
): CanaryWindow {
  return {
    baseline: { requests: 900, failures: 0, p95Ms: 10, ...baseline },
    canary: { requests: 100, failures: 0, p95Ms: 10, slow: 0, judged: null, ...canary },
  };
}

const verdicts: [name: string, state: string, window: CanaryWindow, part: string][] = [
  ["all is well", "healthy", windowOf({}), "100 requests of the canary"],
  ["there are few requests", "collecting", windowOf({ requests: 99 }), "of 100 each"],
  ["the baseline has few", "collecting", windowOf({}, { requests: 5 }), "of 100 each"],
  ["one of three fails", "collecting", windowOf({ requests: 3, failures: 1 }), "3 requests"],
  [
    "all of three fail",
    "breached",
    windowOf({ requests: 3, failures: 3 }),
    "3 of 3 requests failed",
  ],
  ["as many of both fail", "healthy", windowOf({ failures: 10 }, { failures: 90 }), "no limit"],
  ["a few more fail", "healthy", windowOf({ failures: 2 }, { failures: 9 }), "no limit"],
  ["far more fail", "breached", windowOf({ failures: 20 }, { failures: 9 }), "(20.0 %)"],
  ["there is no baseline", "collecting", windowOf({ failures: 100 }, { requests: 0 }), "of 100"],
  ["it is three times as slow", "breached", windowOf({ p95Ms: 30, slow: 60 }), "30.0 ms"],
  ["some are slow by chance", "healthy", windowOf({ p95Ms: 16, slow: 6 }), "no limit"],
  ["few requests are slow", "collecting", windowOf({ requests: 20, p95Ms: 90, slow: 20 }), "20"],
  ["judges are pleased", "healthy", windowOf({ judged: { count: 80, mean: 0.9 } }), "no limit"],
  ["one judge is not", "healthy", windowOf({ judged: { count: 1, mean: 0 } }), "no limit"],
  ["judges are not", "breached", windowOf({ judged: { count: 80, mean: 0.4 } }), "0.7 is required"],
];

for (const [name, state, window, part] of verdicts) {
  Deno.test(`judgeCanary() says ${state} when ${name}`, () => {
    const verdict = judgeCanary(window, params);
    assertEquals(verdict.state, state);
    assertStringIncludes(verdict.reason, part);
  });
}

Deno.test("readCanaryWindow() counts what a version fails, and nothing that is nobody's fault", async () => {
  await using store = await openStore(":memory:");
  const since = new Date("2026-01-01T00:00:00Z");
  const later = new Date("2026-01-01T00:05:00Z");
  const add = (version: number, status: number, rest: Body = {}) => {
    const { at = later, method = "POST", endpoint = "/predict", queue = 0, ms = 5 } = rest;
    return {
      sql: `insert into core.requests (request_id, request_time, method, endpoint, status_code,
          model, version, row_count, duration_ms, queue_ms)
        values (uuid()::varchar, ?, ?, ?, ?, 'rocks', ?, 1, ?, ?)`,
      params: [at, method, endpoint, status, version, ms, queue],
    };
  };
  await store.transaction([
    ...Array.from({ length: 20 }, (_, i) => add(1, 200, { ms: i + 1 })),
    add(1, 500),
    ...[500, 504, 422, 400].map((status) => add(2, status)),
    ...[429, 499, 503, 401, 404, 413].map((status) => add(2, status)),
    add(2, 200, { ms: 15 }),
    add(2, 200, { ms: 40 }),
    add(2, 500, { at: new Date(since.getTime() - 1) }),
    add(2, 200, { method: "GET", endpoint: "/model_info", queue: null }),
    add(2, 500, { endpoint: "/v2/repository/models/:model/load", queue: null }),
    add(2, 200, { endpoint: "/predict/stream", queue: null }),
    ...[[0, 1], [1, 0.25]].map(([score, probability], row) => ({
      sql: `insert into core.judgements (request_id, row, judge, judge_version, status, score,
          inclusion_probability, ms, created_at)
        values ('j', ?, 'rule', '1', 'scored', ?, ?, 1, ?)`,
      params: [row, score, probability, later],
    })),
    ...[0, 1].map((row) => ({
      sql: `insert into core.inferences (request_id, row, request_time, model, version, features,
          label, confidence, probabilities)
        values ('j', ?, ?, 'rocks', 2, [1.0], 'sandstone', 1, [1.0])`,
      params: [row, later],
    })),
  ]);
  const window = await readCanaryWindow(store, {
    model: "rocks",
    baseline: 1,
    canary: 2,
    since,
    maxLatencyRatio: 1.5,
  });
  assertEquals(window.baseline, { requests: 21, failures: 1, p95Ms: 19.05 });
  const { judged, p95Ms, ...canary } = window.canary;
  assertEquals(canary, { requests: 6, failures: 4, slow: 1 });
  assert(Math.abs(p95Ms! - 38.75) < 1e-9);
  // Weights 1 and 4: the mean is 4/5, of (1 + 4)² / (1 + 16) records.
  assertEquals(judged, { count: 25 / 17, mean: 0.8 });
  const empty = await readCanaryWindow(store, {
    model: "sands",
    baseline: 1,
    canary: 2,
    since,
    maxLatencyRatio: 1.5,
  });
  const none = { requests: 0, failures: 0, p95Ms: null };
  assertEquals(empty, { baseline: none, canary: { ...none, slow: 0, judged: null } });
});

const history = (store: Store): Promise<Body[]> =>
  store.query(
    "select kind, version, percent, reason, changed_by from traffic_history order by change",
  );
const clients = (i: number) => ({ "x-client-id": `client-${i}` });
const canaryOf = async (app: GeophoneApp): Promise<Body> => (await get(app, "/traffic")).canary;
const versions = (answers: Body[]) => [...new Set(answers.map(({ version }) => version))].sort();

Deno.test("a canary that fails is rolled back at once, stays so through a restart, and another version is tried", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1 });
  await registerBrokenModel(store, "challenger");
  const serving: Body = { traffic: { canary: { alias: "challenger", percent: 30 } } };
  const open = () => createApp({ store, model: "rocks", quiet: true, serving });
  {
    await using app = await open();
    assertEquals((await canaryOf(app)).state, "running");
    const answers = await askAll(app, 150, clients);
    const failed = answers.filter(({ status }) => status === 500);
    assert(failed.length > 5 && failed.length < 50, `${failed.length}`);
    await app.refresh();
    const canary = await canaryOf(app);
    assertEquals([canary.state, canary.version, canary.percent], ["rolled back", 2, 0]);
    assertStringIncludes(canary.reason, `${failed.length} of `);
    const later = await askAll(app, 150, clients);
    assert(later.every(({ status, version }) => status === 200 && version === 1));
    const metrics = await (await app.request("/metrics")).text();
    assertStringIncludes(metrics, 'geophone_canary_percent{alias="challenger"} 0');
    assertStringIncludes(metrics, 'geophone_canary_events_total{kind="rolled back"} 1');
  }
  {
    await using app = await open();
    assertEquals((await canaryOf(app)).state, "rolled back");
    assertEquals(versions(await askAll(app, 100, clients)), [1]);
    await registerTestModel(store, { seed: 3, alias: "challenger" });
    await app.refresh();
    const canary = await canaryOf(app);
    assertEquals([canary.state, canary.version, canary.percent], ["running", 3, 30]);
    assertEquals(versions(await askAll(app, 100, clients)), [1, 3]);
  }
  const events = await history(store);
  assertEquals(events.map(({ kind, version, percent }) => [kind, version, percent]), [
    ["started", 2, 30],
    ["rolled back", 2, 0],
    ["started", 3, 30],
  ]);
  const audited = await store.query(
    "select action, subject from audit where action like 'canary.%' order by number",
  );
  assertEquals(audited.map(({ action, subject }) => `${action} ${subject}`), [
    "canary.started rocks/2",
    "canary.rolled_back rocks/2",
    "canary.started rocks/3",
  ]);
  await verifyAudit(store);
});

Deno.test("a canary keeps each client, gets its share, and waits while no version is behind its alias", () =>
  withTraffic({ traffic: { canary: { alias: "next", percent: 20 } } }, async ({ app, store }) => {
    const waiting = await canaryOf(app);
    assertEquals([waiting.state, waiting.version], ["waiting", null]);
    assertStringIncludes(waiting.reason, 'alias "next" has none');
    await setAlias(store, { model: "rocks", alias: "next", version: 2, reason: "try" });
    await app.refresh();
    const answers = await askAll(app, 300, clients);
    const share = answers.filter(({ version }) => version === 2).length / 300;
    assert(share > 0.1 && share < 0.3, `${share}`);
    const again = await askAll(app, 300, clients);
    assertEquals(again.map(({ version }) => version), answers.map(({ version }) => version));
    // A version that has just come to the alias gets nothing before it is known to be new.
    await registerTestModel(store, { seed: 5, alias: null });
    await setAlias(store, { model: "rocks", alias: "next", version: 1, reason: "back" });
    await app.refresh();
    const same = await canaryOf(app);
    assertStringIncludes(same.reason, "is the version that is served");
    assertEquals(versions(await askAll(app, 50, clients)), [1]);
  }));

Deno.test("a canary whose version is moved to production is promoted, and no longer one", () =>
  withTraffic({ traffic: { canary: { alias: "challenger" } } }, async ({ app, store }) => {
    assertEquals((await canaryOf(app)).state, "running");
    await setAlias(store, { model: "rocks", alias: "production", version: 2, reason: "good" });
    await app.refresh();
    assertEquals((await canaryOf(app)).state, "promoted");
    assertEquals((await ask(app, 1)).alias, "production");
    assertEquals((await history(store)).map(({ kind }) => kind), ["started", "promoted"]);
  }));

Deno.test("POST /traffic/rollback stops the canary with its reason, once", () =>
  withTraffic(
    { traffic: { canary: { alias: "challenger", percent: 50 } } },
    async ({ app, store }) => {
      const stop = (body: unknown) =>
        app.request("/traffic/rollback", { method: "POST", body: JSON.stringify(body) });
      assertEquals((await stop({ why: "?" })).status, 422);
      const answer = await stop({ reason: "wrong at P-135" });
      assertEquals(answer.status, 200);
      assertEquals((await answer.json()).canary.state, "rolled back");
      assertEquals(versions(await askAll(app, 60)), [1]);
      const again = await stop({});
      assertEquals(again.status, 422);
      assertStringIncludes((await again.json()).error.message, "no canary is running");
      const [, { kind, reason }] = await history(store);
      assertEquals([kind, reason], ["rolled back", "wrong at P-135"]);
      await app.refresh();
      assertEquals((await canaryOf(app)).state, "rolled back");
    },
  ));

/** A canary on a clock of its own, over a server that answers and logs. */
async function withCanary(
  given: Body,
  action: (parts: {
    canary: Canary;
    app: GeophoneApp;
    store: Store;
    setTime: (ms: number) => void;
    reopen: () => Promise<Canary>;
  }) => Promise<void>,
): Promise<void> {
  await withTraffic({}, async ({ app, store }) => {
    const models = await Models.open(store, {
      model: "rocks",
      preference: ["production"],
      maxBatchRows: 64,
      queueRows: 100,
    });
    let now = Date.now();
    const opened: Canary[] = [];
    const open = async () => {
      const canary = await Canary.open({
        store,
        models,
        params: CanaryParams.parse({ alias: "challenger", ...given }),
        metrics: new TrafficMetrics(new MetricRegistry()),
        onEvent: () => {},
        now: () => now,
      });
      opened.push(canary);
      return canary;
    };
    try {
      await action({
        canary: await open(),
        app,
        store,
        setTime: (ms) => now = ms,
        reopen: open,
      });
    } finally {
      for (const canary of opened) await canary.close();
      await models.close();
    }
  });
}

async function askBoth(app: GeophoneApp, count: number): Promise<void> {
  for (const version of [1, 2]) {
    await Promise.all(
      Array.from({ length: count }, (_, i) => ask(app, i, { path: `/predict?version=${version}` })),
    );
  }
}

Deno.test("Canary advances step by step when a window was healthy, and a restart keeps the step", () =>
  withCanary({ percent: 5, steps: [5, 25, 50], minRequests: 20, maxLatencyRatio: 100 }, async (
    { canary, app, store, setTime, reopen },
  ) => {
    assertEquals([canary.percent, canary.state.state], [5, "running"]);
    await askBoth(app, 20);
    await canary.refresh();
    assertEquals([canary.percent, canary.state.verdict?.state], [5, "healthy"]);
    const windowMs = 10 * 60_000;
    for (const percent of [25, 50]) {
      setTime(canary.state.since!.getTime() + windowMs);
      await canary.refresh();
      assertEquals(canary.percent, percent);
      await askBoth(app, 20);
    }
    assertEquals((await reopen()).percent, 50);
    setTime(canary.state.since!.getTime() + windowMs);
    await canary.refresh();
    assertEquals(canary.percent, 50);
    const events = await history(store);
    assertEquals(events.map(({ kind, percent }) => [kind, percent]), [
      ["started", 5],
      ["advanced", 25],
      ["advanced", 50],
    ]);
  }));

Deno.test("Canary does not advance while there are too few requests", () =>
  withCanary({ percent: 5, steps: [25], minRequests: 20 }, async ({ canary, app, setTime }) => {
    await askBoth(app, 10);
    setTime(canary.state.since!.getTime() + 10 * 60_000);
    await canary.refresh();
    assertEquals([canary.percent, canary.state.verdict?.state], [5, "collecting"]);
  }));

Deno.test("Canary gives no share to what it cannot judge or put on record, and goes on when it can", () =>
  withCanary({ percent: 50 }, async ({ canary, store, reopen }) => {
    await store.transaction([{ sql: "alter table core.traffic_log rename to elsewhere" }]);
    await assertRejects(() => canary.rollBack("now", "ada"));
    assertEquals(canary.percent, 0);
    await canary.refresh();
    assertEquals([canary.percent, canary.state.state], [0, "waiting"]);
    assertStringIncludes(canary.state.reason, "it cannot be judged");
    await store.transaction([{ sql: "alter table core.elsewhere rename to traffic_log" }]);
    await canary.refresh();
    assertEquals(canary.state.state, "rolled back");
    const [, { kind, reason, changed_by }] = await history(store);
    assertEquals([kind, reason, changed_by], ["rolled back", "now", "ada"]);
    const other = await reopen();
    assertEquals(other.state.state, "rolled back");
    await assertRejects(() => other.rollBack("again", null), UsageError, "no canary is running");
  }));
