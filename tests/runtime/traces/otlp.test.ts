/** OTLP against a request that OpenTelemetry's own Python classes wrote: tests/oracles/make_otlp_golden.py. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { UsageError } from "../../../runtime/errors.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { TraceLog } from "../../../runtime/traces/log.ts";
import { exportSpans } from "../../../runtime/traces/otlp/export.ts";
import { readJson, writeJson } from "../../../runtime/traces/otlp/json.ts";
import { receiveSpans } from "../../../runtime/traces/otlp/message.ts";
import { readProtobuf } from "../../../runtime/traces/otlp/protobuf.ts";
import { readFields } from "../../../runtime/traces/otlp/wire.ts";
import { readSpans } from "../../../runtime/traces/read.ts";

const golden: { readonly protobuf: string; readonly json: unknown } = JSON.parse(
  await Deno.readTextFile(new URL("../../oracles/otlp.json", import.meta.url)),
);
const protobuf = Uint8Array.fromBase64(golden.protobuf);

Deno.test("readProtobuf() gives what OpenTelemetry's own classes wrote when every kind of value is there", () => {
  const { spans, rejected } = receiveSpans(readProtobuf(protobuf));
  assertEquals(rejected, 0);
  const [root, chat] = spans;
  assertEquals(root, {
    traceId: "0102030405060708090a0b0c0d0e0f10",
    spanId: "0102030405060708",
    parentId: null,
    name: "answer a question",
    kind: "server",
    startedUs: 1_764_081_234_567_891,
    endedUs: 1_764_081_237_067_891,
    status: "ok",
    statusMessage: null,
    attributes: {
      flag: true,
      low: -(2n ** 63n),
      high: 2n ** 63n - 1n,
      one: 1,
      tiny: 5e-324,
      nothing: null,
      text: "Ü 𝄞 <b>",
      list: ["a", 300n],
      map: { inner: false },
      raw: { bytesValue: "AP8=" },
    },
    events: [{ name: "cache miss", us: 1_764_081_234_567_892, attributes: { shard: 3n } }],
    links: [{
      traceId: "f".repeat(32),
      spanId: "fe".repeat(8),
      attributes: { why: "retry" },
    }],
    resource: { "service.name": "wells-chat", "process.pid": 4711n },
    scope: "my.instrumentation",
    scopeVersion: "1.2.3",
  });
  assertEquals([chat.parentId, chat.kind, chat.status, chat.statusMessage], [
    root.spanId,
    "client",
    "error",
    "it went wrong",
  ]);
});

Deno.test("readJson() gives the same spans as readProtobuf() when the request is the same", () => {
  assertEquals(
    receiveSpans(readJson(JSON.stringify(golden.json))),
    receiveSpans(readProtobuf(protobuf)),
  );
});

Deno.test("writeJson() gives back what was read when it has been in the store", async () => {
  await using store = await openStore(":memory:");
  const { spans } = receiveSpans(readProtobuf(protobuf));
  await new TraceLog(store, { redactText: (text) => text }).write(spans);
  const [stored] = await Array.fromAsync(readSpans(store, {}, 100));
  assertEquals(receiveSpans(readJson(writeJson(stored))).spans, stored);
  // Prompt and reply have gone to a row of their own.
  assertEquals(stored[0], spans[0]);
  assertEquals(Object.keys(stored[1].attributes).filter((name) => name.endsWith("messages")), []);
});

Deno.test("readFields() refuses with a SyntaxError when bytes are no message", () => {
  const cases: Readonly<Record<string, number[]>> = Object.fromEntries([
    ["a cut varint", [0x08, 0x80]],
    ["a varint of eleven bytes", [0x08, ...new Array(10).fill(0x80), 1]],
    ["a field of number 0", [0x00, 1]],
    ["a group", [0x0b]],
    ["a wire type that is none", [0x0f]],
    ["a length beyond the end", [0x0a, 5, 1]],
    ["a length of 64 bits", [0x0a, ...new Array(9).fill(0xff), 1]],
    ["half a fixed64", [0x09, 1, 2]],
  ]);
  for (const bytes of Object.values(cases)) {
    assertThrows(() => [...readFields(Uint8Array.from(bytes))], SyntaxError);
  }
});

Deno.test("readProtobuf() stops with a SyntaxError when values lie too deep, and skips unknown fields", () => {
  const wrap = (number: number, bytes: readonly number[]): number[] => {
    const length = bytes.length;
    const size = length < 128 ? [length] : [length & 0x7f | 0x80, length >> 7];
    return [number << 3 | 2, ...size, ...bytes];
  };
  let value: number[] = [0x10, 1];
  for (let i = 0; i < 40; i++) value = wrap(5, wrap(1, value));
  const span = wrap(9, [...wrap(1, [0x61]), ...wrap(2, value)]);
  const request = wrap(1, wrap(2, wrap(2, span)));
  assertThrows(() => readProtobuf(Uint8Array.from(request)), SyntaxError, "deep");
  assertEquals(readProtobuf(Uint8Array.of(0x7a, 1, 0, 0xf8, 0x7f, 5)), []);
});

Deno.test("receiveSpans() takes the others when one span is wrong, and says of the first what is", () => {
  const span = (others: object) => ({
    traceId: "0A".repeat(16),
    spanId: "0b".repeat(8),
    name: "x",
    startTimeUnixNano: "2000",
    endTimeUnixNano: 3000,
    ...others,
  });
  const { spans, rejected, reason } = receiveSpans(readJson(JSON.stringify({
    resourceSpans: [{
      scopeSpans: [{
        spans: [
          span({ kind: "SPAN_KIND_CLIENT" }),
          span({ traceId: "0".repeat(32) }),
          span({ spanId: "zz".repeat(8) }),
          span({ endTimeUnixNano: "1000" }),
          span({ startTimeUnixNano: 0 }),
          span({ parentSpanId: "ab" }),
        ],
      }],
    }],
  })));
  assertEquals([spans.length, rejected], [1, 5]);
  assertEquals([spans[0].traceId, spans[0].kind, spans[0].startedUs], [
    "0a".repeat(16),
    "client",
    2,
  ]);
  assertEquals(reason, `span "${"0b".repeat(8)}": its trace id is not 16 bytes, one of them not 0`);
});

Deno.test("readJson() refuses with a SyntaxError when a field has another shape", () => {
  const inSpan = (span: object) => ({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] });
  const withValue = (value: unknown) => inSpan({ attributes: [{ key: "k", value }] });
  const cases: readonly unknown[] = [
    [],
    { resourceSpans: {} },
    { resourceSpans: [1] },
    inSpan({ name: 1 }),
    inSpan({ startTimeUnixNano: "soon" }),
    inSpan({ startTimeUnixNano: 1.5 }),
    inSpan({ startTimeUnixNano: "-1" }),
    withValue("text"),
    withValue({ intValue: "9223372036854775808" }),
    withValue({ doubleValue: "much" }),
    withValue({ boolValue: 1 }),
  ];
  for (const request of cases) {
    assertThrows(() => readJson(JSON.stringify(request)), SyntaxError);
  }
});

Deno.test("exportSpans() sends stored spans in order when the collector asks to wait, and says what it left", async () => {
  await using store = await openStore(":memory:");
  const { spans } = receiveSpans(readProtobuf(protobuf));
  await new TraceLog(store, { redactText: (text) => text }).write(spans);
  const bodies: string[] = [];
  let count = 0;
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      assertEquals(new URL(request.url).pathname, "/otel/v1/traces");
      bodies.push(await request.text());
      if (count++ === 0) {
        return new Response("busy", {
          status: 503,
          headers: { "retry-after": "0" },
        });
      }
      return Response.json({ partialSuccess: { rejectedSpans: "1" } });
    },
  );
  const { signal } = new AbortController();
  const url = `http://127.0.0.1:${server.addr.port}/otel/`;
  assertEquals(await exportSpans(store, { url, signal, waitMs: 1 }), { spans: 2, rejected: 1 });
  assertEquals(bodies[0], bodies[1]);
  const sent = receiveSpans(readJson(bodies[1])).spans;
  assertEquals(sent.map(({ name }) => name), ["answer a question", "chat tiny"]);
  const later = { url, signal, from: new Date("2026-01-01") };
  assertEquals(await exportSpans(store, later), { spans: 0, rejected: 0 });
});

Deno.test("exportSpans() says what to do when the collector is not there or the address is none", async () => {
  await using store = await openStore(":memory:");
  const { spans } = receiveSpans(readProtobuf(protobuf));
  await new TraceLog(store, { redactText: (text) => text }).write(spans);
  const { signal } = new AbortController();
  const error = await assertRejects(
    () => exportSpans(store, { url: "http://127.0.0.1:1", signal, waitMs: 1 }),
    Error,
    'Cannot send spans to "http://127.0.0.1:1/v1/traces": ',
  );
  assert(error.message.endsWith("start the collector, and send them again"), error.message);
  await assertRejects(
    () => exportSpans(store, { url: "collector", signal }),
    UsageError,
    "no address",
  );
});
