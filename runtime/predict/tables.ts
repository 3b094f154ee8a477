/**
 * The tables of a store of its own in which `predictFile` keeps a file: `input`, in the
 * sequence of the file, and `answers`. What does not fit in memory lies in the store's spill folder.
 *
 * @module
 */
import type { Prediction } from "../onnx_session.ts";
import type { RowBlock } from "./chunks.ts";
import type { ChosenColumns } from "./columns.ts";
import type { Format } from "./output.ts";
import { quoteIdentifier, quoteLiteral } from "../store/sql.ts";
import type { Store } from "../store/store.ts";
import { describeReadError, type Relation } from "../store/table.ts";

/** Memory that DuckDB takes, in MiB: this, and more for each column of the file. */
const MEMORY_MIB = 128;
const MEMORY_PER_COLUMN_MIB = 4;

/** What it may take in the end, in MiB, when less is not enough, as for very long texts. */
const MAX_MEMORY_MIB = 4096;

/** Lets DuckDB do something within little memory, and with more when it cannot. */
export async function withMemory<T>(
  store: Store,
  columns: number,
  action: () => Promise<T>,
): Promise<T> {
  for (let limit = MEMORY_MIB + MEMORY_PER_COLUMN_MIB * columns;; limit *= 4) {
    const most = Math.min(limit, MAX_MEMORY_MIB);
    await store.query(`set global memory_limit = '${most}MiB'`);
    try {
      return await action();
    } catch (error) {
      if (!/out of memory/i.test((error as Error).message) || most === MAX_MEMORY_MIB) throw error;
    }
  }
}

/**
 * Makes the table `input`: the file's own columns `k<j>` as they are to come out, and what the model
 * needs of each row; where the model has windows, also `model_rows`: by group and order.
 */
export async function loadInput(
  store: Store,
  relation: Relation,
  { inputs, order, group }: ChosenColumns,
  { isTyped }: Format,
): Promise<number> {
  const columns = [
    ...relation.columns.map(({ cell, typedCell }, j) => `${isTyped ? typedCell : cell} as k${j}`),
    ...inputs.flatMap(({ value, unusable }, j) => [
      `(${value})::double as c${j}`,
      `(${unusable}) as u${j}`,
    ]),
    ...(order === null ? [] : [`(${order})::double as o`]),
    ...(group === null ? [] : [`${group} as g`]),
  ];
  try {
    await store.transaction([
      ...relation.setup,
      { sql: `create table input as select _row, ${columns.join(", ")} from ${relation.from}` },
      ...relation.teardown,
      ...(order === null ? [] : sortRows(inputs.length, group !== null)),
    ]);
  } catch (error) {
    throw describeReadError(relation.uri, error);
  }
  const [{ rows }] = await store.query<{ rows: number }>("select count(*) as rows from input");
  return rows;
}

/** Steps that number the groups and bring the rows into the sequence in which windows run. */
function sortRows(inputs: number, isGrouped: boolean): { sql: string }[] {
  const columns = Array.from({ length: inputs }, (_, j) => `c${j}`);
  const group = isGrouped ? "id" : "0";
  const groups = isGrouped ? "join model_groups on m.g is not distinct from model_groups.g" : "";
  return [
    ...(isGrouped
      ? [{
        sql: `create table model_groups as
          select g, row_number() over (order by g) as id from (select distinct g from input)`,
      }]
      : []),
    {
      sql: `create table model_rows as select row_number() over () - 1 as place, * from (
        select m._row, ${columns.join(", ")}, m.o, ${group}::double as id
        from input m ${groups} order by id, m.o nulls last, m._row)`,
    },
  ];
}

/** Gives the rows as the model needs them, in the sequence of `expandBlocks`. */
export async function* readBlocks(
  store: Store,
  { inputs, order }: ChosenColumns,
  { rows, chunkRows }: { readonly rows: number; readonly chunkRows: number },
): AsyncGenerator<RowBlock> {
  const d = inputs.length;
  const names = ["_row", ...inputs.map((_, j) => `c${j}`), ...(order === null ? [] : ["o", "id"])];
  const [table, at] = order === null ? ["input", "_row"] : ["model_rows", "place"];
  for (let start = 0; start < rows; start += chunkRows) {
    const { rows: n, columns } = await store.readColumns(
      `select ${names.join(", ")} from ${table} where ${at} >= ${start} and ${at} < ${
        start + chunkRows
      } order by ${at}`,
    );
    const numbers = columns as Readonly<Record<string, Float64Array>>;
    const values = new Float64Array(n * d);
    for (let j = 0; j < d; j++) {
      for (let i = 0; i < n; i++) values[i * d + j] = numbers[`c${j}`][i];
    }
    yield {
      ordinals: numbers._row,
      values,
      ...(order === null ? {} : { order: numbers.o, groups: numbers.id }),
    };
  }
}

/** Keeps the answers to some rows in the table `answers`. */
export async function keepAnswers(
  store: Store,
  ordinals: Float64Array,
  { labels, probabilities: { data, cols } }: Prediction,
): Promise<void> {
  const columns: Record<string, Float64Array> = {
    answer_row: ordinals,
    label: Float64Array.from(labels),
  };
  for (let c = 0; c < cols; c++) {
    columns[`p${c}`] = Float64Array.from(labels, (_, i) => data[i * cols + c]);
  }
  await store.transaction([{ append: "answers", columns }]);
}

/** The file's columns and the answers, in the sequence of the file. */
export function selectAnswers(
  classes: readonly string[],
  { columns }: Relation,
  { order }: ChosenColumns,
): string {
  const list = classes.map(quoteLiteral).join(", ");
  const scores = classes.map((_, c) => `p${c}`);
  // Both sides have one row per row of the file; the check costs nothing, and a shift would be silent.
  const label = `if(_row = answer_row, [${list}][label + 1], error('rows and answers differ'))`;
  const selected = [
    ...columns.map(({ name }, j) => `k${j} as ${quoteIdentifier(name)}`),
    `${label} as prediction`,
    `[${scores.join(", ")}][label + 1]::double as confidence`,
    ...classes.map((name, c) => `p${c}::double as ${quoteIdentifier(`probability_${name}`)}`),
  ];
  const sequence = order === null ? "" : "order by answer_row";
  return `select ${selected.join(", ")} from input positional join (from answers ${sequence})`;
}
