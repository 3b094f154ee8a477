/** What makes a column a target for a classifier. */
import { quoteIdentifier } from "./store/sql.ts";
import type { ColumnInfo } from "./store/table.ts";

/** A class with its number of rows. */
export interface ClassCount {
  readonly name: string;
  readonly rows: number;
}

/** More distinct values than this are no classes. */
export const MAX_CLASSES = 100;

/**
 * SQL of a column's value as the name of a class: the file's own text, trimmed; whole numbers without
 * `.0`.
 */
export function selectClass({ name, type, text }: Omit<ColumnInfo, "nulls">): string {
  const value = quoteIdentifier(text ?? name);
  return type === "number" && text === undefined
    ? selectWhole(value)
    : `nullif(trim(${value}::varchar), '')`;
}

/** SQL of a number as text, without `.0` when it is whole. */
export function selectWhole(value: string): string {
  return `case when ${value} = floor(${value}) and abs(${value}) < 1e15
    then ${value}::bigint::varchar else ${value}::varchar end`;
}

/**
 * Says why one column cannot be two of target, group and order, as the begin of a message that the
 * way out ends, or gives `undefined`. Names are compared without case.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { explainShared } from "./target.ts";
 *
 * assertEquals(explainShared({ target: "y", group: "well", order: "depth" }), undefined);
 * assertEquals(
 *   explainShared({ target: "y", group: "well", order: "WELL" }),
 *   'Cannot order by "WELL": it is the group, within which it never changes',
 * );
 * ```
 */
export function explainShared(
  { target, group, order }: {
    readonly target: string;
    readonly group: string | undefined;
    readonly order: string | undefined;
  },
): string | undefined {
  const isSame = (a: string, b: string | undefined) => a.toLowerCase() === b?.toLowerCase();
  if (isSame(target, group)) {
    return `Cannot group by "${group}": it is the target, and every group would be of one class`;
  }
  if (isSame(target, order)) {
    return `Cannot order by "${order}": it is the target, which new rows do not have`;
  }
  if (group !== undefined && isSame(group, order)) {
    return `Cannot order by "${order}": it is the group, within which it never changes`;
  }
  return undefined;
}

/** `SELECT` of at most `MAX_CLASSES + 1` classes and their rows, from a `SELECT` of labels. */
export function countClasses(labels: string, label: string): string {
  return `select ${label} as name, count(*) as rows from (${labels}) where ${label} is not null
    group by 1 order by 2, 1 limit ${MAX_CLASSES + 1}`;
}

/**
 * Says why a classifier cannot learn these classes, with the way out, or gives `undefined`.
 *
 * @param classes Classes of {@linkcode countClasses}, without those left out.
 *
 * @example
 * ```ts
 * import { assertEquals, assertStringIncludes } from "@std/assert";
 * import { explainBadTarget } from "./target.ts";
 *
 * assertEquals(explainBadTarget([{ name: "a", rows: 9 }, { name: "b", rows: 3 }]), undefined);
 * assertStringIncludes(explainBadTarget([{ name: "0.5", rows: 9 }])!, "regression target");
 * ```
 */
export function explainBadTarget(classes: readonly ClassCount[]): string | undefined {
  if (classes.length === 0) return "no row has a value; name another column or correct the file";
  const fraction = classes.find(({ name }) => /^-?(\d+\.\d+(e.*)?|\d+e.*|inf|nan)$/i.test(name));
  if (fraction) {
    return `it holds fractions such as ${fraction.name} and looks like a regression target; ` +
      "name a column of classes, or cut it into classes first";
  }
  if (classes.length > MAX_CLASSES) {
    return `it holds more than ${MAX_CLASSES} different values, such as "${
      classes[0].name
    }", and ` +
      "looks like a regression target or an identifier; name a column of classes";
  }
  if (classes.length === 1) {
    return `all rows are of one class, "${classes[0].name}"; a classifier needs two`;
  }
  return undefined;
}
