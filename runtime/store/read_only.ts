/**
 * What a stranger's query may do: one SELECT over the store's own tables, parsed by DuckDB itself, with
 * an answer of bounded size.
 *
 * @module
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { UsageError } from "../errors.ts";
import { versionViews } from "../schema/mod.ts";
import type { ReadLimits } from "./database_contract.ts";
import { quoteIdentifier, quoteLiteral } from "./sql.ts";

/**
 * Parses the query and refuses what is not one SELECT over the store; a query that decides, of an alert
 * or a gate, may not read what a language model wrote for people.
 * @throws {UsageError} that says why.
 */
export async function assertOneSelect(
  connection: DuckDBConnection,
  sql: string,
  { decides }: { readonly decides: boolean },
): Promise<void> {
  if (sql.replace(/--.*$/gm, "").trim() === "") {
    throw new UsageError("Cannot run an empty query: give exactly one SELECT");
  }
  let statements;
  try {
    statements = await connection.extractStatements(sql);
  } catch (error) {
    throw new UsageError(`Cannot parse the query: ${(error as Error).message}`, { cause: error });
  }
  if (statements.count !== 1) {
    throw new UsageError(`Cannot run ${statements.count} statements: give exactly one SELECT`);
  }
  // DuckDB's own serializer accepts nothing but SELECT, whatever its text looks like.
  const reader = await connection.runAndReadAll(
    "select json_serialize_sql(?::varchar, skip_null := true)",
    [sql],
  );
  const tree = JSON.parse(reader.getRowsJS()[0][0] as string);
  if (tree.error) {
    const reason = /only select/i.test(tree.error_message) ? "" : ` (${tree.error_message})`;
    throw new UsageError(`Cannot run the query: only SELECT is allowed${reason}`);
  }
  const refused = findRefused(tree, decides);
  if (refused) {
    throw new UsageError(`Cannot run the query: ${refused}`);
  }
}

/** Functions that reach files, the network or the environment, or run SQL hidden in a string. */
const FILE_FUNCTION =
  /^(read_|parquet_|sniff_csv|glob$|.*_scan$|query$|query_table$|json_execute_serialized_sql|getenv$|duckdb_secrets|which_secret|load_|(force_)?checkpoint$)/i;

/** What a stranger's query may not touch, in words. */
function findRefused(node: unknown, decides: boolean): string | undefined {
  if (Array.isArray(node)) {
    for (const child of node) {
      const found = findRefused(child, decides);
      if (found) return found;
    }
    return undefined;
  }
  if (typeof node !== "object" || node === null) return undefined;
  const record = node as Record<string, unknown>;
  const name = record.function_name;
  if (typeof name === "string" && FILE_FUNCTION.test(name)) {
    return `${name}() reads outside the store`;
  }
  const table = record.table_name;
  if (record.type === "BASE_TABLE" && typeof table === "string") {
    if (/[./\\:*]/.test(table)) return `"${table}" reads outside the store`;
    // What is left of secrets; the view of the same name shows the rest.
    if (/^(api_keys|webhooks)$/i.test(table) && /^core$/i.test(String(record.schema_name))) {
      const name = table.toLowerCase();
      return `core.${name} holds secrets, hashed or encrypted; use the view ${name}`;
    }
    if (decides && /^generated_texts$/i.test(table)) {
      return "what a language model wrote decides nothing; read what it was told";
    }
  }
  return findRefused(Object.values(record), decides);
}

/**
 * Makes views of this connection alone that hide the documented ones and show one version's rows;
 * `requests` shows all of its model, since those that failed early have no version.
 */
export async function narrowViews(
  connection: DuckDBConnection,
  { model, version }: NonNullable<ReadLimits["scope"]>,
): Promise<void> {
  const name = quoteLiteral(model);
  const database = (await connection.runAndReadAll("select current_database()")).getRowsJS()[0][0];
  const main = quoteIdentifier(database as string, "main");
  const ofVersion = `model = ${name} and version = ${Math.trunc(version)}`;
  const views = versionViews.map((view) =>
    `create temp view ${view} as from ${main}.${view} where ${ofVersion};`
  );
  await connection.run(`
    create temp view requests as from ${main}.requests where model = ${name};
    ${views.join("\n")}`);
}

/** Largest answer of a read-only query unless its caller says otherwise. */
export const DEFAULT_MAX_BYTES = 64 * 2 ** 20;

/** The error of a result above `maxBytes`. */
export function tooLarge(maxBytes: number): UsageError {
  return new UsageError(
    `Cannot answer the query: its result is larger than ${
      Math.floor(maxBytes / 2 ** 20)
    } MiB; aggregate, select fewer columns or use limit`,
  );
}

/** Bytes of a plain value, near enough for a limit. */
export function measureBytes(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (value instanceof Uint8Array) return value.length;
  if (typeof value !== "object" || value === null) return 8;
  return Object.entries(value).reduce(
    (sum, [key, part]) => sum + key.length + measureBytes(part),
    8,
  );
}
