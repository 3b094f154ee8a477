/**
 * How stages read the tables of other stages into matrices.
 *
 * @module
 */
import { type Matrix, matrix, takeRows } from "../numeric/matrix.ts";
import { trainRows, uniteFolds } from "../numeric/split.ts";
import type { LabelledRows } from "../runtime/fit.ts";
import { quoteIdentifier } from "../runtime/store/sql.ts";
import type { Store } from "../runtime/store/store.ts";
import type { Gold } from "./features.ts";

/** Raw rows of a silver table, in the table's order. */
export interface SilverRows {
  readonly X: Matrix;
  readonly order: Float64Array;
  readonly groups: Int32Array;
  readonly groupNames: readonly (string | null)[];
  readonly labels: readonly (string | null)[];
  readonly sources: readonly (string | null)[];
  readonly rowNumbers: readonly number[];
}

/** Reads a silver table `[n, d]` sorted by group and order. */
export async function readSilver(
  store: Store,
  table: string,
  names: readonly string[],
): Promise<SilverRows> {
  const { rows, columns } = await store.readColumns(
    `select _source, _row, _group, _order::double as _order, _label, ${
      names.map((name) => `${quoteIdentifier(name)}::double as ${quoteIdentifier(name)}`).join(", ")
    } from ${table} order by _group nulls first, _order, _source, _row`,
  );
  const X = matrix(rows, names.length);
  names.forEach((name, j) => {
    const values = columns[name] as Float64Array;
    for (let i = 0; i < rows; i++) X.data[i * names.length + j] = values[i];
  });
  const groupNames = columns._group as readonly (string | null)[];
  const ids = new Map<string | null, number>();
  const groups = Int32Array.from(groupNames, (name) => {
    if (!ids.has(name)) ids.set(name, ids.size);
    return ids.get(name)!;
  });
  return {
    X,
    order: columns._order as Float64Array,
    groups,
    groupNames,
    labels: columns._label as readonly (string | null)[],
    sources: columns._source as readonly (string | null)[],
    rowNumbers: [...columns._row as Float64Array],
  };
}

/** A gold table in memory; all arrays have n entries. */
export interface GoldRows {
  readonly X: Matrix;
  readonly y: Int32Array;
  readonly fold: Int32Array;
  readonly block: Int32Array;
  readonly order: Float64Array;
  readonly groups: Int32Array;
}

/** Reads all rows, sorted as preprocessing sorted them. */
export async function readGold(store: Store, gold: Gold): Promise<GoldRows> {
  const { rows, columns } = await store.readColumns(
    `select _class, _fold, _block, _order, dense_rank() over (order by _group) as _groups, ${
      gold.features.map((name) => quoteIdentifier(name)).join(", ")
    } from ${gold.table} order by _group nulls first, _order, _source, _row`,
  );
  const X = matrix(rows, gold.features.length);
  gold.features.forEach((name, j) => {
    const values = columns[name] as Float64Array;
    for (let i = 0; i < rows; i++) X.data[i * X.cols + j] = values[i];
  });
  const integers = (name: string) => Int32Array.from(columns[name] as Float64Array);
  return {
    X,
    y: integers("_class"),
    fold: integers("_fold"),
    block: integers("_block"),
    groups: integers("_groups"),
    order: columns._order as Float64Array,
  };
}

/** Takes labelled rows by index. */
export function takeLabelled({ X, y }: GoldRows, index: Int32Array): LabelledRows {
  return { X: takeRows(X, index), y: Int32Array.from(index, (i) => y[i]) };
}

/** Rows that may train while these folds are held out, with the split's embargo. */
export function rowsOutside(rows: GoldRows, gold: Gold, folds: readonly number[]): Int32Array {
  const { embargo } = gold.split;
  return trainRows(uniteFolds(rows, folds), folds[0], {
    groups: rows.groups,
    ...(embargo > 0 ? { order: rows.order, embargo } : {}),
  });
}
