import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { Random } from "../../../numeric/random.ts";
import { auto } from "../../../plugins/drift/auto.ts";
import { ks } from "../../../plugins/drift/ks.ts";
import { methods } from "../../../plugins/drift/methods.ts";
import golden from "../../oracles/drift.json" with { type: "json" };

function compare(name: string, a: ArrayLike<number>, b: ArrayLike<number>) {
  const method = methods.find((plugin) => plugin.name === name)!;
  return method.compare(Float64Array.from(a), Float64Array.from(b))!;
}

function repeat(count: number, values: readonly number[]): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => values[i % values.length]);
}

Deno.test("methods give the statistics of Evidently and decide at 0.1 when they are distances", () => {
  for (const { a, b, evidently } of golden.numeric) {
    for (const name of ["wasserstein", "jensenshannon", "kl_div", "ed"] as const) {
      const { statistic, isDrifted } = compare(name, a, b);
      assertAlmostEquals(statistic, evidently[name], 1e-7);
      assertEquals(isDrifted, evidently[name] >= 0.1);
    }
  }
});

Deno.test("methods give the p-values of scipy and decide at 0.05 when they are tests", () => {
  for (const { a, b, welch, mannWhitney, cramer, anderson } of golden.numeric) {
    for (
      const [name, { pValue }] of [
        ["t_test", welch],
        ["mannw", mannWhitney],
        ["cramer_von_mises", cramer],
        ["anderson", anderson],
      ] as const
    ) {
      const result = compare(name, a, b);
      assertAlmostEquals(result.pValue!, pValue, 1e-7);
      assertEquals(result.isDrifted, pValue < 0.05);
      if (name !== "anderson") assert(result.statistic >= 0 && result.statistic <= 1);
    }
  }
});

Deno.test("methods give the p-values of scipy when the columns are binary or categories", () => {
  for (const { reference, current, chiSquared, likelihoodRatio, z, fisher } of golden.tables) {
    const spread = (counts: readonly number[]) => counts.flatMap((n, code) => Array(n).fill(code));
    const [a, b] = [spread(reference), spread(current)];
    assertAlmostEquals(compare("chisquare", a, b).pValue!, chiSquared.pValue, 1e-10);
    assertAlmostEquals(compare("g_test", a, b).pValue!, likelihoodRatio.pValue, 1e-10);
    if (z === undefined) continue;
    assertAlmostEquals(compare("z", a, b).pValue!, z, 1e-10);
    assertAlmostEquals(compare("fisher_exact", a, b).pValue!, fisher!, 1e-10);
  }
});

Deno.test("methods answer for one value a side, or say that they cannot, when there is no more", () => {
  for (const { name, compare } of methods) {
    const result = compare(Float64Array.of(1), Float64Array.of(2));
    if (["t_test", "anderson", "empirical_mmd"].includes(name)) assertEquals(result, null, name);
    else assert(Number.isFinite(result!.statistic), name);
  }
});

Deno.test("auto runs the method that it names when rows and distinct values vary", () => {
  const shift = (values: Float64Array) => values.map((value) => value + 0.5);
  const random = new Random(15);
  const many = Float64Array.from({ length: 400 }, () => random.uniform());
  const cases = [
    ["ks", many, shift(many)],
    ["chisquare", repeat(400, [1, 2, 3]), repeat(300, [1, 1, 2, 3])],
    ["z", repeat(400, [0, 1]), repeat(300, [0, 1, 1])],
    ["wasserstein", repeat(2000, [...many]), shift(many)],
    ["jensenshannon", repeat(2000, [1, 2, 3]), repeat(300, [1, 1, 2, 3])],
  ] as const;
  for (const [method, reference, current] of cases) {
    const result = auto.compare(reference, current)!;
    assertEquals(result.method, method);
    assert(result.path.at(-1)!.startsWith(`${method}: drifted when`));
    const own = methods.find(({ name }) => name === method)?.compare(reference, current);
    if (own) assertEquals([result.statistic, result.pValue], [own.statistic, own.pValue]);
    else assertEquals(result.statistic, ks.compare(reference, current)!.statistic);
  }
});
