import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { UsageError } from "../../../runtime/errors.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { archiveTraces } from "../../../runtime/traces/archive.ts";
import { commitDelta } from "../../../runtime/traces/delta.ts";
import { TraceLog } from "../../../runtime/traces/log.ts";
import { makeCallSpan, makeSpan } from "./span_fixture.ts";

const DAY_US = 86_400_000_000;
const FIRST_US = Date.parse("2026-01-02T23:59:59.9995Z") * 1000 + 500;
const before = new Date("2026-02-01");
const { signal } = new AbortController();

/** Twelve spans of three days, four of them calls, and one of a later time. */
async function fill(store: Store): Promise<void> {
  const log = new TraceLog(store, { redactText: (text) => text });
  const times = Array.from({ length: 12 }, (_, i) => FIRST_US + (i % 3) * DAY_US + i);
  await log.write([
    ...times.map((startedUs, i) =>
      i % 3 === 0 ? makeCallSpan([i, 1], { startedUs }) : makeSpan({ startedUs })
    ),
    makeSpan({ startedUs: Date.parse("2026-02-01") * 1000, name: "later" }),
  ]);
}

/** Rows that a table's log says are in it. */
async function readTable(store: Store, folder: string, name: string): Promise<string[]> {
  const paths: string[] = [];
  const log = join(folder, name, "_delta_log");
  const entries = await Array.fromAsync(Deno.readDir(log)).catch(() => []);
  for (const entry of entries.filter((entry) => entry.name.endsWith(".json"))) {
    for (const line of (await Deno.readTextFile(join(log, entry.name))).trim().split("\n")) {
      const { add } = JSON.parse(line);
      if (!add) continue;
      const path = join(folder, name, add.path);
      assertEquals((await Deno.stat(path)).size, add.size);
      paths.push(`'${path}'`);
    }
  }
  if (paths.length === 0) return [];
  const rows = await store.query<{ span_id: string }>(
    `select span_id from read_parquet([${paths.join(", ")}]) order by span_id`,
  );
  return rows.map(({ span_id }) => span_id);
}

async function readStore(store: Store, name: string): Promise<string[]> {
  const rows = await store.query<{ span_id: string }>(
    `select span_id from ${name} where started_at < timestamp '2026-02-01' order by span_id`,
  );
  return rows.map(({ span_id }) => span_id);
}

async function withFolder(action: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await action(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("archiveTraces() moves old spans and calls into files by day and leaves the others", () =>
  withFolder(async (folder) => {
    await using store = await openStore(":memory:");
    await fill(store);
    const [spans, calls] = [await readStore(store, "spans"), await readStore(store, "llm_calls")];
    assertEquals(await archiveTraces(store, { folder, before, signal }), {
      spans: 12,
      calls: 4,
      finished: 0,
    });
    assertEquals(await readTable(store, folder, "spans"), spans);
    assertEquals(await readTable(store, folder, "llm_calls"), calls);
    assertEquals(await store.query("select name from spans"), [{ name: "later" }]);
    const log = join(folder, "spans", "_delta_log", "00000000000000000000.json");
    const actions = (await Deno.readTextFile(log)).trim().split("\n").map((line) =>
      JSON.parse(line)
    );
    assertEquals(actions[0], { protocol: { minReaderVersion: 1, minWriterVersion: 2 } });
    assertEquals(actions[1].metaData.partitionColumns, ["date"]);
    const adds = actions.flatMap(({ add }) => add ?? []);
    assertEquals(
      adds.map(({ partitionValues: { date } }) => date),
      ["2026-01-02", "2026-01-03", "2026-01-04"],
    );
    const { numRecords, minValues, maxValues } = JSON.parse(adds[0].stats);
    assertEquals(
      [numRecords, minValues.started_at, maxValues.started_at],
      [4, "2026-01-02T23:59:59.999Z", "2026-01-03T00:00:00.000Z"],
    );
    // Nothing is left to take: the tables stay as they are.
    assertEquals((await archiveTraces(store, { folder, before, signal })).spans, 0);
    assertEquals(
      (await Array.fromAsync(Deno.readDir(join(folder, "spans", "_delta_log")))).length,
      1,
    );
  }));

Deno.test("archiveTraces() loses and doubles nothing when it ends at any step and is called again", async () => {
  let isWhole = false;
  let steps = 0;
  for (; !isWhole; steps++) {
    await withFolder(async (folder) => {
      await using store = await openStore(":memory:");
      await fill(store);
      const wanted = [await readStore(store, "spans"), await readStore(store, "llm_calls")];
      await archiveTraces(endAfter(store, steps), { folder, before, signal }).then(
        () => isWhole = true,
        ({ message }) => assertEquals(message, "The process ends here"),
      );
      // What came meanwhile is no part of what was begun.
      const late = makeCallSpan([1, 1], { startedUs: FIRST_US, spanId: "f".repeat(16) });
      await new TraceLog(store, { redactText: (text) => text }).write([late]);
      await store.query("delete from core.leases");
      await archiveTraces(store, { folder, before, signal });
      for (const [i, name] of ["spans", "llm_calls"].entries()) {
        assertEquals(
          [await readTable(store, folder, name), await readStore(store, name)],
          [[...wanted[i], late.spanId].sort(), []],
          `${name} after ${steps} steps`,
        );
      }
    });
  }
  assert(steps > 10, String(steps));
});

/** A store of which a process sees so many answers. */
function endAfter(store: Store, steps: number): Store {
  let left = steps;
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (left-- <= 0) return Promise.reject(new Error("The process ends here"));
        return value.apply(target, args);
      };
    },
  });
}

Deno.test("archiveTraces() is finished by the next when its process is killed as its first commit appears", () =>
  withFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    let wanted: string[];
    {
      await using store = await openStore(path);
      await fill(store);
      wanted = await readStore(store, "spans");
    }
    const log = join(folder, "tables", "spans", "_delta_log");
    await Deno.mkdir(log, { recursive: true });
    const watcher = Deno.watchFs(log);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-qA", new URL("./archive_child.ts", import.meta.url).pathname, path]
        .concat(join(folder, "tables")),
      stdin: "null",
    }).spawn();
    for await (const { paths } of watcher) {
      if (paths.some((path) => path.endsWith("0.json"))) break;
    }
    child.kill("SIGKILL");
    await child.status;
    await using store = await openStore(path);
    await store.query("delete from core.leases");
    await archiveTraces(store, { folder: join(folder, "tables"), before, signal });
    assertEquals(await readTable(store, join(folder, "tables"), "spans"), wanted);
    assertEquals(await readStore(store, "spans"), []);
  }));

Deno.test("archiveTraces() refuses with UsageError when the time is yet to come or another archives", () =>
  withFolder(async (folder) => {
    await using store = await openStore(":memory:");
    const later = new Date(Date.now() + 60_000);
    await assertRejects(
      () => archiveTraces(store, { folder, before: later, signal }),
      UsageError,
      "yet to come",
    );
    await store.query(
      "insert into core.leases values ('archive of traces', 'other', now() at time zone 'UTC' + interval 20 second)",
    );
    await assertRejects(
      () => archiveTraces(store, { folder, before, signal }),
      UsageError,
      "another process does",
    );
  }));

Deno.test("commitDelta() comes after others when they commit at once, and refuses other columns", () =>
  withFolder(async (folder) => {
    const commit = (transaction: string, name = "a") =>
      commitDelta(folder, {
        fields: [{ name, type: "string" }],
        partitionBy: [],
        files: [],
        transaction,
      });
    await Promise.all(Array.from({ length: 8 }, (_, i) => commit(String(i))));
    await commit("3");
    const names = (await Array.fromAsync(Deno.readDir(join(folder, "_delta_log"))))
      .map(({ name }) => name).sort();
    assertEquals(names, Array.from({ length: 8 }, (_, i) => `${String(i).padStart(20, "0")}.json`));
    await assertRejects(() => commit("9", "b"), Error, "other columns");
  }));
