/**
 * Predicts a whole table: any file a source can read, any file DuckDB can write.
 *
 * @module
 */
import { dirname, extname } from "node:path";
import { type Matrix, matrix } from "../numeric/matrix.ts";
import type { Finding, Plugins } from "../plugins/plugin.ts";
import { suggest, UsageError } from "./errors.ts";
import { describeShown } from "./expectations.ts";
import type { Predictor, RawRows } from "./predictor.ts";
import { quoteIdentifier, quoteLiteral } from "./sql.ts";
import { openStore, type Store } from "./store.ts";
import {
  isUsable,
  openRelation,
  type Relation,
  type RelationColumn,
  resolvePath,
  selectTime,
} from "./table.ts";
import { findConversion } from "./units.ts";

/** Rows per run of the graph. */
const BATCH_ROWS = 10_000;

/** Share of values outside a feature's range from which on a finding is a warning. */
const OUTLIER_WARNING = 0.05;

/** Rows that a finding names. */
const SHOWN_ROWS = 3;

interface Format {
  /** How DuckDB writes it. */
  readonly copy: string;
  /** Whether it knows numbers, so that those of a text file are written as numbers. */
  readonly isTyped: boolean;
}

/** Formats by ending of the output. */
const formats: Readonly<Record<string, Format>> = {
  ".csv": { copy: "format csv, header", isTyped: false },
  ".parquet": { copy: "format parquet", isTyped: true },
  ".json": { copy: "format json, array true", isTyped: true },
  ".ndjson": { copy: "format json", isTyped: true },
};

/** Options of {@linkcode predictFile}. */
export interface PredictFileOptions {
  readonly plugins: Plugins;
  readonly signal: AbortSignal;
  /** Column whose values keep windows apart, such as the well. */
  readonly group?: string;
  /** Other names of an input column, by input column; each fills what those before leave missing. */
  readonly aliases?: Readonly<Record<string, readonly string[]>>;
  readonly baseDir?: string;
}

/** What was done. */
export interface PredictFileSummary {
  readonly rows: number;
  /** Input columns the file lacks: their values counted as missing. */
  readonly missing: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
  /** What is wrong with the file, such as cells that are no number or values outside their range. */
  readonly findings: readonly Finding[];
}

/**
 * Writes the table at `input` to `output` with the columns `prediction`, `confidence` and one
 * `probability_<class>` per class added. The output appears whole or not at all.
 *
 * The file's own columns come out as they went in. From a text file that means the text of each cell,
 * an empty one for a missing value; in Parquet and JSON its numbers are numbers.
 *
 * @throws {UsageError} when the file has none of the model's inputs, lacks the order or group column,
 * has a column of an added name, when the output is the input or its ending is unknown, or there is
 * no folder for it.
 */
export async function predictFile(
  predictor: Predictor,
  input: string,
  output: string,
  options: PredictFileOptions,
): Promise<PredictFileSummary> {
  const format = formats[extname(output).toLowerCase()];
  if (!format) {
    throw new UsageError(
      `Cannot write "${output}": the ending must be one of ${Object.keys(formats).join(" ")}`,
    );
  }
  const baseDir = options.baseDir ?? Deno.cwd();
  await checkOutput(resolvePath(input, baseDir), output);
  await using store = await openStore(":memory:");
  const relation = await openRelation(store, options.plugins, {
    uri: input,
    baseDir,
    staging: "predict_input",
    hasCells: true,
    signal: options.signal,
  });
  const chosen = chooseColumns(relation, predictor, options, input);
  await loadInput(store, relation, chosen, format);
  const rows = await readRows(store, chosen);
  const { signature } = predictor;
  const findings = [
    ...relation.findings,
    ...await findUnusable(store, signature.inputs.map(({ name }) => name)),
    ...findOutliers(rows.X, signature),
  ];
  const classes = signature.classes;
  const features = predictor.expand(rows);
  const counts: Record<string, number> = Object.fromEntries(classes.map((name) => [name, 0]));
  const answers = await classifyAll(predictor, features, options.signal);
  for (const label of answers.labels) counts[classes[label]]++;
  await writeAnswers(store, answers, classes);
  await writeOutput(store, classes, output, format);
  return { rows: features.rows, missing: chosen.missing, counts, findings };
}

/** Refuses an output that cannot be written, before anything is predicted. */
async function checkOutput(input: string, output: string): Promise<void> {
  const there = await Deno.stat(output).catch(() => undefined);
  if (there?.isDirectory) {
    throw new UsageError(`Cannot write "${output}": it is a folder; name a file`);
  }
  const source = await Deno.stat(input).catch(() => undefined);
  if (there && source && there.dev === source.dev && there.ino === source.ino) {
    throw new UsageError(
      `Cannot write "${output}": it is the input, which stays as it is; name another file`,
    );
  }
  const folder = dirname(output);
  const isFolder = await Deno.stat(folder).then((info) => info.isDirectory, () => false);
  if (!isFolder) {
    throw new UsageError(
      `Cannot write "${output}": there is no folder "${folder}"; create it, or name another one`,
    );
  }
  const draft = nameDraft(output);
  try {
    await Deno.writeFile(draft, new Uint8Array());
    await Deno.remove(draft);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const [reason] = (error as Error).message.split(/, writefile|\n/);
    throw new Error(
      `Cannot write "${output}": folder "${folder}" does not take it (${reason}); name another file`,
      { cause: error },
    );
  }
}

/** The file that becomes the output once it is whole. */
function nameDraft(output: string): string {
  return `${output}.${Deno.pid}.part`;
}

interface ChosenColumns {
  readonly inputs: readonly ChosenInput[];
  /** SQL of the order value, when the model has windows. */
  readonly order: string | null;
  /** SQL of the group's name. */
  readonly group: string | null;
  readonly missing: readonly string[];
}

interface ChosenInput {
  /** SQL of the value in the model's unit. */
  readonly value: string;
  /** SQL condition: a number is infinite or beyond float32, and therefore missing. */
  readonly unusable: string;
}

function chooseColumns(
  { columns }: Relation,
  { signature }: Predictor,
  { aliases = {}, group }: PredictFileOptions,
  uri: string,
): ChosenColumns {
  const names = columns.map(({ name }) => name);
  const find = (name: string) =>
    columns.find((column) => column.name === name) ??
      columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
  const found = signature.inputs.map(({ name }) => {
    const all = [name, ...aliases[name] ?? []].map(find);
    return [...new Set(all)].filter((column) => column?.type === "number") as RelationColumn[];
  });
  const missing = signature.inputs.filter((_, j) => found[j].length === 0).map(({ name }) => name);
  if (missing.length === found.length) {
    throw new UsageError(
      `Cannot predict "${uri}": it has none of the columns ${
        missing.join(", ")
      } as numbers; it has ${names.join(", ")}`,
    );
  }
  const added = [
    "prediction",
    "confidence",
    ...signature.classes.map((name) => `probability_${name}`),
  ].map((name) => name.toLowerCase());
  const taken = names.find((name) => added.includes(name.toLowerCase()));
  if (taken !== undefined) {
    throw new UsageError(
      `Cannot predict "${uri}": it already has a column "${taken}"; rename or drop it`,
    );
  }
  const need = (name: string) => {
    const column = find(name);
    if (column) return column;
    const near = suggest(name, names);
    throw new UsageError(
      `Cannot predict "${uri}": it lacks the column "${name}"${
        near ? `; did you mean "${near}"?` : `; it has ${names.join(", ")}`
      }`,
    );
  };
  const order = signature.windows.radii.length > 0 ? signature.order : null;
  return {
    inputs: found.map((list, j) => {
      const values = list.map((column) => convertColumn(column, signature.inputs[j].unit));
      if (values.length === 0) return { value: "null", unusable: "false" };
      return {
        value: `coalesce(${values.map(selectUsable).join(", ")})`,
        unusable: values.map((value) => `coalesce(not ${isUsable(value)}, false)`).join(" or "),
      };
    }),
    order: order && selectOrder(need(order.column), order.unit, uri),
    group: group === undefined ? null : need(group).cell,
    missing,
  };
}

/** The value in `unit`, as in preprocessing. */
function convertColumn({ name, expression, unit: from }: RelationColumn, unit?: string): string {
  if (from === undefined || unit === undefined) return `(${expression})`;
  try {
    const { factor, offset } = findConversion(from, unit);
    return `((${expression}) * ${quoteLiteral(factor)} + ${quoteLiteral(offset)})`;
  } catch (error) {
    throw new RangeError(`Cannot bring column "${name}" to unit "${unit}"`, { cause: error });
  }
}

/** What a model cannot compute with is missing, as in preprocessing. */
function selectUsable(value: string): string {
  return `case when ${isUsable(value)} then ${value} end`;
}

/** The order value, as in preprocessing: in the model's unit, which for a time counts from 1970. */
function selectOrder(column: RelationColumn, unit: string | undefined, uri: string): string {
  if (column.type === "time") return selectTime(column.expression, unit, column.name);
  if (column.type === "number") return selectUsable(convertColumn(column, unit));
  throw new UsageError(
    `Cannot predict "${uri}": its order column "${column.name}" is text; it must be a number or a time`,
  );
}

/**
 * Makes the tables `input`, the file's own columns as they are to come out, and `model_input`, what
 * the model needs of each row.
 */
async function loadInput(
  store: Store,
  relation: Relation,
  { inputs, order, group }: ChosenColumns,
  { isTyped }: Format,
): Promise<void> {
  const carried = relation.columns.map(({ name, cell, typedCell }) =>
    `${isTyped ? typedCell : cell} as ${quoteIdentifier(name)}`
  );
  const needed = inputs.flatMap(({ value, unusable }, j) => [
    `(${value})::double as c${j}`,
    `(${unusable}) as u${j}`,
  ]);
  if (order !== null) needed.push(`(${order})::double as o`);
  if (group !== null) needed.push(`${group} as g`);
  await store.transaction([
    ...relation.setup,
    { sql: `create table input as select _row, ${carried.join(", ")} from ${relation.from}` },
    { sql: `create table model_input as select _row, ${needed.join(", ")} from ${relation.from}` },
    ...relation.teardown,
  ]);
}

async function readRows(
  store: Store,
  { inputs, order, group }: ChosenColumns,
): Promise<RawRows> {
  const list = inputs.map((_, j) => `c${j}`);
  if (order !== null) list.push("o");
  if (group !== null) list.push("(dense_rank() over (order by g))::double as g");
  const { rows, columns } = await store.readColumns(
    `select ${list.join(", ")} from model_input order by _row`,
  );
  const X = matrix(rows, inputs.length);
  inputs.forEach((_, j) => {
    const values = columns[`c${j}`] as Float64Array;
    for (let i = 0; i < rows; i++) X.data[i * X.cols + j] = values[i];
  });
  return {
    X,
    ...(order === null ? {} : { order: columns.o as Float64Array }),
    ...(group === null ? {} : { groups: Int32Array.from(columns.g as Float64Array) }),
  };
}

async function findUnusable(store: Store, names: readonly string[]): Promise<Finding[]> {
  const counts = names.map((_, j) => `count(*) filter (u${j}) as n${j}`);
  const [row] = await store.query<Record<string, number>>(
    `select ${counts.join(", ")} from model_input`,
  );
  const findings: Finding[] = [];
  for (const [j, name] of names.entries()) {
    if (row[`n${j}`] === 0) continue;
    const shown = await store.query(
      `select _row from model_input where u${j} order by 1 limit ${SHOWN_ROWS}`,
    );
    findings.push({
      check: "infinite",
      severity: "warning",
      subject: name,
      message: `${row[`n${j}`]} values of ${name} are infinite or beyond ±3.4e38, first in ${
        describeShown(shown)
      }; they count as missing: correct them in the file`,
      rows: shown,
    });
  }
  return findings;
}

/** Counts what the model sees otherwise than it stands in the file. */
function findOutliers(X: Matrix, { inputs, outliers }: Predictor["signature"]): Finding[] {
  if (outliers === "keep") return [];
  return inputs.flatMap(({ name, unit, range }, j): Finding[] => {
    if (!range) return [];
    let values = 0;
    let count = 0;
    for (let i = j; i < X.data.length; i += X.cols) {
      const value = X.data[i];
      if (Number.isNaN(value)) continue;
      values++;
      if (value < range[0] || value > range[1]) count++;
    }
    if (count === 0) return [];
    return [{
      check: "outliers",
      severity: count > OUTLIER_WARNING * values ? "warning" : "info",
      subject: name,
      message: `${count} of ${values} values of ${name} lie outside [${range.join(", ")}]${
        unit ? ` ${unit}` : ""
      }; they ${outliers === "null" ? "count as missing" : "are clipped"}`,
    }];
  });
}

interface Answers {
  readonly labels: Int32Array;
  readonly probabilities: Matrix;
}

async function classifyAll(
  predictor: Predictor,
  features: Matrix,
  signal: AbortSignal,
): Promise<Answers> {
  const labels = new Int32Array(features.rows);
  const probabilities = matrix(features.rows, predictor.signature.classes.length);
  for (let start = 0; start < features.rows; start += BATCH_ROWS) {
    signal.throwIfAborted();
    const end = Math.min(features.rows, start + BATCH_ROWS);
    const part = features.data.subarray(start * features.cols, end * features.cols);
    const answer = await predictor.classify(matrix(end - start, features.cols, part));
    labels.set(answer.labels, start);
    probabilities.data.set(answer.probabilities.data, start * probabilities.cols);
  }
  return { labels, probabilities };
}

async function writeAnswers(
  store: Store,
  { labels, probabilities }: Answers,
  classes: readonly string[],
): Promise<void> {
  const columnOf = (c: number) =>
    Float64Array.from(labels, (_, i) => probabilities.data[i * probabilities.cols + c]);
  await store.transaction([
    {
      sql: `create table answers (answer_row bigint, label varchar, confidence double, ${
        classes.map((_, c) => `p${c} double`).join(", ")
      })`,
    },
    {
      append: "answers",
      columns: {
        answer_row: Float64Array.from(labels, (_, i) => i),
        label: Array.from(labels, (label) => classes[label]),
        confidence: Float64Array.from(
          labels,
          (label, i) => probabilities.data[i * probabilities.cols + label],
        ),
        ...Object.fromEntries(classes.map((_, c) => [`p${c}`, columnOf(c)])),
      },
    },
  ]);
}

async function writeOutput(
  store: Store,
  classes: readonly string[],
  output: string,
  format: Format,
): Promise<void> {
  const probabilities = classes.map((name, c) =>
    `answers.p${c} as ${quoteIdentifier(`probability_${name}`)}`
  );
  const draft = nameDraft(output);
  try {
    await store.query(
      `copy (select input.* exclude (_row), answers.label as prediction,
         answers.confidence as confidence, ${probabilities.join(", ")}
       from input join answers on input._row = answers.answer_row order by input._row)
       to ${quoteLiteral(draft)} (${format.copy})`,
    );
    await Deno.rename(draft, output);
  } catch (error) {
    await Deno.remove(draft).catch(() => {});
    const state = (error as Error).message.split("\n")[0].replaceAll(draft, output);
    throw new Error(`Cannot write "${output}": ${state}`, { cause: error });
  }
}
