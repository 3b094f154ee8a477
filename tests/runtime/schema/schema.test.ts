import { assert, assertEquals, assertRejects } from "@std/assert";
import { DuckDBInstance } from "@duckdb/node-api";
import { migrations, SCHEMA_VERSION } from "../../../runtime/schema/mod.ts";
import { openStore } from "../../../runtime/store/store.ts";

/** Writes a store as an earlier Geophone left it. */
async function writeOldStore(path: string, version: number, rows: readonly string[]) {
  const instance = await DuckDBInstance.create(path);
  const connection = await instance.connect();
  for (const migration of migrations.filter((entry) => entry.version <= version)) {
    for (const sql of migration.statements) await connection.run(sql);
  }
  for (const sql of rows) await connection.run(sql);
  connection.closeSync();
  instance.closeSync();
}

async function withFile(action: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await action(`${dir}/store.duckdb`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const at = "timestamp '2026-01-02 03:04:05'";
const oldRows = [
  `insert into core.runs values ('run-1', 'rocks', 'dev', 7, 'failed', '{"training": {"rounds": 9}}',
    'abc', 'ada', ${at}, null, 'no rows')`,
  `insert into core.metrics values ('run-1', 'training', 'loss', 0.5, 1, ${at})`,
  `insert into core.metrics values ('run-1', 'training', 'loss', null, 2, ${at})`,
  `insert into core.model_versions values ('rocks', 1, 'f00d', 'run-1', ['GR'], ['sand'], '{}', '{}',
    'e1', ${at}, 'ada')`,
  `insert into core.alias_log (model, alias, to_version, reason, changed_at)
    values ('rocks', 'production', 1, 'first', ${at})`,
];

Deno.test("migrations are numbered 1 to SCHEMA_VERSION, each writes its number", () => {
  assertEquals(
    migrations.map(({ version }) => version),
    Array.from({ length: SCHEMA_VERSION }, (_, i) => i + 1),
  );
  for (const { version, statements } of migrations) {
    assert(statements.includes(`insert into core.schema_version values (${version})`));
  }
});

Deno.test("openStore() upgrades a store of version 1 and keeps what it holds", () =>
  withFile(async (path) => {
    await writeOldStore(path, 1, oldRows);
    for (const _ of ["upgraded", "opened again"]) {
      await using store = await openStore(path, { publish: false });
      assertEquals(
        await store.query("select version from core.schema_version order by version"),
        migrations.map(({ version }) => ({ version })),
      );
      assertEquals(await store.query("select model, version, aliases from models"), [
        { model: "rocks", version: 1, aliases: ["production"] },
      ]);
      assertEquals(await store.query("select name, status from mlflow_runs"), [
        { name: "rocks run-1", status: "FAILED" },
      ]);
      assertEquals(await store.query("select key, value from mlflow_params order by key"), [
        { key: "seed", value: "7" },
        { key: "training.rounds", value: "9" },
      ]);
      assertEquals(await store.query("select key, step, value from mlflow_latest_metrics"), [
        { key: "training/loss", step: 2, value: NaN },
      ]);
      assertEquals(await store.query("select model, stage from mlflow_model_versions"), [
        { model: "rocks", stage: "Production" },
      ]);
    }
  }));

Deno.test("openStore() leaves a store of version 1 as it was when the upgrade fails", () =>
  withFile(async (path) => {
    await writeOldStore(path, 1, [...oldRows, "create view mlflow_runs as select 1 as mine"]);
    await assertRejects(() => openStore(path, { publish: false }), Error, "mlflow_runs");
    const instance = await DuckDBInstance.create(path);
    const connection = await instance.connect();
    const reader = await connection.runAndReadAll("select max(version) from core.schema_version");
    assertEquals(reader.getRowsJS(), [[1]]);
    await assertRejects(() => connection.run("from core.experiments"));
    connection.closeSync();
    instance.closeSync();
  }));
