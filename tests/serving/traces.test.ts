import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { gzipSync } from "node:zlib";

import { createApiKey } from "../../runtime/api_keys.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { setTracing, TraceLog } from "../../runtime/traces/log.ts";
import { TracingParams } from "../../runtime/traces/params.ts";
import { readFields } from "../../runtime/traces/otlp/wire.ts";
import { createApp, type GeophoneApp } from "../../server.ts";
import { makeCallSpan, makeSpan } from "../runtime/traces/span_fixture.ts";
import { makeRandom } from "./fuzz.ts";

const golden: { readonly protobuf: string; readonly json: unknown } = JSON.parse(
  await Deno.readTextFile(new URL("../oracles/otlp.json", import.meta.url)),
);
const protobuf = Uint8Array.fromBase64(golden.protobuf);
const TRACE = "0102030405060708090a0b0c0d0e0f10";

async function withApp(
  action: (app: GeophoneApp, store: Store) => Promise<void>,
  serving: { readonly maxBodyBytes?: number } = {},
): Promise<void> {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true, serving });
  await action(app, store);
}

function send(
  app: GeophoneApp,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const type = typeof body === "string" ? "application/json" : "application/x-protobuf";
  return app.request("/v1/traces", {
    method: "POST",
    body,
    headers: { "content-type": type, ...headers },
  });
}

const count = async (store: Store) =>
  (await store.query<{ n: number }>("select count(*) as n from spans"))[0].n;

Deno.test("POST /v1/traces keeps spans and calls when they come in protobuf, JSON or gzip, each once", () =>
  withApp(async (app, store) => {
    const bodies: readonly [string | Uint8Array<ArrayBuffer>, Record<string, string>][] = [
      [protobuf, {}],
      [JSON.stringify(golden.json), { "content-type": "application/json; charset=utf-8" }],
      [Uint8Array.from(gzipSync(protobuf)), { "content-encoding": "gzip" }],
    ];
    for (const [body, headers] of bodies) {
      const response = await send(app, body, headers);
      assertEquals(response.status, 200);
      const isJson = typeof body === "string";
      assertEquals(
        response.headers.get("content-type"),
        isJson ? "application/json" : "application/x-protobuf",
      );
      assertEquals(await response.text(), isJson ? "{}" : "");
    }
    assertEquals(
      await store.query(
        `select name, service, spans, errors, model, tokens_in, tokens_out, prompt, reply, kind
         from traces join llm_calls using (trace_id, model, tokens_in, tokens_out)`,
      ),
      [{
        name: "answer a question",
        service: "wells-chat",
        spans: 2,
        errors: 1,
        model: "tiny",
        tokens_in: 12,
        tokens_out: 3,
        prompt: '[{"role":"user","content":"Write to [email]"}]',
        reply: "Done.",
        kind: "_OTHER",
      }],
    );
  }));

Deno.test("POST /v1/traces says how many spans it left out when some are wrong, and keeps the others", () =>
  withApp(async (app, store) => {
    const request = structuredClone(golden.json) as {
      resourceSpans: { scopeSpans: { spans: { spanId: string }[] }[] }[];
    };
    request.resourceSpans[0].scopeSpans[0].spans[0].spanId = "0".repeat(16);
    const answer = await (await send(app, JSON.stringify(request))).json();
    assertEquals(answer.partialSuccess.rejectedSpans, "1");
    assertStringIncludes(answer.partialSuccess.errorMessage, "its id is not 8 bytes");
    assertEquals(await count(store), 1);
    const wrong = Uint8Array.from(protobuf);
    // The tag and the length before the first span's id, and then the id.
    const at = protobuf.findIndex((_, i) =>
      protobuf.subarray(i, i + 10).join() === [0x12, 8, 1, 2, 3, 4, 5, 6, 7, 8].join()
    );
    wrong.fill(0, at + 2, at + 10);
    const [partial] = [...readFields(new Uint8Array(await (await send(app, wrong)).arrayBuffer()))];
    assert(partial.type === "bytes" && partial.number === 1);
    const fields = [...readFields(partial.value)];
    assertEquals([fields[0].number, fields[0].value], [1, 1n]);
  }));

Deno.test("POST /v1/traces answers 200 with everything left out when nothing is recorded", async () => {
  await using store = await openStore(":memory:");
  setTracing(store, { params: TracingParams.parse({ record: "off" }) });
  await using app = await createApp({ store, model: "rocks", quiet: true });
  assertEquals(await (await send(app, JSON.stringify(golden.json))).json(), {
    partialSuccess: {
      rejectedSpans: "2",
      errorMessage: "nothing is kept: tracing.record is off",
    },
  });
  assertEquals(await count(store), 0);
});

Deno.test("POST /v1/traces refuses what is malformed with 400 and what is too large with 413", () =>
  withApp(async (app, store) => {
    const half = protobuf.slice(0, protobuf.length >> 1);
    const deep = `{"resourceSpans":${"[".repeat(100_000)}`;
    const cases: readonly [string | Uint8Array<ArrayBuffer>, Record<string, string>, number][] = [
      [half, {}, 400],
      ["{", {}, 400],
      [deep, {}, 400],
      [Uint8Array.of(0x7b, 0xff, 0x7d), { "content-type": "application/json" }, 400],
      [protobuf, { "content-type": "text/plain" }, 400],
      [protobuf, { "content-encoding": "gzip" }, 400],
      [protobuf, { "content-encoding": "br" }, 400],
      [Uint8Array.from(gzipSync(new Uint8Array(300_000))), { "content-encoding": "gzip" }, 413],
      [new Uint8Array(300_000), {}, 413],
    ];
    for (const [body, headers, status] of cases) {
      const response = await send(app, body, headers);
      assertEquals(response.status, status, await response.text());
    }
    const refused = await send(app, half);
    const fields = [...readFields(new Uint8Array(await refused.arrayBuffer()))];
    assertEquals([fields[0].value, fields[1].number], [3n, 2]);
    assertEquals(await count(store), 0);
  }, { maxBodyBytes: 200_000 }));

Deno.test("POST /v1/traces answers 200 or 400 and writes whole requests when 1,000 mutations come", () =>
  withApp(async (app, store) => {
    const random = makeRandom(20_261_125);
    const pick = (n: number) => Math.floor(random() * n);
    const seen = new Map<number, number>();
    for (let i = 0; i < 1_000; i++) {
      const before = await count(store);
      const body = mutate(protobuf, pick);
      const response = await send(app, body);
      seen.set(response.status, (seen.get(response.status) ?? 0) + 1);
      const text = await response.text();
      assert(
        response.status === 200 || response.status === 400,
        `${i}: ${response.status} ${text}`,
      );
      if (response.status === 400) assertEquals(await count(store), before);
    }
    assert(seen.get(200)! > 50 && seen.get(400)! > 50, JSON.stringify([...seen]));
    // Whatever came is readable as a trace.
    for (const { trace_id } of await store.query("select distinct trace_id from spans limit 20")) {
      const response = await app.request(`/traces/${trace_id}`);
      assertEquals(response.status, 200);
      await response.json();
    }
  }));

/** Flips, cuts, doubles, inserts or overwrites a few bytes. */
function mutate(bytes: Uint8Array, pick: (n: number) => number): Uint8Array<ArrayBuffer> {
  let list = [...bytes];
  for (let n = 1 + pick(3); n > 0; n--) {
    const at = pick(list.length);
    const kind = pick(6);
    if (kind === 0) list[at] ^= 1 << pick(8);
    else if (kind === 1) list = list.slice(0, at + 1);
    else if (kind === 2) list.splice(at, 1 + pick(8));
    else if (kind === 3) list.splice(at, 0, ...list.slice(at, at + pick(64)));
    else if (kind === 4) list.splice(at, 0, pick(256), pick(256));
    else list[at] = [0, 0x7f, 0x80, 0xff][pick(4)];
    if (list.length === 0) list = [0];
  }
  return Uint8Array.from(list);
}

Deno.test("GET /traces shows what its filters let pass, the newest first", () =>
  withApp(async (app, store) => {
    const at = (text: string) => Date.parse(text) * 1000;
    await new TraceLog(store, { redactText: (text) => text }).write([
      makeCallSpan([5, 1], { traceId: "1".repeat(32), startedUs: at("2026-01-01") }),
      makeSpan({
        traceId: "2".repeat(32),
        startedUs: at("2026-01-02"),
        endedUs: at("2026-01-02") + 2_000_000,
        status: "error",
      }),
      makeCallSpan([5, 1], {
        traceId: "3".repeat(32),
        startedUs: at("2026-01-03"),
        attributes: { "gen_ai.evaluation.name": "other", "gen_ai.request.model": "big" },
      }),
    ]);
    const cases: readonly [string, string][] = [
      ["", "321"],
      ["judge=llm", "1"],
      ["model=big", "3"],
      ["status=error", "2"],
      ["status=ok", "31"],
      ["min_ms=1000", "2"],
      ["from=2026-01-02&to=2026-01-03", "2"],
      ["limit=1", "3"],
    ];
    for (const [query, expected] of cases) {
      const { traces } = await (await app.request(`/traces?${query}`)).json();
      assertEquals(
        traces.map((trace: { trace_id: string }) => trace.trace_id[0]).join(""),
        expected,
        query,
      );
    }
    for (const query of ["judg=llm", "status=bad", "min_ms=-1", "limit=0", "from=soon", "judge="]) {
      const response = await app.request(`/traces?${query}`);
      assertEquals(
        [response.status, (await response.json()).error.code],
        [400, "invalid_query"],
        query,
      );
    }
    const page = await app.request("/traces", { headers: { accept: "text/html" } });
    assertStringIncludes(await page.text(), `<a href="/traces/${"1".repeat(32)}">chat tiny</a>`);
    assertEquals((await app.request("/traces", { headers: { accept: "image/png" } })).status, 406);
  }));

Deno.test("GET /traces/:id gives exact JSON, and 404 when there is none", () =>
  withApp(async (app) => {
    await send(app, protobuf);
    const text = await (await app.request(`/traces/${TRACE.toUpperCase()}`)).text();
    assertStringIncludes(text, '"high":9223372036854775807');
    const trace = JSON.parse(text);
    assertEquals([trace.span_count, trace.spans.length, trace.calls.length], [2, 2, 1]);
    assertEquals(trace.spans[0].duration_us, 2_500_000);
    for (const id of ["f".repeat(32), "x", "%zz"]) {
      assertEquals((await app.request(`/traces/${id}`)).status, 404, id);
    }
  }));

Deno.test("GET /traces/:id is a page without scripts in which nothing that came is markup, whatever came", () =>
  withApp(async (app, store) => {
    const evil = `"><script>alert(1)</script><img src=x onerror='alert(2)'>`;
    const said = (text: string) =>
      JSON.stringify([{ role: evil, parts: [{ type: "text", content: text }] }]);
    const [root, child] = ["1".repeat(16), "2".repeat(16)];
    await new TraceLog(store, { redactText: (text) => text }).write([
      makeCallSpan([5, 1], {
        spanId: root,
        // Each other's parents, and one that is its own.
        parentId: child,
        name: evil,
        status: "error",
        statusMessage: evil,
        scope: evil,
        attributes: {
          [evil]: evil,
          "gen_ai.evaluation.name": evil,
          "gen_ai.request.model": evil,
          "gen_ai.input.messages": said(evil),
          "gen_ai.output.messages": said(evil),
        },
        events: [{ name: evil, us: 1, attributes: { [evil]: [evil] } }],
        links: [{ traceId: evil, spanId: evil, attributes: {} }],
        resource: { "service.name": evil },
      }),
      makeSpan({ spanId: child, parentId: root }),
      makeSpan({ spanId: "3".repeat(16), parentId: "3".repeat(16) }),
    ]);
    for (const path of ["/traces", `/traces/${"a".repeat(32)}`]) {
      const response = await app.request(path, { headers: { accept: "text/html,*/*;q=0.1" } });
      const html = await response.text();
      assertEquals(response.status, 200);
      assertMatch(
        response.headers.get("content-security-policy")!,
        /^default-src 'none'; style-src 'sha256-/,
      );
      const tags = html.match(/<[^>]*>/g)!.filter((tag) => !tag.startsWith("</"));
      const names = new Set(tags.map((tag) => /^<(!?\w+)/.exec(tag)![1]));
      assertEquals([...names].filter((name) => /^(script|img|iframe|link)$/.test(name)), []);
      assertEquals(tags.filter((tag) => /\s(on\w+|style)=|javascript:/.test(tag)), []);
      assertStringIncludes(html, "&lt;script&gt;");
      // Every span once.
      if (path !== "/traces") assertEquals(html.match(/<details/g)?.length, 3);
    }
  }));

Deno.test("traces are for viewers and spans from predictors when there are keys, and for this machine alone when not", () =>
  withApp(async (app, store) => {
    const stranger = await app.request("http://example.com/traces");
    assertEquals(stranger.status, 403);
    await stranger.body?.cancel();
    const secrets = new Map<string, string>();
    for (const role of ["viewer", "predictor"] as const) {
      secrets.set(role, (await createApiKey(store, { name: role, role })).secret);
    }
    await app.refresh();
    const get = async (role: string) =>
      (await app.request("/traces", { headers: { "x-api-key": secrets.get(role)! } })).status;
    assertEquals([await get("viewer"), await get("predictor")], [200, 200]);
    const post = async (role: string) =>
      (await send(app, protobuf, { "x-api-key": secrets.get(role)! })).status;
    assertEquals([await post("viewer"), await post("predictor")], [403, 200]);
  }));

Deno.test("GET /metrics tells what judges did and took, by whichever process, when they judged", () =>
  withApp(async (app, store) => {
    assertEquals(/judge_/.test(await (await app.request("/metrics")).text()), false);
    await store.query(
      `insert into core.judgements by name select 'r' as request_id, i as row, 'llm' as judge, 'v' as
         judge_version, if(i < 3, 'scored', 'error') as status, if(i < 3, null, 'timeout') as kind,
         1 as inclusion_probability, 100.0 * (i + 1) as ms, now()::timestamp as created_at
       from range(4) t(i)`,
    );
    await new TraceLog(store, { redactText: (text) => text }).write([makeCallSpan([5, 1])]);
    await using fresh = await createApp({ store, model: "rocks", quiet: true });
    const text = await (await fresh.request("/metrics")).text();
    for (
      const line of [
        'judge_calls_total{judge="llm",status="scored",kind=""} 3',
        'judge_calls_total{judge="llm",status="error",kind="timeout"} 1',
        'judge_tokens_total{judge="llm",model="tiny",direction="in"} 5',
        'judge_tokens_total{judge="llm",model="tiny",direction="out"} 1',
        'judge_coverage_ratio{judge="llm"} 0.75',
        'judge_latency_seconds_bucket{judge="llm",le="0.1"} 1',
        'judge_latency_seconds_bucket{judge="llm",le="0.25"} 2',
        'judge_latency_seconds_bucket{judge="llm",le="+Inf"} 4',
        'judge_latency_seconds_sum{judge="llm"} 1',
      ]
    ) assertStringIncludes(text, `${line}\n`);
  }));
