import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { matrix } from "../../../numeric/matrix.ts";
import {
  InferenceLog,
  type InferenceRows,
  LogFullError,
  type RequestRow,
} from "../../../runtime/inference/inference_log.ts";
import { openStore, type Step, type Store } from "../../../runtime/store/store.ts";
import { makeRequestRow } from "../../request_row.ts";

function makeRequest(requestId: string, rowCount = 0): RequestRow {
  return makeRequestRow(requestId, { alias: "production", rowCount, modelMs: 0.25 });
}

function makeInferences(rows: number): InferenceRows {
  return {
    model: "rocks",
    version: 1,
    features: Float64Array.from({ length: rows * 2 }, (_, i) => i % 3 === 1 ? NaN : i + 0.1),
    order: Float64Array.from({ length: rows }, (_, i) => i * 2),
    labels: new Int32Array(rows).fill(1),
    probabilities: matrix(rows, 2, new Float32Array(rows * 2).map((_, i) => i % 2 ? 0.75 : 0.25)),
    classes: ["sand", "shale"],
    slice: "P-129",
  };
}

/** A store whose transactions wait for a gate and fail on demand. */
function withGate(store: Store) {
  const steps: (readonly Step[])[] = [];
  const state = { gate: Promise.resolve(), failures: 0, steps };
  const through = store.holdBack(() => Promise.resolve());
  const gated = {
    path: store.path,
    holdBack(settle: () => Promise<void>) {
      const { release } = store.holdBack(settle);
      const { transaction } = gated;
      return { transaction, release };
    },
    async transaction(given: readonly Step[]) {
      steps.push(given);
      await state.gate;
      if (state.failures > 0) {
        state.failures--;
        throw new Error("No space left on device");
      }
      await through.transaction(given);
    },
  };
  return { store: gated as unknown as Store, state };
}

Deno.test("InferenceLog.record() resolves when the row is in the table, with every column", async () => {
  await using store = await openStore(":memory:");
  const log = await InferenceLog.open(store);
  await log.record(makeRequest("a", 2), makeInferences(2));
  assertEquals(await store.query("select * from core.inferences order by row limit 1"), [{
    request_id: "a",
    row: 0,
    request_time: "2026-01-02T03:04:05.678Z",
    model: "rocks",
    version: 1,
    features: [0.1, null],
    order_value: 0,
    label: "shale",
    confidence: 0.75,
    probabilities: [0.25, 0.75],
    slice: "P-129",
    batch_id: null,
  }]);
  const [row] = await store.query("select * from requests");
  assertEquals([row.request_id, row.queue_ms, row.model_ms, row.row_count], ["a", null, 0.25, 2]);
  assertEquals(log.stats, {
    queuedRows: 0,
    committedRows: 3,
    commits: 1,
    journalBytes: 0,
    failures: 0,
    lastFailure: null,
  });
  await log.close();
});

Deno.test("InferenceLog.record() shares one commit when rows arrive while another is in flight", async () => {
  await using store = await openStore(":memory:");
  const gated = withGate(store);
  const log = await InferenceLog.open(gated.store);
  const gate = Promise.withResolvers<void>();
  gated.state.gate = gate.promise;
  const first = log.record(makeRequest("first"));
  await Promise.resolve();
  await Promise.resolve();
  const rest = Array.from({ length: 20 }, (_, i) => log.record(makeRequest(`r${i}`)));
  gate.resolve();
  await Promise.all([first, ...rest]);
  assertEquals(log.stats.commits, 2);
  assertEquals(await store.query("select count(distinct request_id) as n from requests"), [
    { n: 21 },
  ]);
  await log.close();
});

Deno.test("InferenceLog.record() writes on when a caller records again in the tick of its commit", async () => {
  await using store = await openStore(":memory:");
  const log = await InferenceLog.open(store);
  for (let i = 0; i < 50; i++) await log.record(makeRequest(`r${i}`));
  assertEquals(await store.query("select count(*) as n from requests"), [{ n: 50 }]);
  await log.close();
});

Deno.test("InferenceLog.flush() resolves when rows wait behind a larger commit", async () => {
  await using store = await openStore(":memory:");
  const log = await InferenceLog.open(store);
  const many = Array.from({ length: 30 }, (_, i) => log.record(makeRequest(`r${i}`)));
  await new Promise((resolve) => setTimeout(resolve, 0));
  const last = log.record(makeRequest("last"));
  await log.flush();
  assertEquals(log.stats.queuedRows, 0);
  await Promise.all([...many, last]);
  await log.record(makeRequest("after"));
  await log.close();
  assertEquals(await store.query("select count(*) as n from requests"), [{ n: 32 }]);
});

Deno.test("InferenceLog.record() rejects with LogFullError when the queue is full, and forgets nothing it took", async () => {
  await using store = await openStore(":memory:");
  const gated = withGate(store);
  const gate = Promise.withResolvers<void>();
  gated.state.gate = gate.promise;
  const log = await InferenceLog.open(gated.store, { maxRows: 10 });
  const taken = [log.record(makeRequest("a", 8), makeInferences(8))];
  await assertRejects(
    () => log.record(makeRequest("b", 2), makeInferences(2)),
    LogFullError,
    "9 rows wait",
  );
  // The refusals themselves go on record: they have a reserve.
  taken.push(log.record(makeRequest("c")), log.record(makeRequest("d")));
  assertEquals(log.hasRoom(2), false);
  gate.resolve();
  await Promise.all(taken);
  assertEquals(await store.query("select request_id from requests order by 1"), [
    { request_id: "a" },
    { request_id: "c" },
    { request_id: "d" },
  ]);
  assert(log.hasRoom(1_000_000));
  await log.close();
});

Deno.test("InferenceLog.record() rejects all who share a failed commit, and the next one works", async () => {
  await using store = await openStore(":memory:");
  const gated = withGate(store);
  gated.state.failures = 1;
  const messages: string[] = [];
  const log = await InferenceLog.open(gated.store, {
    onError: (error) => messages.push(error.message),
  });
  const results = await Promise.allSettled([
    log.record(makeRequest("a")),
    log.record(makeRequest("b", 1), makeInferences(1)),
  ]);
  assertEquals(results.map((result) => result.status), ["rejected", "rejected"]);
  assertEquals(messages, ["Cannot write the inference log: No space left on device"]);
  assertStringIncludes(log.stats.lastFailure!.message, "No space left");
  await log.record(makeRequest("c"));
  assertEquals(log.stats.lastFailure, null);
  assertEquals(await store.query("select request_id from requests"), [{ request_id: "c" }]);
  assertEquals(await store.query("select count(*) as n from core.inferences"), [{ n: 0 }]);
  await log.close();
});

Deno.test("InferenceLog with durability async answers first, keeps rows of a failed commit and writes them on close", async () => {
  await using store = await openStore(":memory:");
  const gated = withGate(store);
  gated.state.failures = 1;
  const log = await InferenceLog.open(gated.store, { durability: "async" });
  await log.record(makeRequest("a"));
  await log.record(makeRequest("b"));
  assertEquals(log.stats.committedRows, 0);
  await assertRejects(() => log.flush(), Error, "2 rows still wait");
  await log.flush();
  await log.record(makeRequest("c"));
  await log.close();
  assertEquals(await store.query("select count(*) as n from requests"), [{ n: 3 }]);
  await assertRejects(() => log.record(makeRequest("d")), Error, "closed");
});

Deno.test("InferenceLog.close() says what is lost when nobody waits and the disk is full", async () => {
  await using store = await openStore(":memory:");
  const gated = withGate(store);
  gated.state.failures = 100;
  const log = await InferenceLog.open(gated.store, { durability: "async" });
  await log.record(makeRequest("a", 1), makeInferences(1));
  await assertRejects(() => log.close(), Error, "2 rows still wait");
});

Deno.test("InferenceLog keeps a request in one commit when it is larger than a commit should be", async () => {
  await using store = await openStore(":memory:");
  const gated = withGate(store);
  const log = await InferenceLog.open(gated.store);
  await Promise.all([
    log.record(makeRequest("a")),
    log.record(makeRequest("b", 5000), makeInferences(5000)),
    log.record(makeRequest("c")),
  ]);
  assertEquals(gated.state.steps.length, 3);
  assertEquals(await store.query("select count(*) as n from core.inferences"), [{ n: 5000 }]);
  await log.close();
});
