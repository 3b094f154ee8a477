/** Sorting of many numbers. */

/** Fewer values are sorted by the engine, which is faster for them. */
const FEWEST = 4_000;

const BITS = 11;
const BUCKETS = 1 << BITS;
const MASK = BUCKETS - 1;

/**
 * Sorts numbers without `NaN` in ascending order, in place, by their bits: in time that grows with their
 * number alone, about a quarter of that of `Float64Array.prototype.sort()` for a hundred thousand. `-0`
 * comes before `0`. Large arrays take as much memory again, unless `scratch` has room for them.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { sortNumbers } from "./sorting.ts";
 *
 * assertEquals(sortNumbers(Float64Array.of(3, -Infinity, -1.5)), Float64Array.of(-Infinity, -1.5, 3));
 * ```
 *
 * @see Knuth, "The Art of Computer Programming", volume 3, algorithm 5.2.5R
 */
export function sortNumbers(values: Float64Array, scratch?: Float64Array): Float64Array {
  const n = values.length;
  if (n < FEWEST) return values.sort();
  const other = scratch && scratch.length >= n ? scratch.subarray(0, n) : new Float64Array(n);
  let from = new Uint32Array(values.buffer, values.byteOffset, 2 * n);
  let to = new Uint32Array(other.buffer, other.byteOffset, 2 * n);
  toKeys(from);
  const counts = countDigits(from);
  // Six digits of eleven bits: three of each half, the last ones of ten.
  for (let digit = 0; digit < 6; digit++) {
    const half = digit < 3 ? low : high;
    if (!scatter(from, to, { half, shift: BITS * (digit % 3), starts: counts[digit] })) continue;
    [from, to] = [to, from];
  }
  if (from.buffer !== values.buffer || from.byteOffset !== values.byteOffset) to.set(from);
  toNumbers(new Uint32Array(values.buffer, values.byteOffset, 2 * n));
  return values;
}

/** Which of its two words holds a number's lower bits, and which its upper ones, on this machine. */
const low = new Uint32Array(Float64Array.of(1).buffer)[0] === 0 ? 0 : 1;
const high = 1 - low;

/** Makes numbers integers of the same order: negative ones are turned over, others get the top bit. */
function toKeys(words: Uint32Array): void {
  for (let at = 0; at < words.length; at += 2) {
    const top = words[at + high];
    const flip = top >>> 31 ? 0xffffffff : 0;
    words[at + low] ^= flip;
    words[at + high] = top ^ (flip | 0x80000000);
  }
}

function toNumbers(words: Uint32Array): void {
  for (let at = 0; at < words.length; at += 2) {
    const top = words[at + high];
    const flip = top >>> 31 ? 0 : 0xffffffff;
    words[at + low] ^= flip;
    words[at + high] = top ^ (flip | 0x80000000);
  }
}

function countDigits(words: Uint32Array): readonly Uint32Array[] {
  const counts = Array.from({ length: 6 }, () => new Uint32Array(BUCKETS));
  const [a, b, c, d, e, f] = counts;
  for (let at = 0; at < words.length; at += 2) {
    const lower = words[at + low];
    const upper = words[at + high];
    a[lower & MASK]++;
    b[(lower >>> BITS) & MASK]++;
    c[lower >>> (2 * BITS)]++;
    d[upper & MASK]++;
    e[(upper >>> BITS) & MASK]++;
    f[upper >>> (2 * BITS)]++;
  }
  return counts;
}

/** Moves keys into the order of one digit; does nothing and says so when all have the same. */
function scatter(
  from: Uint32Array,
  to: Uint32Array,
  { half, shift, starts }: {
    readonly half: number;
    readonly shift: number;
    readonly starts: Uint32Array;
  },
): boolean {
  if (starts[(from[half] >>> shift) & MASK] === from.length / 2) return false;
  let start = 0;
  for (let digit = 0; digit < BUCKETS; digit++) {
    const count = starts[digit];
    starts[digit] = start;
    start += count;
  }
  for (let at = 0; at < from.length; at += 2) {
    const place = 2 * starts[(from[at + half] >>> shift) & MASK]++;
    to[place] = from[at];
    to[place + 1] = from[at + 1];
  }
  return true;
}

/** Sorted numbers, ascending and without `NaN`. */
type Sorted = Float64Array | Float32Array | Uint32Array;

/**
 * Gives how many of some sorted numbers are less than `value`, which is the place of the first that is
 * not.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { lowerBound, upperBound } from "./sorting.ts";
 *
 * const sorted = Float64Array.of(1, 2, 2, 5);
 * assertEquals([lowerBound(sorted, 2), upperBound(sorted, 2)], [1, 3]);
 * assertEquals([lowerBound(sorted, 9), upperBound(sorted, 0)], [4, 0]);
 * ```
 */
export function lowerBound(sorted: Sorted, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Gives how many of some sorted numbers are at most `value`. */
export function upperBound(sorted: Sorted, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
