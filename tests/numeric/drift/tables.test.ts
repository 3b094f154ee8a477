import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { countCategories } from "../../../numeric/drift/bins.ts";
import {
  measureHellinger,
  measureJensenShannon,
  measureKullbackLeibler,
  measureLInfinity,
  measureTotalVariation,
} from "../../../numeric/drift/divergences.ts";
import { drawTable } from "../../../numeric/drift/table_draws.ts";
import {
  testByPermutation,
  testChiSquared,
  testFisher,
  testFisherByDraws,
  testLikelihoodRatio,
  testProportions,
} from "../../../numeric/drift/tables.ts";
import { Random } from "../../../numeric/random.ts";
import golden from "../../oracles/drift.json" with { type: "json" };

const tables = golden.tables.map((table) => ({
  ...table,
  reference: Float64Array.from(table.reference),
  current: Float64Array.from(table.current),
}));

Deno.test("testChiSquared() and testLikelihoodRatio() equal scipy when bins are many, few or empty", () => {
  for (const table of tables) {
    const chi = testChiSquared(table)!;
    assertAlmostEquals(chi.statistic, table.chiSquared.statistic, 1e-10);
    assertAlmostEquals(chi.pValue, table.chiSquared.pValue, 1e-9 * table.chiSquared.pValue);
    assertAlmostEquals(chi.effect, table.cramerV, 1e-12);
    const g = testLikelihoodRatio(table)!;
    assertAlmostEquals(g.statistic, table.likelihoodRatio.statistic, 1e-10);
    assertAlmostEquals(g.pValue, table.likelihoodRatio.pValue, 1e-9 * table.likelihoodRatio.pValue);
  }
});

Deno.test("testFisher() equals scipy and testProportions() Evidently when there are two bins", () => {
  const pairs = tables.filter((table) => table.z !== undefined);
  assertEquals(pairs.length, 3);
  for (const table of pairs) {
    assertAlmostEquals(testFisher(table)!.pValue, table.fisher!, 1e-10 * table.fisher!);
    assertAlmostEquals(testProportions(table)!.pValue, table.z!, 1e-9 * table.z!);
  }
});

Deno.test("measureJensenShannon() and the other distances equal scipy when given counts", () => {
  for (const table of tables) {
    assertAlmostEquals(measureJensenShannon(table)!, table.jensenShannon, 1e-12);
    assertAlmostEquals(measureHellinger(table)!, table.hellinger, 1e-12);
    assertAlmostEquals(measureTotalVariation(table)!, table.totalVariation, 1e-12);
    assertAlmostEquals(measureLInfinity(table)!, table.lInfinity, 1e-12);
  }
});

Deno.test("testFisherByDraws() and testByPermutation() come within their noise of all tables counted when those are few", () => {
  const small = tables.filter((table) => table.freemanHalton !== undefined);
  assert(small.length >= 3);
  for (const table of small) {
    const replicates = 20_000;
    for (
      const [drawn, exact] of [
        [testFisherByDraws(table, { replicates })!.pValue, table.freemanHalton!],
        [
          testByPermutation(table, measureTotalVariation, { replicates })!.pValue,
          table.permutation!,
        ],
      ]
    ) {
      assertAlmostEquals(drawn, exact, 4 * Math.sqrt(exact * (1 - exact) / replicates) + 1e-4);
    }
  }
});

Deno.test("drawTable() keeps the margins and has the mean and variance of its law when counts are large", () => {
  const random = new Random(6);
  const counts = {
    reference: Float64Array.of(3000, 500, 500),
    current: Float64Array.of(100, 900, 0),
  };
  const n = 4000;
  const total = 5000;
  const marked = 1400;
  const draws = Array.from({ length: 4000 }, () => {
    const table = drawTable(counts, random);
    assertEquals(table.reference.reduce((a, b) => a + b), n);
    table.reference.forEach((r, bin) =>
      assertEquals(r + table.current[bin], counts.reference[bin] + counts.current[bin])
    );
    return table.reference[1];
  });
  const mean = draws.reduce((a, b) => a + b) / draws.length;
  const variance = draws.reduce((sum, d) => sum + (d - mean) ** 2, 0) / draws.length;
  const law = n * marked / total * (1 - marked / total) * (total - n) / (total - 1);
  assertAlmostEquals(mean, n * marked / total, 4 * Math.sqrt(law / draws.length));
  assertAlmostEquals(variance, law, 0.1 * law);
});

Deno.test("testByPermutation() takes millions of values as it takes thousands when it draws", () => {
  const counts = {
    reference: Float64Array.of(3_000_000, 2_000_000),
    current: Float64Array.of(2_999_000, 2_001_000),
  };
  const { pValue } = testByPermutation(counts, measureTotalVariation)!;
  assertAlmostEquals(pValue, testProportions(counts)!.pValue, 0.05);
});

Deno.test("testChiSquared() and the others give null when a side is empty and no drift when a bin is all there is", () => {
  const empty = { reference: Float64Array.of(0, 0), current: Float64Array.of(1, 2) };
  const one = { reference: Float64Array.of(4, 0), current: Float64Array.of(3, 0) };
  for (const test of [testChiSquared, testLikelihoodRatio, testProportions, testFisher]) {
    assertEquals(test(empty), null);
    assertEquals(test(one)?.pValue, 1);
  }
  assertEquals(testFisherByDraws(empty), null);
  assertEquals(testFisherByDraws(one)?.pValue, 1);
  for (
    const measure of [
      measureJensenShannon,
      measureKullbackLeibler,
      measureHellinger,
      measureTotalVariation,
      measureLInfinity,
    ]
  ) {
    assertEquals(measure(empty), null);
    assertEquals(measure(one), 0);
  }
});

Deno.test("countCategories() counts texts and numbers in order of appearance when some are missing", () => {
  assertEquals(countCategories(["b", null, "a"], ["a", "c", "a"]), {
    reference: Float64Array.of(1, 1, 0),
    current: Float64Array.of(0, 2, 1),
    bins: "categories",
  });
  assertEquals(countCategories([NaN], [1]), null);
});

Deno.test("testFisher() and the others throw when bins or counts do not fit", () => {
  const wide = { reference: Float64Array.of(1, 2, 3), current: Float64Array.of(1, 2, 3) };
  const odd = { reference: Float64Array.of(1, 2), current: Float64Array.of(1) };
  const half = { reference: Float64Array.of(0.5, 1), current: Float64Array.of(1, 1) };
  assertThrows(() => testFisher(wide), RangeError, `"3"`);
  assertThrows(() => testProportions(wide), RangeError, `"3"`);
  assertThrows(() => testChiSquared(odd), TypeError, "same bins");
  assertThrows(() => measureHellinger(odd), TypeError, "same bins");
  assertThrows(() => testFisher(half), RangeError, `"0.5"`);
  assertThrows(
    () => testByPermutation(wide, measureLInfinity, { replicates: -1 }),
    RangeError,
    `"-1"`,
  );
});
