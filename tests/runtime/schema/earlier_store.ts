/** A store as it was before a migration. */
import { DuckDBInstance } from "@duckdb/node-api";
import { migrations } from "../../../runtime/schema/mod.ts";

/** Makes the file of a store as it was before the migration of these statements, with what `sql` puts in. */
export async function makeEarlierStore(
  path: string,
  migration: readonly string[],
  sql: readonly string[],
): Promise<void> {
  const instance = await DuckDBInstance.create(path);
  const connection = await instance.connect();
  for (const { statements } of migrations) {
    if (statements === migration) break;
    for (const statement of statements) await connection.run(statement);
  }
  for (const statement of sql) await connection.run(statement);
  connection.closeSync();
  instance.closeSync();
}
