/** Seeded random numbers: the same seed gives the same numbers on every machine. */
import { mix } from "./hash.ts";

/**
 * The generator xoshiro128**, its state filled from the seed by SplitMix32. Not for secrets.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { Random } from "./random.ts";
 *
 * assertEquals(new Random(7).below(1000), new Random(7).below(1000));
 * const uniform = new Random(7).uniform();
 * assert(uniform >= 0 && uniform < 1);
 * assertEquals(new Random(7).shuffle(Int32Array.of(1, 2, 3)).sort(), Int32Array.of(1, 2, 3));
 * ```
 *
 * @see Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", ACM Transactions on
 * Mathematical Software 47(4), 2021; reference code {@link https://prng.di.unimi.it/xoshiro128starstar.c}
 */
export class Random {
  readonly #state = new Uint32Array(4);

  /**
   * @throws {RangeError} when `seed` is not a safe integer.
   */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed)) {
      throw new RangeError(`Cannot seed random numbers with "${seed}": it is not a safe integer`);
    }
    const high = Math.floor(seed / 2 ** 32) | 0;
    let counter = (seed | 0) ^ mix(high);
    for (let i = 0; i < 4; i++) {
      counter = (counter + 0x9e3779b9) | 0;
      this.#state[i] = mix(counter);
    }
  }

  /** Gives an integer in `0 … 2**32 - 1`. */
  uint32(): number {
    const s = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }

  /** Gives a number in `[0, 1)` with 32 random bits. */
  uniform(): number {
    return this.uint32() / 2 ** 32;
  }

  /**
   * Gives an integer in `0 … n-1`, each equally likely.
   * @throws {RangeError} when `n` is not an integer in `1 … 2**32`.
   */
  below(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`Cannot draw an integer below "${n}": it is not in 1 … 2**32`);
    }
    // Values past the last full multiple of n would favor small results.
    const limit = 2 ** 32 - (2 ** 32 % n);
    let value = this.uint32();
    while (value >= limit) value = this.uint32();
    return value % n;
  }

  /** Shuffles in place (Fisher and Yates) and gives the same array. */
  shuffle<T extends { readonly length: number; [index: number]: unknown }>(values: T): T {
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const value = values[i];
      values[i] = values[j];
      values[j] = value;
    }
    return values;
  }
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
