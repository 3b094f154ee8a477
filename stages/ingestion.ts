/**
 * Ingestion: what the sources hold becomes one bronze table per role, unchanged but for types, with
 * its lineage beside every row.
 *
 * @module
 */
import { z } from "zod";
import type { Finding } from "../plugins/plugin.ts";
import { suggest, UsageError } from "../runtime/errors.ts";
import { quoteIdentifier, quoteLiteral } from "../runtime/store/sql.ts";
import { type Context, defineStage } from "../runtime/stage.ts";
import type { Row, Step } from "../runtime/store/store.ts";
import {
  type ColumnInfo,
  describeReadError,
  describeTable,
  hashFile,
  hashJson,
  hasTable,
  nameTable,
  openRelation,
  type Relation,
  type RelationColumn,
  resolvePath,
  showTable,
  type SourceInfo,
  sqlTypes,
  type TableHandle,
} from "../runtime/store/table.ts";
import { selectWhole } from "../runtime/target.ts";
import { findConversion } from "../runtime/units.ts";

/** What ingestion gives: the raw rows of both roles. */
export interface Bronze {
  readonly train: TableHandle;
  readonly production: TableHandle | null;
  /** The intervals that labelled the training rows, when the config names some. */
  readonly intervals: SourceInfo | null;
}

const source = z.union([
  z.string().min(1),
  z.strictObject({
    uri: z.string().min(1).describe("Path of the file; relative ones count from the project"),
    source: z.string().optional().describe("Source plugin; default: by the ending of the file"),
    group: z.string().optional().describe("Group of all its rows, such as the name of the well"),
  }),
]);

const intervals = z.strictObject({
  uri: z.string().min(1).describe("File of intervals with a label, such as a lithology log"),
  source: z.string().optional().describe("Source plugin; default: by the ending of the file"),
  top: z.string().describe("Its column with the first order value of an interval (included)"),
  base: z.string().describe("Its column with the last order value of an interval (excluded)"),
  value: z.string().describe("Its column with the text that holds a class"),
  order: z.string().describe("Column of the training rows that lies in [top, base), such as DEPT"),
  group: z.string().optional().describe(
    "Group whose rows it labels; needed with more than one training source",
  ),
  classes: z.array(z.string().min(1)).min(1).describe(
    "Classes; the first one that the text contains, in any case, is the label",
  ),
});

const params = z.strictObject({
  train: z.array(source).min(1).describe(
    "Files of the training rows: path, or {uri, source, group}",
  ),
  production: z.array(source).default([]).describe(
    "Files of the rows that the model meets in production",
  ),
  intervals: intervals.optional().describe("Labels for the training rows by intervals of order"),
});

type Params = z.infer<typeof params>;
type SourceParams = Exclude<Params["train"][number], string>;
type Intervals = NonNullable<Params["intervals"]>;
type Role = "train" | "production";

/** Raises the content hash when the same files and parameters would give another table. */
const FORMAT = 2;

/** The stage `ingestion`. */
export const ingestion = defineStage<void, Bronze, Params>({
  name: "ingestion",
  module: import.meta.url,
  summary: "Reads the sources into bronze tables, with lineage",
  params,

  async run(_, params, context) {
    const train = await ingest("train", params, context);
    context.progress(0.6, `${train.handle.rows} training rows`);
    const production = params.production.length > 0
      ? await ingest("production", params, context)
      : null;
    context.log("rows_train", train.handle.rows);
    if (production) context.log("rows_production", production.handle.rows);
    return {
      train: train.handle,
      production: production?.handle ?? null,
      intervals: train.intervals,
    };
  },

  describe({ train, production }) {
    const say = (table: TableHandle) =>
      `${
        table.rows.toLocaleString("en")
      } rows, ${table.columns.length} columns from ${table.sources.length} ${
        table.sources.length === 1 ? "file" : "files"
      }`;
    return `train ${say(train)}` + (production ? `; production ${say(production)}` : "");
  },

  async isCurrent({ train, production, intervals }, _params, context) {
    const tables = production ? [train, production] : [train];
    for (const { table } of tables) if (!await hasTable(context.store, table)) return false;
    const sources = tables.flatMap((table) => table.sources);
    if (intervals) sources.push(intervals);
    for (const { uri, sha256 } of sources) {
      const now = await hashFile(resolvePath(uri, context.baseDir)).catch(() => undefined);
      if (now !== sha256) return false;
    }
    return true;
  },
});

interface Ingested {
  readonly handle: TableHandle;
  readonly intervals: SourceInfo | null;
}

interface OpenedSource extends SourceParams {
  readonly relation: Relation;
  readonly sha256: string;
}

async function ingest(role: Role, params: Params, context: Context): Promise<Ingested> {
  const sources = params[role].map((s) => typeof s === "string" ? { uri: s } : s);
  refuseTwice(sources, role);
  const opened: OpenedSource[] = [];
  for (const [i, source] of sources.entries()) {
    opened.push(await openSource(source, `_stage_${role}_${i}_${context.runId}`, context));
  }
  const labels = role === "train" && params.intervals
    ? await openIntervals(params.intervals, opened, context)
    : undefined;
  const columns = unite(opened, context);
  const contentHash = hashJson({
    format: FORMAT,
    role,
    sources: opened.map(({ uri, source, group, sha256 }) => ({ uri, source, group, sha256 })),
    intervals: labels && [params.intervals, labels.sha256],
  });
  const { table, view } = nameTable("bronze", `${context.name}_${role}`, contentHash);
  if (!await hasTable(context.store, table)) {
    await createTable(table, columns, opened, labels, context);
  }
  const handle = await describeBronze(table, contentHash, columns, opened, context);
  await context.store.transaction([showTable(view, table)]);
  if (labels) await reportLabels(table, labels, context);
  return {
    handle,
    intervals: labels ? { uri: labels.uri, sha256: labels.sha256, rows: labels.rows.length } : null,
  };
}

function refuseTwice(sources: readonly SourceParams[], role: Role): void {
  const twice = sources.find(({ uri }, i) => sources.findIndex((s) => s.uri === uri) < i);
  if (twice) {
    throw new UsageError(`Cannot ingest "${twice.uri}": ingestion.${role} names it twice`);
  }
}

async function openSource(
  params: SourceParams,
  staging: string,
  context: Context,
): Promise<OpenedSource> {
  const { store, plugins, baseDir, signal } = context;
  const { uri, source } = params;
  // Hashing first: a file that changes meanwhile gives a hash that the next run finds stale.
  const sha256 = await hashFile(resolvePath(uri, baseDir));
  const relation = await openRelation(store, plugins, { uri, source, baseDir, staging, signal });
  for (const finding of relation.findings) {
    context.report({ ...finding, subject: finding.subject ?? uri });
  }
  return { ...params, relation, sha256 };
}

interface UnitedColumn extends Omit<ColumnInfo, "nulls"> {
  /** SQL per source; `null` where the source lacks the column. */
  readonly expressions: readonly (string | null)[];
  /** SQL per source of the column `text`, when there is one. */
  readonly texts: readonly (string | null)[];
}

/** Unites the sources' columns by name, without regard to case; the first spelling and unit win. */
function unite(sources: readonly OpenedSource[], context: Context): UnitedColumn[] {
  const byName = new Map<string, { column: RelationColumn; source: number }[]>();
  sources.forEach(({ relation }, source) => {
    for (const column of relation.columns) {
      const key = column.name.toLowerCase();
      byName.set(key, [...byName.get(key) ?? [], { column, source }]);
    }
  });
  return [...byName.values()].map((entries) => {
    const { name } = entries[0].column;
    const types = new Set(entries.map(({ column }) => column.type));
    const type = types.size === 1 ? entries[0].column.type : "text";
    if (types.size > 1) {
      context.report({
        check: "type",
        severity: "warning",
        subject: name,
        message: `Column ${name} is ${
          entries.map((e) => `${e.column.type} in ${sources[e.source].uri}`).join(" and ")
        }; it is kept as text`,
      });
    }
    const unit = entries.find(({ column }) => column.unit)?.column.unit;
    const hasText = type === "number" && entries.some(({ column }) => column.text !== undefined);
    const expressions: (string | null)[] = sources.map(() => null);
    const texts: (string | null)[] = sources.map(() => null);
    for (const { column, source } of entries) {
      const value = type === "number" && unit && column.unit
        ? convert(column, unit, sources[source].uri, context)
        : column.expression;
      expressions[source] = types.size > 1 ? selectText(column) : value;
      if (hasText) texts[source] = selectText(column);
    }
    const text = hasText ? { text: `_text_${name}` } : {};
    return { name, type, ...(unit ? { unit } : {}), ...text, expressions, texts };
  });
}

/** The column as text: as the file writes it, a whole number without `.0`. */
function selectText({ type, text, expression }: RelationColumn): string {
  return `(${text ?? (type === "number" ? selectWhole(`(${expression})`) : expression)})::varchar`;
}

/** The column in the unit of the table; a unit that cannot be converted is reported and kept. */
function convert(column: RelationColumn, unit: string, uri: string, context: Context): string {
  const report = (severity: Finding["severity"], message: string) =>
    context.report({ check: "unit", severity, subject: column.name, message });
  try {
    const { factor, offset } = findConversion(column.unit!, unit);
    if (factor === 1 && offset === 0) return column.expression;
    report("info", `${column.name} of ${uri} is converted from ${column.unit} to ${unit}`);
    return `(${column.expression}) * ${quoteLiteral(factor)} + ${quoteLiteral(offset)}`;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    report(
      "warning",
      `${column.name} of ${uri} is in ${column.unit} and elsewhere in ${unit}, which do not convert; ` +
        "its values are kept as they are: correct the unit in the file",
    );
    return column.expression;
  }
}

async function createTable(
  table: string,
  columns: readonly UnitedColumn[],
  sources: readonly OpenedSource[],
  labels: Labels | undefined,
  context: Context,
): Promise<void> {
  const selects = sources.map((source, i) => selectSource(source, i, columns, labels));
  const order = labels ? " order by _ordinal, _row" : "";
  const steps: Step[] = [
    ...sources.flatMap(({ relation }) => relation.setup),
    ...labels?.setup ?? [],
    {
      // A run beside this one may have made the table meanwhile: the same name means the same rows.
      sql: `create table if not exists ${table} as select * exclude (_ordinal) from (${
        selects.join(" union all ")
      })${order}`,
    },
    ...labels?.teardown ?? [],
    ...sources.flatMap(({ relation }) => relation.teardown),
  ];
  try {
    await context.store.transaction(steps);
  } catch (error) {
    throw describeReadError(sources.map(({ uri }) => uri).join('", "'), error);
  }
}

function selectSource(
  source: OpenedSource,
  ordinal: number,
  columns: readonly UnitedColumn[],
  labels: Labels | undefined,
): string {
  const values = columns.flatMap(({ name, type, text, expressions, texts }) => [
    `${expressions[ordinal] ?? `null::${sqlTypes[type]}`} as ${quoteIdentifier(name)}`,
    ...text ? [`${texts[ordinal] ?? "null::varchar"} as ${quoteIdentifier(text)}`] : [],
  ]);
  const isLabelled = labels?.source === ordinal;
  const label = isLabelled
    ? "case when _rows._position < _interval._base then _interval._class end"
    : "null";
  const position = isLabelled ? `, ${labels.position} as _position` : "";
  const join = isLabelled
    ? ` asof left join ${labels.table} as _interval on _rows._position >= _interval._top`
    : "";
  const rows = `(select *${position} from ${source.relation.from}) as _rows`;
  return `select ${ordinal} as _ordinal, ${quoteLiteral(source.uri)}::varchar as _source,
    _rows._row::bigint as _row, ${quoteLiteral(source.group ?? null)}::varchar as _group,
    (${label})::varchar as _label,
    ${values.join(", ")} from ${rows}${join}`;
}

async function describeBronze(
  table: string,
  contentHash: string,
  columns: readonly UnitedColumn[],
  sources: readonly OpenedSource[],
  context: Context,
): Promise<TableHandle> {
  const named = columns.map(({ expressions: _, texts: __, ...column }) => column);
  const described = await describeTable(context.store, table, named);
  const counts = await context.store.query<{ uri: string; rows: number }>(
    `select _source as uri, count(*) as rows from ${table} group by 1`,
  );
  const rowsOf = new Map(counts.map(({ uri, rows }) => [uri, rows]));
  const empty = sources.find(({ uri }) => !rowsOf.has(uri));
  if (empty) {
    await context.store.transaction([{ sql: `drop table if exists ${table}` }]);
    throw new Error(`Cannot ingest "${empty.uri}": it holds no rows; name another file`);
  }
  return {
    table,
    rows: described.rows,
    contentHash,
    columns: described.columns,
    sources: sources.map(({ uri, sha256 }) => ({ uri, sha256, rows: rowsOf.get(uri)! })),
  };
}

/** Intervals ready to join, and the training source that they label. */
interface Labels {
  readonly uri: string;
  readonly sha256: string;
  readonly source: number;
  /** SQL of the order value, in the unit of the intervals. */
  readonly position: string;
  readonly table: string;
  readonly rows: readonly Row[];
  readonly classes: readonly string[];
  readonly setup: readonly Step[];
  readonly teardown: readonly Step[];
}

async function openIntervals(
  params: Intervals,
  sources: readonly OpenedSource[],
  context: Context,
): Promise<Labels> {
  const index = sources.findIndex(({ group }) =>
    params.group === undefined || group === params.group
  );
  const labelled = sources[index];
  if (!labelled || (params.group === undefined && sources.length > 1)) {
    const groups = sources.map(({ group }) => group ?? "none").join(", ");
    throw new UsageError(
      `Cannot label by "${params.uri}": ${
        labelled ? "there are several training sources" : `there is no group "${params.group}"`
      }; set ingestion.intervals.group to one of their groups (${groups})`,
    );
  }
  const { relation, sha256 } = await openSource(
    params,
    `_stage_interval_file_${context.runId}`,
    context,
  );
  const top = findColumn(relation, params.top, "intervals.top");
  const base = findColumn(relation, params.base, "intervals.base");
  const value = findColumn(relation, params.value, "intervals.value");
  const order = findColumn(labelled.relation, params.order, "intervals.order");
  for (const column of [top, base, order]) {
    if (column.type === "text") {
      throw new TypeError(`Cannot label by "${params.uri}": column "${column.name}" is text`);
    }
  }
  const table = quoteIdentifier("bronze", `_stage_intervals_${context.runId}`);
  const tests = params.classes.map((name) =>
    `when contains(lower(${value.expression}), ${quoteLiteral(name.toLowerCase())}) then ${
      quoteLiteral(name)
    }`
  );
  const select = `select ${top.expression} as _top, ${base.expression} as _base,
    ${value.expression} as _says, case ${tests.join(" ")} end as _class
    from ${relation.from} order by _top`;
  const setup = [
    ...relation.setup,
    { sql: `create or replace table ${table} as ${select}` },
    ...relation.teardown,
  ];
  const teardown = [{ sql: `drop table ${table}` }];
  // Few rows: they are looked at before the table is made, to report what labels nothing.
  await context.store.transaction(setup);
  const rows = await context.store.query(`select * from ${table} order by _top`);
  await context.store.transaction(teardown);
  reportIntervals(params.uri, rows, context);
  return {
    uri: params.uri,
    sha256,
    source: index,
    position: matchUnit(order, top, context),
    table,
    rows,
    classes: params.classes,
    setup,
    teardown,
  };
}

function reportIntervals(uri: string, rows: readonly Row[], context: Context): void {
  const warn = (message: string, shown: readonly Row[]) =>
    context.report({
      check: "intervals",
      severity: "warning",
      subject: uri,
      message,
      rows: shown.slice(0, 5).map(({ _top, _base, _says }) => ({
        top: _top,
        base: _base,
        text: _says,
      })),
    });
  const unnamed = rows.filter((row) => row._class === null);
  if (unnamed.length > 0) {
    warn(
      `${unnamed.length} of ${rows.length} intervals of ${uri} contain none of the classes; ` +
        "their rows get no label",
      unnamed,
    );
  }
  const overlapping = rows.filter((row, i) =>
    i > 0 && Number(row._top) < Number(rows[i - 1]._base) || !(Number(row._top) < Number(row._base))
  );
  if (overlapping.length > 0) {
    warn(
      `${overlapping.length} intervals of ${uri} overlap the one before or are empty; the one that ` +
        "starts last labels a row",
      overlapping,
    );
  }
}

/** The order value in the unit of the intervals. */
function matchUnit(order: RelationColumn, top: RelationColumn, context: Context): string {
  if (!order.unit || !top.unit) return order.expression;
  return convert(order, top.unit, "the training rows", context);
}

function findColumn(relation: Relation, name: string, key: string): RelationColumn {
  const column = relation.columns.find((c) => c.name.toLowerCase() === name.toLowerCase());
  if (column) return column;
  const names = relation.columns.map((c) => c.name);
  const near = suggest(name, names);
  throw new UsageError(
    `Cannot find column "${name}" of ingestion.${key} in "${relation.uri}": ${
      near ? `did you mean "${near}"? It` : "it"
    } has ${names.join(", ")}`,
  );
}

async function reportLabels(table: string, labels: Labels, context: Context): Promise<void> {
  const counts = await context.store.query<{ label: string; rows: number }>(
    `select _label as label, count(*) as rows from ${table} where _label is not null group by 1`,
  );
  for (const name of labels.classes) {
    if (counts.some(({ label }) => label === name)) continue;
    context.report({
      check: "intervals",
      severity: "warning",
      subject: name,
      message: `Class ${name} labels no row; remove it from ingestion.intervals.classes`,
    });
  }
}
