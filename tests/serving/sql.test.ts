import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { tableFromIPC } from "apache-arrow";
import { openStore } from "../../runtime/store/store.ts";
import { createApp } from "../../server.ts";

const ARROW = "application/vnd.apache.arrow.stream";

type Ask = (
  sql: unknown,
  options?: { query?: string; accept?: string | null; headers?: Record<string, string> },
) => Promise<Response>;

async function withApp(action: (ask: Ask) => Promise<void>): Promise<void> {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  await action((body, { query = "", accept = null, headers = {} } = {}) =>
    app.request(`/sql${query}`, {
      method: "POST",
      body: JSON.stringify(typeof body === "string" ? { sql: body } : body),
      headers: { ...headers, ...(accept === null ? {} : { accept }) },
    })
  );
}

const QUERY = `select * from (values (1, 'a "b"', [1.5, null], null), (null, '', [], true))
  as t(n, s, list, ok)`;

Deno.test("POST /sql answers in the form that Accept or format asks for", () =>
  withApp(async (ask) => {
    const json = await ask(QUERY);
    assertEquals(json.headers.get("content-type"), "application/json");
    assertEquals((await json.json()).rows, [[1, 'a "b"', [1.5, null], null], [null, "", [], true]]);
    for (
      const [options, type, text] of [
        [
          { accept: "text/csv" },
          "text/csv",
          'n,s,list,ok\n1,"a ""b""","[1.5,null]",\n,"",[],true\n',
        ],
        [
          { query: "?format=ndjson" },
          "application/x-ndjson",
          '{"n":1,"s":"a \\"b\\"","list":[1.5,null],"ok":null}\n{"n":null,"s":"","list":[],"ok":true}\n',
        ],
      ] as const
    ) {
      const response = await ask(QUERY, options);
      assertEquals([response.status, response.headers.get("content-type")], [200, type]);
      assertEquals(response.headers.get("vary"), "accept, accept-encoding");
      assertEquals([response.headers.get("x-truncated"), response.headers.get("x-row-count")], [
        "false",
        "2",
      ]);
      assertEquals(await response.text(), text);
    }
    // The parameter counts before the header.
    const both = await ask(QUERY, { query: "?format=csv", accept: ARROW });
    assertEquals(both.headers.get("content-type"), "text/csv");
    await both.body?.cancel();
  }));

Deno.test("POST /sql answers in Arrow with types, nulls and lists, compressed on request", () =>
  withApp(async (ask) => {
    const response = await ask(QUERY, { accept: `${ARROW}, */*;q=0.1` });
    assertEquals(response.headers.get("content-type"), ARROW);
    const table = tableFromIPC(await response.bytes());
    assertEquals([...table.getChild("n")!], [1n, null]);
    assertEquals([...table.getChild("s")!], ['a "b"', ""]);
    assertEquals([...table.getChild("ok")!], [null, true]);
    assertEquals([...table.getChild("list")!].map((list) => [...list]), [[1.5, null], []]);
    assertEquals(table.schema.metadata.get("is_truncated"), "false");

    const many = "select i, i / 2 as x from range(5000) t(i)";
    const packed = await ask(many, {
      query: "?format=arrow",
      headers: { "accept-encoding": "gzip" },
    });
    assertEquals(packed.headers.get("content-encoding"), "gzip");
    const stream = packed.body!.pipeThrough(new DecompressionStream("gzip"));
    const unpacked = tableFromIPC(await new Response(stream).bytes());
    assertEquals([unpacked.numRows, unpacked.getChild("x")!.get(4999)], [5000, 2499.5]);
  }));

Deno.test("POST /sql says in every form when rows were left out", () =>
  withApp(async (ask) => {
    for (const format of ["json", "ndjson", "csv", "arrow"]) {
      const response = await ask({ sql: "from range(20)", max_rows: 7 }, {
        query: `?format=${format}`,
      });
      assertEquals(
        [response.headers.get("x-truncated"), response.headers.get("x-row-count")],
        ["true", "7"],
        format,
      );
      const bytes = await response.bytes();
      const text = new TextDecoder().decode(bytes);
      if (format === "json") assertEquals(JSON.parse(text).is_truncated, true);
      else if (format === "arrow") {
        assertEquals(tableFromIPC(bytes).schema.metadata.get("is_truncated"), "true");
      } else assertEquals(text.trimEnd().split("\n").length, format === "csv" ? 8 : 7);
    }
    const usual = await (await ask("from range(10001)")).json();
    assertEquals([usual.row_count, usual.is_truncated], [10_000, true]);
    const all = await (await ask({ sql: "from range(10001)", max_rows: 20_000 })).json();
    assertEquals([all.row_count, all.is_truncated], [10_001, false]);
  }));

for (
  const [accept, type] of [
    [null, "application/json"],
    ["", "application/json"],
    ["*/*", "application/json"],
    ["text/*", "text/csv"],
    ["text/html, application/*;q=0.5", "application/json"],
    ["application/json;q=0.5, text/csv;q=0.6", "text/csv"],
    ["application/json;q=0, */*", "application/x-ndjson"],
    ["*/*, application/x-ndjson", "application/x-ndjson"],
    ["text/csv, application/json", "text/csv"],
    ["TEXT/CSV; charset=utf-8", "text/csv"],
    ["application/json;q=oops, text/csv;q=0.1", "text/csv"],
    ["text/html", null],
    ["text/html, application/xml;q=0.9", null],
    ["text/csv;q=0", null],
    ["csv", null],
    [";;,,", null],
  ] as const
) {
  Deno.test(`POST /sql answers Accept "${accept}" with ${type ?? "406"}`, () =>
    withApp(async (ask) => {
      const response = await ask("select 1 as a", { accept });
      if (type !== null) {
        assertEquals([response.status, response.headers.get("content-type")], [200, type]);
        return await response.body?.cancel();
      }
      const { error } = await response.json();
      assertEquals([response.status, error.code], [406, "not_acceptable"]);
      assertStringIncludes(error.message, "csv (text/csv), arrow (application/vnd.apache.arrow");
    }));
}

Deno.test("POST /sql refuses forms, parameters and bodies that it does not know", () =>
  withApp(async (ask) => {
    for (
      const [body, query, status, message] of [
        ["select 1", "?format=parquet", 406, 'Cannot answer in format "parquet": there are json'],
        ["select 1", "?format=arow", 406, 'did you mean "arrow"?'],
        ["select 1", "?format=", 406, 'format ""'],
        ["select 1", "?fromat=csv", 400, 'unknown parameter "fromat"; did you mean "format"?'],
        ["select 1", "?limit=5", 400, 'unknown parameter "limit"; there is "format"'],
        [{ sql: "select 1", max_rows: 0 }, "", 422, "max_rows"],
        [{ sql: "select 1", max_rows: 1_000_001 }, "", 422, "max_rows"],
        [{ sql: "select 1", max_rows: "all" }, "", 422, "max_rows"],
        [{ sql: "" }, "?format=csv", 422, "sql"],
        [{ query: "select 1" }, "?format=arrow", 422, '{"sql"'],
        ["drop view runs", "?format=csv", 400, "only SELECT"],
        ["from 'a.csv'", "?format=arrow", 400, "outside the store"],
      ] as const
    ) {
      const response = await ask(body, { query });
      const { error } = await response.json();
      assertEquals(response.status, status, JSON.stringify(body));
      assertEquals(response.headers.get("content-type"), "application/json");
      assert(error.message.includes(message), error.message);
    }
  }));

Deno.test("GET /openapi.json describes the forms of /sql and the jobs of /batch_predict", async () => {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const { paths, components: { schemas } } = await (await app.request("/openapi.json")).json();
  const { post } = paths["/sql"];
  assertEquals(Object.keys(post.responses[200].content), [
    "application/json",
    "application/x-ndjson",
    "text/csv",
    ARROW,
  ]);
  assertEquals(Object.keys(post.responses[200].headers), ["X-Truncated", "X-Row-Count"]);
  assertEquals(post.responses[406].description, "not_acceptable");
  assertEquals(post.parameters.at(-1).schema.enum, ["json", "ndjson", "csv", "arrow"]);
  assertEquals(schemas.SqlBody.properties.max_rows.maximum, 1_000_000);
  assert("202" in paths["/batch_predict"].post.responses);
  assertEquals(schemas.BatchFileBody.required, ["path", "output"]);
  assertEquals(Object.keys(paths["/batch_predict/jobs/{id}"]), ["parameters", "get", "delete"]);
  assertEquals(schemas.LabelsBody.properties.allowNewClasses.default, false);
});
