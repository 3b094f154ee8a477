import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { chooseMethod, type ColumnShape } from "../../../numeric/drift/choice.ts";
import { testKolmogorovSmirnovExactly } from "../../../numeric/drift/kolmogorov.ts";
import {
  adjustPValues,
  estimatePower,
  findDetectableEffect,
  findSampleSize,
  measureProportionEffect,
} from "../../../numeric/drift/power.ts";
import { Random } from "../../../numeric/random.ts";
import golden from "../../oracles/drift.json" with { type: "json" };

Deno.test("chooseMethod() equals Evidently 0.7 when type, rows and distinct values vary", () => {
  for (const { method, ...shape } of golden.choice) {
    assertEquals(chooseMethod(shape as ColumnShape).method, method, JSON.stringify(shape));
  }
});

Deno.test("chooseMethod() says each question and its answer when it decides", () => {
  const shape = { type: "numeric", referenceCount: 200, distinctCount: 2 } as const;
  assertEquals(chooseMethod(shape).path, [
    "the column is numeric",
    "200 reference rows are at most 1000: a test decides",
    "2 distinct values are at most 5: each value is taken as a category",
    "at most two categories: two proportions are tested",
    "z: drifted when p is below 0.05",
  ]);
});

Deno.test("chooseMethod() throws RangeError when a count is not an integer", () => {
  assertThrows(
    () => chooseMethod({ type: "numeric", referenceCount: 1.5, distinctCount: 2 }),
    RangeError,
    `"1.5"`,
  );
});

Deno.test("estimatePower() equals Cohen's tables when means or proportions are compared", () => {
  // Cohen 1988, tables 2.3.5 (t, n = 64, d = 0.5: .80) and 6.3.5 (h = 0.5, n = 63: .80).
  assertAlmostEquals(estimatePower({ test: "mean", effect: 0.5, n: 64, m: 64 }), 0.8, 0.01);
  assertAlmostEquals(estimatePower({ test: "proportion", effect: 0.5, n: 63, m: 63 }), 0.8, 0.01);
  assertAlmostEquals(measureProportionEffect(0.5, 0.3), 0.4115, 1e-4);
});

Deno.test("estimatePower() is alpha without an effect and a lower bound of the simulated power for ks", () => {
  assertAlmostEquals(estimatePower({ test: "mean", effect: 0, n: 50, m: 70 }), 0.05, 1e-12);
  const random = new Random(7);
  const [n, m, shift] = [150, 150, 0.2];
  let found = 0;
  const draw = (count: number, by: number) =>
    Float64Array.from({ length: count }, () => random.uniform() + by);
  for (let i = 0; i < 300; i++) {
    if (testKolmogorovSmirnovExactly(draw(n, 0), draw(m, shift))!.pValue < 0.05) found++;
  }
  const bound = estimatePower({ test: "ks", effect: shift, n, m });
  assert(bound > 0.5 && bound <= found / 300 + 0.03, `${bound} and ${found / 300}`);
});

Deno.test("findSampleSize() and findDetectableEffect() agree with estimatePower() when asked backward", () => {
  for (const test of ["mean", "proportion", "ks"] as const) {
    const n = findSampleSize({ test, effect: 0.3, power: 0.9 })!;
    assert(estimatePower({ test, effect: 0.3, n, m: n }) >= 0.9);
    assert(estimatePower({ test, effect: 0.3, n: n - 1, m: n - 1 }) < 0.9);
    const m = findSampleSize({ test, effect: 0.3, n: 2000 })!;
    assert(estimatePower({ test, effect: 0.3, n: 2000, m }) >= 0.8);
    const effect = findDetectableEffect({ test, n: 300, m: 80 });
    assertAlmostEquals(estimatePower({ test, effect, n: 300, m: 80 }), 0.8, 1e-4);
  }
});

Deno.test("estimatePower() and the others throw RangeError when a plan does not fit", () => {
  assertThrows(() => estimatePower({ test: "ks", effect: -1, n: 1, m: 1 }), RangeError, `"-1"`);
  assertThrows(() => estimatePower({ test: "ks", effect: 1, n: 0, m: 1 }), RangeError, `"0"`);
  assertThrows(() => findSampleSize({ test: "ks", effect: 0 }), RangeError, `"0"`);
  assertThrows(() => findSampleSize({ test: "ks", effect: 1, alpha: 1 }), RangeError, "alpha");
  assertThrows(
    () => findDetectableEffect({ test: "ks", n: 1, m: 1, power: 0 }),
    RangeError,
    "power",
  );
  assertThrows(() => measureProportionEffect(2, 0), RangeError, `"2"`);
});

Deno.test("adjustPValues() equals scipy and leaves tests without data out when there are some", () => {
  const { p, adjusted } = golden.adjusted;
  adjustPValues(p).forEach((value, i) => assertAlmostEquals(value!, adjusted[i], 1e-12));
  assertEquals(adjustPValues([null, 0.04]), [null, 0.04]);
  assertEquals(adjustPValues([]), []);
  assertThrows(() => adjustPValues([1.2]), RangeError, `"1.2"`);
});
