/**
 * Which columns of a file are a model's inputs, and the SQL of their values as the model wants them.
 *
 * @module
 */
import { suggest, UsageError } from "../errors.ts";
import type { Signature } from "../registry/signature.ts";
import { quoteLiteral } from "../store/sql.ts";
import { isUsable, type Relation, type RelationColumn, selectTime } from "../store/table.ts";
import { findConversion } from "../units.ts";

/** A file's columns by what a model needs them for. */
export interface ChosenColumns {
  readonly inputs: readonly ChosenInput[];
  /** SQL of the order value, when the model has windows. */
  readonly order: string | null;
  /** SQL of the group's name. */
  readonly group: string | null;
  /** Input columns the file lacks. */
  readonly missing: readonly string[];
}

/** One input column. */
export interface ChosenInput {
  /** SQL of the value in the model's unit. */
  readonly value: string;
  /** SQL condition: a number is infinite or beyond float32, and therefore missing. */
  readonly unusable: string;
}

/** What decides how columns are chosen. */
export interface ChooseOptions {
  /** As the caller names the file. */
  readonly uri: string;
  /** Column whose values keep windows apart, such as the well. */
  readonly group?: string | undefined;
  /** Other names of an input column, by input column; each fills what those before leave missing. */
  readonly aliases?: Readonly<Record<string, readonly string[]>> | undefined;
}

/**
 * Finds a model's columns in a file: by name, then by name in another case, then by alias.
 *
 * @throws {UsageError} when the file has none of the inputs, lacks the order or group column, or has
 * a column of a name that predictions add.
 */
export function chooseColumns(
  { columns }: Relation,
  signature: Signature,
  { uri, aliases = {}, group }: ChooseOptions,
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
