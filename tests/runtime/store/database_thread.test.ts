import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UsageError } from "../../../runtime/errors.ts";
import { openStore } from "../../../runtime/store/store.ts";

Deno.test("a store held by a thread answers what one held by this thread does", async () => {
  await using here = await openStore(":memory:");
  await using there = await openStore(":memory:", { thread: true });
  for (const store of [here, there]) {
    await store.query("create table t (n bigint, moment timestamp, x double, s varchar, b blob)");
    await store.transaction([
      {
        append: "main.t",
        columns: { n: [1n, null], x: Float64Array.of(0.5, NaN), s: ["a", null] },
      },
      {
        sql: "insert into t values (?, ?, ?, ?, ?)",
        params: [2 ** 40, new Date(1), 1 / 3, "é", Uint8Array.of(0, 255)],
      },
    ]);
  }
  const select = "select * from t order by n nulls last";
  assertEquals(await there.query(select), await here.query(select));
  assertEquals(await there.readColumns(select), await here.readColumns(select));
  assertEquals(await there.queryReadOnly(select), await here.queryReadOnly(select));
  assertEquals(there.isOwner, true);
});

Deno.test("a store held by a thread gives errors of their class, with their words", async () => {
  await using store = await openStore(":memory:", { thread: true });
  await assertRejects(() => store.queryReadOnly("drop table t"), UsageError, "only SELECT");
  await assertRejects(() => store.query("select * from nowhere"), Error, "nowhere");
  await assertRejects(
    () => store.transaction([{ append: "core.nowhere", columns: { a: [1] } }]),
    RangeError,
    "no such table",
  );
  assertEquals(await store.query("select 1 as one"), [{ one: 1 }]);
});

Deno.test("a store held by a thread tells of commits, and stops reads on request", async () => {
  await using store = await openStore(":memory:", { thread: true });
  let commits = 0;
  store.onCommit(() => commits++);
  await store.query("create table t (n integer)");
  assertEquals(commits, 1);
  const endless = store.queryReadOnly(
    "select sum(a.range * b.range) from range(1_000_000) a, range(1_000_000) b",
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  store.interruptReads("the server is ending");
  await assertRejects(() => endless, UsageError, "the server is ending");
});

Deno.test("openStore() with a thread names a file that is no database, and opens one that is taken", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/text.duckdb`, "no database".repeat(1000));
    const error = await assertRejects(
      () => openStore(`${folder}/text.duckdb`, { thread: true }),
      Error,
    );
    assertStringIncludes(error.message, "move it away");
    await using owner = await openStore(`${folder}/a.duckdb`, { thread: true });
    await using borrower = await openStore(`${folder}/a.duckdb`, { thread: true });
    // DuckDB gives one process one instance: the second holds it as well.
    await owner.query("create table t as select 7 as n");
    assertEquals(await borrower.query("select n from t"), [{ n: 7 }]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
