import { assert, assertEquals, assertMatch } from "@std/assert";
import { statfs } from "node:fs/promises";
import { openStore } from "../../../runtime/store/store.ts";
import { createApp, type GeophoneApp } from "../../../server.ts";
import { registerTestModel, testRecord } from "../../model_fixture.ts";

/** Value of a line of `/metrics`; `undefined` when there is none. */
function valueOf(text: string, name: string): number | undefined {
  const line = text.split("\n").find((line) => line.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

const predict = (app: GeophoneApp, records: readonly unknown[]) =>
  app.request("/predict", { method: "POST", body: JSON.stringify({ records }) });

const scrape = async (app: GeophoneApp) => await (await app.request("/metrics")).text();

Deno.test("GET /metrics says under Triton's names what the statistics of the protocol say", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using app = await createApp({ store, model: "rocks", quiet: true });
  for (const rows of [1, 3, 3]) {
    const records = Array.from({ length: rows }, (_, i) => testRecord(i));
    assertEquals((await predict(app, records)).status, 200);
  }
  assertEquals((await predict(app, [])).status, 422);
  const stats = (await (await app.request("/v2/models/rocks/stats")).json()).model_stats[0];
  const text = await scrape(app);
  const of = (name: string) => valueOf(text, `${name}{model="rocks",version="1"}`);
  const { success, fail, queue, compute_infer } = stats.inference_stats;
  assertEquals(
    [
      "nv_inference_count",
      "nv_inference_exec_count",
      "nv_inference_request_success",
      "nv_inference_request_failure",
      "nv_inference_request_duration_us",
      "nv_inference_queue_duration_us",
      "nv_inference_compute_infer_duration_us",
      "nv_inference_pending_request_count",
      "model_infer_request_success_total",
      "model_infer_request_failure_total",
    ].map(of),
    [
      stats.inference_count,
      stats.execution_count,
      success.count,
      fail.count,
      success.ns / 1_000,
      queue.ns / 1_000,
      compute_infer.ns / 1_000,
      0,
      3,
      1,
    ],
  );
  assertEquals([stats.inference_count, success.count, fail.count], [7, 3, 1]);
  assertEquals(of("geophone_queue_duration_seconds_count"), 3);
  assertEquals(of("geophone_model_run_duration_seconds_count"), 3);
  assertEquals(valueOf(text, 'geophone_responses_total{class="2xx"}'), 4);
  assertEquals(valueOf(text, 'geophone_responses_total{class="4xx"}'), 1);
});

Deno.test("GET /metrics counts the bytes of bodies, of a stream's lines, too", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store);
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const body = JSON.stringify({ records: [testRecord(0)] });
  const answer = await (await app.request("/predict", {
    method: "POST",
    body,
    headers: { "content-length": String(body.length) },
  })).text();
  const line = JSON.stringify(testRecord(0));
  const streamed = await (await app.request("/predict/stream", {
    method: "POST",
    body: `${line}\n${line}\n`,
  })).text();
  const text = await scrape(app);
  const bytes = (what: string, route: string) =>
    valueOf(text, `geophone_${what}_bytes_total{route="${route}"}`);
  assertEquals([bytes("request", "/predict"), bytes("response", "/predict")], [
    body.length,
    answer.length,
  ]);
  assertEquals(bytes("request", "/predict/stream"), 2 * line.length);
  assertEquals(bytes("response", "/predict/stream"), streamed.length);
});

Deno.test("GET /metrics says how large the store is and what its disk has left", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using store = await openStore(`${dir}/store.duckdb`);
    await registerTestModel(store);
    await using app = await createApp({ store, model: "rocks", quiet: true });
    assertEquals((await predict(app, [testRecord(0)])).status, 200);
    const text = await scrape(app);
    const { bavail, bsize } = await statfs(dir);
    const free = valueOf(text, "geophone_disk_free_bytes")!;
    assert(Math.abs(free / (bavail * bsize) - 1) < 0.2, String(free));
    assert(valueOf(text, "geophone_store_bytes")! > 0);
    assert(valueOf(text, "geophone_journal_bytes")! > 0);
    assert(valueOf(text, "process_heap_bytes")! > 2 ** 20);
    assertMatch(text, /^geophone_build_info\{version="\d[^"]*",deno="[^"]+",v8="[^"]+"\} 1$/m);
    assertMatch(text, /^geophone_open_requests 1$/m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("GET /metrics has no line of what cannot be told: never a 0 for it", async () => {
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const text = await scrape(app);
  for (const name of ["geophone_store_bytes", "geophone_disk_free_bytes", "process_open_fds"]) {
    assertEquals(text.includes(name), false, name);
  }
  assertEquals(valueOf(text, "geophone_ready"), 0);
  // No model has been asked: there is no series, and no name without one.
  assertEquals(text.includes("nv_inference_count"), false);
});
