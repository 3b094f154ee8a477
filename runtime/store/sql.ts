/** Quoting for SQL text. */

/**
 * Gives `name` as an SQL identifier; dots separate schema and table only when two names are given.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { quoteIdentifier } from "./sql.ts";
 *
 * assertEquals(quoteIdentifier('a "b"'), '"a ""b"""');
 * assertEquals(quoteIdentifier("bronze", "my.wells"), '"bronze"."my.wells"');
 * ```
 */
export function quoteIdentifier(...names: readonly string[]): string {
  return names.map((name) => `"${name.replaceAll('"', '""')}"`).join(".");
}

/**
 * Gives `value` as an SQL literal; `null` and numbers that are not finite become `null`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { quoteLiteral } from "./sql.ts";
 *
 * assertEquals(quoteLiteral("it's"), "'it''s'");
 * assertEquals(quoteLiteral(-1.5), "(-1.5)::double");
 * ```
 */
export function quoteLiteral(value: string | number | null): string {
  if (value === null) return "null";
  if (typeof value === "string") return `'${value.replaceAll("'", "''")}'`;
  return Number.isFinite(value) ? `(${value})::double` : "null";
}
