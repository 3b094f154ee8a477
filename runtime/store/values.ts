/**
 * DuckDB's values as JavaScript's own.
 *
 * @module
 */

/** Turns DuckDB's JavaScript values into plain JSON-like ones. */
export function toPlain(value: unknown): unknown {
  if (typeof value === "bigint") {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : String(value);
  }
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) {
    if (value.length > 0 && isMapEntry(value[0])) {
      return Object.fromEntries(value.map((e) => [String(toPlain(e.key)), toPlain(e.value)]));
    }
    return value.map(toPlain);
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, toPlain(v)]));
  }
  return value;
}

function isMapEntry(value: unknown): value is { key: unknown; value: unknown } {
  return typeof value === "object" && value !== null && Object.keys(value).join() === "key,value";
}

/** A number of any value, seconds since 1970 of a time; `NaN` of null. */
export function toNumber(value: unknown): number {
  if (value === null || value === undefined) return NaN;
  if (value instanceof Date) return value.getTime() / 1000;
  return Number(value);
}
