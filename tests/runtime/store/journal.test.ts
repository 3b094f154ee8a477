import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { InferenceLog } from "../../../runtime/inference/inference_log.ts";
import { Journal } from "../../../runtime/store/journal.ts";
import type { Frame } from "../../../runtime/store/journal_frames.ts";
import { recoverJournals } from "../../../runtime/store/journal_recovery.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { makeRequestRow } from "../../request_row.ts";

async function withFolder(action: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await action(`${folder}/dev.duckdb`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const payload = (i: number) => new Uint8Array(100).fill(i + 1);

async function recover(path: string) {
  const frames: Frame[] = [];
  const recoveries = await recoverJournals(path, (_id, found) => {
    frames.push(...found.map(({ sequence, payload }) => ({ sequence, payload: payload.slice() })));
    return Promise.resolve(null);
  });
  return { frames, recoveries };
}

function journalFiles(path: string): string[] {
  const folder = path.slice(0, path.lastIndexOf("/"));
  return [...Deno.readDirSync(folder)].map((entry) => entry.name)
    .filter((name) => name.includes(".journal-")).sort();
}

/** Writes ten frames and lets go of the file, as a process that is killed does. */
async function leaveJournal(path: string): Promise<string> {
  const journal = await Journal.open(path);
  for (let i = 0; i < 10; i++) await journal.append(payload(i));
  journal.abandon();
  return `${path.slice(0, path.lastIndexOf("/"))}/${journalFiles(path)[0]}`;
}

Deno.test("recoverJournals() gives every frame in order once, and leaves no file", () =>
  withFolder(async (path) => {
    await leaveJournal(path);
    const { frames, recoveries } = await recover(path);
    assertEquals(
      frames,
      Array.from({ length: 10 }, (_, i) => ({
        sequence: i + 1,
        payload: payload(i),
      })),
    );
    assertEquals(recoveries.map(({ frames, damage }) => ({ frames, damage })), [
      { frames: 10, damage: null },
    ]);
    assertEquals(journalFiles(path), []);
    assertEquals((await recover(path)).frames, []);
  }));

Deno.test("recoverJournals() leaves the journal of a living writer alone", () =>
  withFolder(async (path) => {
    const journal = await Journal.open(path);
    await journal.append(payload(0));
    assertEquals(await recover(path), { frames: [], recoveries: [] });
    await journal.append(payload(1));
    journal.abandon();
    assertEquals((await recover(path)).frames.length, 2);
  }));

Deno.test("recoverJournals() drops a last frame that is cut anywhere, and keeps all before it", () =>
  withFolder(async (path) => {
    for (const cut of [1, 15, 16, 17, 60, 115]) {
      const file = await leaveJournal(path);
      const { size } = await Deno.stat(file);
      await Deno.truncate(file, size - 116 + cut);
      const { frames, recoveries } = await recover(path);
      assertEquals([frames.length, recoveries[0].damage], [9, null], `cut at ${cut}`);
    }
  }));

Deno.test("recoverJournals() drops zeros behind the last frame, as a power failure leaves them", () =>
  withFolder(async (path) => {
    const file = await leaveJournal(path);
    await Deno.writeFile(file, new Uint8Array(5000), { append: true });
    assertEquals((await recover(path)).recoveries[0], {
      journal: file.split("/").at(-1)!,
      frames: 10,
      damage: null,
      lost: null,
    });
  }));

Deno.test("recoverJournals() keeps a file whose inside is damaged, says where, and gives what lies before", () =>
  withFolder(async (path) => {
    const file = await leaveJournal(path);
    const bytes = await Deno.readFile(file);
    bytes[116 * 4 + 50] ^= 1;
    await Deno.writeFile(file, bytes);
    const { frames, recoveries } = await recover(path);
    assertEquals(frames.length, 4);
    assertStringIncludes(recoveries[0].damage!, "frame at byte 464");
    assertEquals(journalFiles(path), [`${file.split("/").at(-1)}.damaged`]);
    assertEquals((await recover(path)).recoveries, []);
  }));

Deno.test("recoverJournals() keeps a file whose frames cannot be applied, and goes on with the next", () =>
  withFolder(async (path) => {
    await leaveJournal(path);
    await leaveJournal(path);
    let calls = 0;
    const recoveries = await recoverJournals(path, () => {
      calls++;
      return calls === 1 ? Promise.reject(new Error("No such column")) : Promise.resolve(null);
    });
    assertEquals(recoveries.map(({ damage }) => damage), ["No such column", null]);
    assertEquals(journalFiles(path).length, 1);
  }));

Deno.test("Journal begins new files as they fill, and removes those that the tables hold", () =>
  withFolder(async (path) => {
    const journal = await Journal.open(path, { segmentBytes: 300 });
    for (let i = 0; i < 10; i++) assertEquals(await journal.append(payload(i)), i + 1);
    assertEquals(journalFiles(path).length, 4);
    await journal.settle(5);
    assertEquals(journalFiles(path).length, 3);
    const { bytes } = journal;
    assertEquals(bytes, 7 * 116);
    await journal.settle(10);
    assertEquals(journalFiles(path).length, 1);
    await journal.close();
    assertEquals(journalFiles(path), []);
  }));

/** Lets the disk take `bytes` more bytes of every write, and then no more. */
function fillDisk(bytes: number): () => void {
  const { prototype } = Deno.FsFile;
  const { write } = prototype;
  prototype.write = async function (data) {
    if (bytes > 0) await write.call(this, data.subarray(0, bytes));
    throw new Error("No space left on device (os error 28)");
  };
  return () => prototype.write = write;
}

Deno.test("Journal.append() takes back half a frame when the disk is full, and goes on when it is not", () =>
  withFolder(async (path) => {
    const journal = await Journal.open(path);
    await journal.append(payload(0));
    const release = fillDisk(40);
    try {
      await assertRejects(() => journal.append(payload(1)), Error, "No space left");
    } finally {
      release();
    }
    assertEquals(await journal.append(payload(2)), 2);
    journal.abandon();
    assertEquals((await recover(path)).frames.map(({ payload }) => payload[0]), [1, 3]);
  }));

const COUNT = "select count(*) as n from core.requests";

Deno.test("InferenceLog.record() has the row on disk when it resolves, and readers wait for the tables", () =>
  withFolder(async (path) => {
    await using store = await openStore(path, { publish: false });
    const log = await InferenceLog.open(store);
    await log.record(makeRequestRow("a"));
    // A copy of the folder is what a killed process leaves.
    const copy = `${path}.copy`;
    await Deno.mkdir(copy);
    for (const name of journalFiles(path)) {
      await Deno.copyFile(`${path.slice(0, path.lastIndexOf("/"))}/${name}`, `${copy}/${name}`);
    }
    assertEquals(log.stats.committedRows, 0);
    {
      await using other = await openStore(`${copy}/dev.duckdb`, { publish: false });
      assertEquals(await other.query("select request_id, duration_ms from core.requests"), [
        { request_id: "a", duration_ms: 1.5 },
      ]);
      assertEquals(other.recoveries.map(({ frames }) => frames), [1]);
    }
    assertEquals(await store.query(COUNT), [{ n: 1 }]);
    assertEquals((await store.queryReadOnly(COUNT)).rows, [[1]]);
    await log.close();
    assertEquals(journalFiles(path), []);
  }));

Deno.test("openStore() applies no frame twice when a process ended between the tables and the journal", () =>
  withFolder(async (path) => {
    const saved: [string, Uint8Array][] = [];
    {
      await using store = await openStore(path, { publish: false });
      const log = await InferenceLog.open(store);
      await log.record(makeRequestRow("a"));
      await log.record(makeRequestRow("b"));
      await log.flush();
      const folder = path.slice(0, path.lastIndexOf("/"));
      for (const name of journalFiles(path)) {
        saved.push([`${folder}/${name}`, await Deno.readFile(`${folder}/${name}`)]);
      }
      await log.close();
    }
    for (const [file, bytes] of saved) await Deno.writeFile(file, bytes);
    await using store = await openStore(path, { publish: false });
    assertEquals(store.recoveries.length, 1);
    assertEquals(await store.query(COUNT), [{ n: 2 }]);
  }));

Deno.test("InferenceLog refuses requests while the disk is full, says so, and takes them again after", () =>
  withFolder(async (path) => {
    await using store = await openStore(path, { publish: false });
    const log = await InferenceLog.open(store);
    await log.record(makeRequestRow("a"));
    const release = fillDisk(10);
    try {
      await assertRejects(() => log.record(makeRequestRow("b")), Error, "No space left");
      assertStringIncludes(log.stats.lastFailure!.message, "No space left");
    } finally {
      release();
    }
    await log.record(makeRequestRow("c"));
    assertEquals(log.stats.lastFailure, null);
    assertEquals(log.stats.queuedRows <= 2, true);
    assertEquals(await store.query("select request_id from core.requests order by 1"), [
      { request_id: "a" },
      { request_id: "c" },
    ]);
    await log.close();
  }));

Deno.test("InferenceLog keeps what it acknowledged when the tables take nothing, and the next opener has it", () =>
  withFolder(async (path) => {
    {
      await using store = await openStore(path, { publish: false });
      const log = await InferenceLog.open(store, { maxRows: 4 });
      await store.query("alter table core.requests rename to hidden");
      for (const id of ["a", "b", "c"]) await log.record(makeRequestRow(id));
      await assertRejects(() => log.flush(), Error, "3 rows still wait");
      // A read goes on without them: how else would one find out what is wrong.
      assertEquals(await store.query("select count(*) as n from core.hidden"), [{ n: 0 }]);
      assert(log.stats.lastFailure !== null);
      await assertRejects(() => log.close(), Error, "3 rows still wait");
      await store.query("alter table core.hidden rename to requests");
    }
    await using store = await openStore(path, { publish: false });
    assertEquals(await store.query(COUNT), [{ n: 3 }]);
  }));

Deno.test("InferenceLog lets callers wait for the tables when it is behind, before it refuses any", () =>
  withFolder(async (path) => {
    await using store = await openStore(path, { publish: false });
    const log = await InferenceLog.open(store, { maxRows: 20 });
    // One write at a time: the log's transactions wait for this one.
    const slow = store.query("create table slow as select sum(random()) from range(50_000_000)");
    let isSlow = true;
    void slow.then(() => isSlow = false);
    for (let i = 0; i < 10; i++) await log.record(makeRequestRow(`r${i}`));
    assert(isSlow, "the first ten do not wait for the tables");
    await Promise.all(["x", "y"].map((id) => log.record(makeRequestRow(id))));
    assert(!isSlow, "the others do");
    assertEquals(await store.query(COUNT), [{ n: 12 }]);
    await log.close();
  }));
