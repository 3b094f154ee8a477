import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { testDomain } from "../../../numeric/drift/domain.ts";
import { fitReconstruction } from "../../../numeric/drift/reconstruction.ts";
import { type Matrix, matrix } from "../../../numeric/matrix.ts";
import { Random } from "../../../numeric/random.ts";
import golden from "../../oracles/estimation.json" with { type: "json" };

function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

/** Rows of standard normal values, changed by `change`. */
function draw(
  random: Random,
  rows: number,
  change: (row: number[]) => number[] = (row) => row,
): Matrix {
  const X = matrix(rows, 3);
  for (let i = 0; i < rows; i++) {
    X.data.set(change([drawNormal(random), drawNormal(random), drawNormal(random)]), 3 * i);
  }
  return X;
}

Deno.test("fitReconstruction() equals NannyML when the columns go together in another way", () => {
  const { X, Q, features, components, value, standardError, highThreshold } = golden.reconstruction;
  const read = (values: readonly number[]) =>
    matrix(values.length / features, features, Float32Array.from(values));
  const reconstruction = fitReconstruction(read(X));
  assertEquals(reconstruction.components, components);
  const result = reconstruction.measure(read(Q))!;
  assertAlmostEquals(result.value, value, 1e-9);
  assertAlmostEquals(result.standardError, standardError, 1e-9);
  assertAlmostEquals(result.threshold.low!, golden.reconstruction.lowThreshold, 1e-9);
  assertAlmostEquals(result.threshold.high!, highThreshold, 1e-9);
  assertEquals(result.isAlert, true);
});

Deno.test("fitReconstruction() takes missing values for the mean and sees a constant column leave its constant", () => {
  const random = new Random(1);
  const X = draw(random, 400, ([a, b]) => [a, a + 0.1 * b, 5]);
  const reconstruction = fitReconstruction(X);
  const holed = matrix(1, 3, Float32Array.of(NaN, NaN, 5));
  assertAlmostEquals(reconstruction.measure(holed)!.value, 0, 1e-6);
  assertEquals(reconstruction.measure(matrix(1, 3, Float32Array.of(0, 0, 9)))!.isAlert, true);
  assertEquals(
    reconstruction.measure(draw(random, 300, ([a, b]) => [a, a + 0.1 * b, 5]))!.isAlert,
    false,
  );
});

Deno.test("fitReconstruction() gives null without rows and throws when data or options do not fit", () => {
  const X = draw(new Random(2), 40);
  const reconstruction = fitReconstruction(X);
  assertEquals(reconstruction.measure(matrix(0, 3)), null);
  assertThrows(() => reconstruction.measure(matrix(1, 2)), TypeError, "2 columns");
  assertThrows(() => fitReconstruction(X, { share: 1 }), RangeError, `"1"`);
  assertThrows(() => fitReconstruction(X, { chunks: 50 }), RangeError, "40 rows");
  assertThrows(() => fitReconstruction(matrix(20, 2)), RangeError, "none of them varies");
  const infinite = matrix(20, 1, new Float32Array(20).fill(Infinity));
  assertThrows(() => fitReconstruction(infinite), RangeError, "infinite");
});

Deno.test("testDomain() sees a shift, a scale, a correlation and missing values, and nothing when nothing differs", () => {
  const random = new Random(3);
  const changes: Record<string, [(row: number[]) => number[], boolean]> = {
    nothing: [(row) => row, false],
    shift: [([a, b, c]) => [a + 1, b, c], true],
    scale: [([a, b, c]) => [a, 3 * b, c], true],
    correlation: [([a, b, c]) => [a, 0.9 * a + 0.43 * b, c], true],
    missing: [([a, b, c]) => [a, b, random.uniform() < 0.6 ? NaN : c], true],
  };
  const reference = draw(random, 600);
  for (const [name, [change, isDrifted]] of Object.entries(changes)) {
    const outcome = testDomain(reference, draw(random, 500, change))!;
    assertEquals(outcome.isDrifted, isDrifted, `${name}: ${outcome.area}`);
    assert(outcome.low <= outcome.area && outcome.area <= outcome.high);
  }
});

Deno.test("testDomain() has its interval above 0.5 in at most 2.5 % of samples when nothing differs", () => {
  const random = new Random(4);
  let above = 0;
  for (let s = 0; s < 400; s++) {
    if (testDomain(draw(random, 150), draw(random, 150), { seed: s })!.low > 0.5) above++;
  }
  assert(above <= 10, `${above} of 400`);
});

Deno.test("testDomain() tells columns apart perfectly when they are, and repeats itself with a seed", () => {
  const random = new Random(5);
  const [reference, current] = [
    draw(random, 200),
    draw(random, 300, (row) => row.map((v) => v + 20)),
  ];
  const outcome = testDomain(reference, current, { rows: 100 })!;
  assertEquals([outcome.area, outcome.low], [1, 1]);
  assertEquals(testDomain(reference, current, { rows: 100 }), outcome);
  const constant = matrix(30, 1, new Float32Array(30).fill(7));
  assertEquals(testDomain(constant, constant)!.isDrifted, false);
});

Deno.test("testDomain() gives null for few rows and throws when data or options do not fit", () => {
  const X = draw(new Random(6), 20);
  assertEquals(testDomain(X, matrix(4, 3)), null);
  assertThrows(() => testDomain(X, matrix(20, 2)), TypeError, "same columns");
  assertThrows(() => testDomain(X, X, { folds: 1 }), RangeError, `folds "1"`);
  assertThrows(() => testDomain(X, X, { penalty: 0 }), RangeError, `"0"`);
  assertThrows(() => testDomain(X, X, { threshold: 2 }), RangeError, `"2"`);
  const infinite = matrix(20, 3, new Float32Array(60).fill(Infinity));
  assertThrows(() => testDomain(X, infinite), RangeError, `"Infinity"`);
});
