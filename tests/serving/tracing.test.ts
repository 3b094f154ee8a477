/** Spans of a real process, sent over OTLP to a receiver on loopback. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { testRecord } from "../model_fixture.ts";

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly start: bigint;
  readonly end: bigint;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** 2 is an error. */
  readonly status: number;
}

type Value = { stringValue?: string; intValue?: string; doubleValue?: number };

// deno-lint-ignore no-explicit-any -- the receiver reads a protocol of another program
function readSpans(body: any): Span[] {
  // deno-lint-ignore no-explicit-any
  return body.resourceSpans.flatMap((resource: any) =>
    // deno-lint-ignore no-explicit-any
    resource.scopeSpans.flatMap((scope: any) => scope.spans).map((span: any) => ({
      ...span,
      start: BigInt(span.startTimeUnixNano),
      end: BigInt(span.endTimeUnixNano),
      status: span.status?.code ?? 0,
      attributes: Object.fromEntries(
        span.attributes.map(({ key, value }: { key: string; value: Value }) => [
          key,
          value.stringValue ?? value.doubleValue ?? Number(value.intValue),
        ]),
      ),
    }))
  );
}

interface Traced {
  readonly spans: readonly Span[];
  readonly log: readonly Record<string, unknown>[];
  readonly code: number;
}

/** Runs the child until `action` is done; gives what it sent and wrote. */
async function trace(
  env: Readonly<Record<string, string>>,
  action: (url: string) => Promise<void>,
): Promise<Traced> {
  const dir = await Deno.makeTempDir();
  const spans: Span[] = [];
  const receiver = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/judge") return new Response("0.75");
      const body = await request.json();
      if (pathname === "/v1/traces") spans.push(...readSpans(body));
      return Response.json({});
    },
  );
  const address = `http://127.0.0.1:${receiver.addr.port}`;
  try {
    const script = new URL("../traced_server.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-q", "--no-prompt", "-P=serve", `--allow-write=${dir}`, script],
        ...[`${dir}/store.duckdb`, `${address}/judge`],
      ],
      env: { NO_COLOR: "1", OTEL_EXPORTER_OTLP_ENDPOINT: address, ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const stderr = new Response(child.stderr).text();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    const url = new TextDecoder().decode(value).trim();
    try {
      await action(url);
    } finally {
      await child.stdin.close();
    }
    const { code } = await child.status;
    await reader.cancel();
    const lines = (await stderr).split("\n").filter((line) => line.startsWith("{"));
    return { spans, log: lines.map((line) => JSON.parse(line)), code };
  } finally {
    await receiver.shutdown();
    await Deno.remove(dir, { recursive: true });
  }
}

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

async function ask(url: string, path: string, body: string, headers: HeadersInit = {}) {
  const response = await fetch(url + path, { method: "POST", body, headers });
  return { status: response.status, body: await response.text() };
}

const traceparent = (trace: string) => `00-${trace}-${PARENT}-01`;
const two = JSON.stringify({ records: [testRecord(0), testRecord(1)] });

Deno.test("a request, its steps and its judges are spans of the caller's trace when OTLP is on", async () => {
  const { spans, log, code } = await trace(
    { OTEL_DENO: "true", OTEL_EXPORTER_OTLP_PROTOCOL: "http/json", OTEL_SERVICE_NAME: "rocks" },
    async (url) => {
      const headers = { traceparent: traceparent(TRACE), "x-request-id": "mine" };
      assertEquals((await ask(url, "/predict", two, headers)).status, 200);
      assertEquals((await ask(url, "/predict", "{", headers)).status, 400);
      assertEquals((await ask(url, "/nowhere?key=1", "")).status, 404);
      const lines = `${JSON.stringify(testRecord(0))}\n[]\n`;
      const streamed = await ask(url, "/predict/stream", lines, {
        traceparent: traceparent("1".repeat(32)),
      });
      assertEquals(streamed.body.trimEnd().split("\n").length, 2);
      const rows = await ask(
        url,
        "/sql",
        JSON.stringify({ sql: "select trace_id from requests where request_id = 'mine'" }),
      );
      assertEquals(JSON.parse(rows.body).rows, [[TRACE]]);
    },
  );
  assertEquals(code, 0);
  const of = (name: string) => spans.filter((span) => span.name === name);
  const [root, bad] = of("POST /predict");
  assertEquals([root.traceId, root.parentSpanId, root.kind], [TRACE, PARENT, 2]);
  const { attributes } = root;
  assertEquals(
    [
      "http.request.method",
      "http.route",
      "geophone.request_id",
      "geophone.model",
      "geophone.version",
      "geophone.alias",
      "geophone.rows",
    ].map((name) => attributes[name]),
    ["POST", "/predict", "mine", "rocks", 1, "production", 2],
  );
  assertEquals(bad.attributes["geophone.error_code"], "invalid_json");
  const children = spans.filter(({ parentSpanId }) => parentSpanId === root.spanId)
    .sort((a, b) => Number(a.start - b.start));
  assertEquals(children.map(({ name }) => name), ["queue", "model run", "inference log"]);
  assertEquals(children[1].attributes["geophone.batch_rows"], 2);
  for (const child of children) {
    assertEquals(child.traceId, TRACE);
    assert(child.start >= root.start && child.start <= child.end && child.end <= root.end);
  }
  // A path that is no route is nobody's name: whoever guesses paths makes no new ones.
  const [unmatched] = spans.filter(({ attributes }) => attributes["url.path"] === "/nowhere");
  assertEquals([unmatched.name, unmatched.attributes["http.route"]], ["POST", undefined]);
  const [stream] = of("POST /predict/stream");
  const parts = of("/predict/stream part");
  assertEquals(parts.map(({ parentSpanId }) => parentSpanId), [stream.spanId, stream.spanId]);
  assertEquals(
    parts.map(({ attributes }) => attributes["http.response.status_code"]).sort(),
    [200, 422],
  );
  const judged = of("judge asker").filter(({ attributes }) =>
    attributes["geophone.request_id"] === "mine"
  );
  const [scored, failed] = judged.sort((a, b) =>
    Number(a.attributes["geophone.row"]) - Number(b.attributes["geophone.row"])
  );
  assertEquals(scored.attributes["gen_ai.evaluation.score.value"], 0.75);
  assertEquals(scored.attributes["gen_ai.usage.input_tokens"], 12);
  assertEquals([failed.status, failed.attributes["geophone.verdict"]], [2, "error"]);
  // What a judge fetches is a part of its span.
  assert(spans.some(({ parentSpanId, kind }) => parentSpanId === scored.spanId && kind === 3));
  assertEquals(
    log.map(({ event }) => event),
    ["model_loaded", "alias_moved", "listening", "draining", "ended"],
  );
});

Deno.test("nothing is sent and the trace is the caller's when OTLP is off", async () => {
  const { spans, code } = await trace({ OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" }, async (url) => {
    const headers = { traceparent: traceparent(TRACE) };
    assertEquals((await ask(url, "/predict", two, headers)).status, 200);
    const sql = JSON.stringify({ sql: "select trace_id from requests" });
    assertStringIncludes((await ask(url, "/sql", sql)).body, TRACE);
  });
  assertEquals([spans.length, code], [0, 0]);
});

Deno.test("a receiver of spans that is not there stops no request", async () => {
  const { spans } = await trace(
    {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
    },
    async (url) => assertEquals((await ask(url, "/predict", two)).status, 200),
  );
  assertEquals(spans.length, 0);
});
