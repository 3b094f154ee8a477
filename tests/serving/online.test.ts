import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "node:path";
import { Logger } from "../../runtime/logger.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp, ServingParams } from "../../server.ts";
import { registerTestModel } from "../model_fixture.ts";
import { startChild } from "./child.ts";

const online = {
  referenceRows: 100,
  watch: [
    { series: "feature:GR", detector: "cusum" as const, rate: 0.01, period: 1_000, block: 1 },
    { series: "confidence", detector: "adwin" as const, rate: 0.01, period: 1_000, block: 1 },
  ],
  snapshotSeconds: 1,
};

/** Records of request `i`: from request 10 on GR is higher. */
function records(i: number): Record<string, number | null>[] {
  return Array.from({ length: 20 }, (_, row) => ({
    GR: (i < 10 ? 50 : 120) + (i * 31 + row * 17) % 23,
    RHOB: row % 5 === 0 ? null : 2.4,
    NPHI: 0.2,
  }));
}

type Send = (path: string, body: string) => Promise<Response>;

async function post(send: Send, path: string, body: unknown): Promise<void> {
  const response = await send(path, JSON.stringify(body));
  const text = await response.text();
  assertEquals(response.status, 200, text);
}

async function predict(send: Send, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await post(send, "/predict", { records: records(i) });
}

const sender = (app: GeophoneApp): Send => (path, body) =>
  app.request(path, { method: "POST", headers: { "content-type": "application/json" }, body });

/** Resolves when the query gives a row. */
async function waitFor(
  store: { query(sql: string): Promise<unknown[]> },
  sql: string,
): Promise<void> {
  for (let attempt = 0; attempt < 1_000; attempt++) {
    if ((await store.query(sql)).length > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`Expected a row of: ${sql}`);
}

/** Alarms without what differs between two runs: ids and times. */
async function readAlarms(store: Store) {
  return await store.query(
    `select series, detector, row, value, statistic, threshold, rows_since_change, mean_since
     from online_alarms order by series, alarmed_at, row`,
  );
}

async function readDetectors(store: Store) {
  return await store.query("select series, memory from core.online_detectors order by series");
}

Deno.test("createApp() puts an alarm on record, in the log and in /metrics when a watched series changes", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const lines: string[] = [];
  const logger = new Logger({ format: "json", write: (text) => lines.push(text) });
  await using app = await createApp({ store, model: "rocks", serving: { online }, logger });
  await predict(sender(app), 0, 14);
  await waitFor(store, "from online_alarms where series = 'feature:GR'");
  const [alarm] = await store.query(
    "from online_alarms where series = 'feature:GR' order by alarmed_at",
  );
  const [source] = await store.query(
    "select features['GR'] as value from inferences where request_id = ? and row = ?",
    [alarm.request_id as string, alarm.row as number],
  );
  assertEquals(alarm.value, source.value);
  assertEquals([alarm.model, alarm.version, alarm.rate], ["rocks", 1, 0.01]);
  const line = lines.map((text) => JSON.parse(text)).find(({ event }) => event === "online_alarm");
  assertEquals([line.model, line.version, line.series], ["rocks", 1, "feature:GR"]);
  assertMatch(line.message, /^feature:GR of model "rocks" version 1 has changed: cusum found it/);
  const metrics = await (await app.request("/metrics")).text();
  const labels = 'model="rocks",version="1",series="feature:GR",detector="cusum"';
  assertStringIncludes(metrics, `geophone_online_alarms_total{${labels}} 1\n`);
});

Deno.test("createApp() feeds detectors with the predictions of every protocol, and without a config none", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const columns = ["GR", "RHOB", "NPHI"];
  const split = { columns, data: records(0).map((row) => columns.map((name) => row[name])) };
  const requests: [string, unknown][] = [
    ["/predict", { records: records(0) }],
    ["/batch_predict", { records: records(0) }],
    ["/invocations", { dataframe_split: split }],
    ["/v2/models/rocks/infer", {
      inputs: [{
        name: "input",
        shape: [20, 3],
        datatype: "FP64",
        data: split.data.flat().map((value) => value ?? 0),
      }],
    }],
  ];
  // As many as do not end the reference: what is being learned is kept, too.
  for (const params of [{ ...online, referenceRows: 101 }, { ...online, watch: [] }]) {
    const app = await createApp({
      store,
      model: "rocks",
      serving: { online: params },
      quiet: true,
    });
    for (const [path, body] of requests) await post(sender(app), path, body);
    // One request a line.
    await post(sender(app), "/predict/stream", { records: records(0) });
    await app.close();
  }
  assertEquals(
    await store.query("select series, rows from online_detectors order by 1"),
    [{ series: "confidence", rows: 100 }, { series: "feature:GR", rows: 100 }],
  );
});

Deno.test("createApp() feeds detectors only with what the inference table gets", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  const recording = { records: 1, payloads: 0, maxPayloadBytes: 1, redact: ["GR"] };
  const app = await createApp({
    store,
    model: "rocks",
    serving: { online, recording },
    quiet: true,
  });
  await predict(sender(app), 0, 3);
  await app.close();
  assertEquals(
    await store.query("select series, rows, missing from online_detectors order by 1"),
    [
      { series: "confidence", rows: 60, missing: 0 },
      { series: "feature:GR", rows: 0, missing: 60 },
    ],
  );
});

Deno.test("a server killed with -9 goes on as if it had never ended: same alarms, same detectors", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using whole = await openStore(":memory:");
    await registerTestModel(whole);
    const app = await createApp({
      store: whole,
      model: "rocks",
      serving: { online },
      quiet: true,
    });
    await waitFor(whole, "from online_detectors");
    await predict(sender(app), 0, 30);
    await waitFor(whole, "from online_alarms where series = 'feature:GR'");
    const expected = await readAlarms(whole);

    const path = join(folder, "killed.duckdb");
    const child = await startChild(path, { online });
    const toChild: Send = (path, body) => fetch(`${child.url}${path}`, { method: "POST", body });
    // Of what came before the first snapshot nothing is promised.
    const query = async (sql: string) =>
      (await (await toChild("/sql", JSON.stringify({ sql }))).json()).rows;
    await waitFor({ query }, "from online_detectors");
    await predict(toChild, 0, 12);
    await child.end("SIGKILL");
    await using store = await openStore(path);
    const again = await createApp({ store, model: "rocks", serving: { online }, quiet: true });
    await predict(sender(again), 12, 30);
    await waitFor(store, "from online_alarms where series = 'feature:GR'");
    assertEquals((await readAlarms(store)).slice(0, 1), expected.slice(0, 1));
    for (const one of [store, whole]) {
      await waitFor(one, "from online_detectors where series = 'feature:GR' and rows = 600");
    }
    await again.close();
    await app.close();
    assertEquals(await readAlarms(store), await readAlarms(whole));
    assertEquals(await readDetectors(store), await readDetectors(whole));
    assert(expected.length > 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("ServingParams refuses detectors that cannot keep their promise", () => {
  const parse = (watch: unknown[]) => ServingParams.parse({ online: { watch } });
  assertThrows(() => parse([{ series: "feature:GR", detector: "adwin" }]), Error, "in [0, 1]");
  assertThrows(() => parse([{ series: "GR" }]), Error, "feature:NAME");
  assertThrows(() => parse([{ series: "confidence" }, { series: "confidence" }]), Error, "once");
  assertThrows(() => parse([{ series: "confidence", rate: 0 }]), Error, "rate");
  assertEquals(ServingParams.parse({}).online.watch, []);
});
