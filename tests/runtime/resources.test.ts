import { assert, assertEquals } from "@std/assert";
import { ResourceParams, ResourceRecorder } from "../../runtime/resources.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";

const backlog = () => ({ queueRows: 3, logBacklogRows: 5, journalBytes: 700 });

async function withFile(action: (store: Store) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await using store = await openStore(`${dir}/store.duckdb`, { publish: false });
    await action(store);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function readLatest(store: Store): Promise<Map<string, { value: number; unit: string }>> {
  const rows = await store.query<{ name: string; value: number; unit: string }>(
    "select name, value, unit from resources where time = (select max(time) from resources)",
  );
  return new Map(rows.map(({ name, ...rest }) => [name, rest]));
}

Deno.test("record() writes one row of what the process takes, with a unit for each", () =>
  withFile(async (store) => {
    await using recorder = ResourceRecorder.start(store, { everySeconds: 3600, backlog })!;
    await store.query(
      `insert into core.requests by name select 'r' as request_id,
         (now() at time zone 'UTC')::timestamp as request_time, 'POST' as method, '/predict' as endpoint,
         200 as status_code, 1 as row_count, 1 as duration_ms, 40 as request_bytes, 60 as response_bytes`,
    );
    for (let sum = 0, start = Date.now(); Date.now() - start < 150;) sum += Math.sqrt(sum + 1);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await recorder.record();
    const latest = await readLatest(store);
    assertEquals(
      ["queue_rows", "log_backlog_rows", "journal_bytes"].map((name) => latest.get(name)),
      [
        { value: 3, unit: "rows" },
        { value: 5, unit: "rows" },
        { value: 700, unit: "bytes" },
      ],
    );
    assertEquals([latest.get("received_bytes")!.value, latest.get("sent_bytes")!.value], [40, 60]);
    for (const [name, { value, unit }] of latest) {
      assert(Number.isFinite(value) && value >= 0, name);
      assert(unit.length > 0, name);
    }
    // The loop stood still for 150 ms, of which a timer of 100 ms notices 50 or more.
    assert(latest.get("event_loop_lag_seconds")!.value >= 0.04);
    assert(latest.get("cpu_cores")!.value > 0);
    assert(latest.get("disk_free_bytes")!.value <= latest.get("disk_bytes")!.value);
    assertEquals(await store.query("select count(*) as n from core.resources"), [{ n: 1 }]);
    // What was counted before is not counted again.
    await recorder.record();
    const again = await readLatest(store);
    assertEquals(again.get("received_bytes")!.value, 0);
  }));

Deno.test("record() leaves out what there is not: an unknown is no row and no 0", async () => {
  await using store = await openStore(":memory:");
  await using recorder = ResourceRecorder.start(store, { everySeconds: 3600, backlog })!;
  await recorder.record();
  const latest = await readLatest(store);
  for (const name of ["store_bytes", "disk_free_bytes", "disk_bytes", "journal_bytes"]) {
    assert(!latest.has(name), name);
  }
  assert(latest.has("memory_bytes"));
});

Deno.test("record() says once that it cannot, goes on, and says it again after it could", async () => {
  await using store = await openStore(":memory:");
  const errors: string[] = [];
  await using recorder = ResourceRecorder.start(store, {
    everySeconds: 3600,
    backlog,
    onError: (message) => errors.push(message),
  })!;
  for (let round = 1; round <= 2; round++) {
    await store.query("alter table core.resources rename to elsewhere");
    await recorder.record();
    await recorder.record();
    await store.query("alter table core.elsewhere rename to resources");
    await recorder.record();
    assertEquals(errors.length, round);
    assert(errors[0].startsWith("Cannot record resources: "), errors[0]);
  }
  assertEquals(await store.query("select count(*) as n from core.resources"), [{ n: 2 }]);
});

Deno.test("start() never looks when everySeconds is 0, and 15 is the default", async () => {
  await using store = await openStore(":memory:");
  assertEquals(ResourceRecorder.start(store, { everySeconds: 0, backlog }), null);
  assertEquals(ResourceParams.parse({}), { everySeconds: 15 });
  assert(!ResourceParams.safeParse({ everySeconds: -1 }).success);
});

Deno.test("a server records its resources when it is told to, and ends with a look at work", async () => {
  await using store = await openStore(":memory:");
  const served = await serve({
    store,
    model: "rocks",
    quiet: true,
    serving: { port: 0 },
    resources: { everySeconds: 0.02 },
  });
  while ((await readLatest(store)).size === 0) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const latest = await readLatest(store);
  assertEquals(latest.get("queue_rows"), { value: 0, unit: "rows" });
  await served.shutdown();
});

Deno.test("a server sends what waits for its sinks", async () => {
  await using store = await openStore(":memory:");
  const told = Promise.withResolvers<string>();
  const served = await serve({
    store,
    model: "rocks",
    quiet: true,
    serving: { port: 0 },
    sinks: [{
      kind: "sink",
      name: "mine",
      summary: "a test",
      deliver(events) {
        told.resolve(events[0].message);
        return Promise.resolve();
      },
    }],
  });
  await store.query(
    `insert into core.sink_outbox values ('d', 'mine', '[{"kind":"firing","message":"now"}]',
       now()::timestamp, 'pending', 0, 0, timestamp '2026-01-01')`,
  );
  assertEquals(await told.promise, "now");
  await served.shutdown();
  const [{ state }] = await store.query("select state from sink_deliveries");
  assertEquals(state, "delivered");
});
