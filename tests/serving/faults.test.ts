import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { InferenceLog, type RequestRow } from "../../runtime/inference/inference_log.ts";
import { Journal } from "../../runtime/store/journal.ts";
import { listJournals } from "../../runtime/store/journal_recovery.ts";
import { openStore } from "../../runtime/store/store.ts";
import { createApp } from "../../server.ts";
import { runCli, withProjectFolder } from "../cli_runner.ts";
import { registerTestModel } from "../model_fixture.ts";
import { makeRequestRow } from "../request_row.ts";
import {
  askOnce,
  assertAllThere,
  predictInit,
  type SmallDisk,
  startChild,
  withSmallDisk,
} from "./child.ts";

async function withFolder(action: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await action(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until `count` answers are there; gives their ids. */
async function askMany(url: string, count: number): Promise<string[]> {
  const answers = await Promise.all(Array.from({ length: count }, (_, i) => askOnce(url, i)));
  return answers.filter(({ status }) => status === 200).map(({ id }) => id);
}

/** Leaves what a server that was killed leaves; gives the requests it had answered. */
async function leaveStore(path: string): Promise<string[]> {
  const server = await startChild(path);
  const ids = await askMany(server.url, 40);
  await pause(200);
  ids.push(...await askMany(server.url, 40));
  await server.end();
  assertEquals(ids.length, 80);
  return ids;
}

/** Every file of a folder with its bytes. */
async function readFolder(folder: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".owner.json")) files.set(name, await Deno.readFile(`${folder}/${name}`));
  }
  return files;
}

async function overwrite(path: string, at: number, bytes: Uint8Array): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await file.seek(at, Deno.SeekMode.Start);
  await file.write(bytes);
}

const garbage = () => Uint8Array.from({ length: 200 }, (_, i) => (i * 131 + 77) % 251 + 1);

for (
  const [name, damage] of [
    ["begins with garbage", (wal: string) => overwrite(wal, 0, garbage())],
    ["has garbage inside", async (wal: string) => {
      await overwrite(wal, Math.floor((await Deno.stat(wal)).size / 2), garbage());
    }],
    [
      "has a length that leads past its end",
      (wal: string) => overwrite(wal, 8, Uint8Array.of(0, 0, 0, 1)),
    ],
    ["is garbage throughout", async (wal: string) => {
      const bytes = await Deno.readFile(wal);
      const commit = bytes.slice(-21);
      await Deno.writeFile(wal, bytes.map((_, i) => (i * 131) % 251));
      await Deno.writeFile(wal, commit, { append: true });
    }],
  ] as const
) {
  Deno.test(`openStore() changes nothing and names the way out when the write-ahead log ${name}`, () =>
    withFolder(async (folder) => {
      const path = `${folder}/a.duckdb`;
      const ids = await leaveStore(path);
      await damage(`${path}.wal`);
      const before = await readFolder(folder);
      const error = await assertRejects(() => openStore(path, { publish: false }), Error);
      assertStringIncludes(error.message, `its write-ahead log "${path}.wal" is damaged`);
      assertStringIncludes(error.message, `or move "${path}.wal" away`);
      assertEquals(await readFolder(folder), before);
      // Without it, the journals still have every request.
      await Deno.rename(`${path}.wal`, `${folder}/kept`);
      await assertAllThere(path, ids);
    }));
}

Deno.test("openStore() has every request again when the write-ahead log is cut in the middle", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    const ids = await leaveStore(path);
    const { size } = await Deno.stat(`${path}.wal`);
    await Deno.truncate(`${path}.wal`, Math.floor(size * 0.8));
    await assertAllThere(path, ids);
  }));

Deno.test("openStore() says which frames are lost when neither the tables nor a journal have them any more", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    await leaveStore(path);
    const [{ name }] = await listJournals(path);
    // As if the file before had gone because the tables had its frames: the first frames are missing.
    const bytes = await Deno.readFile(`${folder}/${name}`);
    const length = new DataView(bytes.buffer).getUint32(0, true);
    await Deno.writeFile(`${folder}/${name}`, bytes.subarray(16 + length));
    await Deno.rename(`${path}.wal`, `${folder}/kept`);
    await using store = await openStore(path, { publish: false });
    assertEquals(store.recoveries.map(({ lost }) => lost), [{ from: 1, to: 1 }]);
  }));

for (
  const [name, damage] of [
    ["is cut short", (path: string) => Deno.truncate(path, 5_000)],
    ["is empty", (path: string) => Deno.truncate(path, 0)],
    ["has a header of zeros", (path: string) => overwrite(path, 0, new Uint8Array(12_288))],
  ] as const
) {
  Deno.test(`openStore() changes nothing and names the way out when the file ${name}`, () =>
    withFolder(async (folder) => {
      const path = `${folder}/a.duckdb`;
      await leaveStore(path);
      await damage(path);
      const before = await readFolder(folder);
      const error = await assertRejects(() => openStore(path, { publish: false }), Error);
      assertMatch(error.message, /the file is damaged .*restore it from a backup, or move it away/);
      assertEquals(await readFolder(folder), before);
    }));
}

Deno.test("openStore() makes no new store beside a write-ahead log whose file is gone", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    await leaveStore(path);
    await Deno.remove(path);
    const before = await readFolder(folder);
    await assertRejects(
      () => openStore(path, { publish: false }),
      Error,
      "put the file back, or move the log away",
    );
    assertEquals(await readFolder(folder), before);
  }));

Deno.test("serve ends with 1 and one sentence when another program holds the store, or it is damaged", () =>
  withProjectFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    await (await openStore(path)).close();
    const holder = new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        "--config",
        new URL("../../deno.json", import.meta.url).pathname,
        `const { DuckDBInstance } = await import("@duckdb/node-api");
         globalThis.held = await DuckDBInstance.create(${JSON.stringify(path)});
         console.log("held"); setInterval(() => {}, 1000);`,
      ],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = holder.stdout.getReader();
    await reader.read();
    const serve = () => runCli(["serve", "--port", "0", "--set", `store=${path}`]);
    try {
      const { code, stderr } = await serve();
      assertEquals(code, 1, stderr);
      assertMatch(stderr, /^Cannot open store .* holds it and offers no endpoint; [^\n]*\n$/);
    } finally {
      holder.kill("SIGKILL");
      await holder.status;
      await reader.cancel();
    }
    await Deno.truncate(path, 100);
    const { code, stderr } = await serve();
    assertEquals(code, 1, stderr);
    assertMatch(stderr, /^Cannot open store .* the file is damaged [^\n]*\n$/);
  }));

Deno.test("the server says 503 while the disk is full, recovers by itself, and has every acknowledged row", () =>
  withSmallDisk(24, async (disk: SmallDisk) => {
    const path = `${disk.folder}/a.duckdb`;
    const server = await startChild(path);
    const acknowledged = await askMany(server.url, 50);
    assertEquals(acknowledged.length, 50);
    const codes = new Set<string>();
    try {
      for (let round = 0; round < 3; round++) {
        await disk.fill();
        for (let i = 0; i < 2_000 && !codes.has(`${round} log_failed`); i++) {
          const { status, id, code } = await askOnce(server.url, i);
          if (status === 200) acknowledged.push(id);
          else codes.add(`${round} ${code}`);
        }
        const ready = await fetch(`${server.url}/ready`);
        assertEquals(ready.status, 503);
        assertStringIncludes((await ready.json()).inference_log.error, "No space left");
        await disk.free();
        for (let i = 0; i < 1_000; i++) {
          const { status, id } = await askOnce(server.url, i);
          if (status === 200) acknowledged.push(id);
          const now = await fetch(`${server.url}/ready`);
          await now.body?.cancel();
          if (now.status === 200) break;
          assert(i < 999, "Expected the server to recover");
          await pause(10);
        }
      }
      acknowledged.push(...await askMany(server.url, 50));
    } finally {
      await server.end();
    }
    assertEquals([...codes].sort(), ["0 log_failed", "1 log_failed", "2 log_failed"]);
    await assertAllThere(path, acknowledged);
  }));

function requestRow(requestId: string, text = ""): RequestRow {
  return makeRequestRow(requestId, { requestTime: new Date(), error: text });
}

Deno.test("a checkpoint that finds no room ends DuckDB but not the store: it goes on, and nothing is there twice", () =>
  withSmallDisk(48, async (disk) => {
    const path = `${disk.folder}/a.duckdb`;
    await using store = await openStore(path, { publish: false, thread: true });
    const log = await InferenceLog.open(store);
    await log.record(requestRow("first"));
    await store.query("create table texts (t varchar)");
    await store.query("set checkpoint_threshold = '4MiB'");
    // Room for DuckDB's log, and none for the blocks of the checkpoint that it is due.
    await disk.fill(6.5 * 2 ** 20);
    await store.transaction([{
      sql: `insert into texts select string_agg(md5(random()::varchar), '')
        from range(180_000) group by range // 30`,
    }]);
    const { size } = await Deno.stat(`${path}.wal`);
    assert(size > 4 * 2 ** 20, "Expected a checkpoint without room");
    assertEquals(await store.query("select count(*) as n from texts"), [{ n: 6_000 }]);
    await disk.fill();
    await assertRejects(() => store.query("checkpoint"), Error, "No space left");
    assertEquals(await store.check(), null);
    await assertRejects(
      () => log.record(requestRow("refused", "x".repeat(20_000))),
      Error,
      "No space left",
    );
    await disk.free();
    await log.record(requestRow("last"));
    await store.query("checkpoint");
    assertEquals(await store.query("select count(*) as n from texts"), [{ n: 6_000 }]);
    const rows = await store.query("select request_id as id from core.requests order by id");
    assertEquals(rows.map(({ id }) => id), ["first", "last"]);
    await log.close();
  }));

Deno.test("openStore() and a journal name the folder that nothing can be written to", () =>
  withSmallDisk(8, async (disk) => {
    const path = `${disk.folder}/a.duckdb`;
    await (await openStore(path)).close();
    await disk.setReadOnly(true);
    const error = await assertRejects(() => openStore(path), Error);
    assertStringIncludes(error.message, "make its folder writable");
    const journal = await assertRejects(() => Journal.open(path), Error);
    assertMatch(journal.message, /^Cannot make journal .*the folder of the store must be writable/);
    await disk.setReadOnly(false);
    await (await openStore(path)).close();
  }));

Deno.test("openStore() leaves nothing behind when there is no room for a new store", () =>
  withSmallDisk(8, async (disk) => {
    const path = `${disk.folder}/a.duckdb`;
    await disk.fill(64 * 1024);
    const error = await assertRejects(() => openStore(path, { publish: false }), Error);
    assertMatch(error.message, /^Cannot create store ".*a\.duckdb": .*No space left/);
    assertEquals([...(await readFolder(disk.folder)).keys()], ["ballast"]);
    await disk.free();
    await (await openStore(path)).close();
  }));

Deno.test("openStore() leaves a journal alone when the disk does not take it, and brings it in later", () =>
  withSmallDisk(12, async (disk) => {
    const path = `${disk.folder}/a.duckdb`;
    const ids = await leaveStore(path);
    await Deno.rename(`${path}.wal`, `${disk.folder}/kept`);
    await disk.fill();
    const error = await assertRejects(() => openStore(path, { publish: false }), Error);
    assertMatch(error.message, /No space left/i);
    assertEquals((await listJournals(path)).map(({ state }) => state), ["left"]);
    await disk.free();
    await assertAllThere(path, ids);
  }));

Deno.test("the server is not ready while its file is gone, keeps what it acknowledges, and goes on when it is back", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    await using store = await openStore(path, { publish: false, thread: true });
    await registerTestModel(store);
    await using app = await createApp({ store, model: "rocks", quiet: true });
    const ask = async () => {
      const response = await app.request("/predict", predictInit(1));
      return { status: response.status, id: (await response.json()).request_id as string };
    };
    const ready = async () => {
      const response = await app.request("/ready");
      return { status: response.status, store: (await response.json()).store };
    };
    const ids = [(await ask()).id];
    assertEquals((await ready()).status, 200);
    await Deno.link(path, `${folder}/backup`);
    await Deno.remove(path);
    const lost = await ready();
    assertEquals([lost.status, lost.store.error], [
      503,
      "its file was removed while it was open",
    ]);
    for (let i = 0; i < 3; i++) {
      const { status, id } = await ask();
      if (status === 200) ids.push(id);
    }
    await assertRejects(() => store.query("create table t (x int)"), Error, "put the file back");
    await Deno.writeTextFile(path, "another file");
    assertEquals((await ready()).store.error, "its file was replaced while it was open");
    await Deno.remove(path);
    await Deno.link(`${folder}/backup`, path);
    // The rows that waited are in the tables before anybody reads them.
    for (let i = 0; i < 100 && (await ready()).status !== 200; i++) await pause(50);
    const rows = await store.query("select request_id as id from core.requests");
    const known = new Set(rows.map(({ id }) => id));
    for (const id of ids) assert(known.has(id), id);
    assertEquals(known.size, rows.length);
  }));

Deno.test("deno task doctor shows the disk, the write-ahead log, and journals that are left or damaged", () =>
  withProjectFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    await leaveStore(path);
    await Deno.writeTextFile(`${path}.journal-0123456789ab-1.damaged`, "kept");
    const { stdout, stderr } = await runCli(["doctor", "--json", "--set", `store=${path}`]);
    assertEquals(stderr, "");
    const checks: { check: string; state: string; detail: string }[] = JSON.parse(stdout);
    const find = (name: string) => checks.find(({ check }) => check === name)!;
    assertMatch(find("disk").detail, /^[\d.]+ MiB free, write-ahead log [\d.]+ MiB$/);
    const { state, detail } = find("journals");
    assertEquals(state, "note");
    assertMatch(detail, /a\.duckdb\.journal-\w+-1 \(left, .*-1\.damaged \(damaged, /);
    assertMatch(find("store").detail, /requests logged, free; Recovered \d+ frames of journal/);
  }));

Deno.test("openStore() loses and doubles nothing when it is killed twice while it recovers a journal", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    const frames = 1_000;
    {
      await using store = await openStore(path, { publish: false });
      const log = await InferenceLog.open(store, { maxRows: 10 * frames });
      await store.query("alter table core.requests rename to hidden");
      for (let i = 0; i < frames; i++) await log.record(requestRow(`r${i}`));
      await store.query("alter table core.hidden rename to requests");
      // What a process that is killed now leaves.
      await Deno.mkdir(`${folder}/left`);
      await store.query("checkpoint");
      for (const { name } of await listJournals(path)) {
        await Deno.copyFile(`${folder}/${name}`, `${folder}/left/${name}`);
      }
      await log.close();
    }
    const left = `${folder}/left/a.duckdb`;
    await (await openStore(`${folder}/empty.duckdb`, { publish: false })).close();
    await Deno.copyFile(`${folder}/empty.duckdb`, left);
    const args = [
      "eval",
      "--config",
      new URL("../../deno.json", import.meta.url).pathname,
      `const { openStore } = await import(${
        JSON.stringify(new URL("../../runtime/store/store.ts", import.meta.url).href)
      });
       await openStore(${JSON.stringify(left)});`,
    ];
    for (const bytes of [1, 50_000]) {
      const child = new Deno.Command(Deno.execPath(), { args, stdout: "null", stderr: "null" })
        .spawn();
      let isOver = false;
      child.status.then(() => isOver = true);
      const size = () => Deno.stat(`${left}.wal`).then(({ size }) => size, () => 0);
      while (!isOver && await size() < bytes) await pause(1);
      if (!isOver) child.kill("SIGKILL");
      const { signal } = await child.status;
      assertEquals(signal, "SIGKILL");
    }
    await using store = await openStore(left, { publish: false });
    assertEquals(store.recoveries.map(({ damage, lost }) => [damage, lost]), [[null, null]]);
    assertEquals(
      await store.query(
        "select count(*) as n, count(distinct request_id) as ids from core.requests",
      ),
      [{ n: frames, ids: frames }],
    );
  }));

Deno.test("two servers on one store keep every request of both when one is killed and then the other", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.duckdb`;
    const owner = await startChild(path);
    const borrower = await startChild(path);
    const acknowledged = [
      ...await askMany(owner.url, 40),
      ...await askMany(borrower.url, 40),
    ];
    assertEquals(acknowledged.length, 80);
    await owner.end();
    // The other one takes the file over, and with it what the first had in its journal.
    for (let i = 0; i < 40; i++) {
      const { status, id } = await askOnce(borrower.url, i);
      if (status === 200) acknowledged.push(id);
    }
    assert(acknowledged.length > 80);
    await borrower.end();
    await assertAllThere(path, acknowledged);
  }));
