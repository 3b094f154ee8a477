/**
 * Tables of the store: the handle by which stages pass them, and how a source becomes one.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Column, Finding, Plugin, Plugins } from "../../plugins/plugin.ts";
import { UsageError } from "../errors.ts";
import { quoteIdentifier, quoteLiteral } from "./sql.ts";
import type { Database, Step } from "./store.ts";
import { MAX_CLASSES } from "../target.ts";

/** What a column holds: `DOUBLE`, `VARCHAR` or `TIMESTAMP` in the store. */
export type ColumnType = "number" | "text" | "time";

/** One column of a table in the store. */
export interface ColumnInfo {
  readonly name: string;
  readonly type: ColumnType;
  readonly unit?: string;
  /** System column with the cells' own text, where the number does not say it: `true`, `01`. */
  readonly text?: string;
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
  /** SQL of the cells' own text, where there are few different ones and the number does not say it. */
  readonly text?: string;
  /** SQL of the cells as the file has them: text from a file of text, else in the file's own type. */
  readonly cell: string;
  /** SQL of the cells for a file of types: as `cell`, but numbers are numbers. */
  readonly typedCell: string;
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
  /** Whether {@linkcode RelationColumn.cell} is needed; default false, which reads the file once. */
  readonly hasCells?: boolean;
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
    ? await relateSelect(store, opened, request)
    : relateColumns(opened.columns, request);
  // Sources know the resolved path; people know the one they wrote.
  const named = opened.findings.map((finding) => ({
    ...finding,
    message: finding.message.replaceAll(path, request.uri),
  }));
  return { ...relation, findings: [...named, ...relation.findings] };
}

/** Names of system columns, of bronze tables and of relations. */
const RESERVED = /^_(source|row|group|label|order|text|text_.*)$/i;

function refuseReserved(names: readonly string[], uri: string): void {
  const reserved = names.find((name) => RESERVED.test(name));
  if (reserved === undefined) return;
  throw new Error(
    `Cannot read "${uri}": column "${reserved}" has a reserved name; rename it in the file`,
  );
}

/** Columns in memory: appended to a staging table that the transaction drops again. */
function relateColumns(columns: readonly Column[], { uri, staging }: RelationRequest): Relation {
  refuseReserved(columns.map(({ name }) => name), uri);
  const table = quoteIdentifier("bronze", staging);
  const described = columns.map(({ name, unit, values }): RelationColumn => ({
    name,
    type: values instanceof Float64Array ? "number" : "text",
    ...(unit === undefined ? {} : { unit }),
    expression: quoteIdentifier(name),
    cell: quoteIdentifier(name),
    typedCell: quoteIdentifier(name),
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
  opened: { readonly select: string; readonly texts?: string },
  { uri, hasCells = false }: RelationRequest,
): Promise<Relation> {
  const { select } = opened;
  const { texts } = opened;
  const described = await read(
    store,
    uri,
    `select column_name as name, column_type as type from (describe ${select})`,
  ) as { name: string; type: string }[];
  refuseReserved(described.map(({ name }) => name), uri);
  // The file's texts, when there are any, stand beside the values as the fields of `_text`.
  const paired = texts &&
    `(select *, row_number() over () - 1 as _row from (select _text_value.*, _text_cells as _text
      from (${select}) as _text_value positional join (select _text_cells from (${texts}) as _text_cells)))`;
  const plain = `(select *, row_number() over () - 1 as _row from (${select}))`;
  const columns = described.map(({ name, type }) =>
    toRelationColumn(name, type, texts === undefined ? undefined : `_text.${quoteIdentifier(name)}`)
  );
  const looked = await lookAtCells(store, uri, plain, columns);
  return {
    uri,
    columns: looked.map(({ column }) => column),
    from: paired && hasCells ? paired : plain,
    setup: [],
    teardown: [],
    findings: looked.flatMap(({ finding }) => finding ?? []),
  };
}

function toRelationColumn(name: string, type: string, own: string | undefined): RelationColumn {
  const value = quoteIdentifier(name);
  const cell = own ?? value;
  const base = { name, cell, typedCell: cell };
  if (/^(DATE|TIMESTAMP)/.test(type) && !type.endsWith("[]")) {
    const utc = type === "TIMESTAMP WITH TIME ZONE" ? `${value} at time zone 'UTC'` : value;
    return { ...base, type: "time", expression: `(${utc})::timestamp` };
  }
  if (type === "BOOLEAN") {
    const expression = `${value}::integer::double`;
    return { ...base, type: "number", expression, text: `${value}::varchar` };
  }
  if (/^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL\(.*\))$/.test(type)) {
    return {
      ...base,
      type: "number",
      expression: selectNumber(`${value}::double`),
      typedCell: value,
    };
  }
  return { ...base, type: "text", expression: `${value}::varchar` };
}

/** `NaN` in a file is a missing value. */
function selectNumber(number: string): string {
  return `case when not isnan(${number}) then ${number} end`;
}

/** Share of numbers from which on a text column is one of numbers with some bad cells. */
const MOSTLY_NUMBERS = 0.9;

interface LookedAt {
  readonly column: RelationColumn;
  readonly finding?: Finding;
}

/**
 * Decides what only the cells can tell. Text columns of nothing but true and false are the numbers 1
 * and 0; those that are numbers but for a few cells are numbers, where these cells are counted and
 * missing. When such a column may be a target, the cells' own text stays beside the numbers. DuckDB
 * takes nothing like 01 or +1 for a number, so that other columns of numbers need none.
 */
async function lookAtCells(
  store: Database,
  uri: string,
  from: string,
  columns: readonly RelationColumn[],
): Promise<LookedAt[]> {
  const texts = columns.filter(({ type }) => type === "text");
  if (texts.length === 0) return columns.map((column) => ({ column }));
  const counts = texts.map(({ expression: text }, j) => {
    const isBad = `${text} is not null and try_cast(${text} as double) is null`;
    return `count(${text}) as cells${j}, count(*) filter (${isBad}) as bad${j},
      min(_row) filter (${isBad}) as row${j}, arg_min(${text}, _row) filter (${isBad}) as text${j},
      count(*) filter (lower(trim(${text})) in ('true', 'false')) as flags${j},
      approx_count_distinct(${text}) as distinct${j}`;
  });
  const [row] = await read(store, uri, `select ${counts.join(", ")} from ${from}`);
  return columns.map((column): LookedAt => {
    const j = texts.indexOf(column);
    if (j < 0) return { column };
    const at = (name: string) => Number(row[`${name}${j}`]);
    const [cells, bad] = [at("cells"), at("bad")];
    if (bad === 0) return { column };
    const value = quoteIdentifier(column.name);
    // The count is approximate; some more than a target may have do no harm.
    const text = at("distinct") <= 2 * MAX_CLASSES ? { text: column.expression } : {};
    if (at("flags") === cells) {
      const flag = `(lower(trim(${column.expression})) = 'true')::integer::double`;
      return { column: { ...column, type: "number", expression: flag, ...text } };
    }
    if (bad > (1 - MOSTLY_NUMBERS) * cells) return { column };
    const expression = selectNumber(`try_cast(${value} as double)`);
    const finding: Finding = {
      check: "cells",
      severity: "warning",
      subject: column.name,
      message:
        `${uri} holds ${bad} cells of ${column.name} that are no number, first "${
          row[`text${j}`]
        }" ` +
        `in row ${at("row") + 1}; they count as missing: correct them in the file`,
    };
    return { column: { ...column, type: "number", expression, ...text }, finding };
  });
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
  const isBadText = /not utf-8 encoded|invalid unicode/i.test(message);
  const [, expected, found] = /Expected Number of Columns: (\d+) Found: (\d+)/.exec(message) ?? [];
  const state = isBadText
    ? `${line ? `line ${line}` : "it"} is not UTF-8 but perhaps Latin-1 or Windows-1252; ` +
      "save the file as UTF-8"
    : line && expected
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

/** The largest number that float32 holds: models compute in float32. */
const FLOAT32_MAX = 3.4028234663852886e38;

/** SQL condition: a model can take the number, which is neither infinite nor beyond float32. */
export function isUsable(number: string): string {
  return `abs(${number}) <= ${FLOAT32_MAX}::double`;
}

/** Seconds of the units in which times are counted. */
const TIME_UNITS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  min: 60,
  h: 3600,
  d: 86_400,
};

/**
 * SQL of a time as a number: since 1970, in `unit`, which is seconds when left out.
 *
 * @throws {UsageError} when the unit is none of time; `column` names the column in the message.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { selectTime } from "./table.ts";
 *
 * assertEquals(selectTime("t", "h", "t"), "epoch(t) / 3600");
 * ```
 */
export function selectTime(time: string, unit = "s", column = time): string {
  const seconds = TIME_UNITS[unit.toLowerCase()];
  if (seconds === undefined) {
    throw new UsageError(
      `Cannot count the times of "${column}" in "${unit}": it is no unit of time that they come in; ` +
        `set preprocessing.orderUnit to one of ${Object.keys(TIME_UNITS).join(", ")}`,
    );
  }
  return seconds === 1 ? `epoch(${time})` : `epoch(${time}) / ${seconds}`;
}

/** SQL for a list of literals. */
export function listLiterals(values: readonly (string | number)[]): string {
  return `(${values.map(quoteLiteral).join(", ")})`;
}
