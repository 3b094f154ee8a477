import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Logger } from "../../runtime/logger.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp, type ServingParams } from "../../server.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";

type Line = Record<string, unknown>;

async function withApp(
  serving: Partial<ServingParams>,
  action: (deps: {
    readonly app: GeophoneApp;
    readonly store: Store;
    readonly lines: readonly Line[];
  }) => Promise<void>,
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const lines: Line[] = [];
  const logger = new Logger({ format: "json", write: (text) => lines.push(JSON.parse(text)) });
  await using app = await createApp({ store, model: "rocks", serving, logger });
  await action({ app, store, lines });
}

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const one = () => ({
  method: "POST",
  body: JSON.stringify({ records: [{ ...testRecord(0), GR: 271.828 }] }),
  headers: { "x-request-id": "mine", traceparent: `00-${TRACE}-b7ad6b7169203331-01` },
});

async function until(isDone: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !isDone(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert(isDone());
}

Deno.test("the log has a line of each request that the server failed, and of no other", () =>
  withApp({}, async ({ app, store, lines }) => {
    assertEquals((await app.request("/predict", one())).status, 200);
    assertEquals((await app.request("/predict", { method: "POST", body: "{" })).status, 400);
    assertEquals(lines.map(({ event }) => event), ["model_loaded", "alias_moved"]);
    await store.transaction([{ sql: "drop view models" }]);
    const { headers } = one();
    const response = await app.request("/models", { headers: { ...headers, "x-request-id": "b" } });
    const answer = await response.text();
    assertEquals(response.status, 500);
    const failed = lines[2];
    assertMatch(String(failed.time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assertEquals(
      [failed.level, failed.event, failed.request_id, failed.trace_id, failed.status],
      ["error", "request_failed", "b", TRACE, 500],
    );
    // The operator hears the reason, the caller does not.
    assertStringIncludes(String(failed.message), 'Request "b" failed: ');
    assertStringIncludes(String(failed.message), "models");
    assertEquals(answer.includes("Catalog"), false);
  }));

Deno.test("the log calls a request that finds no model a warning, with the model it asked for", async () => {
  await using store = await openStore(":memory:");
  const lines: Line[] = [];
  const logger = new Logger({ format: "json", write: (text) => lines.push(JSON.parse(text)) });
  await using app = await createApp({ store, model: "rocks", logger });
  assertEquals((await app.request("/predict", one())).status, 503);
  const [{ level, status, model }] = lines;
  assertEquals([level, status, model], ["warning", 503, "rocks"]);
});

Deno.test("serving.accessLog makes every request a line, with nothing of its payload", () =>
  withApp({ accessLog: true }, async ({ app, lines }) => {
    assertEquals((await app.request("/predict", one())).status, 200);
    assertEquals((await app.request("/nowhere")).status, 404);
    const [ok, missing] = lines.filter(({ event }) => event === "request");
    const { time: _, duration_ms, message, request_bytes: __, response_bytes, ...rest } = ok;
    assertEquals(rest, {
      level: "info",
      event: "request",
      request_id: "mine",
      trace_id: TRACE,
      model: "rocks",
      version: 1,
      method: "POST",
      endpoint: "/predict",
      status: 200,
      rows: 1,
    });
    assert(typeof duration_ms === "number" && Number(response_bytes) > 0);
    assertMatch(String(message), /^POST \/predict 200 [\d.]+ ms, 1 rows, mine$/);
    assertEquals([missing.status, missing.endpoint], [404, "/nowhere"]);
    assertEquals(JSON.stringify(lines).includes("271.828"), false);
  }));

Deno.test("the log says when the inference log cannot write, and when it can again", () =>
  withApp({}, async ({ app, store, lines }) => {
    await store.transaction([{ sql: "alter table core.requests rename to elsewhere" }]);
    // One that brings an id is refused before, since the table cannot be asked for it.
    const { headers: _, ...plain } = one();
    assertEquals((await app.request("/predict", plain)).status, 503);
    const events = () => lines.map(({ event }) => event).slice(2);
    assertEquals(events(), ["log_failed", "request_failed"]);
    await store.transaction([{ sql: "alter table core.elsewhere rename to requests" }]);
    assertEquals((await app.request("/predict", plain)).status, 200);
    await until(() => events().length > 2);
    assertEquals(events(), ["log_failed", "request_failed", "log_recovered"]);
  }));

Deno.test("the log says where an alias moves, and what cannot be loaded", () =>
  withApp({}, async ({ app, store, lines }) => {
    const next = await registerTestModel(store, { seed: 2 });
    await app.refresh();
    assertEquals(lines.slice(2).map(({ event, version }) => [event, version]), [
      ["model_loaded", 2],
      ["alias_moved", 2],
    ]);
    const broken = await registerTestModel(store, { seed: 3, alias: null });
    await store.transaction([
      { sql: "delete from core.artifacts where sha256 = ?", params: [broken.artifact] },
      {
        sql:
          `insert into core.alias_log (model, alias, from_version, to_version, reason, changed_at)
          values ('rocks', 'production', ?, ?, 'test', now()::timestamp)`,
        params: [next.version, broken.version],
      },
    ]);
    await app.refresh();
    const { event, level, version } = lines.at(-1)!;
    assertEquals([event, level, version], ["model_load_failed", "error", broken.version]);
  }));
