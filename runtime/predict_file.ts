/**
 * Predicts a whole table: any file a source can read, any file DuckDB can write.
 *
 * @module
 */
import { extname } from "node:path";
import { type Matrix, matrix } from "../numeric/matrix.ts";
import type { Finding, Plugins } from "../plugins/plugin.ts";
import { suggest, UsageError } from "./errors.ts";
import type { Predictor, RawRows } from "./predictor.ts";
import { quoteIdentifier, quoteLiteral } from "./sql.ts";
import { openStore, type Store } from "./store.ts";
import { openRelation, type Relation, type RelationColumn } from "./table.ts";
import { findConversion } from "./units.ts";

/** Rows per run of the graph. */
const BATCH_ROWS = 10_000;

/** Ending of the output and how DuckDB writes it. */
const formats: Readonly<Record<string, string>> = {
  ".csv": "format csv, header",
  ".parquet": "format parquet",
  ".json": "format json, array true",
  ".ndjson": "format json",
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
  /** What the source found, such as cells that are no number and count as missing. */
  readonly findings: readonly Finding[];
}

/**
 * Writes the table at `input` to `output` with the columns `prediction`, `confidence` and one
 * `probability_<class>` per class added. The output appears whole or not at all.
 *
 * @throws {UsageError} when the file has none of the model's inputs, lacks the order or group column,
 * has a column of an added name, or the output's ending is unknown.
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
  await using store = await openStore(":memory:");
  const relation = await openRelation(store, options.plugins, {
    uri: input,
    baseDir: options.baseDir ?? Deno.cwd(),
    staging: "predict_input",
    signal: options.signal,
  });
  const chosen = chooseColumns(relation, predictor, options, input);
  await loadInput(store, relation);
  const rows = await readRows(store, chosen);
  const classes = predictor.signature.classes;
  const features = predictor.expand(rows);
  const counts: Record<string, number> = Object.fromEntries(classes.map((name) => [name, 0]));
  const answers = await classifyAll(predictor, features, options.signal);
  for (const label of answers.labels) counts[classes[label]]++;
  await writeAnswers(store, answers, classes);
  await writeOutput(store, classes, output, format);
  return {
    rows: features.rows,
    missing: chosen.missing,
    counts,
    findings: relation.findings,
  };
}

interface ChosenColumns {
  /** SQL of each input's value in the model's unit. */
  readonly inputs: readonly string[];
  /** SQL of the order value, when the model has windows. */
  readonly order: string | null;
  /** SQL of the group's name. */
  readonly group: string | null;
  readonly missing: readonly string[];
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
      const values = list.map((column) => selectValue(column, signature.inputs[j].unit));
      return values.length === 0 ? "null" : `coalesce(${values.join(", ")})`;
    }),
    order: order && selectOrder(need(order.column), order.unit, uri),
    group: group === undefined ? null : quoteIdentifier(need(group).name),
    missing,
  };
}

/** The value in `unit`, as in preprocessing: what is not finite is missing. */
function selectValue({ name, expression, unit: from }: RelationColumn, unit?: string): string {
  const value = `case when isfinite(${expression}) then ${expression} end`;
  if (from === undefined || unit === undefined) return value;
  try {
    const { factor, offset } = findConversion(from, unit);
    return `(${value}) * ${quoteLiteral(factor)} + ${quoteLiteral(offset)}`;
  } catch (error) {
    throw new RangeError(`Cannot bring column "${name}" to unit "${unit}"`, { cause: error });
  }
}

/** The order value, as in preprocessing: in the model's unit, or seconds since 1970. */
function selectOrder(column: RelationColumn, unit: string | undefined, uri: string): string {
  if (column.type === "time") return `epoch(${column.expression})`;
  if (column.type === "number") return selectValue(column, unit);
  throw new UsageError(
    `Cannot predict "${uri}": its order column "${column.name}" is text; it must be a number or a time`,
  );
}

/** Keeps the file's own columns and types, so that they come out as they went in. */
async function loadInput(store: Store, relation: Relation): Promise<void> {
  await store.transaction([
    ...relation.setup,
    { sql: `create table input as select * from ${relation.from}` },
    ...relation.teardown,
  ]);
}

async function readRows(
  store: Store,
  { inputs, order, group }: ChosenColumns,
): Promise<RawRows> {
  const list = inputs.map((value, j) => `(${value})::double as c${j}`);
  if (order !== null) list.push(`(${order})::double as o`);
  if (group !== null) list.push(`(dense_rank() over (order by ${group}))::double as g`);
  const { rows, columns } = await store.readColumns(
    `select ${list.join(", ")} from input order by _row`,
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
  format: string,
): Promise<void> {
  const probabilities = classes.map((name, c) =>
    `answers.p${c} as ${quoteIdentifier(`probability_${name}`)}`
  );
  const draft = `${output}.${Deno.pid}.part`;
  try {
    await store.query(
      `copy (select input.* exclude (_row), answers.label as prediction,
         answers.confidence as confidence, ${probabilities.join(", ")}
       from input join answers on input._row = answers.answer_row order by input._row)
       to ${quoteLiteral(draft)} (${format})`,
    );
    await Deno.rename(draft, output);
  } catch (error) {
    await Deno.remove(draft).catch(() => {});
    throw new Error(`Cannot write "${output}": ${(error as Error).message.split("\n")[0]}`, {
      cause: error,
    });
  }
}
