import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { deflateSync, gunzipSync, gzipSync, inflateSync } from "node:zlib";
import { setAlias } from "../../runtime/registry/model_registry.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { type AppDeps, createApp, type GeophoneApp } from "../../server.ts";
import { SERVER_VERSION } from "../../serving/oip/contract.ts";
import { registerTestModel, testClasses } from "../model_fixture.ts";
import { fuzzBodies, makeRandom } from "./fuzz.ts";

// deno-lint-ignore no-explicit-any
type Body = any;

const INFER = "/v2/models/rocks/infer";
const names = ["GR", "RHOB", "NPHI"];

async function withApp(
  action: (app: GeophoneApp, store: Store) => Promise<void>,
  deps: Partial<AppDeps> & { isWindowed?: boolean } = {},
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees", isWindowed: deps.isWindowed ?? false });
  await using app = await createApp({ store, model: "rocks", quiet: true, ...deps });
  await action(app, store);
}

function post(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return { method: "POST", headers, body: JSON.stringify(body) };
}

async function get(app: GeophoneApp, path: string): Promise<Body> {
  const response = await app.request(path);
  return { status: response.status, ...await response.json() };
}

/** Rows `[n, 3]` that `/predict` takes, without missing values. */
function rowsOf(n: number, seed = 1): Float32Array {
  const random = makeRandom(seed);
  return Float32Array.from(
    { length: 3 * n },
    (_, i) => [300 * random(), 1 + 2.4 * random(), random()][i % 3],
  );
}

function inferBody(X: Float32Array, rest: object = {}) {
  return {
    inputs: [{ name: "input", shape: [X.length / 3, 3], datatype: "FP32", data: [...X] }],
    ...rest,
  };
}

/** A body of binary tensors; `padding` spaces behind the JSON move the bytes. */
function binary(
  tensors: readonly { name: string; shape: number[]; datatype: string; data: ArrayBufferView }[],
  rest: object = {},
  padding = 0,
): { body: Uint8Array<ArrayBuffer>; headers: Record<string, string> } {
  const head = new TextEncoder().encode(
    JSON.stringify({
      inputs: tensors.map(({ data, ...tensor }) => ({
        ...tensor,
        parameters: { binary_data_size: data.byteLength },
      })),
      ...rest,
    }) + " ".repeat(padding),
  );
  const parts = tensors.map(({ data }) =>
    new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)
  );
  const body = new Uint8Array(head.length + parts.reduce((sum, part) => sum + part.length, 0));
  body.set(head);
  parts.reduce((at, part) => (body.set(part, at), at + part.length), head.length);
  return { body, headers: { "inference-header-content-length": String(head.length) } };
}

function fp32(X: Float32Array) {
  return { name: "input", shape: [X.length / 3, 3], datatype: "FP32", data: X };
}

/** The outputs of an answer in either form. */
async function readAnswer(response: Response): Promise<Record<string, (number | string)[]>> {
  assertEquals(response.status, 200);
  const length = response.headers.get("inference-header-content-length");
  const bytes = await response.bytes();
  const head = JSON.parse(
    new TextDecoder().decode(length === null ? bytes : bytes.subarray(0, Number(length))),
  );
  let at = Number(length);
  return Object.fromEntries(head.outputs.map((output: Body) => {
    if (output.data) return [output.name, output.data];
    const part = bytes.slice(at, at += output.parameters.binary_data_size);
    if (output.datatype === "FP32") return [output.name, [...new Float32Array(part.buffer)]];
    if (output.datatype === "INT64") {
      return [output.name, Array.from(new BigInt64Array(part.buffer), Number)];
    }
    const texts: string[] = [];
    const view = new DataView(part.buffer);
    for (let i = 0; i < part.length;) {
      const size = view.getUint32(i, true);
      texts.push(new TextDecoder().decode(part.subarray(i + 4, i += 4 + size)));
    }
    return [output.name, texts];
  }));
}

async function predictLabels(app: GeophoneApp, body: object) {
  const response = await app.request("/predict", post(body));
  assertEquals(response.status, 200);
  const { predictions } = await response.json();
  return {
    label: predictions.map((p: Body) => p.label),
    class_id: predictions.map((p: Body) => testClasses.indexOf(p.label)),
    probabilities: predictions.flatMap((p: Body) => Object.values(p.probabilities)),
  };
}

function columnsOf(X: Float32Array) {
  return Object.fromEntries(
    names.map((name, j) => [name, [...X.filter((_, i) => i % 3 === j)].map(toNull)]),
  );
}

function toNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

function assertSame(a: Record<string, Body>, b: Record<string, Body>): void {
  assertEquals(a.label, b.label);
  assertEquals(a.class_id, b.class_id);
  assertEquals(a.probabilities.map(Math.fround), b.probabilities.map(Math.fround));
}

Deno.test("the protocol describes server, model and configuration", () =>
  withApp(async (app) => {
    assertEquals(await get(app, "/v2/health/live"), { status: 200, live: true });
    assertEquals(await get(app, "/v2/health/ready"), { status: 200, ready: true });
    const server = await get(app, "/v2");
    assertEquals(server, await get(app, "/v2/"));
    assertEquals([server.name, server.version], ["geophone", SERVER_VERSION]);
    assert(server.extensions.includes("binary_tensor_data"));
    const model = await get(app, "/v2/models/rocks");
    assertEquals(model.inputs, [
      {
        name: "input",
        datatype: "FP32",
        shape: [-1, 3],
        parameters: { columns: JSON.stringify(names) },
      },
      { name: "DEPT", datatype: "FP64", shape: [-1] },
    ]);
    const outputs = model.outputs.map((o: Body) => [o.name, o.datatype, o.shape]);
    assertEquals(outputs, [
      ["label", "BYTES", [-1]],
      ["class_id", "INT64", [-1]],
      ["probabilities", "FP32", [-1, 3]],
    ]);
    assertEquals([model.versions, model.platform], [["1"], "onnx_onnxv1"]);
    assertEquals(await get(app, "/v2/models/rocks/versions/production"), model);
    const config = await get(app, "/v2/models/rocks@production/config");
    assertEquals([config.max_batch_size, config.input[0].dims], [0, [-1, 3]]);
    const ready = { status: 200, name: "rocks", ready: true };
    assertEquals(await get(app, "/v2/models/rocks/versions/1/ready"), ready);
  }, { isWindowed: true }));

Deno.test("SERVER_VERSION is the version of deno.json", async () => {
  const text = await Deno.readTextFile(new URL("../../deno.json", import.meta.url));
  assertStringIncludes(text, `"version": "${SERVER_VERSION}"`);
});

Deno.test("the configuration lets rows of many callers be batched when no window looks across them", () =>
  withApp(async (app) => {
    const config = await get(app, "/v2/models/rocks/config");
    assertEquals([config.max_batch_size, config.input[0].dims], [10_000, [3]]);
    assertEquals(config.output[0], {
      name: "label",
      data_type: "TYPE_STRING",
      dims: [1],
      reshape: { shape: [] },
      label_filename: "",
    });
  }));

Deno.test("POST infer answers what /predict answers, and puts the same rows on record", () =>
  withApp(async (app, store) => {
    const X = rowsOf(5);
    const expected = await predictLabels(app, { columns: columnsOf(X), slice: "P-130" });
    const response = await app.request(
      INFER,
      post(inferBody(X, { id: "my-id", parameters: { slice: "P-130" } })),
    );
    const answer = await response.clone().json();
    assertEquals([answer.id, answer.model_name, answer.model_version], ["my-id", "rocks", "1"]);
    assertSame(await readAnswer(response), expected);
    const requests = await store.query(
      `select endpoint, status_code, row_count, client_request_id, model, version, alias,
         queue_ms is not null as is_timed from requests order by request_time`,
    );
    assertEquals(requests[1], {
      endpoint: "/v2/models/:model/infer",
      status_code: 200,
      row_count: 5,
      client_request_id: "my-id",
      model: "rocks",
      version: 1,
      alias: "production",
      is_timed: true,
    });
    const [a, b] = await Promise.all(
      ["/predict", "/v2/models/:model/infer"].map((endpoint) =>
        store.query(
          `select features, label, confidence, probabilities, slice from inferences
         join requests using (request_id) where endpoint = '${endpoint}' order by row`,
        )
      ),
    );
    assertEquals(a, b);
  }));

for (const seed of [1, 2, 3, 4]) {
  Deno.test(`binary and JSON of the same input give equal answers, aligned or not (seed ${seed})`, () =>
    withApp(async (app) => {
      const X = rowsOf(50 + seed * 177, seed);
      const expected = await predictLabels(app, { columns: columnsOf(X) });
      const asked = { outputs: ["label", "class_id", "probabilities"].map((name) => ({ name })) };
      for (let padding = 0; padding < 4; padding++) {
        const isBinary = { ...asked, parameters: { binary_data_output: padding % 2 === 0 } };
        const response = await app.request(INFER, {
          method: "POST",
          ...binary([fp32(X)], isBinary, padding),
        });
        assertSame(await readAnswer(response), expected);
      }
      const nested = Array.from({ length: X.length / 3 }, (_, i) => [...X.slice(3 * i, 3 * i + 3)]);
      const input = { name: "input", shape: [nested.length, 3], datatype: "FP32", data: nested };
      const both = { outputs: [{ name: "probabilities", parameters: { binary_data: true } }] };
      assertSame(
        await readAnswer(await app.request(INFER, post({ inputs: [input] }))),
        expected,
      );
      const part = await readAnswer(await app.request(INFER, post({ inputs: [input], ...both })));
      assertEquals(Object.keys(part), ["probabilities"]);
      assertEquals(part.probabilities, expected.probabilities.map(Math.fround));
    }));
}

for (
  const [datatype, make] of [
    ["INT8", (x: number[]) => Int8Array.from(x)],
    ["INT16", (x: number[]) => Int16Array.from(x)],
    ["INT32", (x: number[]) => Int32Array.from(x)],
    ["INT64", (x: number[]) => BigInt64Array.from(x, BigInt)],
    ["UINT8", (x: number[]) => Uint8Array.from(x)],
    ["UINT16", (x: number[]) => Uint16Array.from(x)],
    ["UINT32", (x: number[]) => Uint32Array.from(x)],
    ["UINT64", (x: number[]) => BigUint64Array.from(x, BigInt)],
    ["FP16", (x: number[]) => Float16Array.from(x)],
    ["BF16", (x: number[]) => Uint16Array.from(new Uint32Array(Float32Array.from(x).buffer), high)],
    ["FP64", (x: number[]) => Float64Array.from(x)],
  ] as const
) {
  Deno.test(`${datatype} inputs give what the same numbers as FP32 give`, () =>
    withApp(async (app) => {
      const numbers = [64, 2, 0, 120, 3, 1, 16, 1, 0];
      const expected = await predictLabels(app, { columns: columnsOf(Float32Array.from(numbers)) });
      const tensor = { name: "input", shape: [3, 3], datatype };
      for (let padding = 0; padding < 3; padding++) {
        const sent = binary([{ ...tensor, data: make(numbers) }], {}, padding);
        assertSame(
          await readAnswer(await app.request(INFER, { method: "POST", ...sent })),
          expected,
        );
      }
      const json = post({ inputs: [{ ...tensor, data: numbers }] });
      assertSame(await readAnswer(await app.request(INFER, json)), expected);
    }));
}

function high(bits: number): number {
  return bits >>> 16;
}

Deno.test("NaN of a binary tensor is a missing value, as null is for /predict", () =>
  withApp(async (app, store) => {
    const X = rowsOf(4);
    X[4] = NaN;
    const expected = await predictLabels(app, { columns: columnsOf(X) });
    const response = await app.request(INFER, { method: "POST", ...binary([fp32(X)]) });
    assertSame(await readAnswer(response), expected);
    const rows = await store.query("select features.RHOB as value from inferences where row = 1");
    assertEquals(rows, [{ value: null }, { value: null }]);
  }));

Deno.test("rows of one request are a sequence along the order column", () =>
  withApp(async (app, store) => {
    const X = rowsOf(6);
    const DEPT = Float64Array.from({ length: 6 }, (_, i) => 1000.1 + i / 2);
    const expected = await predictLabels(app, { columns: { ...columnsOf(X), DEPT: [...DEPT] } });
    for (const shape of [[6], [6, 1]]) {
      const order = { name: "DEPT", shape, datatype: "FP64" };
      const sent = binary([{ ...order, data: DEPT }, fp32(X)], { id: "b" }, 3);
      assertSame(await readAnswer(await app.request(INFER, { method: "POST", ...sent })), expected);
      const { inputs } = inferBody(X);
      const json = post({ inputs: [...inputs, { ...order, data: [...DEPT] }] });
      assertSame(await readAnswer(await app.request(INFER, json)), expected);
    }
    const [{ n }] = await store.query(
      "select count(distinct order_value) as n from inferences where order_value > 1000",
    );
    assertEquals(n, 6);
    const alone = rowsOf(1);
    const one = await predictLabels(app, { columns: columnsOf(alone) });
    assertSame(await readAnswer(await app.request(INFER, post(inferBody(alone)))), one);
    for (
      const [data, part] of [
        [undefined, "needs it"],
        [[1, 2, 3, 4, 5, null], "null is no value"],
        [[1, 2], "one value for each of 6 rows"],
      ] as const
    ) {
      const order = { name: "DEPT", shape: [data?.length], datatype: "FP64", data };
      const { inputs } = inferBody(X);
      const response = await app.request(
        INFER,
        post({ inputs: data ? [...inputs, order] : inputs }),
      );
      assertEquals(response.status, 400);
      assertStringIncludes((await response.json()).error, part);
    }
  }, { isWindowed: true }));

const X = rowsOf(2);
const [input] = inferBody(X).inputs;
const refusals: [name: string, init: RequestInit, status: number, part: string][] = [
  ["no JSON", { method: "POST", body: "{" }, 400, "ends too early"],
  ["an empty body", { method: "POST" }, 400, "it is empty"],
  ["an array", post([]), 400, "expected object"],
  ["no inputs", post({ inputs: [] }), 400, '"inputs"'],
  ["an id that is no text", post(inferBody(X, { id: 7 })), 400, '"id"'],
  ["another input", post({ inputs: [{ ...input, name: "inputs" }] }), 400, 'mean "input"?'],
  ["an input twice", post({ inputs: [input, input] }), 400, "given twice"],
  ["a wrong width", post({ inputs: [{ ...input, shape: [3, 2] }] }), 400, "send [-1, 3]"],
  ["a wrong rank", post({ inputs: [{ ...input, shape: [6] }] }), 400, "send [-1, 3]"],
  ["a shape of text", post({ inputs: [{ ...input, shape: ["2", 3] }] }), 400, "inputs.0.shape.0"],
  ["a negative shape", post({ inputs: [{ ...input, shape: [-1, 3] }] }), 400, "shape"],
  ["no rows", post({ inputs: [{ ...input, shape: [0, 3], data: [] }] }), 400, "no rows"],
  ["rows without end", post({ inputs: [{ ...input, shape: [2 ** 50, 3] }] }), 413, "10000"],
  ["BYTES", post({ inputs: [{ ...input, datatype: "BYTES" }] }), 400, "BYTES is not numeric"],
  ["BOOL", post({ inputs: [{ ...input, datatype: "BOOL" }] }), 400, "send FP32"],
  ["an unknown datatype", post({ inputs: [{ ...input, datatype: "__proto__" }] }), 400, "numeric"],
  ["too few values", post({ inputs: [{ ...input, data: [1, 2] }] }), 400, "6 values"],
  ["too many values", post({ inputs: [{ ...input, data: [...X, 1] }] }), 400, "6 values"],
  ["ragged rows", post({ inputs: [{ ...input, data: [[1, 2], [3, 4, 5, 6]] }] }), 400, "[2, 3]"],
  ["null", post({ inputs: [{ ...input, data: [...X.slice(1), null] }] }), 400, "in binary"],
  ["text", post({ inputs: [{ ...input, data: [...X.slice(1), "1"] }] }), 400, 'value 5 is "1"'],
  ["a fraction as INT32", post({ inputs: [{ ...input, datatype: "INT32" }] }), 400, "INT32"],
  ["1e39", post({ inputs: [{ ...input, data: [1, 1, 1, 1, 1e39, 1] }] }), 400, '"RHOB"'],
  ["no data", post({ inputs: [{ ...input, data: undefined }] }), 400, "neither"],
  ["infinity", { method: "POST", ...binary([fp32(Float32Array.of(1, Infinity, 1))]) }, 400, "RHOB"],
  ["an unknown output", post(inferBody(X, { outputs: [{ name: "labels" }] })), 400, '"label"?'],
  [
    "an output twice",
    post(inferBody(X, { outputs: [{ name: "label" }, { name: "label" }] })),
    400,
    "asked for twice",
  ],
  [
    "a flag that is none",
    post(inferBody(X, { parameters: { binary_data_output: "yes" } })),
    400,
    "true or false",
  ],
  [
    "shared memory",
    post({ inputs: [{ ...input, parameters: { shared_memory_region: "x" } }] }),
    400,
    "not supported",
  ],
  [
    "a slice of control characters",
    post(inferBody(X, { parameters: { slice: "\u0000" } })),
    400,
    "slice",
  ],
  [
    "a header length beyond the body",
    post(inferBody(X), { "inference-header-content-length": "99999" }),
    400,
    "Inference-Header-Content-Length",
  ],
  [
    "a header length within the JSON",
    post(inferBody(X), {
      "inference-header-content-length": String(JSON.stringify(inferBody(X)).length - 1),
    }),
    400,
    "ends too early",
  ],
  [
    "too many bytes",
    { method: "POST", ...binary([{ ...fp32(X), shape: [1, 3] }]) },
    400,
    "24 bytes where its shape and datatype FP32 ask for 12",
  ],
  [
    "a size beyond the body",
    post({ inputs: [{ ...input, data: undefined, parameters: { binary_data_size: 24 } }] }),
    400,
    "0 bytes are left",
  ],
  [
    "an unknown encoding",
    post(inferBody(X), { "content-encoding": "br" }),
    400,
    "use gzip or deflate",
  ],
  ["a body that is not gzip", post(inferBody(X), { "content-encoding": "gzip" }), 400, "not gzip"],
  [
    "a zip bomb",
    {
      method: "POST",
      headers: { "content-encoding": "gzip" },
      body: new Uint8Array(gzipSync(new Uint8Array(40_000_000))),
    },
    413,
    "8388608 bytes",
  ],
  ["a long body", { method: "POST", body: new Uint8Array(9_000_000) }, 413, "8388608 bytes"],
];
for (const [name, init, status, part] of refusals) {
  Deno.test(`POST infer answers ${status} with {"error": text} when it gets ${name}`, () =>
    withApp(async (app, store) => {
      const response = await app.request(INFER, init);
      const body = await response.json();
      assertEquals(response.status, status, JSON.stringify(body));
      assertEquals(Object.keys(body), ["error"]);
      assertStringIncludes(body.error, part);
      assertEquals(await store.query("select status_code from requests"), [
        { status_code: status },
      ]);
    }));
}

Deno.test('paths that lead nowhere are 4xx with {"error": text}, whatever the method', () =>
  withApp(async (app) => {
    for (
      const [method, path, status, part] of [
        ["GET", "/v2/models/stone", 404, 'serves "rocks"'],
        ["GET", "/v2/models/rocks/versions/9", 404, "there are versions 1 @production"],
        ["GET", "/v2/models/rocks@nobody/ready", 404, "there are versions"],
        ["GET", "/v2/models/rocks@a/versions/1", 400, "two versions"],
        ["GET", "/v2/models/%E0%A4%A/ready", 400, "no URL text"],
        ["GET", INFER, 405, "use POST"],
        ["POST", "/v2/models/rocks", 405, "use GET"],
        ["GET", "/v2/nothing", 404, "no route"],
        ["DELETE", "/v2/models/rocks/nothing", 404, "takes DELETE"],
        ["GET", "/v2/systemsharedmemory/status", 404, "shared memory is not supported"],
        ["POST", "/v2/cudasharedmemory/region/x/register", 404, "not supported"],
        ["POST", "/v2/trace/setting", 404, "trace settings"],
        ["GET", "/v2/models/rocks/trace/setting", 404, "trace settings"],
        ["GET", "/v2/logging", 404, "log settings"],
      ] as const
    ) {
      const response = await app.request(path, { method });
      const { error } = await response.json();
      assertEquals(response.status, status, `${method} ${path}: ${error}`);
      assertStringIncludes(error, part);
    }
  }));

Deno.test("POST infer takes and gives gzip and deflate", () =>
  withApp(async (app) => {
    const rows = rowsOf(200);
    const expected = await predictLabels(app, { columns: columnsOf(rows) });
    const { body, headers } = binary([fp32(rows)], { parameters: { binary_data_output: true } });
    for (
      const [encoding, pack, unpack] of [
        ["gzip", gzipSync, gunzipSync],
        ["deflate", deflateSync, inflateSync],
      ] as const
    ) {
      const response = await app.request(INFER, {
        method: "POST",
        headers: { ...headers, "content-encoding": encoding, "accept-encoding": encoding },
        body: new Uint8Array(pack(body)),
      });
      assertEquals(response.headers.get("content-encoding"), encoding);
      assertEquals(response.headers.get("vary"), "accept-encoding");
      const plain = new Uint8Array(unpack(await response.bytes()));
      const length = response.headers.get("inference-header-content-length")!;
      const unpacked = new Response(plain, {
        headers: { "inference-header-content-length": length },
      });
      assertSame(await readAnswer(unpacked), expected);
    }
  }));

Deno.test("statistics count rows, runs, failures and times, by version and consistently", () =>
  withApp(async (app, store) => {
    await registerTestModel(store, { seed: 2, alias: "challenger" });
    const send = (path: string, rows: number) => app.request(path, post(inferBody(rowsOf(rows))));
    const sizes = [1, 2, 3, 5, 1, 1, 700, 256, 4];
    const responses = await Promise.all([
      ...sizes.map((rows) => send(INFER, rows)),
      send("/v2/models/rocks@challenger/infer", 7),
      app.request(INFER, post({ inputs: [{ ...input, shape: [1, 1] }] })),
    ]);
    await Promise.all(responses.map((response) => response.body?.cancel()));
    const { model_stats: [stats, second] } = await get(app, "/v2/models/stats");
    assertEquals(stats, (await get(app, "/v2/models/rocks/versions/1/stats")).model_stats[0]);
    assertEquals([stats, second], (await get(app, "/v2/models/rocks/stats")).model_stats);
    const total = sizes.reduce((a, b) => a + b);
    assertEquals([stats.name, stats.version, stats.inference_count], ["rocks", "1", total]);
    assertEquals([second.version, second.inference_count], ["2", 7]);
    const { batch_stats: batches, inference_stats: times } = stats;
    const sum = (of: (batch: Body) => number) =>
      batches.reduce((n: number, batch: Body) => n + of(batch), 0);
    assertEquals(sum((b) => b.batch_size * b.compute_infer.count), total);
    assertEquals(sum((b) => b.compute_infer.count), stats.execution_count);
    assert(batches.every((b: Body) => b.batch_size <= 256));
    assert(stats.execution_count < sizes.length + 3, "requests share runs");
    assertEquals([times.success.count, times.fail.count], [sizes.length, 1]);
    assert(times.success.ns > times.compute_infer.ns / sizes.length && times.fail.ns > 0);
    assert(Math.abs(stats.last_inference - Date.now()) < 60_000);
  }));

Deno.test("the repository lists, loads and unloads versions, and says why not", () =>
  withApp(async (app, store) => {
    await registerTestModel(store, { seed: 2, alias: "challenger" });
    await registerTestModel(store, { model: "other", alias: null });
    const send = async (path: string, body?: unknown): Promise<Body> => {
      const response = await app.request(`/v2/repository/${path}`, post(body));
      return [response.status, await response.json()];
    };
    const waits = "it is loaded when a request asks for it";
    assertEquals(await send("index"), [200, [
      {
        name: "other",
        version: "1",
        state: "UNAVAILABLE",
        reason: 'this server serves "rocks"',
      },
      { name: "rocks", version: "1", state: "READY", reason: "" },
      { name: "rocks", version: "2", state: "UNAVAILABLE", reason: waits },
    ]]);
    assertEquals(await send("models/rocks/unload", { parameters: { version: 2 } }), [200, {}]);
    assertEquals(await send("models/rocks/load", { parameters: { version: "2" } }), [200, {}]);
    assertEquals(await send("models/rocks/load"), [200, {}]);
    const [, ready] = await send("index", { ready: true });
    assertEquals(ready.map((entry: Body) => entry.version), ["1", "2"]);
    for (
      const [path, body, part] of [
        ["models/rocks@nobody/unload", {}, "there are versions"],
        ["models/other/unload", {}, 'serves "rocks"'],
        ["models/rocks/load", { parameters: { config: "{}" } }, "not supported"],
        ["models/rocks/load", { parameters: { version: [] } }, "no version"],
        ["models/rocks@nobody/load", {}, "there are versions"],
        ["models/other/load", {}, 'serves "rocks"'],
        ["index", { ready: 1 }, '"ready"'],
      ] as const
    ) {
      const [status, { error }] = await send(path, body);
      assert(status === 400 || status === 404, `${path} ${status}`);
      assertStringIncludes(error, part);
    }
  }));

Deno.test("unload takes a version or the whole model out of use until load brings it back", () =>
  withApp(async (app, store) => {
    await registerTestModel(store, { seed: 2, alias: "challenger" });
    const send = async (path: string, body: unknown = {}): Promise<Body> => {
      const response = await app.request(`/v2/${path}`, post(body));
      return { status: response.status, ...await response.json() };
    };
    const infer = (model: string) => send(`models/${model}/infer`, inferBody(rowsOf(1)));
    const states = async () => {
      const entries = await (await app.request("/v2/repository/index", post({}))).json();
      return entries.map(({ state }: Body) => state);
    };
    assertEquals((await infer("rocks@challenger")).status, 200);
    assertEquals(await states(), ["READY", "READY"]);

    await send("repository/models/rocks/unload", { parameters: { version: "2" } });
    assertEquals(await states(), ["READY", "UNAVAILABLE"]);
    assertEquals((await infer("rocks")).status, 200);
    const refused = await infer("rocks@challenger");
    assertEquals(refused.status, 503);
    assertStringIncludes(refused.error, "version 2 is unloaded; load it by POST");

    await send("repository/models/rocks/unload");
    assertEquals(await states(), ["UNAVAILABLE", "UNAVAILABLE"]);
    const { status, error } = await infer("rocks");
    assertEquals(status, 503);
    assertStringIncludes(error, "it is unloaded");
    const ready = await get(app, "/ready");
    assertEquals([ready.status, ready.model.state, ready.loaded_versions], [
      "not ready",
      "unloaded",
      [],
    ]);
    // Neither a look at the aliases nor one that moves brings it back.
    await setAlias(store, { model: "rocks", alias: "production", version: 2, reason: "test" });
    await app.refresh();
    assertEquals((await infer("rocks")).status, 503);
    const [{ reason }] = await (await app.request("/v2/repository/index", post({}))).json();
    assertStringIncludes(reason, "unloaded by request");

    await send("repository/models/rocks/load");
    const back = await infer("rocks");
    assertEquals([back.status, back.model_version], [200, "2"]);
  }));

Deno.test("an alias that moves to an unloaded version is not answered by the one before", () =>
  withApp(async (app, store) => {
    await registerTestModel(store, { seed: 2, alias: null });
    const unload = { parameters: { version: 2 } };
    await app.request("/v2/repository/models/rocks/unload", post(unload));
    assertEquals((await app.request(INFER, post(inferBody(rowsOf(1))))).status, 200);
    await setAlias(store, { model: "rocks", alias: "production", version: 2, reason: "test" });
    await app.refresh();
    assertEquals((await app.request(INFER, post(inferBody(rowsOf(1))))).status, 503);
    await app.request("/v2/repository/models/rocks/load", post(unload));
    const answer = await (await app.request(INFER, post(inferBody(rowsOf(1))))).json();
    assertEquals(answer.model_version, "2");
  }));

Deno.test("POST infer takes Triton's priority and timeout, and refuses what is neither", () =>
  withApp(async (app) => {
    const send = (parameters: object) =>
      app.request(INFER, post(inferBody(rowsOf(1), { parameters })));
    for (const parameters of [{ priority: 1, timeout: 9e9 }, { priority: 0, timeout: 0 }]) {
      assertEquals((await send(parameters)).status, 200);
    }
    for (const priority of ["urgent", -1, 1.5]) {
      const response = await send({ priority });
      assertEquals(response.status, 400);
      assertStringIncludes((await response.json()).error, "there are high, normal, low");
    }
    assertEquals((await send({ timeout: "soon" })).status, 400);
    // Its microsecond is over before the model could begin.
    const late = await send({ timeout: 1 });
    assertEquals(late.status, 504);
    assertStringIncludes((await late.json()).error, "waited");
  }));

Deno.test("without a model the protocol says that it is not ready", async () => {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  assertEquals(await get(app, "/v2/health/live"), { status: 200, live: true });
  assertEquals(await get(app, "/v2/health/ready"), { status: 503, ready: false });
  const { status, error } = await get(app, "/v2/models/rocks/ready");
  assertEquals(status, 503);
  assertStringIncludes(error, 'run "deno task pipeline"');
  assertEquals(await get(app, "/v2/models/stats"), { status: 200, model_stats: [] });
});

Deno.test("the protocol asks for the key on every route but the probes", () =>
  withApp(async (app) => {
    assertEquals((await get(app, "/v2/health/ready")).status, 200);
    for (const path of ["/v2", "/v2/models/rocks", "/v2/models/rocks/ready", "/v2/nothing"]) {
      const { status, error } = await get(app, path);
      assertEquals(status, 401);
      assertStringIncludes(error, "X-API-Key");
    }
  }, { apiKey: "secret" }));

Deno.test("300 malformed bodies of infer are refused or answered, and each is on record", () =>
  withApp(async (app, store) => {
    const encoder = new TextEncoder();
    const rows = rowsOf(3);
    const valid = [
      { body: encoder.encode(JSON.stringify(inferBody(rows, { id: "a" }))), headers: {} },
      {
        body: encoder.encode(JSON.stringify(inferBody(rows, { outputs: [{ name: "label" }] }))),
        headers: {},
      },
      binary([fp32(rows)], { parameters: { binary_data_output: true } }),
    ];
    const statuses = new Map<number, number>();
    for (const { body, headers } of fuzzBodies(4, 300, valid)) {
      const response = await app.request(INFER, { method: "POST", body, headers });
      await response.body?.cancel();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      assert(response.status < 500, new TextDecoder().decode(body));
    }
    assert((statuses.get(400) ?? 0) > 150, JSON.stringify([...statuses]));
    const counted = await store.query<{ status_code: number; n: number }>(
      "select status_code, count(*) as n from requests group by 1 order by 1",
    );
    assertEquals(
      counted.map(({ status_code, n }) => [status_code, n]),
      [...statuses].sort(([a], [b]) => a - b),
    );
  }));
