import { assertEquals } from "@std/assert";
import { Random } from "../../numeric/random.ts";
import { sortNumbers } from "../../numeric/sorting.ts";

function check(values: Float64Array, scratch?: Float64Array): void {
  const expected = values.slice().sort();
  const sorted = sortNumbers(values, scratch);
  assertEquals(sorted, values);
  assertEquals(sorted.findIndex((value, i) => !Object.is(value, expected[i])), -1);
}

Deno.test("sortNumbers() gives what the engine's sort gives, for any sign, size and special value", () => {
  const random = new Random(5);
  for (const n of [0, 1, 10, 4_000, 20_000]) {
    const draw = (of: (u: number) => number) =>
      Float64Array.from({ length: n }, () => of(random.uniform()));
    check(draw((u) => u - 0.5));
    check(draw((u) => Math.exp(1400 * (u - 0.5)) * (u < 0.5 ? -1 : 1)));
    check(draw((u) => Math.floor(10 * u) - 5));
    check(draw((u) => u < 0.2 ? -Infinity : u < 0.4 ? Infinity : u < 0.6 ? -0 : u < 0.8 ? 0 : u));
    check(draw(() => 7));
  }
});

Deno.test("sortNumbers() sorts a part of an array and leaves the rest, with room given or not", () => {
  const all = Float64Array.from({ length: 12_000 }, (_, i) => (i * 7919) % 12_000);
  for (const scratch of [undefined, new Float64Array(6_000), new Float64Array(20_000)]) {
    const values = all.slice();
    check(values.subarray(3_000, 9_000), scratch);
    assertEquals(values.subarray(0, 3_000), all.subarray(0, 3_000));
    assertEquals(values.subarray(9_000), all.subarray(9_000));
  }
});
