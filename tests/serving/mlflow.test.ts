import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { decideOn } from "../../runtime/registry/approvals.ts";
import { resolveVersion } from "../../runtime/registry/model_registry.ts";
import { GateParams } from "../../runtime/registry/gate_params.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp } from "../../server.ts";
import { MAX_ARTIFACT_BYTES } from "../../serving/mlflow/artifacts.ts";
import { mlflowRoutes } from "../../serving/mlflow/mod.ts";
import { makeReport } from "../report_fixture.ts";
import { buildTestModel, registerTestModel, testRecord } from "../model_fixture.ts";

const API = "/api/2.0/mlflow";
const ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts";

// deno-lint-ignore no-explicit-any
type Json = any;

interface Client {
  readonly app: GeophoneApp;
  readonly store: Store;
  /** Calls a route by its path below `/api/2.0/mlflow`; a body makes it a POST. */
  call(path: string, body?: unknown, method?: string): Promise<{ status: number; json: Json }>;
}

async function withClient(
  action: (client: Client) => Promise<void>,
  options: { readonly apiKey?: string; readonly gates?: GateParams } = {},
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using app = await createApp({ store, model: "rocks", quiet: true, ...options });
  await action({
    app,
    store,
    async call(path, body, method = body === undefined ? "GET" : "POST") {
      const url = path.startsWith("/api") || path.startsWith("/ajax-api") ? path : `${API}${path}`;
      const text = typeof body === "string" ? body : JSON.stringify(body);
      const response = await app.request(url, {
        method,
        ...(body === undefined ? {} : { body: text }),
      });
      return { status: response.status, json: await response.json() };
    },
  });
}

async function startRun({ call }: Client, experimentId = "0"): Promise<string> {
  const { json } = await call("/runs/create", { experiment_id: experimentId, start_time: 1 });
  return json.run.info.run_id;
}

Deno.test("a new experiment, a run and its values are answered as clients read them", () =>
  withClient(async (client) => {
    const { call } = client;
    const unknown = await call("/experiments/get-by-name?experiment_name=cores");
    assertEquals([unknown.status, unknown.json.error_code], [404, "RESOURCE_DOES_NOT_EXIST"]);
    const { json: { experiment_id: id } } = await call("/experiments/create", { name: "cores" });
    const run = await startRun(client, id);
    // int64 as text or number, NaN and infinities as text.
    const metrics = [
      { key: "m", value: "NaN", timestamp: "1700000000000", step: "3" },
      { key: "n", value: "-Infinity", timestamp: 1_700_000_000_000 },
      { key: "o", value: 1.5, timestamp: 1_700_000_000_000, step: 9007199254740991 },
    ];
    await call("/runs/log-batch", { run_id: run, metrics, params: [{ key: "p", value: "1" }] });
    const { json } = await call(`/runs/get?run_uuid=${run}&run_id=${run}`);
    assertEquals(json.run.info.experiment_id, id);
    assertEquals(json.run.info.artifact_uri, `mlflow-artifacts:/${id}/${run}/artifacts`);
    assertEquals(json.run.data.params, [{ key: "p", value: "1" }]);
    assertEquals(json.run.data.metrics, [
      { key: "m", value: "NaN", timestamp: 1_700_000_000_000, step: 3 },
      { key: "n", value: "-Infinity", timestamp: 1_700_000_000_000, step: 0 },
      { key: "o", value: 1.5, timestamp: 1_700_000_000_000, step: 9007199254740991 },
    ]);
    const history = await call(`/metrics/get-history?run_id=${run}&metric_key=m&max_results=1`);
    assertEquals(history.json.metrics.length, 1);
  }));

const refusals: [
  name: string,
  path: string,
  body: unknown,
  status: number,
  code: string,
  part: string,
][] = [
  [
    "a missing field",
    "/runs/get",
    undefined,
    400,
    "INVALID_PARAMETER_VALUE",
    '"run_id" is missing',
  ],
  [
    "a missing name",
    "/experiments/create",
    {},
    400,
    "INVALID_PARAMETER_VALUE",
    '"name" is missing',
  ],
  ["an unknown run", "/runs/get?run_id=x", undefined, 404, "RESOURCE_DOES_NOT_EXIST", '"x"'],
  [
    "a value that is no number",
    "/runs/log-metric",
    { run_id: "x", key: "k", value: "much", timestamp: 1 },
    400,
    "INVALID_PARAMETER_VALUE",
    '"value"',
  ],
  [
    "a step beyond 2^53",
    "/runs/log-metric",
    { run_id: "x", key: "k", value: 1, timestamp: 1, step: "9223372036854775807" },
    400,
    "INVALID_PARAMETER_VALUE",
    "2^53",
  ],
  [
    "a negative time",
    "/runs/log-metric",
    { run_id: "x", key: "k", value: 1, timestamp: -1 },
    400,
    "INVALID_PARAMETER_VALUE",
    "is no time",
  ],
  [
    "a bad filter",
    "/runs/search",
    { experiment_ids: ["0"], filter: "loss ~ 3" },
    400,
    "INVALID_PARAMETER_VALUE",
    "Cannot search by",
  ],
  [
    "too many results",
    "/runs/search",
    { experiment_ids: ["0"], max_results: 50_001 },
    400,
    "INVALID_PARAMETER_VALUE",
    "between 1 and 50000",
  ],
  ["broken JSON", "/runs/create", "{", 400, "BAD_REQUEST", "line 1, column 2"],
  ["a body that is a list", "/runs/create", "[]", 400, "BAD_REQUEST", "no JSON object"],
  [
    "a batch over 1 MB",
    "/runs/log-batch",
    { run_id: "x", tags: [{ key: "a", value: "x".repeat(1_000_001) }] },
    413,
    "INVALID_PARAMETER_VALUE",
    "1000000 bytes",
  ],
  ["an unknown route", "/runs/nothing", {}, 404, "ENDPOINT_NOT_FOUND", "no such route"],
  ["a wrong method", "/runs/create", undefined, 405, "ENDPOINT_NOT_FOUND", "use POST"],
  [
    "an unknown stage",
    "/model-versions/transition-stage",
    { name: "rocks", version: "1", stage: "Live" },
    400,
    "INVALID_PARAMETER_VALUE",
    "None, Staging, Production, Archived",
  ],
  [
    "a name that is taken",
    "/registered-models/create",
    { name: "rocks" },
    400,
    "RESOURCE_ALREADY_EXISTS",
    '"rocks"',
  ],
  [
    "a version that is no number",
    "/registered-models/alias",
    { name: "rocks", alias: "a", version: "one" },
    400,
    "INVALID_PARAMETER_VALUE",
    '"version"',
  ],
  [
    "the reserved alias",
    "/registered-models/alias",
    { name: "rocks", alias: "Latest", version: "1" },
    400,
    "INVALID_PARAMETER_VALUE",
    "reserved",
  ],
  [
    "a new name for a model",
    "/registered-models/rename",
    { name: "rocks", new_name: "stones" },
    400,
    "INVALID_PARAMETER_VALUE",
    "Cannot rename",
  ],
];
for (const [name, path, body, status, code, part] of refusals) {
  Deno.test(`the MLflow protocol refuses ${name} with ${status} ${code}, on record`, () =>
    withClient(async ({ call, store }) => {
      const answer = await call(path, body);
      assertEquals([answer.status, answer.json.error_code], [status, code], answer.json.message);
      assertStringIncludes(answer.json.message, part);
      const [row] = await store.query("select status_code, error from requests");
      assertEquals(row.status_code, status);
      assertStringIncludes(row.error as string, part.slice(0, 20));
    }));
}

Deno.test("artifacts go in and out byte by byte, bounded and within the store", () =>
  withClient(async ({ app, call }) => {
    const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 31) % 256);
    const path = `${ARTIFACTS}/0/run/artifacts/deep/${encodeURIComponent("zwei ü.bin")}`;
    const put = await app.request(path, { method: "PUT", body: bytes });
    assertEquals([put.status, await put.text()], [200, "{}"]);
    const got = await app.request(path);
    assertEquals(new Uint8Array(await got.arrayBuffer()), bytes);
    assertEquals(got.headers.get("content-type"), "application/octet-stream");
    assertStringIncludes(got.headers.get("content-disposition") ?? "", "attachment");
    const { json } = await call(`${ARTIFACTS}?path=0/run/artifacts/deep`);
    assertEquals(json.files, [{ path: "zwei ü.bin", is_dir: false, file_size: 70_000 }]);
    for (
      const bad of ["a/..%2f..%2fb", "a/%252e%252e/b", "..%5Cb", "%00", "models/rocks/1/model.onnx"]
    ) {
      const answer = await call(`${ARTIFACTS}/${bad}`, "x", "PUT");
      assertEquals([answer.status, answer.json.error_code], [400, "INVALID_PARAMETER_VALUE"], bad);
    }
    const upward = await call(`${ARTIFACTS}?path=../..`);
    assertEquals(upward.status, 400);
    const large = await app.request(path, {
      method: "PUT",
      headers: { "content-length": String(MAX_ARTIFACT_BYTES + 1) },
      body: new ReadableStream({ start: (controller) => controller.close() }),
    });
    assertEquals(large.status, 413);
    await large.body?.cancel();
    assertEquals((await call(path, undefined, "DELETE")).status, 200);
    assertEquals((await call(path)).json.error_code, "RESOURCE_DOES_NOT_EXIST");
  }));

Deno.test("our own versions are there with alias, metrics and files", () =>
  withClient(async ({ app, call }) => {
    const { json } = await call("/model-versions/get?name=rocks&version=1");
    const version = json.model_version;
    assertEquals([version.version, version.aliases, version.current_stage], [
      "1",
      ["production"],
      "Production",
    ]);
    assertEquals(version.model_metrics, [
      { key: "accuracy", value: 0.9 },
      { key: "balanced_accuracy", value: 0.8 },
    ]);
    const { json: { artifact_uri: uri } } = await call(
      "/model-versions/get-download-uri?name=rocks&version=1",
    );
    assertEquals(uri, "mlflow-artifacts:/models/rocks/1");
    const file = await app.request(`${ARTIFACTS}/models/rocks/1/model.onnx`);
    assertEquals(new Uint8Array(await file.arrayBuffer()), buildTestModel());
    const { json: listed } = await call(`${ARTIFACTS}?path=models/rocks/1`);
    for (const { path, file_size } of listed.files) {
      const response = await app.request(`${ARTIFACTS}/models/rocks/1/${path}`);
      assertEquals((await response.arrayBuffer()).byteLength, file_size, path);
    }
    const { json: models } = await call("/registered-models/search?max_results=5");
    assertEquals(models.registered_models[0].aliases, [{ alias: "production", version: "1" }]);
  }));

Deno.test("an alias that a client moves is served; one of a model that cannot be served is not", () =>
  withClient(async (client) => {
    const { app, call } = client;
    const run = await startRun(client);
    await app.request(`${ARTIFACTS}/0/${run}/artifacts/model/model.onnx`, {
      method: "PUT",
      body: buildTestModel({ seed: 2 }),
    });
    const source = `runs:/${run}/model`;
    await call("/model-versions/create", { name: "rocks", source, run_id: run });
    await call("/model-versions/create", { name: "rocks", source: "s3://elsewhere/model" });
    const served = async () => {
      await app.refresh();
      const response = await app.request("/predict", {
        method: "POST",
        body: JSON.stringify({ records: [testRecord(1)] }),
      });
      return (await response.json()).version;
    };
    await call("/registered-models/alias", { name: "rocks", alias: "production", version: "2" });
    assertEquals(await served(), 2);
    await call("/registered-models/alias", { name: "rocks", alias: "production", version: 3 });
    assertEquals(await served(), 2);
    const ready = await (await app.request("/ready")).json();
    assertEquals(ready.load_failures[0].version, 3);
    const body = { name: "rocks", alias: "production" };
    assertEquals((await call("/registered-models/alias", body, "DELETE")).status, 200);
    assertEquals((await call("/registered-models/alias?name=rocks&alias=production")).status, 400);
  }));

Deno.test("a logged model is made, finished, tagged, found and deleted", () =>
  withClient(async ({ call }) => {
    const { json } = await call("/logged-models", {
      experiment_id: "0",
      name: "facies",
      params: [{ key: "k", value: "1" }],
    });
    const id = json.model.info.model_id;
    assert(/^m-[0-9a-f]{32}$/.test(id));
    const path = `/logged-models/${id}`;
    await call(path, { status: "LOGGED_MODEL_READY" }, "PATCH");
    await call(`${path}/tags`, { tags: [{ key: "a b", value: "1" }] }, "PATCH");
    const found = await call("/logged-models/search", {
      experiment_ids: ["0"],
      filter: "params.k = '1' AND status = 'READY'",
      order_by: [{ field_name: "creation_timestamp", ascending: false }],
    });
    assertEquals(found.json.models[0].info.status, "LOGGED_MODEL_READY");
    assertEquals(found.json.models[0].info.tags, [{ key: "a b", value: "1" }]);
    assertEquals((await call(`${path}/tags/a%20b`, undefined, "DELETE")).status, 200);
    assertEquals((await call(`${path}/artifacts/directories`)).json.files, []);
    await call(path, undefined, "DELETE");
    assertEquals((await call(path)).status, 404);
    assertEquals((await call(`${path}?allow_deleted=true`)).status, 200);
  }));

Deno.test("the routes of MLflow's web pages answer, too", () =>
  withClient(async ({ call }) => {
    const { json } = await call("/ajax-api/2.0/mlflow/experiments/search?max_results=10");
    assertEquals(json.experiments.map(({ name }: Json) => name), ["Default"]);
    assertEquals((await call("/api/3.0/mlflow/server-info")).json.store_type, "SqlStore");
  }));

Deno.test("with a key, who has none is refused in the client's own words, and changes bear its name", () =>
  withClient(async ({ app, call, store }) => {
    const refused = await call("/experiments/search");
    assertEquals([refused.status, refused.json.error_code], [401, "UNAUTHENTICATED"]);
    const response = await app.request(`${API}/experiments/set-experiment-tag`, {
      method: "POST",
      headers: { authorization: "Bearer secret" },
      body: JSON.stringify({ experiment_id: "0", key: "a", value: "b" }),
    });
    assertEquals(response.status, 200);
    await response.body?.cancel();
    const [{ changed_by }] = await store.query("select changed_by from tag_history");
    assertStringIncludes(changed_by as string, "key-");
  }, { apiKey: "secret" }));

Deno.test("a page of another site changes nothing", () =>
  withClient(async ({ app, store }) => {
    for (const host of ["http://127.0.0.1:8000", "http://rebound.example:8000"]) {
      const response = await app.request(`${host}${API}/experiments/create`, {
        method: "POST",
        headers: host.includes("127") ? { origin: "http://elsewhere.example" } : {},
        body: JSON.stringify({ name: "evil" }),
      });
      assertEquals(response.status, 403);
      assertEquals((await response.json()).error_code, "PERMISSION_DENIED");
    }
    assertEquals(await store.query("select name from mlflow_experiments"), [{ name: "Default" }]);
  }));

Deno.test("every route of the table answers nonsense with 4xx, never 5xx", () =>
  withClient(async ({ app, store }) => {
    for (const { method, path } of mlflowRoutes) {
      const url = `/api${path.replace(/[:*]\w+/g, "x")}`;
      const nonsense: RequestInit[] = [
        { method },
        ...(method === "GET"
          ? []
          : ["{}", '{"name":1}', '{"run_id":{},"key":[],"version":-1}', "nul"].map((body) => ({
            method,
            body,
          }))),
      ];
      for (const init of nonsense) {
        const response = await app.request(url, init);
        await response.body?.cancel();
        assert(response.status < 500, `${method} ${url} ${init.body}: ${response.status}`);
      }
      const query = await app.request(`${url}?page_token=%ff&max_results=-1&filter=%27`, {
        method,
      });
      await query.body?.cancel();
      assert(query.status < 500, `${method} ${url}: ${query.status}`);
    }
    assertEquals(await store.query("select 1 from requests where status_code >= 500"), []);
  }));

Deno.test("a guarded alias moves by the gates alone, and each decision is on record", () =>
  withClient(async ({ call, store }) => {
    await registerTestModel(store, { seed: 2, alias: "challenger", report: makeReport() });
    const set = (alias: string, version: string) =>
      call("/registered-models/alias", { name: "rocks", alias, version });
    assertEquals((await set("champion", "2")).status, 200);
    const refused = await set("production", "2");
    assertEquals([refused.status, refused.json.error_code], [403, "PERMISSION_DENIED"]);
    assertStringIncludes(refused.json.message, "0 of 1 approvals");
    const stage = await call("/model-versions/transition-stage", {
      name: "rocks",
      version: "2",
      stage: "Production",
    });
    assertEquals(stage.status, 403);
    const leaving = await call("/model-versions/transition-stage", {
      name: "rocks",
      version: "1",
      stage: "Archived",
    });
    assertStringIncludes(leaving.json.message, 'Cannot delete alias "production" of "rocks"');
    const gone = await call(
      "/registered-models/alias",
      { name: "rocks", alias: "production" },
      "DELETE",
    );
    assertEquals(gone.status, 403);
    const unsigned = await call("/model-versions/create", { name: "rocks", source: "s3://b/x" });
    const { status } = await set("production", unsigned.json.model_version.version);
    assertEquals(status, 403);
    const decisions = await store.query(
      "select version, is_promoted from promotions order by decided_at",
    );
    assert(decisions.length >= 2 && decisions.every((row) => row.is_promoted === false));
    assertEquals(
      await store.query("select version from aliases where alias = 'production'"),
      [{ version: 1 }],
    );
    await decideOn(store, await resolveVersion(store, "rocks", "2"), {
      decision: "approved",
      by: "ada",
      role: "operator",
    });
    assertEquals((await set("production", "2")).status, 200);
    assertEquals(
      await store.query("select version from aliases where alias = 'production'"),
      [{ version: 2 }],
    );
  }, {
    gates: GateParams.parse({ guarded: ["production"], approvals: { count: 1 }, mustBeat: [] }),
  }));
