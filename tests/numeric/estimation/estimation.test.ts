import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import type { Estimate } from "../../../numeric/estimation/bands.ts";
import {
  measureCalibrationError,
  needsCalibration,
} from "../../../numeric/estimation/calibration.ts";
import { fitClassifierEstimator } from "../../../numeric/estimation/classifier.ts";
import { fitIsotonic } from "../../../numeric/estimation/isotonic.ts";
import { rankFeatures } from "../../../numeric/estimation/ranking.ts";
import { fitRegressorEstimator } from "../../../numeric/estimation/regressor.ts";
import { fitBoostedTrees } from "../../../numeric/estimation/boosted_trees.ts";
import { type Matrix, matrix } from "../../../numeric/matrix.ts";
import { Random } from "../../../numeric/random.ts";
import golden from "../../oracles/estimation.json" with { type: "json" };

function toMatrix(values: readonly number[], cols: number): Matrix {
  return matrix(values.length / cols, cols, Float32Array.from(values));
}

function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

for (const { name, k, isCalibrated, P, Q, y, metrics, ...expected } of golden.classifiers) {
  Deno.test(`fitClassifierEstimator() equals NannyML when ${k} classes have ${name} scores`, () => {
    const estimator = fitClassifierEstimator(
      { P: toMatrix(P, k), y: Int32Array.from(y) },
      { calibrate: isCalibrated },
    );
    const result = estimator.estimate(toMatrix(Q, k))!;
    for (
      const [ours, theirs] of [
        [result.accuracy, metrics.accuracy],
        [result.precision, metrics.precision],
        [result.recall, metrics.recall],
        [result.f1, metrics.f1],
        [result.rocAuc, metrics.roc_auc],
      ] as [Estimate, typeof metrics.accuracy][]
    ) {
      // NannyML rounds the sums under the curve to five places.
      assertAlmostEquals(ours.value, theirs.value, 2e-6);
      assertAlmostEquals(ours.standardError, theirs.standardError, 1e-9);
      assertAlmostEquals(ours.low, theirs.low, 2e-6);
      assertAlmostEquals(ours.high, theirs.high, 2e-6);
      assertAlmostEquals(ours.threshold.low!, theirs.lowThreshold, 1e-9);
      assertAlmostEquals(ours.threshold.high!, theirs.highThreshold, 1e-9);
      assertEquals(ours.isAlert, theirs.isAlert);
    }
    result.confusion.flat().forEach((count, cell) =>
      assertAlmostEquals(count, expected.confusion[cell], 1e-4)
    );
    result.confusionErrors.flat().forEach((error, cell) =>
      assertAlmostEquals(error, expected.confusionErrors[cell], 1e-9)
    );
  });
}

/** A model that knows the truth's law, on a feature with this mean and deviation. */
function simulate(
  random: Random,
  { rows, mean, std }: { rows: number; mean: number; std: number },
) {
  const P = matrix(rows, 2);
  const y = new Int32Array(rows);
  for (let i = 0; i < rows; i++) {
    const probability = Math.fround(1 / (1 + Math.exp(-2 * (mean + std * drawNormal(random)))));
    P.data.set([1 - probability, probability], 2 * i);
    y[i] = random.uniform() < probability ? 1 : 0;
  }
  return { P, y };
}

function countCorrect({ P, y }: { P: Matrix; y: Int32Array }): number {
  return y.reduce(
    (sum, truth, i) => sum + ((P.data[2 * i + 1] > 0.5 ? 1 : 0) === truth ? 1 : 0),
    0,
  );
}

Deno.test("fitClassifierEstimator() has the realized accuracy in its band in 95 % of shifts when only the features move", () => {
  const random = new Random(12);
  const estimator = fitClassifierEstimator(simulate(random, { rows: 5000, mean: 0, std: 1 }));
  let inside = 0;
  let moved = 0;
  for (let s = 0; s < 200; s++) {
    const shift = { rows: 500, mean: 2 * random.uniform() - 1, std: 0.3 + random.uniform() };
    const later = simulate(random, shift);
    const { accuracy } = estimator.estimate(later.P)!;
    const realized = countCorrect(later) / later.y.length;
    if (realized >= accuracy!.low && realized <= accuracy!.high) inside++;
    if (accuracy!.isAlert) moved++;
  }
  assert(inside >= 190, `${inside} of 200`);
  assert(moved > 20, "the shifts do change the accuracy");
});

Deno.test("fitClassifierEstimator() decides on calibration by itself when not told", () => {
  const sharp = golden.classifiers[0];
  const { isCalibrated } = fitClassifierEstimator({
    P: toMatrix(sharp.P, 2),
    y: Int32Array.from(sharp.y),
  });
  assertEquals(isCalibrated, [true, true]);
});

Deno.test("fitClassifierEstimator() gives null without rows, and no area when scores allow none", () => {
  const { P, y } = golden.classifiers[1];
  const estimator = fitClassifierEstimator(
    { P: toMatrix(P, 2), y: Int32Array.from(y) },
    { calibrate: false },
  );
  assertEquals(estimator.estimate(matrix(0, 2)), null);
  const certain = estimator.estimate(matrix(2, 2, Float32Array.of(0, 1, 0, 1)))!;
  assertEquals([certain.rocAuc, certain.accuracy!.value], [null, 1]);
});

Deno.test("fitClassifierEstimator() throws when shapes, classes or probabilities do not fit", () => {
  const P = matrix(20, 2, new Float32Array(40).fill(0.5));
  const y = Int32Array.from({ length: 20 }, (_, i) => i % 2);
  const estimator = fitClassifierEstimator({ P, y });
  assertThrows(() => fitClassifierEstimator({ P: matrix(20, 1), y }), RangeError, `"1" classes`);
  assertThrows(() => fitClassifierEstimator({ P, y: y.subarray(1) }), TypeError, "19 rows");
  assertThrows(() => fitClassifierEstimator({ P, y: y.map(() => 2) }), RangeError, "class 2");
  assertThrows(() => fitClassifierEstimator({ P, y }, { chunks: 1 }), RangeError, `"1"`);
  assertThrows(() => fitClassifierEstimator({ P, y }, { chunks: 21 }), RangeError, "20 rows");
  assertThrows(() => estimator.estimate(matrix(1, 3)), TypeError, "3 classes");
  assertThrows(() => estimator.calibrate(matrix(1, 3)), TypeError, "3 classes");
  assertThrows(() => estimator.estimate(matrix(1, 2), Int32Array.of()), TypeError, "0 predictions");
  assertThrows(() => estimator.estimate(matrix(1, 2), Int32Array.of(5)), RangeError, "class 5");
  assertThrows(() => estimator.estimate(matrix(1, 2, Float32Array.of(NaN, 1))), RangeError, "NaN");
});

Deno.test("fitIsotonic() equals scikit-learn when x has ties and asked between and beyond them", () => {
  const { x, y, at, values } = golden.isotonic;
  const fit = fitIsotonic(x, y);
  at.forEach((point, i) => assertAlmostEquals(fit.at(point), values[i], 1e-12));
  assertEquals(fit.at(NaN), NaN);
});

Deno.test("fitIsotonic() throws when there is nothing to fit", () => {
  assertThrows(() => fitIsotonic([], []), RangeError, "no rows");
  assertThrows(() => fitIsotonic([1], []), TypeError, "0 values over 1");
  assertThrows(() => fitIsotonic([NaN], [1]), RangeError, "row 0 is NaN");
});

Deno.test("measureCalibrationError() equals NannyML when rows are few or many", () => {
  for (const { scores, truth, error } of golden.calibrationError) {
    assertAlmostEquals(measureCalibrationError(scores, truth)!, error, 1e-12);
  }
  assertEquals(measureCalibrationError([0.5, 0.5, 0.5], [0, 1, 0]), null);
  assertThrows(() => measureCalibrationError([1], []), TypeError, "0 rows");
});

Deno.test("needsCalibration() is false when a class is absent, rare or already separated", () => {
  const scores = Float64Array.from({ length: 100 }, (_, i) => i / 100);
  assertEquals(needsCalibration(scores, scores.map(() => 1)), false);
  assertEquals(needsCalibration(scores, scores.map((_, i) => i === 5 ? 1 : 0)), false);
  assertEquals(needsCalibration(scores, scores.map((_, i) => i < 80 ? 0 : 1)), false);
  assertThrows(() => needsCalibration(scores, []), TypeError, "0 rows");
});

Deno.test("fitBoostedTrees() equals scikit-learn's boosting of stumps when features have few values", () => {
  const { X, features, y, predicted } = golden.stumps;
  const inputs = toMatrix(X, features);
  const model = fitBoostedTrees(inputs, Float64Array.from(y), { rounds: 60 });
  model.predict(inputs).forEach((value, i) => assertAlmostEquals(value, predicted[i], 1e-9));
});

Deno.test("fitBoostedTrees() gives missing values a side of their own, and the mean when nothing can be split", () => {
  const X = matrix(6, 1, Float32Array.of(1, 1, 2, 2, NaN, NaN));
  const model = fitBoostedTrees(X, Float64Array.of(0, 0, 1, 1, 8, 8));
  model.predict(X).forEach((value, i) => assertAlmostEquals(value, [0, 0, 1, 1, 8, 8][i], 1e-3));
  const flat = fitBoostedTrees(matrix(2, 1), Float64Array.of(1, 3));
  assertEquals(flat.predict(matrix(1, 1)), Float64Array.of(2));
});

Deno.test("fitBoostedTrees() throws when data or options do not fit", () => {
  const X = matrix(2, 1);
  const y = Float64Array.of(1, 2);
  assertThrows(() => fitBoostedTrees(X, y.subarray(1)), TypeError, "1 targets");
  assertThrows(() => fitBoostedTrees(matrix(0, 1), new Float64Array()), RangeError, "no rows");
  assertThrows(() => fitBoostedTrees(X, Float64Array.of(1, Infinity)), RangeError, `"Infinity"`);
  assertThrows(() => fitBoostedTrees(X, y, { rounds: -1 }), RangeError, `rounds "-1"`);
  assertThrows(() => fitBoostedTrees(X, y, { rate: 0 }), RangeError, `"0"`);
});

Deno.test("fitRegressorEstimator() has NannyML's standard errors when given its reference", () => {
  const { y, predicted, rows, mae, rmse } = golden.regressionErrors;
  const X = matrix(y.length, 1);
  const estimator = fitRegressorEstimator({
    X,
    y: Float64Array.from(y),
    predicted: Float64Array.from(predicted),
  });
  const result = estimator.estimate(matrix(rows, 1), new Float64Array(rows))!;
  assertAlmostEquals(result.mae.standardError, mae, 1e-12);
  assertAlmostEquals(result.rmse.standardError, rmse, 1e-12);
});

Deno.test("fitRegressorEstimator() has the realized error in its band in 95 % of shifts when only the features move", () => {
  const random = new Random(13);
  const draw = (rows: number, low: number, high: number) => {
    const X = matrix(rows, 2);
    const y = new Float64Array(rows);
    const predicted = new Float64Array(rows);
    for (let i = 0; i < rows; i++) {
      const x = low + (high - low) * random.uniform();
      X.data.set([x, random.uniform()], 2 * i);
      predicted[i] = 3 * x;
      y[i] = predicted[i] + (0.2 + x) * drawNormal(random);
    }
    return { X, y, predicted };
  };
  const estimator = fitRegressorEstimator(draw(5000, 0, 1));
  let inside = 0;
  for (let s = 0; s < 100; s++) {
    const low = random.uniform() / 2;
    const later = draw(400, low, low + 0.5);
    const { mae } = estimator.estimate(later.X, later.predicted)!;
    const realized = later.y.reduce((sum, y, i) => sum + Math.abs(y - later.predicted[i]), 0) / 400;
    if (realized >= mae.low && realized <= mae.high) inside++;
  }
  assert(inside >= 95, `${inside} of 100`);
});

Deno.test("fitRegressorEstimator() gives null without rows and throws when data do not fit", () => {
  const X = matrix(10, 1);
  const zeros = new Float64Array(10);
  const estimator = fitRegressorEstimator({ X, y: zeros, predicted: zeros });
  assertEquals(estimator.estimate(matrix(0, 1), new Float64Array()), null);
  assertEquals(estimator.estimate(X, zeros)!.rmse.value, 0);
  assertThrows(() => estimator.estimate(matrix(1, 2), zeros.subarray(9)), TypeError, "2 columns");
  assertThrows(() => estimator.expectErrors(X, zeros.subarray(9)), TypeError, "1 predictions");
  assertThrows(
    () => fitRegressorEstimator({ X, y: zeros.subarray(1), predicted: zeros }),
    TypeError,
    "9 true values",
  );
  assertThrows(
    () => fitRegressorEstimator({ X, y: zeros.map(() => NaN), predicted: zeros }),
    RangeError,
    `row "0"`,
  );
});

Deno.test("rankFeatures() puts the feature first that the loss depends on when another one drifts further", () => {
  const random = new Random(14);
  const draw = (shifts: readonly number[]) => {
    const X = matrix(2000, 3);
    const losses = new Float64Array(2000);
    for (let i = 0; i < 2000; i++) {
      X.data.set(shifts.map((shift) => shift + drawNormal(random)), 3 * i);
      losses[i] = 1 / (1 + Math.exp(-X.data[3 * i + 1]));
    }
    return { X, losses };
  };
  // The first feature moves most and does not matter; the second moves less and does.
  const ranking = rankFeatures(draw([0, 0, 0]), draw([3, 0.7, 0]))!;
  assertEquals(ranking.features[0].feature, 1);
  assertAlmostEquals(ranking.features[0].share!, 1, 0.1);
  for (const { share } of ranking.features.slice(1)) assert(Math.abs(share!) < 0.15);
  const better = rankFeatures(draw([0, 0, 0]), draw([3, -0.7, 0]))!;
  assert(better.change < 0);
  assertEquals(better.features[0].feature, 1);
});

Deno.test("rankFeatures() counts missing values as a bin and gives null or throws when rows do not fit", () => {
  const reference = { X: matrix(2, 1, Float32Array.of(1, NaN)), losses: Float64Array.of(0, 1) };
  const current = { X: matrix(1, 1, Float32Array.of(NaN)), losses: Float64Array.of(1) };
  assertEquals(rankFeatures(reference, current), {
    change: 0.5,
    features: [{ feature: 0, explained: 0.5, share: 1 }],
  });
  assertEquals(rankFeatures(reference, reference)?.features[0].share, null);
  const none = { X: matrix(0, 1), losses: new Float64Array() };
  assertEquals(rankFeatures(reference, none), null);
  assertThrows(() => rankFeatures(reference, { ...none, X: matrix(1, 1) }), TypeError, "0 losses");
  assertThrows(() => rankFeatures(reference, { ...none, X: matrix(0, 2) }), TypeError, "1 columns");
});
