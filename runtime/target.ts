/** What makes a column a target for a classifier. */
import { quoteIdentifier } from "./sql.ts";
import type { ColumnInfo } from "./table.ts";

/** A class with its number of rows. */
export interface ClassCount {
  readonly name: string;
  readonly rows: number;
}

/** More distinct values than this are no classes. */
export const MAX_CLASSES = 100;

/** SQL of a column's value as the name of a class: whole numbers without `.0`, text trimmed. */
export function selectClass({ name, type }: Pick<ColumnInfo, "name" | "type">): string {
  const value = quoteIdentifier(name);
  return type === "number" ? selectWhole(value) : `nullif(trim(${value}::varchar), '')`;
}

/** SQL of a number as text, without `.0` when it is whole. */
export function selectWhole(value: string): string {
  return `case when ${value} = floor(${value}) and abs(${value}) < 1e15
    then ${value}::bigint::varchar else ${value}::varchar end`;
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
