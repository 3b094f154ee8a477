/**
 * Labels of a table: a file that a source can read, or a query of the store. The store reads it
 * itself, so that rows never pass through this process, however many there are.
 *
 * @module
 */
import { resolve } from "node:path";
import type { Plugins } from "../../plugins/plugin.ts";
import { suggest, UsageError } from "../errors.ts";
import {
  checkReport,
  insertSteps,
  type LabelOptions,
  type LabelReport,
  lookUp,
  reportLabels,
} from "./labels.ts";
import { quoteIdentifier } from "../store/sql.ts";
import type { Step, Store } from "../store/store.ts";
import { describeReadError, openRelation } from "../store/table.ts";

/** A table of labels: columns `request_id`, `label` and, on request, `row` and `labeled_at`. */
export interface LabelTable {
  /** As messages name it. */
  readonly name: string;
  /** SQL behind `from`. */
  readonly from: string;
  readonly columns: readonly { readonly name: string; readonly cell: string }[];
  readonly setup: readonly Step[];
  readonly teardown: readonly Step[];
}

/** Options of {@linkcode importLabels}. */
export interface ImportOptions extends LabelOptions {
  /** Who or what knows, such as a lab or a person. */
  readonly source: string | null;
  /** Whether only to say what would be stored. */
  readonly isCheck?: boolean;
}

/** What became of a table of labels. */
export interface ImportReport extends LabelReport {
  /** Columns that say nothing about labels. */
  readonly ignored: readonly string[];
}

/**
 * Gives a file as a table of labels.
 * @throws {Error} when it cannot be read.
 */
export async function openLabelFile(
  store: Store,
  uri: string,
  { plugins, signal }: { readonly plugins: Plugins; readonly signal: AbortSignal },
): Promise<LabelTable> {
  const relation = await openRelation(store, plugins, {
    uri: resolve(uri),
    baseDir: Deno.cwd(),
    staging: "labels_input",
    hasCells: true,
    signal,
  });
  return { ...relation, name: uri };
}

/**
 * Gives a query of the store as a table of labels.
 * @throws {UsageError} when it is not one `SELECT` of the store.
 */
export async function openLabelQuery(store: Store, sql: string): Promise<LabelTable> {
  const { columns } = await store.queryReadOnly(sql, { maxRows: 1 });
  return {
    name: "the query",
    // The line end closes a comment at the end of the query.
    from: `(${sql.trim().replace(/;$/, "")}\n)`,
    columns: columns.map((name) => ({ name, cell: quoteIdentifier(name) })),
    setup: [],
    teardown: [],
  };
}

/**
 * Stores the labels of a table, all or none; later labels of a record count, and those before stay in
 * the history. `labeled_at` is when a label was found, by default now; it orders the labels of one
 * record within the table.
 *
 * @throws {UsageError} when a column is missing or a cell is no such value.
 * @throws {LabelsRefusedError} as `recordLabels`, unless `isCheck`.
 */
export async function importLabels(
  store: Store,
  table: LabelTable,
  options: ImportOptions,
): Promise<ImportReport> {
  const { cells, ignored } = chooseCells(table);
  await dropLeftovers(store);
  const draft = nameDraft();
  try {
    await readTable(store, table, cells, draft.given);
    await checkCells(store, table.name, draft.given);
    await store.query(`create table ${draft.looked} as ${lookUp(draft.given)}`);
    const looked = { from: draft.looked, params: [] };
    const report = await reportLabels(store, looked);
    if (!options.isCheck) {
      checkReport(report, options);
      await store.transaction(await insertSteps(store, looked, options.source));
    }
    return { ...report, ignored };
  } finally {
    await store.transaction([
      { sql: `drop table if exists ${draft.looked}` },
      { sql: `drop table if exists ${draft.given}` },
    ]);
  }
}

const required = ["request_id", "label"];
const known = [...required, "row", "labeled_at"];

type Cells = Readonly<Record<string, string>>;

function chooseCells({ name: uri, columns }: LabelTable): { cells: Cells; ignored: string[] } {
  const cells: Record<string, string> = {};
  for (const { name, cell } of columns) {
    if (known.includes(name.toLowerCase())) cells[name.toLowerCase()] ??= cell;
  }
  const names = columns.map(({ name }) => name);
  for (const name of required) {
    if (cells[name] !== undefined) continue;
    const near = suggest(name, names);
    throw new UsageError(
      `Cannot take labels from "${uri}": it lacks the column "${name}"${
        near ? `; is it "${near}"?` : ""
      }; it has ${names.join(", ")}`,
    );
  }
  return { cells, ignored: names.filter((name) => !known.includes(name.toLowerCase())) };
}

/** Longest id and longest label, as `POST /labels` takes them. */
const MAX_ID = 256;
const MAX_LABEL = 1000;

/** Makes a table of what the cells say; `trouble` has, in words, what they cannot say. */
async function readTable(
  store: Store,
  table: LabelTable,
  cells: Cells,
  draft: string,
): Promise<void> {
  const text = (name: string) => cells[name] === undefined ? "null" : `(${cells[name]})::varchar`;
  const row = "try_cast(row_text as double)";
  const at = "try_cast(at_text as timestamptz)";
  const step = {
    sql: `create table ${draft} as
      select position, request_id, label,
        coalesce(case when ${row} = trunc(${row}) then try_cast(${row} as integer) end, 0) as row,
        ${at} at time zone 'UTC' as labeled_at,
        case when request_id is null or request_id = '' then 'request_id is empty'
          when length(request_id) > ${MAX_ID} then 'request_id is longer than ${MAX_ID} characters'
          when label is null or label = '' then 'label is empty'
          when length(label) > ${MAX_LABEL} then 'label is longer than ${MAX_LABEL} characters'
          when row_text is not null and not coalesce(${row} = trunc(${row}) and ${row} between 0 and 2147483647, false)
            then format('row "{}" is no row number from 0', row_text[:40])
          when at_text is not null and not coalesce(isfinite(${at}), false)
            then format('labeled_at "{}" is no time', at_text[:40])
          when ${at} > now() + interval 1 day
            then format('labeled_at "{}" is in the future', at_text[:40])
        end as trouble
      from (select row_number() over () - 1 as position, ${text("request_id")} as request_id,
        ${text("label")} as label, ${text("row")} as row_text, ${text("labeled_at")} as at_text
        from ${table.from})`,
  };
  try {
    await store.transaction([...table.setup, step, ...table.teardown]);
  } catch (error) {
    throw describeReadError(table.name, error);
  }
}

/** Rows in disorder that a message names. */
const SHOWN = 10;

async function checkCells(store: Store, name: string, draft: string): Promise<void> {
  const rows = await store.query<{ position: number; trouble: string; total: number }>(
    `select position, trouble, count(*) over () as total from ${draft} where trouble is not null
     order by position limit ${SHOWN}`,
  );
  if (rows.length === 0) return;
  const [{ total }] = rows;
  throw new UsageError(
    `Cannot take labels from "${name}": ${
      rows.map(({ position, trouble }) => `row ${position + 1}: ${trouble}`).join("; ")
    }${total > rows.length ? `; and ${total - rows.length} more` : ""}; none was stored`,
  );
}

const PREFIX = "_labels_";

/** Names of two tables for a while; the time in them says when a table is left over. */
function nameDraft(): { readonly given: string; readonly looked: string } {
  const name = `${PREFIX}${Date.now()}_${crypto.randomUUID().slice(0, 8)}`;
  return {
    given: quoteIdentifier("bronze", name),
    looked: quoteIdentifier("bronze", `${name}_looked`),
  };
}

/** A table this old belongs to a process that was killed. */
const LEFTOVER_MS = 86_400_000;

async function dropLeftovers(store: Store): Promise<void> {
  const tables = await store.query<{ name: string }>(
    `select table_name as name from duckdb_tables()
     where schema_name = 'bronze' and starts_with(table_name, '${PREFIX}')`,
  );
  const old = tables.filter(({ name }) =>
    Number(name.slice(PREFIX.length).split("_")[0]) < Date.now() - LEFTOVER_MS
  );
  if (old.length === 0) return;
  await store.transaction(
    old.map(({ name }) => ({ sql: `drop table if exists ${quoteIdentifier("bronze", name)}` })),
  );
}
