import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { UsageError } from "../runtime/errors.ts";
import { setAlias } from "../runtime/registry/model_registry.ts";
import { openStore, type Store } from "../runtime/store/store.ts";
import { type AppDeps, createApp, type GeophoneApp, serve } from "../server.ts";
import { registerTestModel, testClasses, testRecord } from "./model_fixture.ts";
import { startChild } from "./serving/child.ts";

type Body = Record<string, unknown>;

async function withApp(
  action: (app: GeophoneApp, store: Store) => Promise<void>,
  deps: Partial<AppDeps> & { isWindowed?: boolean } = {},
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { isWindowed: deps.isWindowed ?? false });
  await using app = await createApp({ store, model: "rocks", quiet: true, ...deps });
  await action(app, store);
}

function post(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  };
}

const one = { records: [testRecord(1)] };

Deno.test("POST /predict answers labels and probabilities and puts both rows on record", () =>
  withApp(async (app, store) => {
    const records = [testRecord(1), testRecord(3)];
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    const response = await app.request(
      "/predict",
      post({ records, slice: "P-130" }, {
        "x-request-id": "my-id.1",
        traceparent: `00-${trace}-00f067aa0ba902b7-01`,
      }),
    );
    assertEquals(response.status, 200);
    assertEquals(response.headers.get("x-request-id"), "my-id.1");
    assertEquals(response.headers.get("x-content-type-options"), "nosniff");
    assertEquals(response.headers.get("access-control-allow-origin"), null);
    const { predictions, ...head } = await response.json();
    assertEquals(head, { request_id: "my-id.1", model: "rocks", version: 1, alias: "production" });
    assertEquals(predictions.length, 2);
    for (const { label, confidence, probabilities } of predictions) {
      assertEquals(Object.keys(probabilities), testClasses);
      assertEquals(confidence, Math.max(...Object.values(probabilities) as number[]));
      assertEquals(confidence, probabilities[label]);
    }
    const rows = await store.query("select * from inferences order by row");
    assertEquals(rows.map((row) => row.features), records);
    assertEquals(rows.map((row) => row.label), predictions.map((p: Body) => p.label));
    assertEquals(
      rows.map((row) => Math.fround(row.confidence as number)),
      predictions.map((p: Body) => Math.fround(p.confidence as number)),
    );
    assertEquals(rows[0].slice, "P-130");
    const [request] = await store.query("select * from requests");
    assertEquals(
      [request.status_code, request.row_count, request.client_request_id, request.trace_id],
      [200, 2, "my-id.1", trace],
    );
    assert((request.duration_ms as number) >= (request.model_ms as number));
  }));

Deno.test("POST /predict takes columns and /batch_predict gives the same labels, probabilities on request", () =>
  withApp(async (app) => {
    const records = Array.from({ length: 700 }, (_, i) => testRecord(i));
    const columns = Object.fromEntries(
      ["GR", "RHOB", "NPHI"].map((name) => [name, records.map((record) => record[name])]),
    );
    const a = await (await app.request("/predict", post({ records }))).json();
    const b = await (await app.request("/predict", post({ columns }))).json();
    assertEquals(a.predictions, b.predictions);
    const c = await (await app.request("/batch_predict", post({ columns }))).json();
    assertEquals(
      c.predictions,
      a.predictions.map(({ label, confidence }: Body) => ({ label, confidence })),
    );
    const all = await app.request("/batch_predict", post({ columns, include_probabilities: true }));
    assertEquals((await all.json()).predictions, a.predictions);
  }));

Deno.test("POST /predict gives a sequence's windows to its own records only", () =>
  withApp(async (app, store) => {
    const sequence = Array.from({ length: 6 }, (_, i) => testRecord(i, true));
    const responses = await Promise.all([
      app.request("/predict", post({ records: sequence })),
      ...sequence.map((record) => app.request("/predict", post({ records: [record] }))),
      app.request("/predict", post({ records: sequence })),
    ]);
    const answers = await Promise.all(responses.map((response) => response.json()));
    assertEquals(answers[0].predictions, answers.at(-1).predictions);
    const [{ n }] = await store.query("select count(distinct order_value) as n from inferences");
    assertEquals(n, 6);
  }, { isWindowed: true }));

Deno.test("a repeated request id is answered under a new one, and every id in the table is unique", () =>
  withApp(async (app, store) => {
    const ids = [];
    for (let i = 0; i < 3; i++) {
      const response = await app.request("/predict", post(one, { "x-request-id": "same" }));
      ids.push((await response.json()).request_id);
    }
    assertEquals(ids[0], "same");
    assertEquals(new Set(ids).size, 3);
    const rows = await store.query(
      "select count(distinct request_id) as ids, count(distinct client_request_id) as given from requests",
    );
    assertEquals(rows, [{ ids: 3, given: 1 }]);
  }));

const bad = { ...testRecord(1) };
const refusals: [
  name: string,
  path: string,
  init: RequestInit | undefined,
  status: number,
  code: string,
  part: string,
][] = [
  ["invalid JSON", "/predict", post('{"records": [}'), 400, "invalid_json", "line 1, column 14"],
  ["an empty body", "/predict", { method: "POST" }, 400, "invalid_json", "it is empty"],
  ["NaN", "/predict", post('{"records":[{"GR":NaN}]}'), 400, "invalid_json", "send null"],
  [
    "1e999",
    "/predict",
    post('{"records":[{"GR":1e999,"RHOB":1,"NPHI":1}]}'),
    422,
    "invalid_input",
    'record 0, "GR"',
  ],
  [
    "an unknown feature",
    "/predict",
    post({ records: [{ ...bad, GRX: 1 }] }),
    422,
    "invalid_input",
    'did you mean "GR"?',
  ],
  [
    "a missing feature",
    "/predict",
    post({ records: [{ GR: 1, RHOB: 2 }] }),
    422,
    "invalid_input",
    'lacks "NPHI"; send null',
  ],
  ["a wrong shape", "/predict", post({ records: [[1, 2, 3]] }), 422, "invalid_input", "an array"],
  ["no records", "/predict", post({ records: [] }), 422, "invalid_input", "there are none"],
  ["a body of 10 MB", "/predict", post("x".repeat(10_000_000)), 413, "too_large", "8388608 bytes"],
  [
    "too many records",
    "/predict",
    post({ records: new Array(10_001).fill(bad) }),
    413,
    "too_large",
    "the limit is 10000",
  ],
  ["an unknown route", "/predictt", post(one), 404, "not_found", "lists the routes"],
  ["an unknown alias", "/predict?alias=x", post(one), 404, "not_found", "versions 1 @production"],
  ["an unknown version", "/predict?version=9", post(one), 404, "not_found", "versions 1 @prod"],
  ["a version that is none", "/predict?version=a", post(one), 400, "invalid_query", "no version"],
  ["a misspelled query", "/predict?allias=a", post(one), 400, "invalid_query", 'mean "alias"?'],
  ["a wrong method", "/predict", undefined, 405, "method_not_allowed", "use POST"],
  ["a wrong method on GET", "/models", post({}), 405, "method_not_allowed", "use GET"],
  [
    "a bad request id",
    "/predict",
    post(one, { "x-request-id": "a b" }),
    400,
    "invalid_request_id",
    "1 to 128",
  ],
  [
    "SQL that writes",
    "/sql",
    post({ sql: "drop table core.requests" }),
    400,
    "invalid_query",
    "SELECT",
  ],
  [
    "SQL that reads files",
    "/sql",
    post({ sql: "from '/etc/passwd'" }),
    400,
    "invalid_query",
    "outside",
  ],
  ["no SQL", "/sql", post({ query: "select 1" }), 422, "invalid_input", '{"sql"'],
];
for (const [name, path, init, status, code, part] of refusals) {
  Deno.test(`the server answers ${status} with a request id and puts it on record when it gets ${name}`, () =>
    withApp(async (app, store) => {
      const response = await app.request(path, init);
      assertEquals(response.status, status);
      const { error } = await response.json();
      assertEquals(error.code, code);
      assertStringIncludes(error.message, part);
      assertEquals(error.request_id, response.headers.get("x-request-id"));
      assert(!/\.ts:\d+|\n\s+at /.test(error.message), "no stack trace");
      if (status === 405) {
        assertStringIncludes(response.headers.get("allow")!, path === "/predict" ? "POST" : "GET");
      }
      const rows = await store.query("select request_id, status_code, endpoint from requests");
      assertEquals(rows, [{
        request_id: error.request_id,
        status_code: status,
        endpoint: path.replace(/\?.*/, ""),
      }]);
    }));
}

Deno.test("POST /predict tolerates a wrong content type and stops reading a body that is too long", () =>
  withApp(async (app) => {
    const plain = await app.request("/predict", post(one, { "content-type": "text/plain" }));
    assertEquals(plain.status, 200);
    await plain.body?.cancel();
    let pulled = 0;
    const endless = new ReadableStream({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(1 << 20).fill(32));
      },
    });
    const response = await app.request("/predict", { method: "POST", body: endless });
    assertEquals(response.status, 413);
    await response.body?.cancel();
    assert(pulled < 20, `${pulled} MB`);
  }));

Deno.test("GET routes describe server, model and store", () =>
  withApp(async (app, store) => {
    const get = async (path: string) => await (await app.request(path)).json();
    assertEquals((await get("/")).links.predict, "/predict");
    assertEquals((await get("/health")).status, "alive");
    const ready = await get("/ready");
    assertEquals([ready.status, ready.model.version], ["ready", 1]);
    const info = await get("/model_info");
    assertEquals(info.features[0], { name: "GR", unit: "gAPI", range: [0, 300] });
    assertEquals(info.classes, testClasses);
    assertEquals(info.metrics, {
      accuracy: 0.9,
      balanced_accuracy: { value: 0.8, low: 0.7, high: 0.9 },
    });
    assertMatch(info.artifact, /^[0-9a-f]{64}$/);
    const { models } = await get("/models");
    assertEquals([models[0].version, models[0].aliases, models[0].is_served], [
      1,
      ["production"],
      true,
    ]);
    const result = await (await app.request(
      "/sql",
      post({ sql: "select count(*) as n from models" }),
    )).json();
    assertEquals([result.columns, result.rows], [["n"], [[1]]]);
    // Probes and scrapes are no rows.
    const [{ n }] = await store.query(
      "select count(*) as n from requests where endpoint in ('/health', '/ready')",
    );
    assertEquals(n, 0);
  }));

Deno.test("GET /metrics counts requests, predictions, runs and commits", () =>
  withApp(async (app) => {
    await (await app.request("/predict", post(one))).body?.cancel();
    await (await app.request("/nowhere")).body?.cancel();
    const response = await app.request("/metrics");
    assertStringIncludes(response.headers.get("content-type")!, "text/plain");
    const text = await response.text();
    for (
      const line of [
        /^geophone_requests_total\{route="\/predict",status="200"\} 1$/m,
        /^geophone_requests_total\{route="unmatched",status="404"\} 1$/m,
        /^geophone_request_duration_seconds_count\{route="\/predict"\} 1$/m,
        /^geophone_predictions_total\{model="rocks",version="1",label="\w+"\} 1$/m,
        /^geophone_batch_rows_sum 1$/m,
        /^geophone_inference_log_queue_rows 0$/m,
        /^geophone_inference_log_commits_total 2$/m,
        /^geophone_inference_log_failures_total 0$/m,
        /^geophone_model_version\{alias="production"\} 1$/m,
        /^process_cpu_seconds_total \d/m,
        /^process_resident_memory_bytes \d{7,}$/m,
      ]
    ) assertMatch(text, line);
  }));

Deno.test("GET /openapi.json describes the live model, every route and the error schema", () =>
  withApp(async (app) => {
    const document = await (await app.request("/openapi.json")).json();
    assertEquals(document.openapi, "3.1.0");
    const { Record, Error, PredictBody } = document.components.schemas;
    assertEquals(Record.required, ["GR", "RHOB", "NPHI"]);
    assertEquals(Object.keys(Record.properties), ["GR", "RHOB", "NPHI", "DEPT"]);
    assertStringIncludes(Record.properties.GR.description, "gAPI");
    assertEquals(PredictBody.oneOf[0].properties.records.maxItems, 10_000);
    assert(Error.properties.error.properties.code.enum.includes("log_full"));
    const names = new Set<string>();
    JSON.stringify(document, (key, value) => {
      if (key === "$ref") names.add(value.replace("#/components/schemas/", ""));
      return value;
    });
    for (const name of names) assert(name in document.components.schemas, name);
    for (const [path, methods] of Object.entries(document.paths)) {
      // A path with a blank names nothing that is there.
      if (path.includes("{")) continue;
      for (const method of Object.keys(methods as Body)) {
        const response = await app.request(path, { method: method.toUpperCase() });
        await response.body?.cancel();
        assert(![404, 405].includes(response.status), `${method} ${path}`);
      }
    }
  }, { isWindowed: true }));

Deno.test("a key is asked for on every route but the probes, and named in the table", () =>
  withApp(async (app, store) => {
    const status = async (path: string, headers: Record<string, string> = {}) => {
      const response = await app.request(path, { headers });
      await response.body?.cancel();
      return response.status;
    };
    assertEquals(await status("/health"), 200);
    assertEquals(await status("/ready"), 200);
    for (const path of ["/", "/models", "/metrics"]) {
      assertEquals(await status(path), 401);
      assertEquals(await status(path, { "x-api-key": "wrong" }), 403);
      assertEquals(await status(path, { authorization: "Bearer secret" }), 200);
    }
    const rows = await store.query(
      "select status_code, requester is not null as is_known from requests where endpoint = '/' order by status_code",
    );
    assertEquals(rows, [
      { status_code: 200, is_known: true },
      { status_code: 401, is_known: false },
      { status_code: 403, is_known: false },
    ]);
  }, { apiKey: "secret", serving: { host: "0.0.0.0" } }));

Deno.test("nothing is answered 200 when its row cannot be written, and /ready says so", () =>
  withApp(async (app, store) => {
    await store.query("alter table core.requests rename to hidden");
    const response = await app.request("/predict", post(one));
    assertEquals([response.status, response.headers.get("retry-after")], [503, "1"]);
    const { error } = await response.json();
    assertEquals(error.code, "log_failed");
    assert(!("predictions" in error));
    const ready = await app.request("/ready");
    assertEquals(ready.status, 503);
    assertStringIncludes((await ready.json()).inference_log.error, "no such table");
    await store.query("alter table core.hidden rename to requests");
    assertEquals((await (await app.request("/predict", post(one))).json()).version, 1);
    const again = await app.request("/ready");
    assertEquals(again.status, 200);
    await again.body?.cancel();
  }));

Deno.test("a full inference log answers 503 with Retry-After, and the refusal is on record", () =>
  withApp(async (app, store) => {
    // One write at a time: the log's waits for this one.
    const slow = store.query("create table slow as select sum(random()) from range(50_000_000)");
    const pending = [0, 1, 2, 3].map(() =>
      app.request("/predict", post({ records: Array.from({ length: 8 }, (_, i) => testRecord(i)) }))
    );
    const responses = await Promise.all(pending);
    await slow;
    const statuses = responses.map((response) => response.status).sort();
    assertEquals(statuses, [200, 503, 503, 503]);
    assert(
      responses.filter((r) => r.status === 503).every((r) => r.headers.get("retry-after") === "1"),
    );
    await Promise.all(responses.map((response) => response.body?.cancel()));
    assertEquals(
      await store.query("select status_code, count(*) as n from requests group by 1 order by 1"),
      [{ status_code: 200, n: 1 }, { status_code: 503, n: 3 }],
    );
  }, { serving: { logRows: 12 } }));

Deno.test("a request that its client gave up is 499 in the table, and one that takes too long is 504", () =>
  withApp(async (app, store) => {
    const abort = new AbortController();
    const never = new ReadableStream({ start() {} });
    const given = app.request("/predict", { method: "POST", body: never, signal: abort.signal });
    const slow = app.request("/predict", { method: "POST", body: new ReadableStream() });
    await new Promise((resolve) => setTimeout(resolve, 20));
    abort.abort();
    assertEquals((await given).status, 499);
    const late = await slow;
    assertEquals([late.status, (await late.json()).error.code], [504, "timeout"]);
    assertEquals(
      await store.query("select status_code from requests order by 1"),
      [{ status_code: 499 }, { status_code: 504 }],
    );
  }, { serving: { requestTimeoutMs: 200 } }));

Deno.test("a client that hangs up while it sends is 499 in the table, and the server goes on", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  const port = Number(new URL(served.url).port);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{";
  await connection.write(new TextEncoder().encode(head));
  await new Promise((resolve) => setTimeout(resolve, 50));
  connection.close();
  const statuses = async () =>
    (await store.query("select status_code from requests")).map((row) => row.status_code);
  for (let i = 0; i < 200 && (await statuses()).length === 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assertEquals(await statuses(), [499]);
  const response = await fetch(`${served.url}/predict`, post(one));
  assertEquals((await response.json()).version, 1);
  await served.shutdown();
});

Deno.test("createApp() starts without a model, says so, and serves as soon as there is one", async () => {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  assertEquals(app.ready, false);
  const response = await app.request("/predict", post(one));
  assertEquals(response.status, 503);
  assertStringIncludes((await response.json()).error.message, 'run "deno task pipeline"');
  await registerTestModel(store);
  await app.refresh();
  assertEquals(app.ready, true);
  assertEquals((await (await app.request("/predict", post(one))).json()).version, 1);
});

Deno.test("createApp() swaps versions under load without a failed or mixed answer", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { seed: 1, kind: "trees" });
  await registerTestModel(store, { seed: 2, kind: "trees", alias: null });
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const answerOf = async (version: number) => {
    const response = await app.request(`/predict?version=${version}`, post(one));
    return (await response.json()).predictions;
  };
  const expected = [undefined, await answerOf(1), await answerOf(2)];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => app.fetch(request),
  );
  const url = `http://127.0.0.1:${server.addr.port}/predict`;
  const seen = new Set<number>();
  let isDone = false;
  let count = 0;
  const workers = Array.from({ length: 8 }, async () => {
    while (!isDone) {
      const response = await fetch(url, post(one));
      const body = await response.json();
      assertEquals(response.status, 200, JSON.stringify(body));
      assertEquals(body.predictions, expected[body.version]);
      seen.add(body.version);
      count++;
    }
  });
  for (let i = 0; i < 6; i++) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    await setAlias(store, {
      model: "rocks",
      alias: "production",
      version: i % 2 ? 1 : 2,
      reason: "swap",
    });
    await app.refresh();
  }
  isDone = true;
  await Promise.all(workers);
  await server.shutdown();
  assertEquals([...seen].sort(), [1, 2]);
  assert(count > 200, `${count} requests`);
  const [{ n, failed }] = await store.query(
    "select count(*) as n, count(*) filter (where status_code <> 200) as failed from requests",
  );
  assertEquals([n, failed], [count + 2, 0]);
});

Deno.test("serve() refuses another address without a key and a port that is taken", async () => {
  await using store = await openStore(":memory:");
  await assertRejects(
    () => serve({ store, model: "rocks", quiet: true, serving: { host: "0.0.0.0", port: 0 } }),
    UsageError,
    "GEOPHONE_API_KEY",
  );
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  await assertRejects(
    () => serve({ store, model: "rocks", quiet: true, serving: { port } }),
    Error,
    "another program does",
  );
  taken.close();
});

Deno.test("serve() answers the requests at hand and writes its log when it gets SIGTERM", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/store.duckdb`;
    const { url, end } = await startChild(path);
    const pending = Array.from({ length: 40 }, () => fetch(`${url}/predict`, post(one)));
    await pending[0];
    const ending = end("SIGTERM");
    const results = await Promise.allSettled(pending);
    const ids = [];
    for (const result of results) {
      if (result.status === "rejected") continue;
      assertEquals(result.value.status, 200);
      ids.push((await result.value.json()).request_id);
    }
    assertEquals((await ending).code, 0);
    await using store = await openStore(path, { publish: false });
    const rows = await store.query("select request_id from requests where endpoint = '/predict'");
    const known = new Set(rows.map((row) => row.request_id));
    assertEquals(known.size, rows.length);
    for (const id of ids) assert(known.has(id), id);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const rounds = Number(Deno.env.get("GEOPHONE_CRASH_ROUNDS") ?? 20);

Deno.test(`serve() keeps every acknowledged request exactly once when it is killed under load, ${rounds} times`, async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/store.duckdb`;
  const acknowledged: string[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const { url, end } = await startChild(path);
      const before = acknowledged.length;
      let isDead = false;
      const workers = Array.from({ length: 12 }, async (_, worker) => {
        for (let i = 0; !isDead; i++) {
          // Half of the callers choose their ids.
          const given = worker % 2 ? { "x-request-id": `r${round}.w${worker}.${i}` } : {};
          try {
            const response = await fetch(
              `${url}/predict`,
              post(one, given as Record<string, string>),
            );
            const body = await response.json();
            if (response.status === 200) acknowledged.push(body.request_id);
          } catch {
            return;
          }
        }
      });
      while (acknowledged.length < before + 50) await new Promise((r) => setTimeout(r, 5));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
      await end("SIGKILL");
      isDead = true;
      await Promise.all(workers);
      await using store = await openStore(path, { publish: false });
      const rows = await store.query<{ id: string; requests: number; inferences: number }>(
        `select r.request_id as id, count(distinct r.rowid) as requests, count(i.rowid) as inferences
         from core.requests r left join core.inferences i using (request_id)
         where endpoint = '/predict' group by 1`,
      );
      const found = new Map(rows.map((row) => [row.id, row]));
      for (const row of rows) assertEquals([row.requests, row.inferences], [1, 1], row.id);
      for (const id of acknowledged) assert(found.has(id), `${id} was acknowledged and is lost`);
    }
    assertEquals(new Set(acknowledged).size, acknowledged.length);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
