/** Which predictions are judged: a replayable draw by hash, with the probability kept on the row. */
import { createHash } from "node:crypto";

/**
 * Whether the row is in the sample of this rate.
 * The same row and seed always give the same answer, and the sample of a lower rate lies
 * within that of a higher one.
 *
 * @throws {RangeError} when the rate is not in `[0, 1]`.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { isSampled } from "./sampling.ts";
 *
 * const row = { requestId: "r-1", row: 0 };
 * assert(isSampled(row, 1, 42));
 * assertEquals(isSampled(row, 0, 42), false);
 * ```
 */
export function isSampled(
  row: { readonly requestId: string; readonly row: number },
  rate: number,
  seed: number,
): boolean {
  if (!(rate >= 0 && rate <= 1)) {
    throw new RangeError(`Cannot sample at rate ${rate}: it must lie in [0, 1]`);
  }
  const digest = createHash("sha256").update(`${seed}:${row.requestId}:${row.row}`).digest();
  return digest.readUInt32BE(0) / 2 ** 32 < rate;
}

/**
 * The same draw in SQL over columns `request_id` and `row`; its two parameters are the seed as text
 * and the rate.
 */
export const sampledCondition =
  "('0x' || substr(sha256(? || ':' || request_id || ':' || row), 1, 8))::ubigint / 4294967296.0 < ?";
