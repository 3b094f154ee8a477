/** Which share of the requests a key belongs to. */
import { hashBytes, mix } from "../../numeric/hash.ts";

/** Buckets that keys fall into: a hundredth of a percent each. */
export const BUCKETS = 10_000;

const encoder = new TextEncoder();

/**
 * Gives the bucket of a key, `0 … 9,999`: the same in every process and for ever. Another salt gives
 * buckets that are independent of these.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { hashToBucket } from "./buckets.ts";
 *
 * assertEquals(hashToBucket("rocks", "client-1"), hashToBucket("rocks", "client-1"));
 * assert(hashToBucket("rocks", "client-1") !== hashToBucket("sands", "client-1"));
 * ```
 */
export function hashToBucket(salt: string, key: string): number {
  // The length keeps ("ab", "c") from ("a", "bc").
  return mix(hashBytes(encoder.encode(`${salt.length}:${salt}${key}`))) % BUCKETS;
}

/** Gives the number of the arm that a bucket belongs to. */
export type ArmChooser = (bucket: number) => number;

/**
 * Divides the buckets among arms by percentages that sum to 100. The first arm has what the others
 * leave: they take buckets from both ends in turn, so that raising the second or third arm at the cost
 * of the first moves keys from the first to the raised arm, and no other. With more arms, raising one
 * also moves the keys of those behind it on its side.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { divideBuckets } from "./buckets.ts";
 *
 * const choose = divideBuckets([70, 20, 10]);
 * assertEquals([0, 1999, 2000, 8999, 9000].map(choose), [1, 1, 0, 0, 2]);
 * ```
 */
export function divideBuckets(percentages: readonly number[]): ArmChooser {
  const arms = new Uint16Array(BUCKETS);
  let low = 0;
  let high = BUCKETS;
  percentages.forEach((percent, arm) => {
    if (arm === 0) return;
    const size = percent * BUCKETS / 100;
    if (arm % 2 === 1) {
      arms.fill(arm, low, low + size);
      low += size;
    } else {
      arms.fill(arm, high - size, high);
      high -= size;
    }
  });
  return (bucket) => arms[bucket];
}
