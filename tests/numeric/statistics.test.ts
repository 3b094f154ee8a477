import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../numeric/random.ts";
import {
  computeMean,
  computeQuantiles,
  computeStd,
  measureStability,
  testKolmogorovSmirnov,
} from "../../numeric/statistics.ts";
import golden from "../oracles/golden.json" with { type: "json" };

Deno.test("testKolmogorovSmirnov() equals scipy when samples are alike, different, tied or apart", () => {
  for (const { a, b, ks, pValue } of golden.twoSamples) {
    const result = testKolmogorovSmirnov(a, b)!;
    assertAlmostEquals(result.statistic, ks, 1e-12);
    assertAlmostEquals(result.pValue, pValue, 1e-9 * pValue + 1e-15);
  }
});

Deno.test("testKolmogorovSmirnov() gives a falling p-value without a step when the distance grows", () => {
  const n = 4000;
  const reference = Float64Array.from({ length: n }, (_, i) => i);
  let last = 1;
  for (let shift = 0; shift < 400; shift++) {
    const { pValue } = testKolmogorovSmirnov(reference, reference.map((v) => v + shift))!;
    assert(pValue <= last && last - pValue < 0.05, `shift ${shift}`);
    last = pValue;
  }
  assert(last < 1e-15);
});

Deno.test("measureStability() equals its definition in numpy when samples are alike, different, tied or apart", () => {
  for (const { a, b, psi } of golden.twoSamples) {
    assertAlmostEquals(measureStability(a, b)!, psi, 1e-9 * psi + 1e-12);
  }
});

Deno.test("measureStability() sees a shift to either side when the reference is constant", () => {
  for (const constant of [5, 0, -2.5]) {
    const reference = new Float64Array(100).fill(constant);
    assertEquals(measureStability(reference, reference), 0);
    for (const shift of [-1, 1]) {
      assert(measureStability(reference, reference.map((v) => v + shift))! > 1);
    }
  }
});

Deno.test("computeQuantiles(), computeMean() and computeStd() equal numpy when given a sample", () => {
  for (const { a, quantiles, mean, std } of golden.twoSamples) {
    const probabilities = [0, 0.1, 0.5, 0.77, 1];
    computeQuantiles(a, probabilities)!.forEach((q, i) =>
      assertAlmostEquals(q, quantiles[i], 1e-12)
    );
    assertAlmostEquals(computeMean(a)!, mean, 1e-12);
    assertAlmostEquals(computeStd(a)!, std, 1e-12);
  }
});

Deno.test("computeMean() and the other statistics ignore NaN and leave their input alone when it is mixed in", () => {
  const random = new Random(8);
  const values = Float64Array.from({ length: 50 }, () => random.uniform());
  const holed = Float64Array.from([NaN, ...values, NaN]);
  const copy = holed.slice();
  assertEquals(computeMean(holed), computeMean(values));
  assertEquals(computeStd(holed), computeStd(values));
  assertEquals(computeQuantiles(holed, [0.3]), computeQuantiles(values, [0.3]));
  assertEquals(testKolmogorovSmirnov(holed, values)!.statistic, 0);
  assertEquals(measureStability(holed, values), 0);
  assertEquals(holed, copy);
});

Deno.test("computeMean() and the other statistics give null when a sample has no values", () => {
  for (const empty of [new Float64Array(0), Float64Array.of(NaN, NaN)]) {
    assertEquals(computeMean(empty), null);
    assertEquals(computeStd(empty), null);
    assertEquals(computeQuantiles(empty, [0.5]), null);
    assertEquals(testKolmogorovSmirnov(empty, [1]), null);
    assertEquals(testKolmogorovSmirnov([1], empty), null);
    assertEquals(measureStability([1], empty), null);
    assertEquals(measureStability(empty, [1]), null);
  }
});

Deno.test("computeQuantiles() and measureStability() throw RangeError when an option is out of range", () => {
  assertThrows(() => computeQuantiles([1], [1.1]), RangeError, `"1.1"`);
  assertThrows(() => computeQuantiles([1], [NaN]), RangeError, `"NaN"`);
  assertThrows(() => measureStability([1], [1], { bins: 1 }), RangeError, "bins");
  assertThrows(() => measureStability([1], [1], { epsilon: 0 }), RangeError, "epsilon");
});
