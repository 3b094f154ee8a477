import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { testAndersonDarling } from "../../../numeric/drift/anderson.ts";
import { countBins, countHalves } from "../../../numeric/drift/bins.ts";
import { testCramerVonMises } from "../../../numeric/drift/cramer.ts";
import {
  measureHellinger,
  measureJensenShannon,
  measureKullbackLeibler,
} from "../../../numeric/drift/divergences.ts";
import { mostExactPairs, testKolmogorovSmirnovExactly } from "../../../numeric/drift/kolmogorov.ts";
import { testWelch } from "../../../numeric/drift/means.ts";
import { testMeanDiscrepancy } from "../../../numeric/drift/mmd.ts";
import { testMannWhitney } from "../../../numeric/drift/ranks.ts";
import {
  measureEnergyDistance,
  measureNormedWasserstein,
  measureWasserstein,
} from "../../../numeric/drift/transport.ts";
import { Random } from "../../../numeric/random.ts";
import { testKolmogorovSmirnov } from "../../../numeric/statistics.ts";
import golden from "../../oracles/drift.json" with { type: "json" };

type Expected = { readonly statistic: number; readonly pValue: number };

function assertOutcome(actual: Expected | null, expected: Expected, tolerance: number): void {
  assertAlmostEquals(actual!.statistic, expected.statistic, 1e-9 + 1e-9 * expected.statistic);
  assertAlmostEquals(actual!.pValue, expected.pValue, tolerance);
}

Deno.test("testKolmogorovSmirnovExactly() equals scipy when samples are alike, different, tied or apart", () => {
  for (const { a, b, ks } of golden.numeric) {
    const result = testKolmogorovSmirnovExactly(a, b)!;
    assertOutcome(result, ks, 1e-9 * ks.pValue);
    assertEquals(result.method, "exact");
  }
});

Deno.test("testKolmogorovSmirnovExactly() gives the limit when there are too many pairs", () => {
  const a = Float64Array.from({ length: 4000 }, (_, i) => i);
  const b = a.map((v) => v + 40);
  assert(a.length * b.length > mostExactPairs);
  assertEquals(testKolmogorovSmirnovExactly(a, b), {
    ...testKolmogorovSmirnov(a, b)!,
    method: "limit",
  });
});

Deno.test("measureWasserstein() and measureEnergyDistance() equal scipy and Evidently when given two samples", () => {
  for (const { a, b, wasserstein, energy, evidently } of golden.numeric) {
    assertAlmostEquals(measureWasserstein(a, b)!, wasserstein, 1e-12);
    assertAlmostEquals(measureEnergyDistance(a, b)!, energy, 1e-9);
    assertAlmostEquals(measureEnergyDistance(a, b)!, evidently.ed, 1e-9);
    assertAlmostEquals(measureNormedWasserstein(a, b)!, evidently.wasserstein, 1e-12);
  }
});

Deno.test("measureNormedWasserstein() has a scale when the reference is constant", () => {
  assertAlmostEquals(measureNormedWasserstein([2, 2], [3])!, 1000, 1e-9);
});

Deno.test("testWelch() equals scipy when given two samples", () => {
  for (const { a, b, welch } of golden.numeric) {
    assertAlmostEquals(testWelch(a, b)!.statistic, welch.statistic, 1e-10);
    assertAlmostEquals(testWelch(a, b)!.pValue, welch.pValue, 1e-9 * welch.pValue);
  }
});

Deno.test("testWelch() answers for constants and gives null when a side has one value", () => {
  assertEquals(testWelch([7, 7], [7, 7, 7]), { statistic: 0, pValue: 1, effect: 0, degrees: 3 });
  assertEquals(testWelch([7, 7], [8, 8, 8]), {
    statistic: -Infinity,
    pValue: 0,
    effect: 1,
    degrees: 3,
  });
  assertEquals(testWelch([1], [2, 3]), null);
});

Deno.test("testMannWhitney() equals scipy when the p-value is exact or the limit, with and without ties", () => {
  for (const { a, b, mannWhitney } of golden.numeric) {
    assertOutcome(testMannWhitney(a, b), mannWhitney, 1e-9 * mannWhitney.pValue);
  }
});

Deno.test("testMannWhitney() finds nothing when all values are equal", () => {
  assertEquals(testMannWhitney([3, 3], [3, 3, 3]), { statistic: 3, pValue: 1, effect: 0 });
});

Deno.test("testCramerVonMises() equals scipy when the p-value is exact or the limit", () => {
  for (const { a, b, cramer } of golden.numeric) {
    // scipy's series for the limit ends at terms of 1e-7.
    assertOutcome(testCramerVonMises(a, b), cramer, 1e-7);
  }
});

Deno.test("testAndersonDarling() equals scipy when given two samples or three", () => {
  for (const { a, b, anderson } of golden.numeric) {
    assertOutcome(testAndersonDarling([a, b]), anderson, 1e-9);
  }
  assertOutcome(testAndersonDarling(golden.kSamples.samples), golden.kSamples, 1e-9);
});

Deno.test("testAndersonDarling() finds nothing in equal values, gives null for three and throws for one sample", () => {
  assertEquals(testAndersonDarling([[4, 4], [4, 4]])?.pValue, 0.25);
  assertEquals(testAndersonDarling([[1], [2, 3]]), null);
  assertThrows(() => testAndersonDarling([[1, 2]]), RangeError, `"1"`);
});

Deno.test("countBins() gives the bins of Evidently when its distances are measured over them", () => {
  for (const { a, b, evidently } of golden.numeric) {
    const counts = countBins(a, b)!;
    assertAlmostEquals(measureJensenShannon(counts)!, evidently.jensenshannon, 1e-7);
    assertAlmostEquals(measureKullbackLeibler(counts)!, evidently.kl_div, 1e-9);
    // Evidently's Hellinger counts distinct values for Sturges's rule: the same only without ties.
    if (new Set([...a, ...b]).size === a.length + b.length && counts.bins === "sturges") {
      assertAlmostEquals(measureHellinger(counts)!, evidently.hellinger, 1e-9);
    }
  }
});

Deno.test("countBins() throws RangeError when bins of equal width would be infinite", () => {
  const reference = Float64Array.from({ length: 30 }, (_, i) => i);
  assertThrows(() => countBins(reference, [Infinity]), RangeError, `"Infinity"`);
});

Deno.test("countHalves() splits between two values, or at the reference's median when there are more", () => {
  assertEquals(countHalves([5, 5], [5])!.reference, Float64Array.of(2, 0));
  assertEquals(countHalves([5, 9], [9, NaN])!.current, Float64Array.of(0, 1));
  assertEquals(countHalves([1, 2, 3], [2.5, 2])!.current, Float64Array.of(1, 1));
});

Deno.test("testMeanDiscrepancy() equals its formula in numpy when given two samples", () => {
  for (const { a, b, discrepancy } of golden.numeric) {
    const result = testMeanDiscrepancy(a, b, { permutations: 0 })!;
    assertAlmostEquals(result.statistic, discrepancy.statistic, 1e-12);
    assertAlmostEquals(result.kernelVariance, discrepancy.kernelVariance, 1e-12);
  }
});

Deno.test("testMeanDiscrepancy() finds a correlation that no single column shows when rows have two", () => {
  const random = new Random(4);
  const draw = (sign: number) =>
    Float64Array.from(
      Array.from({ length: 300 }, () => {
        const x = random.uniform() - 0.5;
        return [x, sign * x + 0.1 * random.uniform()];
      }).flat(),
    );
  const [up, down, again] = [draw(1), draw(-1), draw(1)];
  assert(testMeanDiscrepancy(up, down, { columns: 2, rows: 150 })!.pValue < 0.01);
  assert(testMeanDiscrepancy(up, again, { columns: 2, rows: 150 })!.pValue > 0.05);
});

Deno.test("testMeanDiscrepancy() rejects about 5 % when nothing differs and repeats itself with a seed", () => {
  const random = new Random(5);
  const draw = () => Float64Array.from({ length: 25 }, () => random.uniform());
  let rejected = 0;
  for (let i = 0; i < 200; i++) {
    if (testMeanDiscrepancy(draw(), draw(), { permutations: 99, seed: i })!.pValue <= 0.05) {
      rejected++;
    }
  }
  assert(rejected >= 2 && rejected <= 20, `${rejected} of 200`);
  const [a, b] = [draw(), draw()];
  assertEquals(testMeanDiscrepancy(a, b, { seed: 3 }), testMeanDiscrepancy(a, b, { seed: 3 }));
});

Deno.test("testMeanDiscrepancy() throws RangeError when an option does not fit", () => {
  assertThrows(() => testMeanDiscrepancy([1, 2, 3], [1, 2], { columns: 2 }), RangeError, "rows of");
  assertThrows(() => testMeanDiscrepancy([1], [2], { rows: 1 }), RangeError, `rows "1"`);
  assertThrows(() => testMeanDiscrepancy([1], [2], { permutations: -1 }), RangeError, `"-1"`);
});

Deno.test("measureWasserstein() and the others ignore NaN, give null for a side without values and keep their input", () => {
  const measures = [
    testKolmogorovSmirnovExactly,
    measureWasserstein,
    measureNormedWasserstein,
    measureEnergyDistance,
    testWelch,
    testMannWhitney,
    testCramerVonMises,
    testMeanDiscrepancy,
    countBins,
    countHalves,
    (a: ArrayLike<number>, b: ArrayLike<number>) => testAndersonDarling([a, b]),
  ];
  const { a, b } = golden.numeric[0];
  const holed = Float64Array.from([NaN, ...b.toReversed(), NaN]);
  const copy = holed.slice();
  for (const measure of measures) {
    assertEquals(measure(a, holed), measure(a, Float64Array.from(b.toReversed())));
    assertEquals(measure(a, [NaN]), null);
    assertEquals(measure([], b), null);
  }
  assertEquals(holed, copy);
});
