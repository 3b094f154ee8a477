/**
 * Tables of the store: the handle by which stages pass them, and how a source becomes one.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Column, Finding, Plugin, Plugins } from "../plugins/plugin.ts";
import { UsageError } from "./errors.ts";
import { quoteIdentifier, quoteLiteral } from "./sql.ts";
import type { Database, Step } from "./store.ts";

/** What a column holds: `DOUBLE`, `VARCHAR` or `TIMESTAMP` in the store. */
export type ColumnType = "number" | "text" | "time";

/** One column of a table in the store. */
export interface ColumnInfo {
  readonly name: string;
  readonly type: ColumnType;
  readonly unit?: string;
  /** Rows without a value. */
  readonly nulls: number;
}

/** Where rows of a table came from. */
export interface SourceInfo {
  /** As the config writes it. */
  readonly uri: string;
  readonly sha256: string;
  readonly rows: number;
}

/** A table in the store: what a stage passes to the next one. */
export interface TableHandle {
  /** Schema and name, quoted for SQL. */
  readonly table: string;
  readonly rows: number;
  /** Hash over source files and parameters: equal hashes mean equal tables. */
  readonly contentHash: string;
  /** Columns of the data, without the system columns whose names begin with `_`. */
  readonly columns: readonly ColumnInfo[];
  readonly sources: readonly SourceInfo[];
}

/** Type of each {@linkcode ColumnType} in the store. */
export const sqlTypes: Readonly<Record<ColumnType, string>> = {
  number: "DOUBLE",
  text: "VARCHAR",
  time: "TIMESTAMP",
};

/** A source as a relation that the store can select from. */
export interface Relation {
  readonly uri: string;
  readonly columns: readonly RelationColumn[];
  /** SQL behind `from`; has a column `_row`, the 0-based ordinal in the source. */
  readonly from: string;
  /** Steps that must run before `from` is read, in the same transaction … */
  readonly setup: readonly Step[];
  /** … and after it. */
  readonly teardown: readonly Step[];
  readonly findings: readonly Finding[];
}

/** One column of a {@linkcode Relation}: `expression` gives its value in the type of the store. */
export interface RelationColumn {
  readonly name: string;
  readonly type: ColumnType;
  readonly unit?: string;
  readonly expression: string;
}

/** What to open, and how to name its staging table. */
export interface RelationRequest {
  /** As the config writes it. */
  readonly uri: string;
  /** Name of the source plugin; by the ending of the URI when left out. */
  readonly source?: string | undefined;
  readonly baseDir: string;
  /** Name of the staging table of a source that gives columns; distinct within a transaction. */
  readonly staging: string;
  readonly signal: AbortSignal;
}

/**
 * The path of a URI of the config: relative ones count from `baseDir`, `file:` URLs are taken.
 *
 * @throws {UsageError} when the URI is of another scheme.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolvePath } from "./table.ts";
 *
 * assertEquals(resolvePath("data/a.csv", "/home/me"), "/home/me/data/a.csv");
 * assertEquals(resolvePath("file:///a.csv", "/work"), "/a.csv");
 * ```
 */
export function resolvePath(uri: string, baseDir: string): string {
  if (uri.startsWith("file:")) return fileURLToPath(uri);
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(uri)) {
    throw new UsageError(
      `Cannot read "${uri}": only files are read; download it and name its path`,
    );
  }
  return isAbsolute(uri) ? uri : join(baseDir, uri);
}

/**
 * The source plugin of that name, or the one whose extension is the longest that `uri` ends with.
 *
 * @throws {UsageError} when no source takes files of that ending.
 */
export function findSource(plugins: Plugins, uri: string, name?: string): Plugin<"source"> {
  if (name !== undefined) return plugins.get("source", name);
  const path = uri.toLowerCase();
  const matches = plugins.list("source").flatMap((source) =>
    source.extensions.filter((end) => path.endsWith(end.toLowerCase())).map((end) => ({
      source,
      length: end.length,
    }))
  ).sort((a, b) => b.length - a.length);
  if (matches.length > 0) return matches[0].source;
  const endings = plugins.list("source").flatMap((source) => source.extensions);
  throw new UsageError(
    `Cannot read "${uri}": no source takes this kind of file; name one with "source:", or use one of ${
      endings.join(" ") || "none"
    }`,
  );
}

/**
 * Gives the SHA-256 of a file in hexadecimal.
 *
 * @throws {Error} when there is no such file.
 */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk);
  } catch (error) {
    const states: Record<string, string> = {
      ENOENT: "there is no such file; check the path",
      EISDIR: "it is a folder; name one file",
    };
    const state = states[(error as { code?: string }).code ?? ""];
    throw state ? new Error(`Cannot read "${path}": ${state}`, { cause: error }) : error;
  }
  return hash.digest("hex");
}

/** Gives the SHA-256 of a JSON value in hexadecimal. */
export function hashJson(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

/** Whether the table that a handle names is in the store. */
export async function hasTable(store: Database, table: string): Promise<boolean> {
  const [{ n }] = await store.query<{ n: number }>(
    `select count(*) as n from duckdb_tables()
     where '"' || replace(schema_name, '"', '""') || '"."' || replace(table_name, '"', '""') || '"' = ?`,
    [table],
  );
  return n > 0;
}

/** Counts rows and missing values of a table in the store. */
export async function describeTable(
  store: Database,
  table: string,
  columns: readonly Omit<ColumnInfo, "nulls">[],
): Promise<{ rows: number; columns: ColumnInfo[] }> {
  const counts = columns.map(({ name }, j) =>
    `count(*) - count(${quoteIdentifier(name)}) as n${j}`
  );
  const [row] = await store.query<Record<string, number>>(
    `select ${["count(*) as n", ...counts].join(", ")} from ${table}`,
  );
  return { rows: row.n, columns: columns.map((column, j) => ({ ...column, nulls: row[`n${j}`] })) };
}

/**
 * Opens a source and gives it as a relation of numbers, texts and times.
 *
 * @throws {Error} when the source cannot be read.
 */
export async function openRelation(
  store: Database,
  plugins: Plugins,
  request: RelationRequest,
): Promise<Relation> {
  const source = findSource(plugins, request.uri, request.source);
  const path = resolvePath(request.uri, request.baseDir);
  const opened = await source.open(path, { signal: request.signal });
  const relation = "select" in opened
    ? await relateSelect(store, opened.select, request)
    : relateColumns(opened.columns, request);
  const reserved = relation.columns.find(({ name }) =>
    /^_(source|row|group|label|order)$/i.test(name)
  );
  if (reserved) {
    throw new Error(
      `Cannot read "${request.uri}": column "${reserved.name}" has a reserved name; rename it in the file`,
    );
  }
  return { ...relation, findings: [...opened.findings, ...relation.findings] };
}

/** Columns in memory: appended to a staging table that the transaction drops again. */
function relateColumns(columns: readonly Column[], { uri, staging }: RelationRequest): Relation {
  const table = quoteIdentifier("bronze", staging);
  const described = columns.map(({ name, unit, values }): RelationColumn => ({
    name,
    type: values instanceof Float64Array ? "number" : "text",
    ...(unit === undefined ? {} : { unit }),
    expression: quoteIdentifier(name),
  }));
  const definitions = described.map(({ name, type }) =>
    `${quoteIdentifier(name)} ${sqlTypes[type]}`
  );
  const rows = columns[0]?.values.length ?? 0;
  return {
    uri,
    columns: described,
    from: table,
    setup: [
      { sql: `create or replace table ${table} (_row bigint, ${definitions.join(", ")})` },
      {
        append: `bronze.${staging}`,
        columns: {
          _row: Float64Array.from({ length: rows }, (_, i) => i),
          ...Object.fromEntries(columns.map(({ name, values }) => [name, values])),
        },
      },
    ],
    teardown: [{ sql: `drop table ${table}` }],
    findings: [],
  };
}

/** A `SELECT` that the store runs itself; its types decide what each column is. */
async function relateSelect(
  store: Database,
  select: string,
  { uri }: RelationRequest,
): Promise<Relation> {
  const described = await read(
    store,
    uri,
    `select column_name as name, column_type as type from (describe ${select})`,
  ) as { name: string; type: string }[];
  const columns = described.map(({ name, type }) => toRelationColumn(name, type));
  const from = `(select *, row_number() over () - 1 as _row from (${select}))`;
  const texts = columns.filter(({ type }) => type === "text");
  const numeric = await findMostlyNumbers(store, uri, from, texts.map(({ name }) => name));
  return {
    uri,
    columns: columns.map((column) => numeric.get(column.name)?.column ?? column),
    from,
    setup: [],
    teardown: [],
    findings: [...numeric.values()].map(({ finding }) => finding),
  };
}

function toRelationColumn(name: string, type: string): RelationColumn {
  const value = quoteIdentifier(name);
  if (/^(DATE|TIMESTAMP)/.test(type) && !type.endsWith("[]")) {
    const utc = type === "TIMESTAMP WITH TIME ZONE" ? `${value} at time zone 'UTC'` : value;
    return { name, type: "time", expression: `(${utc})::timestamp` };
  }
  if (/^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL\(.*\)|BOOLEAN)$/.test(type)) {
    const number = `${type === "BOOLEAN" ? `${value}::integer` : value}::double`;
    return {
      name,
      type: "number",
      expression: `case when not isnan(${number}) then ${number} end`,
    };
  }
  return { name, type: "text", expression: `${value}::varchar` };
}

/** Share of numbers from which on a text column is one of numbers with some bad cells. */
const MOSTLY_NUMBERS = 0.9;

/** Text columns that are numbers but for a few cells: those cells are counted and become null. */
async function findMostlyNumbers(
  store: Database,
  uri: string,
  from: string,
  names: readonly string[],
): Promise<Map<string, { column: RelationColumn; finding: Finding }>> {
  const found = new Map<string, { column: RelationColumn; finding: Finding }>();
  if (names.length === 0) return found;
  const counts = names.map((name, j) => {
    const text = `${quoteIdentifier(name)}::varchar`;
    const isBad = `${text} is not null and try_cast(${text} as double) is null`;
    return `count(${text}) as cells${j}, count(*) filter (${isBad}) as bad${j},
      min(_row) filter (${isBad}) as row${j}, arg_min(${text}, _row) filter (${isBad}) as text${j}`;
  });
  const [row] = await read(store, uri, `select ${counts.join(", ")} from ${from}`);
  names.forEach((name, j) => {
    const [cells, bad] = [Number(row[`cells${j}`]), Number(row[`bad${j}`])];
    if (bad === 0 || bad > (1 - MOSTLY_NUMBERS) * cells) return;
    const cast = `try_cast(${quoteIdentifier(name)} as double)`;
    const column: RelationColumn = {
      name,
      type: "number",
      expression: `case when not isnan(${cast}) then ${cast} end`,
    };
    const finding: Finding = {
      check: "cells",
      severity: "warning",
      subject: name,
      message:
        `${uri} holds ${bad} cells of ${name} that are no number, first "${row[`text${j}`]}" ` +
        `in row ${Number(row[`row${j}`]) + 1}; they count as missing: correct them in the file`,
    };
    found.set(name, { column, finding });
  });
  return found;
}

/** Runs a query over a source's file and names the file when it fails. */
async function read(store: Database, uri: string, sql: string): Promise<Record<string, unknown>[]> {
  try {
    return await store.query(sql);
  } catch (error) {
    throw describeReadError(uri, error);
  }
}

/** Turns the store's own words about a file into one clear line. */
export function describeReadError(uri: string, error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error);
  const line = /CSV Error on Line: (\d+)/.exec(message)?.[1];
  const [, expected, found] = /Expected Number of Columns: (\d+) Found: (\d+)/.exec(message) ?? [];
  const state = line && expected
    ? `line ${line} has ${found} cells and the header has ${expected}; correct the line, or quote ` +
      "cells that hold the delimiter"
    : line
    ? `line ${line}: ${message.split("\n").slice(0, 3).join(" ").slice(0, 300)}`
    : message.split("\n")[0];
  return new Error(`Cannot read "${uri}": ${state}`, { cause: error });
}

/** The table's quoted name: `bronze."wells_train_0123456789ab"`. */
export function nameTable(
  schema: "bronze" | "silver" | "gold",
  name: string,
  contentHash: string,
): { table: string; view: string } {
  return {
    table: quoteIdentifier(schema, `${name}_${contentHash.slice(0, 12)}`),
    view: quoteIdentifier(schema, name),
  };
}

/** The steps that leave `view` showing `table`. */
export function showTable(view: string, table: string): Step {
  return { sql: `create or replace view ${view} as select * from ${table}` };
}

/** SQL for a list of literals. */
export function listLiterals(values: readonly (string | number)[]): string {
  return `(${values.map(quoteLiteral).join(", ")})`;
}
