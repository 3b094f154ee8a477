/**
 * The first config of a new use case: looks at a file and writes what the pipeline needs to know.
 *
 * @module
 */
import { basename, isAbsolute, join, relative } from "node:path";
import type { Plugins } from "../plugins/plugin.ts";
import { suggest, UsageError } from "./errors.ts";
import { quoteIdentifier } from "./store/sql.ts";
import type { Database } from "./store/store.ts";
import { type ColumnInfo, describeTable, openRelation } from "./store/table.ts";
import { countClasses, explainBadTarget, explainShared, selectClass } from "./target.ts";

/** What the user says about the file. */
export interface InitOptions {
  /** Column of the labels. */
  readonly target: string;
  /** Column of the group, such as the well. */
  readonly group?: string | undefined;
  /** Column that orders the rows of a group: depth or time. */
  readonly order?: string | undefined;
  /** Overwrite a config that is there; default false. */
  readonly force?: boolean;
  /** Folder of the config; default `config` in `baseDir`. */
  readonly configDir?: string;
  /** Folder against which relative paths count; default the working directory. */
  readonly baseDir?: string;
}

/** What {@linkcode writeConfig} needs: the sources, and a store to look with (in memory will do). */
export interface InitTools {
  readonly plugins: Plugins;
  readonly store: Database;
  readonly signal?: AbortSignal;
}

/** What was written. */
export interface InitSummary {
  readonly path: string;
  readonly name: string;
  readonly rows: number;
  readonly classes: readonly { readonly name: string; readonly rows: number }[];
  readonly features: readonly string[];
  /** One line per thing worth knowing, such as a class that is left out. */
  readonly notes: readonly string[];
}

/**
 * Writes `config/<stem of file>.yaml` for a table file.
 *
 * @throws {UsageError} when a column is missing or the config is there already.
 * @throws {RangeError} when the target is none for a classifier; the message says why.
 * @throws {Error} when the file cannot be read.
 */
export async function writeConfig(
  file: string,
  options: InitOptions,
  tools: InitTools,
): Promise<InitSummary> {
  const baseDir = options.baseDir ?? Deno.cwd();
  const name = nameUseCase(file);
  const path = join(options.configDir ?? join(baseDir, "config"), `${name}.yaml`);
  await refuseExisting(path, options.force ?? false);
  const look = await lookAt(file, baseDir, options, tools);
  const text = writeYaml(name, toUri(file, baseDir), look);
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.writeTextFile(path, text, { createNew: !options.force });
  return {
    path,
    name,
    rows: look.rows,
    classes: look.classes,
    features: look.features.map(({ name }) => name),
    notes: look.notes,
  };
}

/** The file's name without its endings, as letters, digits, `_` and `-`. */
function nameUseCase(file: string): string {
  const stem = basename(file).replace(
    /(\.(csv|tsv|txt|parquet|pq|json|ndjson|jsonl|las))?(\.gz)?$/i,
    "",
  );
  return stem.replaceAll(/[^\w-]+/g, "_").replace(/^_+|_+$/g, "") || "data";
}

async function refuseExisting(path: string, force: boolean): Promise<void> {
  const isThere = await Deno.stat(path).then(() => true, () => false);
  if (isThere && !force) {
    throw new UsageError(
      `Cannot write "${path}": it is there already; add --force to overwrite it`,
    );
  }
}

/** Paths inside the project stay relative, so that the project can move. */
function toUri(file: string, baseDir: string): string {
  const path = relative(baseDir, isAbsolute(file) ? file : join(baseDir, file));
  return path.startsWith("..") ? join(baseDir, path) : path.replaceAll("\\", "/");
}

interface LookColumn extends ColumnInfo {
  readonly low: number | null;
  readonly high: number | null;
  readonly distinct: number;
}

interface Look {
  readonly rows: number;
  readonly target: string;
  readonly group: string | undefined;
  readonly order: LookColumn | undefined;
  readonly features: readonly LookColumn[];
  readonly others: readonly LookColumn[];
  readonly classes: readonly { name: string; rows: number }[];
  readonly dropClasses: readonly string[];
  readonly notes: readonly string[];
}

const TABLE = quoteIdentifier("bronze", "_init");
/** Column of {@linkcode TABLE} with the target's own text, which no file may have. */
const TARGET_TEXT = "_text_target";

async function lookAt(
  file: string,
  baseDir: string,
  options: InitOptions,
  { plugins, store, signal = new AbortController().signal }: InitTools,
): Promise<Look> {
  const relation = await openRelation(store, plugins, {
    uri: file,
    baseDir,
    staging: "_init_source",
    signal,
  });
  const find = (name: string, flag: string) => findColumn(relation.columns, name, flag, file);
  const target = find(options.target, "target");
  const group = options.group === undefined ? undefined : find(options.group, "group");
  const order = options.order === undefined ? undefined : find(options.order, "order");
  const shared = explainShared({ target: target.name, group: group?.name, order: order?.name });
  if (shared) throw new UsageError(`${shared}; name another column, or leave the option out`);
  if (target.type === "time") {
    throw new RangeError(
      `Cannot use target "${target.name}": it is a time; name a column of classes`,
    );
  }
  if (order?.type === "text") {
    throw new RangeError(`Cannot order by "${order.name}": it is text; name a number or a time`);
  }
  const values = relation.columns.map(({ name, expression }) =>
    `${expression} as ${quoteIdentifier(name)}`
  );
  if (target.text) values.push(`${target.text} as ${TARGET_TEXT}`);
  await store.transaction([
    ...relation.setup,
    {
      sql: `create or replace table ${TABLE} as select ${values.join(", ")} from ${relation.from}`,
    },
    ...relation.teardown,
  ]);
  try {
    const { rows, columns } = await describeTable(
      store,
      TABLE,
      relation.columns.map(({ name, type, unit }) => ({ name, type, ...(unit ? { unit } : {}) })),
    );
    if (rows === 0) throw new Error(`Cannot look at "${file}": it holds no rows`);
    const looked = await measure(store, columns);
    const counted = await store.query<{ name: string; rows: number }>(
      countClasses(
        `select * from ${TABLE}`,
        `(${selectClass({ ...target, ...(target.text ? { text: TARGET_TEXT } : {}) })})`,
      ),
    );
    const dropClasses = counted.filter((c) => c.rows < 2).map((c) => c.name);
    const classes = counted.filter((c) => c.rows >= 2);
    // Rare classes are left out only where enough others stay, so that the reason stays the true one.
    const fault = explainBadTarget(counted) ?? explainBadTarget(classes);
    if (fault) throw new RangeError(`Cannot use target "${target.name}": ${fault}`);
    const used = [target, group, order].map((column) => column?.name);
    const free = looked.filter(({ name }) => !used.includes(name));
    const features = free.filter(({ type, nulls }) => type === "number" && nulls < rows);
    if (features.length === 0) {
      throw new RangeError(
        `Cannot use "${file}": it has no numeric column besides target, group and order`,
      );
    }
    return {
      rows,
      target: target.name,
      group: group?.name,
      order: order && looked.find(({ name }) => name === order.name),
      features,
      others: free.filter((column) => !features.includes(column)),
      classes: classes.sort((a, b) => a.name < b.name ? -1 : 1),
      dropClasses,
      notes: [
        ...relation.findings.map(({ message }) => message),
        ...dropClasses.map((name) => `Class "${name}" has one row and is left out`),
      ],
    };
  } finally {
    await store.query(`drop table ${TABLE}`);
  }
}

function findColumn<C extends { readonly name: string }>(
  columns: readonly C[],
  name: string,
  flag: string,
  file: string,
): C {
  const column = columns.find((c) => c.name === name) ??
    columns.find((c) => c.name.toLowerCase() === name.toLowerCase());
  if (column) return column;
  const names = columns.map((c) => c.name);
  const near = suggest(name, names);
  throw new UsageError(
    `Cannot find column "${name}" of --${flag} in "${file}": ${
      near ? `did you mean "${near}"? It` : "it"
    } has ${names.join(", ")}`,
  );
}

async function measure(store: Database, columns: readonly ColumnInfo[]): Promise<LookColumn[]> {
  const measures = columns.flatMap(({ name, type }, j) => {
    const value = quoteIdentifier(name);
    const bounds = type === "number"
      ? [`min(${value}) as low${j}`, `max(${value}) as high${j}`]
      : [];
    return [`approx_count_distinct(${value}) as distinct${j}`, ...bounds];
  });
  const [row] = await store.query<Record<string, number | null>>(
    `select ${measures.join(", ")} from ${TABLE}`,
  );
  return columns.map((column, j) => ({
    ...column,
    low: row[`low${j}`] ?? null,
    high: row[`high${j}`] ?? null,
    distinct: row[`distinct${j}`] ?? 0,
  }));
}

function writeYaml(name: string, uri: string, look: Look): string {
  const classes = look.classes.map((c) => `${c.name} (${c.rows})`).join(", ");
  const lines = [
    `# Written by "deno task init" after a look at ${uri}: ${look.rows} rows.`,
    "# Every key and its default: deno task stage ingestion --help (or preprocessing, training …).",
    "version: 1",
    `name: ${scalar(name)}`,
    "",
    "ingestion:",
    "  train:",
    `    - ${scalar(uri)}`,
    "  # production: rows that the model meets later; they are scored and compared with training",
    "  #   - path/to/new_rows.csv",
    "",
    "preprocessing:",
    `  target: ${scalar(look.target)} # ${classes.slice(0, 300)}`,
    ...look.dropClasses.length > 0
      ? [
        `  dropClasses: [${
          look.dropClasses.map(scalar).join(", ")
        }] # one row is too few to learn from`,
      ]
      : [],
    look.group
      ? `  group: ${scalar(look.group)} # rows of one group never stand on both sides of a split`
      : "  # group: a column such as well or customer, whose rows belong together",
    ...writeOrder(look),
    "  features: # {} takes the column as it is; observed range behind #, to declare: { range: [min, max] }",
    ...look.features.map((column) =>
      `    ${scalar(column.name)}: {} # ${describe(column, look.rows)}`
    ),
    ...look.others.map(({ name, type, nulls }) =>
      `  # ${oneLine(name)} is ${nulls === look.rows ? "empty" : type} and no feature`
    ),
    "  expectations: # error: stops on training rows, keeps a group of production rows out",
    "    - { check: min_rows, min: 2, severity: error }",
  ];
  return `${lines.join("\n")}\n`;
}

function writeOrder({ order }: Look): string[] {
  if (!order) {
    return ["  # order: a column such as depth or time, for features of neighboring rows"];
  }
  return [
    `  order: ${scalar(order.name)} # ${describeBounds(order)}`,
    "  # With an order, the stage features can add windows of neighboring rows:",
    "  # deno task stage features --help",
  ];
}

function describe(column: LookColumn, rows: number): string {
  const parts = [describeBounds(column)];
  if (column.nulls > 0) parts.push(`${column.nulls} missing`);
  if (column.distinct <= 1) parts.push("constant: remove it");
  // The count is approximate, to a few percent.
  else if (column.distinct >= 0.9 * rows && isWhole(column.low) && isWhole(column.high)) {
    parts.push("all differ: remove it if it is an identifier");
  }
  return parts.join(", ");
}

function describeBounds({ low, high, unit, type }: LookColumn): string {
  if (type === "time") return "time";
  const round = (value: number | null) => value === null ? "?" : Number(value.toPrecision(6));
  return `${round(low)} to ${round(high)}${unit ? ` ${oneLine(unit)}` : ""}`;
}

function isWhole(value: number | null): boolean {
  return value !== null && Number.isInteger(value);
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

/** Plain where YAML reads the same string back, else in double quotes (JSON is YAML). */
function scalar(text: string): string {
  const isPlain = /^[A-Za-z_][\w./-]*$/.test(text) &&
    !/^(true|false|yes|no|on|off|y|n|null)$/i.test(text);
  return isPlain ? text : JSON.stringify(text);
}
