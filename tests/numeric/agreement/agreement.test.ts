import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { estimateAlpha, measureAlpha } from "../../../numeric/agreement/alpha.ts";
import { compareAucs, estimateAuc } from "../../../numeric/agreement/auc.ts";
import {
  calibrate,
  chooseThreshold,
  crossFit,
  fitCalibrator,
} from "../../../numeric/agreement/calibrators.ts";
import { estimateKappa, measureKappa } from "../../../numeric/agreement/kappa.ts";
import { fitLogistic, predictLogistic } from "../../../numeric/agreement/logistic.ts";
import { testMcNemar } from "../../../numeric/agreement/mcnemar.ts";
import { measureBrier, measureCut } from "../../../numeric/agreement/scores.ts";
import { Random } from "../../../numeric/random.ts";
import golden from "../../oracles/agreement.json" with { type: "json" };

for (const [i, { y, a, b, ...expected }] of golden.cases.entries()) {
  const rows = { scores: a, truth: y };

  Deno.test(`estimateAuc() equals DeLong's definition and scikit-learn, case ${i}`, () => {
    const auc = estimateAuc(rows)!;
    assertAlmostEquals(auc.value, expected.auc, 1e-12);
    assertAlmostEquals(auc.standardError, expected.aucError, 1e-12);
    const { difference, standardError, pValue } = compareAucs(a, b, y)!;
    assertAlmostEquals(difference, expected.difference, 1e-12);
    assertAlmostEquals(standardError, expected.differenceError, 1e-12);
    assertAlmostEquals(pValue, expected.pValue, 1e-10);
  });

  Deno.test(`estimateKappa() equals scikit-learn, its interval SciPy's BCa within the draw, case ${i}`, () => {
    const judged = a.map((score) => score >= 0.5 ? 1 : 0);
    const { value, low, high } = estimateKappa(judged, y, { replicates: 4000, seed: 1 })!;
    assertAlmostEquals(value, expected.kappa, 1e-12);
    assertAlmostEquals(low!, expected.kappaLow, 0.025);
    assertAlmostEquals(high!, expected.kappaHigh, 0.025);
    assertEquals(estimateKappa(judged, y, { seed: 3 }), estimateKappa(judged, y, { seed: 3 }));
  });

  Deno.test(`measureBrier(), measureCut() and testMcNemar() equal scikit-learn and statsmodels, case ${i}`, () => {
    assertAlmostEquals(measureBrier(rows)!, expected.brier, 1e-12);
    const { tpr, tnr } = measureCut(rows, 0.5);
    assertAlmostEquals(tpr!, expected.tpr, 1e-12);
    assertAlmostEquals(tnr!, expected.tnr, 1e-12);
    const [first, second] = [a, b].map((scores) =>
      scores.map((score, i) => (score >= 0.5 ? 1 : 0) === y[i] ? 1 : 0)
    );
    assertAlmostEquals(testMcNemar(first, second).pValue, expected.mcnemar, 1e-12);
  });

  Deno.test(`fitCalibrator() and fitLogistic() equal scikit-learn, case ${i}`, () => {
    const platt = fitCalibrator("platt", rows);
    assert(platt.kind === "platt");
    assertAlmostEquals(platt.slope, expected.platt.slope, 2e-3);
    assertAlmostEquals(platt.intercept, expected.platt.intercept, 2e-3);
    const isotonic = fitCalibrator("isotonic", rows);
    expected.isotonic.at.forEach((x, j) =>
      assertAlmostEquals(calibrate(isotonic, x), expected.isotonic.values[j], 1e-9)
    );
    const ridge = fitLogistic({ x: a.map((score, j) => [score, b[j]]), y }, 2);
    ridge.weights.forEach((weight, j) =>
      assertAlmostEquals(weight, expected.ridge.weights[j], 1e-4)
    );
    assertAlmostEquals(ridge.intercept, expected.ridge.intercept, 1e-4);
  });
}

Deno.test("measureAlpha() equals krippendorff when ratings are missing", () => {
  const ratings = golden.alpha.ratings.map((row) => row.map((value) => value ?? NaN));
  assertAlmostEquals(measureAlpha(ratings, "nominal")!, golden.alpha.nominal, 1e-12);
  assertAlmostEquals(measureAlpha(ratings, "interval")!, golden.alpha.interval, 1e-12);
  assertEquals(measureAlpha([[1, NaN], [NaN, 0]], "nominal"), null);
  assertThrows(() => measureAlpha([[1], [1, 2]], "nominal"), TypeError, "different numbers");
});

Deno.test("measureAlpha() equals the published example of four observers with missing data", () => {
  // Krippendorff 2011, section C; the Python package krippendorff 0.9.0 gives .743421 and .849107.
  const ratings = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NaN, NaN, NaN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NaN, 3],
    [NaN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NaN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NaN],
  ];
  assertAlmostEquals(measureAlpha(ratings, "nominal")!, 0.743421052631579, 1e-12);
  assertAlmostEquals(measureAlpha(ratings, "interval")!, 0.8491071428571428, 1e-12);
  const { value, low, high, units } = estimateAlpha(ratings, "nominal")!;
  assertEquals([value, units], [measureAlpha(ratings, "nominal"), 11]);
  assert(low! > 0.3 && low! < value && value < high! && high! <= 1);
});

Deno.test("estimateAlpha() has an interval that holds the truth in 93 to 97 of 100 samples", () => {
  // Two raters err on their own, each in 20 % of the cases: α is .6² at equal shares.
  const random = new Random(3);
  let held = 0;
  for (let sample = 0; sample < 400; sample++) {
    const truth = Array.from({ length: 150 }, () => random.below(2));
    const raters = [0, 1].map(() => truth.map((t) => random.uniform() < 0.2 ? 1 - t : t));
    const { low, high } = estimateAlpha(raters, "nominal", { replicates: 400, seed: sample })!;
    if (low! <= 0.36 && 0.36 <= high!) held++;
  }
  assert(held >= 0.93 * 400 && held <= 0.97 * 400, `${held} of 400`);
});

Deno.test("estimateAlpha() is null where all ratings are equal, and tells few units by their number", () => {
  assertEquals(estimateAlpha([[1, 1], [1, 1]], "interval"), null);
  assertEquals(measureAlpha([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]], "interval"), null);
  assertEquals(estimateAlpha([[1, NaN], [NaN, 0]], "nominal"), null);
  const one = estimateAlpha([[0, 1, NaN], [0, 1, 1]], "nominal")!;
  assertEquals([one.value, one.units], [1, 2]);
  assertThrows(() => estimateAlpha([[1], [1, 2]], "nominal"), TypeError, "different numbers");
});

Deno.test("estimateKappa() leaves out replicates where κ is undefined, and is null when it always is", () => {
  assertEquals(estimateKappa([1, 1], [1, 1]), null);
  const truth = [0, ...Array(200).fill(1)];
  assertEquals(measureKappa(truth, truth), 1);
  // κ of all-equal draws is undefined: 37 % of them.
  assertEquals(estimateKappa(truth, truth), { value: 1, low: 1, high: 1 });
  assertThrows(() => measureKappa([0, 1], [0]), TypeError);
  assertThrows(() => measureKappa([0.5], [0]), RangeError);
});

Deno.test("crossFit() gives no signal where there is none, and finds a cut near one half where it is naive", () => {
  const random = new Random(5);
  const truth = Array.from({ length: 400 }, () => random.below(2));
  const noise = truth.map(() => random.uniform());
  const { labels } = crossFit("isotonic", { scores: noise, truth }, { seed: 2 })!;
  assert(Math.abs(measureKappa(labels, truth)!) < 0.12);
  // All scores lie above one half, as a small LLM's do, and still separate.
  const shifted = truth.map((t) => 0.7 + 0.05 * t + 0.08 * random.uniform());
  const fit = crossFit("platt", { scores: shifted, truth }, { seed: 2 })!;
  assert(measureKappa(fit.labels, truth)! > 0.5);
  assert(fit.thresholds.every((threshold) => threshold > 0.75 && threshold < 0.8));
  assertEquals(crossFit("platt", { scores: [1, 2, 3], truth: [0, 1, 1] }), null);
});

Deno.test("fitCalibrator() refuses rows of one truth, chooseThreshold() too", () => {
  assertThrows(() => fitCalibrator("platt", { scores: [1, 2], truth: [1, 1] }), RangeError, "same");
  assertThrows(() => chooseThreshold({ scores: [1, 2], truth: [0, 0] }), RangeError, "same");
  assertThrows(() => estimateAuc({ scores: [NaN, 1], truth: [0, 1] }), RangeError, "NaN");
  assertThrows(() => estimateAuc({ scores: [0, 1], truth: [0, 2] }), RangeError, "neither");
});

Deno.test("fitLogistic() stays finite when the rows are separable", () => {
  const rows = { x: [[-1], [1]], y: [0, 1] };
  const { weights } = fitLogistic(rows);
  assert(Number.isFinite(weights[0]) && weights[0] > 0);
  assert(predictLogistic(fitLogistic(rows, 0), [1]) > 0.99);
  assertThrows(() => fitLogistic({ x: [], y: [] }), RangeError, "no rows");
  assertThrows(() => fitLogistic({ x: [[1], [1, 2]], y: [0, 1] }), TypeError, "columns");
});
