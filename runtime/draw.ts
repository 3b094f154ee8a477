/** The draw: a number per prediction that anybody can compute again. */
import { createHash } from "node:crypto";
import { quoteLiteral } from "./store/sql.ts";

/**
 * Gives the row's number in `[0, 1)`. It is in the sample when the number is less than its probability:
 * the same row and seed always give the same answer, and the sample of lower probabilities lies within
 * that of higher ones.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { drawRow } from "./draw.ts";
 *
 * const u = drawRow({ requestId: "r-1", row: 0 }, 42);
 * assert(u >= 0 && u < 1);
 * assertEquals(drawRow({ requestId: "r-1", row: 0 }, 42), u);
 * ```
 */
export function drawRow(
  row: { readonly requestId: string; readonly row: number },
  seed: number,
): number {
  const digest = createHash("sha256").update(`${seed}:${row.requestId}:${row.row}`).digest();
  return digest.readUInt32BE(0) / 2 ** 32;
}

/** The same in SQL over columns `request_id` and `row`. */
export function drawSql(seed: number): string {
  const text = `${quoteLiteral(`${seed}:`)} || request_id || ':' || row`;
  return `(('0x' || substr(sha256(${text}), 1, 8))::ubigint / 4294967296.0)`;
}
