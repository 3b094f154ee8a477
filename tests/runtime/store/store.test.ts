import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { openStore } from "../../../runtime/store/store.ts";
import { UsageError } from "../../../runtime/errors.ts";

async function withFile(action: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await action(`${dir}/nested/store.duckdb`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("openStore() creates folders, tables and views when the file is missing", () =>
  withFile(async (path) => {
    await using store = await openStore(path);
    assert(store.isOwner);
    assertEquals(await store.query("select * from models"), []);
    const folder = await Array.fromAsync(Deno.readDir(path.slice(0, path.lastIndexOf("/"))));
    const beside = folder.map(({ name }) => name);
    assertEquals(beside.filter((name) => !name.endsWith(".wal")).sort(), [
      "store.duckdb",
      "store.duckdb.owner.json",
    ]);
  }));

Deno.test("openStore() leaves nothing behind and explains when create is false", () =>
  withFile(async (path) => {
    const error = await assertRejects(() => openStore(path, { create: false }), UsageError);
    assertStringIncludes(error.message, "deno task pipeline");
  }));

Deno.test("transaction() writes all steps or none when one fails", () =>
  withFile(async (path) => {
    await using store = await openStore(path);
    await store.transaction([{ sql: "create table t (a double, b varchar)" }]);
    await assertRejects(() =>
      store.transaction([
        { append: "main.t", columns: { a: [1], b: ["x"] } },
        { sql: "insert into missing values (1)" },
      ])
    );
    assertEquals(await store.query("select count(*) as n from t"), [{ n: 0 }]);
    await store.transaction([
      { append: "t", columns: { a: new Float64Array([1.5, NaN]), b: ["x", null] } },
    ]);
    assertEquals(await store.query("select a, b from t order by a nulls last"), [
      { a: 1.5, b: "x" },
      { a: null, b: null },
    ]);
    assertEquals(await store.readColumns("select a, b from t order by a nulls last"), {
      rows: 2,
      columns: { a: new Float64Array([1.5, NaN]), b: ["x", null] },
    });
  }));

Deno.test("transaction() names the column when append gets an unknown or uneven one", () =>
  withFile(async (path) => {
    await using store = await openStore(path);
    await store.transaction([{ sql: "create table t (a double)" }]);
    const uneven = () =>
      store.transaction([{ append: "t", columns: { a: [1], b: [1, 2] } as never }]);
    await assertRejects(uneven, TypeError, 'column "b" has 2 values, not 1');
    const unknown = () => store.transaction([{ append: "t", columns: { z: [1] } }]);
    await assertRejects(unknown, RangeError, 'no column "z"');
  }));

Deno.test("openStore() borrows from a live owner in another process and takes over when it ends", () =>
  withFile(async (path) => {
    const owner = new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        `const { openStore } = await import(${
          JSON.stringify(new URL("../../../runtime/store/store.ts", import.meta.url).href)
        });
         const store = await openStore(${JSON.stringify(path)});
         await store.transaction([{ sql: "create table t (seen timestamp, x double)" }]);
         console.log("ready");
         for await (const _ of Deno.stdin.readable) break;
         Deno.exit(0);`,
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = owner.stdout.getReader();
    assertStringIncludes(new TextDecoder().decode((await reader.read()).value), "ready");

    await using store = await openStore(path);
    assertEquals(store.isOwner, false);
    const at = new Date("2026-01-02T03:04:05.678Z");
    await store.transaction([
      { append: "t", columns: { seen: [at], x: new Float64Array([NaN]) } },
      { sql: "insert into t values (?, ?)", params: [at, 2.5] },
    ]);
    const rows = [{ seen: at.toISOString(), x: 2.5 }, { seen: at.toISOString(), x: null }];
    assertEquals(await store.query("select * from t order by x"), rows);
    assertEquals(
      (await store.readColumns("select x from t order by x")).columns.x,
      new Float64Array([2.5, NaN]),
    );
    await assertRejects(() => store.queryReadOnly("drop table t"), UsageError, "only SELECT");

    owner.kill("SIGKILL");
    await owner.status;
    await reader.cancel();
    await owner.stdin.close().catch(() => {});
    assertEquals(await store.query("select * from t order by x"), rows);
    assert(store.isOwner);
  }));

Deno.test("openStore() names the way out when the file is no database", () =>
  withFile(async (path) => {
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(path, "not a database ".repeat(1000));
    await assertRejects(() => openStore(path), Error, `Cannot open store "${path}"`);
  }));

Deno.test("openStore() refuses a store that a newer version wrote", () =>
  withFile(async (path) => {
    {
      await using store = await openStore(path);
      await store.query("insert into core.schema_version values (999)");
    }
    await assertRejects(() => openStore(path), Error, "update Geophone");
  }));

for (
  const [sql, part] of [
    ["insert into core.runs select * from core.runs", "only SELECT"],
    ["select 1; select 2", "2 statements"],
    ["selec 1", "Cannot parse"],
    ["select * from read_csv('/etc/passwd')", "read_csv() reads outside the store"],
    ["select * from '/etc/passwd'", "reads outside the store"],
    ["with x as (select * from glob('*')) select * from x", "glob() reads outside the store"],
    ["select * from query('select 1')", "query() reads outside the store"],
    [
      "from json_execute_serialized_sql(json_serialize_sql('select 1'))",
      "json_execute_serialized_sql() reads outside the store",
    ],
    ["select (select content from read_text('/etc/passwd'))", "read_text() reads outside"],
    ["copy (select 1) to 'x.csv'", "only SELECT"],
    ["attach 'x.db'", "only SELECT"],
    ["set memory_limit = '1GB'", "only SELECT"],
    ["select hash from core.api_keys", "holds secrets"],
    ["select * from (select * from memory.CORE.API_KEYS)", "holds secrets"],
    ["select * from core.webhooks", "holds secrets"],
    ["-- nothing", "empty query"],
    ["select * from missing_table", "missing_table"],
  ]
) {
  Deno.test(`queryReadOnly() refuses ${sql}`, () =>
    withFile(async (path) => {
      await using store = await openStore(path);
      await assertRejects(() => store.queryReadOnly(sql), UsageError, part);
    }));
}

Deno.test("queryReadOnly() stops a query that would run for ever, and says when rows are left out", () =>
  withFile(async (path) => {
    await using store = await openStore(path);
    const endless = "select count(*) from range(1000000) a, range(1000000) b";
    await assertRejects(
      () => store.queryReadOnly(endless, { timeoutMs: 50 }),
      UsageError,
      "longer",
    );
    const result = await store.queryReadOnly("select * from range(10)", { maxRows: 3 });
    assertEquals(result, {
      columns: ["range"],
      types: ["BIGINT"],
      rows: [[0], [1], [2]],
      isTruncated: true,
    });
  }));

Deno.test("openStore() names the process that holds the file when that offers no endpoint", () =>
  withFile(async (path) => {
    await (await openStore(path)).close();
    const holder = new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        `import { DuckDBInstance } from "@duckdb/node-api";
         const instance = await DuckDBInstance.create(${JSON.stringify(path)});
         console.log("held");
         for await (const _ of Deno.stdin.readable) break;
         instance.closeSync();`,
      ],
      cwd: new URL("../../..", import.meta.url),
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = holder.stdout.getReader();
    await reader.read();
    await assertRejects(() => openStore(path), Error, `(PID ${holder.pid}) holds it`);
    holder.kill("SIGKILL");
    await holder.status;
    await reader.cancel();
    await holder.stdin.close().catch(() => {});
    await using store = await openStore(path);
    assert(store.isOwner);
  }));

Deno.test("queryReadOnly() refuses a result larger than its limit before it is held", () =>
  withFile(async (path) => {
    await using store = await openStore(path);
    const large = "select repeat('x', 1000000) as text from range(200)";
    await assertRejects(() => store.queryReadOnly(large), UsageError, "larger than 64 MiB");
    const lists = "select range(1000) as list from range(1000)";
    const limited = () => store.queryReadOnly(lists, { maxBytes: 2 ** 20 });
    await assertRejects(limited, UsageError, "larger than 1 MiB");
    assertEquals((await store.queryReadOnly("select 1")).rows, [[1]]);
  }));

Deno.test("queryReadOnly() shows one model version's rows alone when it has a scope", () =>
  withFile(async (path) => {
    await using store = await openStore(path);
    for (const [model, version] of [["a", 1], ["a", 2], ["b", 1], [null, null]] as const) {
      await store.query(
        `insert into core.requests by name select ? as request_id, now()::timestamp as request_time,
           'POST' as method, '/predict' as endpoint, 200 as status_code, ?::varchar as model,
           ?::integer as version, 1 as row_count, 1.0 as duration_ms`,
        [`${model}-${version}`, model, version],
      );
      if (model === null) continue;
      await store.query(
        `insert into core.drift values ('r', ?, ?, 'all', 'GR', 'ks', 0.5, 0.1, true, 10, 10, now()::timestamp)`,
        [model, version],
      );
    }
    const ask = async (sql: string, scope?: { model: string; version: number }) =>
      (await store.queryReadOnly(sql, scope ? { scope } : {})).rows.flat();
    const ids = "select request_id from requests order by all";
    assertEquals(await ask(ids, { model: "a", version: 2 }), ["a-1", "a-2"]);
    const drift = "select model || version from drift order by all";
    assertEquals(await ask(drift, { model: "a", version: 2 }), ["a2"]);
    assertEquals(await ask(drift, { model: "it's", version: 1 }), []);
    assertEquals(await ask(drift), ["a1", "a2", "b1"]);
  }));

Deno.test("interruptReads() ends a running read-only query with its reason, and the store goes on", () =>
  withFile(async (path) => {
    await using store = await openStore(path);
    const query = store.queryReadOnly("select count(*) from range(1000000) a, range(1000000) b");
    const stop = setTimeout(() => store.interruptReads("the server is ending"), 100);
    await assertRejects(() => query, UsageError, "Cannot finish the query: the server is ending");
    clearTimeout(stop);
    assertEquals((await store.queryReadOnly("select 1")).rows, [[1]]);
  }));
