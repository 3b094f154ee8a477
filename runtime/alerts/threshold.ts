/** Whether a row of an alert's query is past its threshold. */
import type { Threshold } from "../../plugins/plugin.ts";

/** Columns of an aggregated row: the aggregate, what it is compared with, and the rows behind it. */
export const VALUE = "value";
export const THRESHOLD = "threshold";
export const ROWS = "rows";

/**
 * Tells whether the column of a row compares with the threshold as its operator wants. Numbers compare
 * as numbers, everything else as text; a null compares with nothing but `IS_NULL`.
 *
 * @throws {TypeError} when a number is compared with a text that is none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { holds } from "./threshold.ts";
 *
 * const threshold = { column: "p99_ms", operator: "GREATER_THAN", value: 100 } as const;
 * assertEquals(holds(threshold, { p99_ms: 120 }), true);
 * assertEquals(holds(threshold, { p99_ms: null }), false);
 * ```
 */
export function holds(
  { column, aggregation, operator, value }: Threshold,
  row: Readonly<Record<string, unknown>>,
): boolean {
  const left = row[aggregation === undefined ? column : VALUE] ?? null;
  if (operator === "IS_NULL") return left === null;
  if (operator === "IS_NOT_NULL") return left !== null;
  const right = typeof value === "object"
    ? row[aggregation === undefined ? value.column : THRESHOLD] ?? null
    : value ?? null;
  // NaN is what could not be computed.
  if (left === null || right === null || Number.isNaN(left) || Number.isNaN(right)) return false;
  const order = compare(left, right, column);
  switch (operator) {
    case "EQUAL":
      return order === 0;
    case "NOT_EQUAL":
      return order !== 0;
    case "GREATER_THAN":
      return order > 0;
    case "GREATER_THAN_OR_EQUAL":
      return order >= 0;
    case "LESS_THAN":
      return order < 0;
    case "LESS_THAN_OR_EQUAL":
      return order <= 0;
  }
}

function compare(left: unknown, right: unknown, column: string): number {
  if (typeof left === "number" || typeof right === "number") {
    const [a, b] = [left, right].map((side) =>
      typeof side === "string" && side.trim() === "" ? NaN : Number(side)
    );
    if (Number.isNaN(a) || Number.isNaN(b)) {
      throw new TypeError(
        `Cannot compare column "${column}": ${JSON.stringify(left)} and ${
          JSON.stringify(right)
        } are not both numbers`,
      );
    }
    return a - b || (a === b ? 0 : NaN);
  }
  const [a, b] = [String(left), String(right)];
  return a < b ? -1 : a > b ? 1 : 0;
}
