/**
 * What is said of each column of each cell. Columns of numbers are read some at a time, each once for
 * all cells, into typed arrays that are sorted: so quantiles, counts and distribution functions are
 * exact, and memory is bounded by the rows of a batch of windows, whatever the number of columns.
 *
 * @module
 */
import { sortNumbers } from "../../numeric/sorting.ts";
import type { Store } from "../store/store.ts";
import { type Cell, hashSql, positionSql, type Slicing, wholeSql } from "./cells.ts";
import {
  categoryColumns,
  type Column,
  describeCategories,
  describeNumbers,
  type Side,
} from "./columns.ts";
import { Pace } from "./pace.ts";
import { type DrawPlan, isWhole } from "./sampling.ts";
import type { Window } from "./windows.ts";

/** Values that are read at once: 48 MB of numbers, which DuckDB holds once more. */
const MOST_VALUES = 6_000_000;

/** Columns of one query: a flag each for NaN must fit into a float64. */
const MOST_COLUMNS = 48;

/** The rows to measure, and what they are divided into. */
export interface Measured {
  readonly relation: string;
  /** In ascending order; one of any time for a baseline. */
  readonly windows: readonly Window[];
  readonly slicings: readonly Slicing[];
  readonly cells: readonly Cell[];
  readonly numbers: readonly Column[];
  /** The sample that the relation holds. */
  readonly draw: DrawPlan;
}

/** Rows that are read: at least those of windows as wholes, and those of the slices of one expression. */
export function countDrawn({ cells, slicings }: Pick<Measured, "cells" | "slicings">): number {
  const keys = [null, ...slicings.map(({ key }) => key)];
  return Math.max(
    ...keys.map((key) =>
      cells.reduce((sum, cell) => cell.sliceKey === key ? sum + cell.rows : sum, 0)
    ),
  );
}

/** What is told of a column: its sides in the order of the cells. */
export type OnColumn = (column: Column, sides: readonly Side[]) => Promise<void> | void;

/**
 * Calls `onColumn` for every column, one after the other; what it was given is free afterwards.
 *
 * @throws {Error} when rows arrive while they are read; they are there the next time.
 */
export async function measureColumns(
  store: Store,
  measured: Measured,
  onColumn: OnColumn,
  pace: Pace = new Pace(1),
): Promise<void> {
  const { cells, numbers } = measured;
  for (const column of categoryColumns) {
    const sides = cells.map(({ predictions, truths, rows }) =>
      describeCategories(column.kind === "label" ? truths : predictions, rows)
    );
    await onColumn(column, sides);
  }
  const rows = countDrawn(measured);
  const extra = 3 + measured.slicings.length;
  const width = Math.max(
    1,
    Math.min(MOST_COLUMNS, Math.floor(MOST_VALUES / Math.max(1, rows)) - extra),
  );
  for (let from = 0; from < numbers.length; from += width) {
    const batch = await readBatch(store, measured, numbers.slice(from, from + width));
    await pace.rest();
    const parts = divide(measured, batch);
    for (const [j, column] of batch.columns.entries()) {
      await onColumn(column, await describe(measured, batch, { parts, j, pace }));
    }
  }
}

/** Columns of some rows. */
interface Batch {
  readonly rows: number;
  readonly columns: readonly Column[];
  readonly values: readonly Float64Array[];
  /** Position of each row's window, … */
  readonly window: Float64Array;
  /** … NaN where the row is outside the sample of all its rows. */
  readonly whole: Float64Array;
  /** Per slicing the hash of each row's slice; NaN without one. */
  readonly slices: readonly Float64Array[];
  /** Bit j says that the value of column j is NaN rather than missing. */
  readonly nan: Float64Array;
}

async function readBatch(
  store: Store,
  { relation, windows, slicings, draw }: Measured,
  columns: readonly Column[],
): Promise<Batch> {
  const flags = columns.map(({ sql }, j) => `coalesce(isnan(${sql}), false)::bigint * ${2 ** j}`);
  const { rows, columns: read } = await store.readColumns(
    `select (${positionSql(windows)})::double as w,
       ${isWhole(draw) ? "" : `(${wholeSql(draw, windows)})::double as w0,`} (${
      flags.join(" + ")
    })::double as nan,
       ${slicings.map(({ sql }, s) => `${hashSql(sql)} as s${s},`).join(" ")}
       ${columns.map(({ sql }, j) => `(${sql})::double as c${j}`).join(", ")} from ${relation}`,
  );
  const take = (name: string) => read[name] as Float64Array;
  return {
    rows,
    columns,
    values: columns.map((_, j) => take(`c${j}`)),
    window: take("w"),
    whole: take(isWhole(draw) ? "w" : "w0"),
    slices: slicings.map((_, s) => take(`s${s}`)),
    nan: take("nan"),
  };
}

/** Which rows each cell has: those of cell i are `order[starts[i] … starts[i + 1] - 1]`. */
interface Parts {
  readonly order: Int32Array;
  readonly starts: Int32Array;
  readonly hasNan: boolean;
  /** Room for the values of the largest cell, twice. */
  readonly present: Float64Array;
  readonly spare: Float64Array;
}

/** Sorts rows into cells by counting. A row is in a cell of its window, and in one of each slicing. */
function divide({ cells, slicings, windows }: Measured, batch: Batch): Parts {
  const whole = new Int32Array(windows.length).fill(-1);
  const bySlice = slicings.map(() => windows.map(() => new Map<number, number>()));
  cells.forEach(({ window, sliceKey, hash }, i) => {
    if (sliceKey === null) whole[window] = i;
    else bySlice[slicings.findIndex(({ key }) => key === sliceKey)][window].set(hash, i);
  });
  const memberships = 1 + slicings.length;
  const cellOf = new Int32Array(batch.rows * memberships).fill(-1);
  const starts = new Int32Array(cells.length + 1);
  for (let row = 0; row < batch.rows; row++) {
    const window = batch.window[row];
    for (let m = 0; m < memberships; m++) {
      const cell = m === 0
        ? (Number.isNaN(batch.whole[row]) ? -1 : whole[window])
        : bySlice[m - 1][window].get(batch.slices[m - 1][row]) ?? -1;
      if (cell < 0) continue;
      cellOf[row * memberships + m] = cell;
      starts[cell + 1]++;
    }
  }
  cells.forEach(({ rows }, i) => {
    if (starts[i + 1] !== rows) {
      throw new Error(
        `Cannot profile a window: ${starts[i + 1]} of its rows were read and ${rows} counted; ` +
          "rows arrived meanwhile, refresh again",
      );
    }
    starts[i + 1] += starts[i];
  });
  const order = new Int32Array(starts[cells.length]);
  const next = starts.slice();
  for (let at = 0; at < cellOf.length; at++) {
    if (cellOf[at] >= 0) order[next[cellOf[at]]++] = Math.floor(at / memberships);
  }
  let hasNan = false;
  for (let row = 0; row < batch.rows && !hasNan; row++) hasNan = batch.nan[row] > 0;
  const largest = cells.reduce((most, { rows }) => Math.max(most, rows), 0);
  const [present, spare] = [new Float64Array(largest), new Float64Array(largest)];
  return { order, starts, hasNan, present, spare };
}

async function describe(
  { cells }: Measured,
  { values, nan }: Batch,
  { parts: { order, starts, hasNan, present, spare }, j, pace }: {
    readonly parts: Parts;
    readonly j: number;
    readonly pace: Pace;
  },
): Promise<Side[]> {
  const column = values[j];
  const sides: Side[] = [];
  for (const [cell, { rows }] of cells.entries()) {
    let count = 0;
    let nanCount = 0;
    for (let at = starts[cell]; at < starts[cell + 1]; at++) {
      const value = column[order[at]];
      if (value === value) present[count++] = value;
      else if (hasNan && Math.floor(nan[order[at]] / 2 ** j) % 2 === 1) nanCount++;
    }
    const sorted = sortNumbers(present.subarray(0, count), spare);
    sides.push(describeNumbers(sorted, { rows, nan: nanCount }));
    await pace.rest();
  }
  return sides;
}
