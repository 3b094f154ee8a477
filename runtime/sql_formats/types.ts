/** Types of a result's columns, as typed forms need them. */
import type { ReadResult } from "../store/database_contract.ts";

/** What the values of a column are. Everything that is none of the others is `text`. */
export type ColumnKind =
  | { readonly kind: "bool" | "int64" | "uint64" | "float64" | "text" | "bytes" }
  /** `YYYY-MM-DDThh:mm:ss.sssZ`; a date is its midnight. */
  | { readonly kind: "timestamp" | "date" }
  | { readonly kind: "list"; readonly of: ColumnKind };

/**
 * Gives the kind of each column: by the store's type where the result names it, else by the values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { findKinds } from "./types.ts";
 *
 * const rows = [[1, ["a"]], [2.5, null]];
 * const result = { columns: ["x", "tags"], rows, isTruncated: false };
 * assertEquals(findKinds(result), [{ kind: "float64" }, { kind: "list", of: { kind: "text" } }]);
 * const types = ["BIGINT", "VARCHAR[]"];
 * assertEquals(findKinds({ ...result, rows: [], types })[0], { kind: "int64" });
 * ```
 */
export function findKinds({ columns, rows, types }: ReadResult): ColumnKind[] {
  return columns.map((_, j) => {
    const values = () => rows.map((row) => row[j]);
    const type = types?.[j];
    return type === undefined ? inferKind(values()) : readKind(type, values);
  });
}

const kinds: readonly [pattern: RegExp, kind: ColumnKind][] = [
  [/^BOOLEAN$/, { kind: "bool" }],
  [/^(TINYINT|SMALLINT|INTEGER|BIGINT|UTINYINT|USMALLINT|UINTEGER)$/, { kind: "int64" }],
  [/^UBIGINT$/, { kind: "uint64" }],
  [/^(FLOAT|DOUBLE|DECIMAL\(.*\))$/, { kind: "float64" }],
  [/^TIMESTAMP(_S|_MS|_NS| WITH TIME ZONE)?$/, { kind: "timestamp" }],
  [/^DATE$/, { kind: "date" }],
  [/^(BLOB|BIT)$/, { kind: "bytes" }],
];

function readKind(type: string, values: () => unknown[]): ColumnKind {
  const [, element] = /^(.*)\[\d*\]$/s.exec(type) ?? [];
  if (element !== undefined) {
    return { kind: "list", of: readKind(element, () => flatten(values())) };
  }
  // What sum() of integers gives; few sums need more than 64 bits.
  if (/^U?HUGEINT$/.test(type)) return values().every(isInt64) ? { kind: "int64" } : TEXT;
  return kinds.find(([pattern]) => pattern.test(type))?.[1] ?? TEXT;
}

const TEXT: ColumnKind = { kind: "text" };

function inferKind(all: readonly unknown[]): ColumnKind {
  const values = all.filter((value) => value !== null && value !== undefined);
  if (values.length === 0) return TEXT;
  if (values.every((value) => typeof value === "boolean")) return { kind: "bool" };
  if (values.every((value) => typeof value === "number")) {
    return values.every(isInt64) ? { kind: "int64" } : { kind: "float64" };
  }
  if (values.every((value) => value instanceof Uint8Array)) return { kind: "bytes" };
  if (values.every(Array.isArray)) return { kind: "list", of: inferKind(flatten(values)) };
  return TEXT;
}

function flatten(values: readonly unknown[]): unknown[] {
  return values.flatMap((value) => Array.isArray(value) ? value : []);
}

/** Integers beyond ±2^53 come as text. */
function isInt64(value: unknown): boolean {
  if (value === null || value === undefined) return true;
  if (typeof value === "number") return Number.isSafeInteger(value);
  if (typeof value !== "string" || !/^-?\d{1,19}$/.test(value)) return false;
  return BigInt.asIntN(64, BigInt(value)) === BigInt(value);
}
