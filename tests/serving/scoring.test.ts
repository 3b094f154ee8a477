import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { gzipSync } from "node:zlib";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { type AppDeps, createApp, type GeophoneApp } from "../../server.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";
import { fuzzBodies } from "./fuzz.ts";

// deno-lint-ignore no-explicit-any
type Body = any;

const PATH = "/invocations";

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
  return {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  };
}

async function score(app: GeophoneApp, init: RequestInit, path = PATH): Promise<Body> {
  const response = await app.request(path, init);
  const body = await response.json();
  assertEquals(response.status, 200, JSON.stringify(body));
  assertEquals(Object.keys(body), ["predictions"]);
  return body.predictions;
}

async function predict(app: GeophoneApp, records: unknown): Promise<Body[]> {
  return (await (await app.request("/predict", post({ records }))).json()).predictions;
}

const names = ["GR", "RHOB", "NPHI"];
const records = Array.from({ length: 9 }, (_, i) => testRecord(i));
const rows = records.map((record) => names.map((name) => record[name]));
const columns = Object.fromEntries(names.map((name, j) => [name, rows.map((row) => row[j])]));
const whole = rows.map((row) => row.map((value) => value ?? 0));

const forms: [name: string, body: Body][] = [
  ["dataframe_split", { dataframe_split: { columns: names, index: [0, 1], data: rows } }],
  [
    "dataframe_split in another order",
    {
      dataframe_split: { columns: names.toReversed(), data: rows.map((row) => row.toReversed()) },
    },
  ],
  ["dataframe_split without names", { dataframe_split: { data: rows } }],
  ["dataframe_records", { dataframe_records: records }],
  ["instances of records", { instances: records }],
  ["instances of rows", { instances: rows }],
  ["inputs of rows", { inputs: rows }],
  ["inputs of records", { inputs: records }],
  ["inputs of named columns", { inputs: columns }],
  [
    "inputs of named column tensors",
    {
      inputs: Object.fromEntries(
        Object.entries(columns).map(([name, column]) => [name, column.map((value) => [value])]),
      ),
    },
  ],
];
for (const [name, body] of forms) {
  Deno.test(`POST /invocations answers what /predict answers when it gets ${name}`, () =>
    withApp(async (app, store) => {
      const expected = await predict(app, records);
      assertEquals(await score(app, post(body)), expected.map(({ label }) => label));
      const full = post({ ...body, params: { probabilities: true, slice: "P-1", other: 1 } });
      assertEquals(await score(app, full), expected);
      const rows = await store.query(
        `select count(*) as n, count(distinct features) as features, count(distinct label) > 1 as differ,
           count(slice) as sliced from inferences`,
      );
      assertEquals(rows, [{ n: 27, features: 9, differ: true, sliced: 9 }]);
      const requests = await store.query(
        "select endpoint, row_count from requests order by request_time offset 1",
      );
      assertEquals(requests, [
        { endpoint: PATH, row_count: 9 },
        { endpoint: PATH, row_count: 9 },
      ]);
    }));
}

Deno.test("POST /invocations takes CSV, an empty cell and NaN as missing, and a compressed body", () =>
  withApp(async (app) => {
    const expected = (await predict(app, records)).map(({ label }) => label);
    for (const missing of ["", "NaN", "nan", "null", "N/A"]) {
      const csv = ['"GR",RHOB,NPHI', ...rows.map((row) => row.map((v) => v ?? missing).join(","))];
      const headers = { "content-type": "text/csv; charset=utf-8" };
      assertEquals(await score(app, post(csv.join("\r\n") + "\r\n", headers)), expected);
    }
    const body = new Uint8Array(gzipSync(JSON.stringify({ instances: rows })));
    const headers = { "content-encoding": "gzip" };
    assertEquals(await score(app, { method: "POST", headers, body }), expected);
  }));

Deno.test("POST /invocations takes the records of a request as a sequence, with the order column", () =>
  withApp(async (app) => {
    const sequence = Array.from({ length: 6 }, (_, i) => testRecord(i, true));
    const expected = await predict(app, sequence);
    const params = { probabilities: true };
    assertEquals(await score(app, post({ dataframe_records: sequence, params })), expected);
    // Without names the order column is the last.
    const rows = sequence.map((record) => [...names, "DEPT"].map((name) => record[name]));
    assertEquals(await score(app, post({ instances: rows, params })), expected);
    const without = post({ instances: rows.map((row) => row.slice(0, 3)) });
    const response = await app.request(PATH, without);
    assertEquals(response.status, 400);
    assertStringIncludes((await response.json()).message, 'no column "DEPT"');
  }, { isWindowed: true }));

Deno.test("POST /invocations serves a version or an alias, as /predict does", () =>
  withApp(async (app, store) => {
    await registerTestModel(store, { seed: 2, alias: "challenger" });
    const response = await app.request("/predict?version=2", post({ records }));
    const { predictions } = await response.json();
    const body = post({ instances: rows, params: { probabilities: true } });
    assertEquals(await score(app, body, `${PATH}?alias=challenger`), predictions);
    assertEquals(await score(app, body, `${PATH}?version=2`), predictions);
  }));

const refusals: [name: string, init: RequestInit, status: number, code: string, part: string][] = [
  ["no JSON", post("{"), 400, "BAD_REQUEST", "ends too early"],
  ["an array", post([]), 400, "BAD_REQUEST", "give exactly one of dataframe_split"],
  ["no form", post({ data: rows }), 400, "BAD_REQUEST", "it has no records"],
  [
    "two forms",
    post({ instances: rows, inputs: rows }),
    400,
    "BAD_REQUEST",
    "it has instances and inputs",
  ],
  ["params of text", post({ instances: rows, params: "x" }), 400, "BAD_REQUEST", '"params"'],
  [
    "probabilities of text",
    post({ instances: rows, params: { probabilities: "x" } }),
    400,
    "BAD_REQUEST",
    "true or false",
  ],
  ["no rows", post({ instances: [] }), 400, "BAD_REQUEST", "there are none"],
  ["instances of text", post({ instances: "x" }), 400, "BAD_REQUEST", '"instances" is no array'],
  ["an object as records", post({ dataframe_records: {} }), 400, "BAD_REQUEST", "is no array"],
  [
    "rows of another width",
    post({ inputs: [...whole, [1, 2]] }),
    400,
    "BAD_REQUEST",
    "2 values in row 9; give 3: GR",
  ],
  ["a number as row", post({ instances: [[1, 2, 3], 4] }), 400, "BAD_REQUEST", "no array in row 1"],
  ["a split without data", post({ dataframe_split: {} }), 400, "BAD_REQUEST", "no data frame"],
  [
    "a name twice",
    post({ dataframe_split: { columns: ["GR", "GR", "NPHI"], data: rows } }),
    400,
    "BAD_REQUEST",
    "no different names",
  ],
  [
    "an unknown column",
    post({ inputs: { ...columns, GRX: columns.GR } }),
    400,
    "BAD_REQUEST",
    'did you mean "GR"?',
  ],
  [
    "a missing column",
    post({ dataframe_records: [{ GR: 1, RHOB: 2 }] }),
    400,
    "BAD_REQUEST",
    'lacks "NPHI"; send null',
  ],
  [
    "text in a cell",
    post({ inputs: { ...columns, GR: columns.GR.map(String) } }),
    400,
    "BAD_REQUEST",
    "where a number",
  ],
  [
    "a CSV cell of text",
    post("GR,RHOB,NPHI\n1,2,x", { "content-type": "text/csv" }),
    400,
    "BAD_REQUEST",
    'line 2 of the CSV has "x"',
  ],
  [
    "a ragged CSV",
    post("GR,RHOB,NPHI\n1,2", { "content-type": "text/csv" }),
    400,
    "BAD_REQUEST",
    "line 2 of the CSV has 2 values",
  ],
  [
    "too many rows",
    post({ instances: new Array(10_001).fill(whole[0]) }),
    413,
    "BAD_REQUEST",
    "the limit is 10000",
  ],
  ["a wrong method", { method: "PUT" }, 405, "ENDPOINT_NOT_FOUND", "use POST"],
];
for (const [name, init, status, code, part] of refusals) {
  Deno.test(`POST /invocations answers ${status} as MLflow does when it gets ${name}`, () =>
    withApp(async (app, store) => {
      const response = await app.request(PATH, init);
      const body = await response.json();
      assertEquals(response.status, status, JSON.stringify(body));
      assertEquals(Object.keys(body), ["error_code", "message"]);
      assertEquals(body.error_code, code);
      assertStringIncludes(body.message, part);
      assertEquals(await store.query("select status_code, endpoint from requests"), [
        { status_code: status, endpoint: PATH },
      ]);
    }));
}

Deno.test("GET /ping is 200 when a prediction would be answered, and GET /version is MLflow's", () =>
  withApp(async (app, store) => {
    const ping = await app.request("/ping");
    assertEquals([ping.status, await ping.text()], [200, "\n"]);
    const version = await app.request("/version");
    assertStringIncludes(version.headers.get("content-type")!, "text/plain");
    assert(/^\d+\.\d+\.\d+$/.test(await version.text()));
    app.drain();
    const late = await app.request("/ping");
    assertEquals([late.status, await late.text()], [503, "\n"]);
    assertEquals(await store.query("select 1 from requests"), []);
  }));

Deno.test("300 malformed bodies of /invocations are refused or answered, and each is on record", () =>
  withApp(async (app, store) => {
    const encoder = new TextEncoder();
    const valid = [
      ...forms.map(([, body]) => ({
        body: encoder.encode(JSON.stringify({ ...body, params: { probabilities: true } })),
        headers: {},
      })),
      {
        body: encoder.encode(["GR,RHOB,NPHI", ...whole].join("\n")),
        headers: { "content-type": "text/csv" },
      },
    ];
    const statuses = new Map<number, number>();
    for (const { body, headers } of fuzzBodies(5, 300, valid)) {
      const response = await app.request(PATH, { method: "POST", body, headers });
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
