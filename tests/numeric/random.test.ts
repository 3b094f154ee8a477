import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../numeric/random.ts";

Deno.test("Random gives the same numbers when the seed is the same and others when it differs", () => {
  const sequence = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 8 }, () => random.uint32());
  };
  assertEquals(sequence(1), sequence(1));
  const firsts = [0, 1, 2, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 40].map((seed) => sequence(seed)[0]);
  assertEquals(new Set(firsts).size, firsts.length);
});

Deno.test("Random.below() gives every value equally often when drawn many times", () => {
  const random = new Random(42);
  const counts = new Int32Array(7);
  const draws = 70_000;
  for (let i = 0; i < draws; i++) counts[random.below(7)]++;
  // Five standard deviations of a binomial count.
  for (const count of counts) assertAlmostEquals(count, draws / 7, 5 * Math.sqrt(draws * 6 / 49));
});

Deno.test("Random.below() favors no value when the bound does not divide 2**32", () => {
  const random = new Random(6);
  const bound = 3 * 2 ** 30;
  const draws = 6000;
  let low = 0;
  for (let i = 0; i < draws; i++) low += random.below(bound) < bound / 3 ? 1 : 0;
  // A plain remainder would put half of the draws into the lowest third.
  assertAlmostEquals(low / draws, 1 / 3, 0.03);
});

Deno.test("Random.uniform() has the mean and variance of a uniform when drawn many times", () => {
  const random = new Random(3);
  const values = Float64Array.from({ length: 50_000 }, () => random.uniform());
  const mean = values.reduce((a, b) => a + b) / values.length;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
  assert(values.every((v) => v >= 0 && v < 1));
  assertAlmostEquals(mean, 0.5, 0.01);
  assertAlmostEquals(variance, 1 / 12, 0.002);
});

Deno.test("Random.shuffle() puts every element in every place equally often when repeated", () => {
  const random = new Random(5);
  const counts = Array.from({ length: 4 }, () => new Int32Array(4));
  const repeats = 20_000;
  for (let r = 0; r < repeats; r++) {
    random.shuffle([0, 1, 2, 3]).forEach((value, place) => counts[place][value]++);
  }
  for (const row of counts) {
    for (const count of row) {
      assertAlmostEquals(count, repeats / 4, 5 * Math.sqrt(repeats * 3 / 16));
    }
  }
});

Deno.test("Random throws RangeError when the seed or the bound is not a usable integer", () => {
  for (const seed of [NaN, 0.5, 2 ** 53]) assertThrows(() => new Random(seed), RangeError, "seed");
  for (const n of [0, -1, 1.5, 2 ** 33]) {
    assertThrows(() => new Random(0).below(n), RangeError, "Cannot draw an integer below");
  }
});
