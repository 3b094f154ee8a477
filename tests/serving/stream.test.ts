import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { type AppDeps, createApp, type GeophoneApp, serve } from "../../server.ts";
import { mapInOrder, readLines } from "../../serving/lines.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";
import { fuzzBodies } from "./fuzz.ts";

// deno-lint-ignore no-explicit-any
type Body = any;

const PATH = "/predict/stream";

async function withApp(
  action: (app: GeophoneApp, store: Store) => Promise<void>,
  deps: Partial<AppDeps> & { isWindowed?: boolean } = {},
): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees", isWindowed: deps.isWindowed ?? false });
  await using app = await createApp({ store, model: "rocks", quiet: true, ...deps });
  await action(app, store);
}

function toText(lines: readonly unknown[]): string {
  return lines.map((line) => typeof line === "string" ? line : JSON.stringify(line)).join("\n") +
    "\n";
}

async function stream(
  app: GeophoneApp,
  body: BodyInit,
  headers: Record<string, string> = {},
): Promise<Body[]> {
  const response = await app.request(PATH, { method: "POST", body, headers });
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "application/x-ndjson");
  const text = await response.text();
  assert(text === "" || text.endsWith("\n"));
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

async function predict(app: GeophoneApp, body: unknown): Promise<Body[]> {
  const response = await app.request("/predict", { method: "POST", body: JSON.stringify(body) });
  return (await response.json()).predictions;
}

Deno.test("POST /predict/stream answers line for line, in order, as /predict does, and each is on record", () =>
  withApp(async (app, store) => {
    const records = Array.from({ length: 700 }, (_, i) => testRecord(i));
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    const answers = await stream(app, toText(records), {
      "x-request-id": "well",
      traceparent: `00-${trace}-00f067aa0ba902b7-01`,
    });
    assertEquals(answers.map((a) => a.request_id), records.map((_, i) => `well#${i + 1}`));
    assertEquals(answers.map((a) => a.predictions).flat(), await predict(app, { records }));
    const [rows] = await store.query(
      `select count(*) as n, sum(row_count) as records, count(distinct request_id) as ids,
         count(*) filter (where trace_id = '${trace}') as traced
       from requests where endpoint = '${PATH}'`,
    );
    assertEquals(rows, { n: 701, records: 700, ids: 701, traced: 701 });
    const inferences = await store.query(
      `select features from inferences where request_id like 'well#%'
       order by split_part(request_id, '#', 2)::int`,
    );
    assertEquals(inferences.map((row) => row.features), records);
    const [whole] = await store.query(
      "select status_code, row_count, client_request_id, response_bytes from requests where request_id = 'well'",
    );
    assertEquals(
      [whole.status_code, whole.row_count, whole.client_request_id],
      [200, 0, "well"],
    );
    assert((whole.response_bytes as number) > 100 * 700);
  }));

Deno.test("POST /predict/stream takes a line of records as a sequence, and a record as one of its own", () =>
  withApp(async (app, store) => {
    const sequence = Array.from({ length: 6 }, (_, i) => testRecord(i, true));
    const answers = await stream(
      app,
      toText([{ records: sequence, slice: "P-130" }, ...sequence, { records: sequence }]),
    );
    const together = await predict(app, { records: sequence });
    assertEquals(answers[0].predictions, together);
    assertEquals(answers.at(-1).predictions, together);
    for (let i = 0; i < sequence.length; i++) {
      assertEquals(answers[i + 1].predictions, await predict(app, { records: [sequence[i]] }));
    }
    const [{ n }] = await store.query("select count(*) as n from inferences where slice = 'P-130'");
    assertEquals(n, 6);
  }, { isWindowed: true }));

Deno.test("POST /predict/stream answers a bad line by an error that names it, and goes on", () =>
  withApp(async (app, store) => {
    const good = testRecord(1);
    const lines = [
      good,
      "{",
      "",
      { ...good, GRX: 1 },
      "x".repeat(3000),
      good,
      7,
      { records: [] },
      good,
    ];
    // The last line has no newline.
    const answers = await stream(app, toText(lines).slice(0, -1), { "x-request-id": "s" });
    assertEquals(
      answers.map((a) => a.error ? [a.error.request_id, a.error.code] : a.request_id),
      [
        "s#1",
        ["s#2", "invalid_json"],
        ["s#4", "invalid_input"],
        ["s#5", "too_large"],
        "s#6",
        ["s#7", "invalid_input"],
        ["s#8", "invalid_input"],
        "s#9",
      ],
    );
    assertStringIncludes(answers[2].error.message, 'did you mean "GR"?');
    assertEquals(
      await store.query(
        "select status_code, count(*) as n from requests group by 1 order by 1",
      ),
      [
        { status_code: 200, n: 4 },
        { status_code: 400, n: 1 },
        { status_code: 413, n: 1 },
        { status_code: 422, n: 3 },
      ],
    );
  }, { serving: { maxBodyBytes: 2000 } }));

Deno.test("POST /predict/stream answers a line before the next one is sent", () =>
  withApp(async (app) => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const encoder = new TextEncoder();
    const response = await app.request(PATH, { method: "POST", body: readable });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    for (let i = 0; i < 3; i++) {
      await writer.write(encoder.encode(toText([testRecord(i)])));
      const { value } = await reader.read();
      assertEquals(JSON.parse(value!).predictions.length, 1);
    }
    await writer.close();
    assertEquals((await reader.read()).done, true);
  }));

Deno.test("POST /predict/stream does not read on when its answers are not taken", () =>
  withApp(async (app, store) => {
    const line = new TextEncoder().encode(toText([testRecord(1)]));
    let given = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        given++;
        controller.enqueue(line);
      },
    }, { highWaterMark: 0 });
    const response = await app.request(PATH, { method: "POST", body });
    const reader = response.body!.getReader();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert(given > 10 && given < 300, `${given} lines`);
    const before = given;
    for (let i = 0; i < 50; i++) await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert(given <= before + 50, `${given} lines after ${before}`);
    // A client that goes away ends the stream: its row says so.
    await reader.cancel();
    const rows = await store.query(
      "select status_code from requests where request_id not like '%#%'",
    );
    assertEquals(rows, [{ status_code: 499 }]);
  }));

Deno.test("POST /predict/stream refuses the whole when no line could be answered", async () => {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const init = { method: "POST", body: toText([testRecord(1)]) };
  const response = await app.request(PATH, init);
  assertEquals([response.status, (await response.json()).error.code], [503, "no_model"]);
  await registerTestModel(store);
  await app.refresh();
  for (const [query, status] of [["?alias=x", 404], ["?allias=x", 400]] as const) {
    const refused = await app.request(PATH + query, init);
    assertEquals(refused.status, status);
    await refused.body?.cancel();
  }
  assertEquals(await stream(app, ""), []);
  const rows = await store.query("select status_code from requests order by 1");
  assertEquals(rows.map((row) => row.status_code), [200, 400, 404, 503]);
});

Deno.test("POST /predict/stream ends when its client hangs up, and the server goes on", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  const port = Number(new URL(served.url).port);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const line = toText([testRecord(1)]);
  await connection.write(
    new TextEncoder().encode(
      `POST ${PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n` +
        `${line.length.toString(16)}\r\n${line}\r\n`,
    ),
  );
  let text = "";
  const buffer = new Uint8Array(4096);
  while (!text.includes("predictions")) {
    text += new TextDecoder().decode(buffer.subarray(0, (await connection.read(buffer))!));
  }
  connection.close();
  const statuses = async () =>
    (await store.query("select status_code from requests order by 1")).map((r) => r.status_code);
  for (let i = 0; i < 200 && (await statuses()).length < 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assertEquals(await statuses(), [200, 499]);
  const response = await fetch(`${served.url}${PATH}`, { method: "POST", body: line });
  assertEquals((await response.json()).version, 1);
  await served.shutdown();
});

Deno.test("300 malformed lines of /predict/stream each have an answer and a row, in one stream and alone", () =>
  withApp(async (app, store) => {
    const encoder = new TextEncoder();
    const record = testRecord(1);
    const valid = [record, { records: [record, record] }, { columns: { GR: [1], RHOB: [1] } }]
      .map((line) => ({ body: encoder.encode(JSON.stringify(line)), headers: {} }));
    const isLine = (text: string) => text.trim() !== "" && !text.includes("\n");
    const lines = [...fuzzBodies(6, 300, valid)]
      .map(({ body }) => new TextDecoder().decode(body)).filter(isLine);
    const answers = await stream(app, lines.join("\n"), { "x-request-id": "all" });
    assertEquals(answers.length, lines.length);
    const refused = answers.filter((answer) => answer.error);
    assert(refused.length > 150 && refused.every(({ error }) => error.code !== "internal"));
    for (const { body, headers } of fuzzBodies(7, 300, valid)) {
      const response = await app.request(PATH, { method: "POST", body, headers });
      assert(response.status < 500);
      await response.text();
    }
    const [{ streams, parts, failed }] = await store.query(
      `select count(*) filter (where request_id not like '%#%') as streams,
         count(*) filter (where request_id like 'all#%') as parts,
         count(*) filter (where status_code >= 500) as failed from requests`,
    );
    assertEquals([streams, parts, failed], [301, lines.length, 0]);
  }));

Deno.test("readLines() gives the same lines however the bytes are cut", async () => {
  const text = "Gestein: Würfel\n\nzwei\r\n" + "z".repeat(50) + "\nend";
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7, 100]) {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let i = 0; i < bytes.length; i += size) controller.enqueue(bytes.slice(i, i + size));
        controller.close();
      },
    });
    const lines = await Array.fromAsync(readLines(body, 20));
    assertEquals(lines.map((line) => line.text), ["Gestein: Würfel", "", "zwei\r", null, "end"]);
    assertEquals(lines[3].bytes, 50);
  }
});

Deno.test("mapInOrder() gives the error of its items after the last answer", async () => {
  async function* give() {
    yield await Promise.resolve(1);
    throw new Error("Cannot go on");
  }
  const bounds = { maxItems: 9, maxWeight: 9, weigh: () => 1, stop() {} };
  const seen: string[] = [];
  let message = "";
  try {
    for await (const answer of mapInOrder(give(), (n) => Promise.resolve(`${n}`), bounds)) {
      seen.push(answer);
    }
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals([seen, message], [["1"], "Cannot go on"]);
});

Deno.test("mapInOrder() keeps the error of its items to itself when nobody takes answers any more", async () => {
  const gate = Promise.withResolvers<void>();
  async function* give() {
    yield 1;
    await gate.promise;
    throw new Error("Cannot go on");
  }
  const bounds = { maxItems: 9, maxWeight: 9, weigh: () => 1, stop() {} };
  const answers = mapInOrder(give(), (n) => Promise.resolve(`${n}`), bounds);
  const iterator = answers[Symbol.asyncIterator]();
  assertEquals((await iterator.next()).value, "1");
  const pending = iterator.next();
  await iterator.return?.();
  assertEquals(await pending, { value: undefined, done: true });
  gate.resolve();
  await new Promise((resolve) => setTimeout(resolve, 5));
});

Deno.test("serve() ends an open stream when it shuts down: its lines are answered and on record", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const asked = fetch(`${served.url}${PATH}`, { method: "POST", body: readable });
  await writer.write(new TextEncoder().encode(toText([testRecord(1)])));
  const response = await asked;
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  assertEquals(JSON.parse((await reader.read()).value!).version, 1);
  await served.shutdown();
  await reader.read().catch(() => {});
  await writer.close().catch(() => {});
  const rows = await store.query("select status_code from requests order by 1");
  assertEquals(rows, [{ status_code: 200 }, { status_code: 499 }]);
});
