import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { fitBoostedTrees } from "../../../numeric/estimation/boosted_trees.ts";
import { fitClassifierEstimator } from "../../../numeric/estimation/classifier.ts";
import { fitLossEstimator } from "../../../numeric/estimation/loss_estimator.ts";
import { lossNames, measureLosses } from "../../../numeric/estimation/losses.ts";
import { fitRegressorEstimator } from "../../../numeric/estimation/regressor.ts";
import { fitSupport } from "../../../numeric/estimation/support.ts";
import { type Matrix, matrix, takeRows } from "../../../numeric/matrix.ts";
import { scoreClassifier } from "../../../numeric/metrics.ts";
import { Random } from "../../../numeric/random.ts";
import golden from "../../oracles/direct_loss.json" with { type: "json" };

const mean = (values: ArrayLike<number>) =>
  Array.from(values).reduce((a, b) => a + b, 0) / values.length;

/** Rows of one part of the golden data. */
function chunkOf(part: number): number[] {
  return Array.from({ length: golden.chunk }, (_, i) => part * golden.chunk + i);
}

function toFeatures(
  { a, b, c }: Readonly<Record<"a" | "b" | "c", readonly number[]>>,
): Matrix {
  return matrix(a.length, 3, Float32Array.from(a.flatMap((value, i) => [value, b[i], c[i]])));
}

function toProbabilities(q: readonly number[]): Matrix {
  return matrix(q.length, 2, Float32Array.from(q.flatMap((value) => [1 - value, value])));
}

Deno.test("fitBoostedTrees() equals scikit-learn's trees of six leaves when features have few values", () => {
  const { X, features, y, predicted } = golden.trees;
  const inputs = matrix(y.length, features, Float32Array.from(X));
  const model = fitBoostedTrees(inputs, Float64Array.from(y), {
    rounds: 40,
    leaves: 6,
    fewest: 7,
  });
  model.predict(inputs).forEach((value, i) => assertAlmostEquals(value, predicted[i], 1e-9));
  assertThrows(
    () => fitBoostedTrees(inputs, Float64Array.from(y), { leaves: 1 }),
    RangeError,
    `leaves "1"`,
  );
});

Deno.test("fitRegressorEstimator() is as near to NannyML's DLE as that is to the truth when features matter together", () => {
  const { reference, later, regression: metrics } = golden;
  const estimator = fitRegressorEstimator({
    X: toFeatures(reference),
    predicted: Float64Array.from(reference.p),
    y: Float64Array.from(reference.y),
  });
  metrics.mae.values.forEach((theirs, part) => {
    const rows = chunkOf(part);
    const predicted = Float64Array.from(rows, (i) => later.p[i]);
    const { mae, rmse } = estimator.estimate(takeRows(toFeatures(later), rows), predicted)!;
    // LightGBM's trees are not ours: they are alike to a fraction of a standard error.
    assertAlmostEquals(mae.value, theirs, 0.5 * metrics.mae.standardError);
    assertAlmostEquals(mae.standardError, metrics.mae.standardError, 1e-9);
    assertAlmostEquals(mae.threshold.low!, metrics.mae.lowThreshold, 1e-9);
    assertAlmostEquals(mae.threshold.high!, metrics.mae.highThreshold, 1e-9);
    assertAlmostEquals(rmse.value, metrics.rmse.values[part], 0.07);
    assertAlmostEquals(rmse.standardError, metrics.rmse.standardError, 1e-9);
    const realized = mean(rows.map((i) => Math.abs(later.y[i] - later.p[i])));
    assert(mae.low <= realized && realized <= mae.high);
  });
});

Deno.test("fitLossEstimator() is near to NannyML's DLE of a classifier's log loss", async () => {
  const { reference, later, logLoss: theirs } = golden;
  const estimator = await fitLossEstimator({
    X: toFeatures(reference),
    P: toProbabilities(reference.q),
    y: Int32Array.from(reference.truth),
  });
  assertAlmostEquals(estimator.thresholds.logLoss.low!, theirs.lowThreshold, 1e-6);
  assertAlmostEquals(estimator.thresholds.logLoss.high!, theirs.highThreshold, 1e-6);
  const P = toProbabilities(later.q);
  const rows = estimator.expect(toFeatures(later), P);
  const losses = measureLosses(P, Int32Array.from(later.truth));
  theirs.values.forEach((value, part) => {
    const { logLoss } = rows.estimate(chunkOf(part))!;
    assertAlmostEquals(logLoss!.value, value, 0.5 * theirs.standardError);
    const realized = mean(chunkOf(part).map((i) => losses.logLoss[i]));
    assert(logLoss!.low <= realized && realized <= logLoss!.high);
  });
});

/**
 * A model that is sure of itself everywhere, and mostly wrong where the first feature is large and the
 * second one is, too; `a` and `b` bound the features.
 */
function simulate(
  random: Random,
  rows: number,
  { a = [0, 1], b = [0, 1] }: { readonly a?: number[]; readonly b?: number[] } = {},
) {
  const X = matrix(rows, 2);
  const P = matrix(rows, 3);
  const y = new Int32Array(rows);
  for (let i = 0; i < rows; i++) {
    const x = a[0] + (a[1] - a[0]) * random.uniform();
    const z = b[0] + (b[1] - b[0]) * random.uniform();
    X.data.set([x, z], 2 * i);
    const sure = 0.8 + 0.18 * random.uniform();
    const predicted = random.below(3);
    P.data.fill((1 - sure) / 2, 3 * i, 3 * i + 3);
    P.data[3 * i + predicted] = sure;
    const right = x > 0.7 && z > 0.5 ? 0.2 : sure;
    y[i] = random.uniform() < right ? predicted : (predicted + 1 + random.below(2)) % 3;
  }
  return { X, P, y };
}

function countCorrect({ P, y }: { readonly P: Matrix; readonly y: Int32Array }): number {
  return y.reduce(
    (sum, truth, i) =>
      sum + (P.data[3 * i + truth] === Math.max(...P.data.subarray(3 * i, 3 * i + 3)) ? 1 : 0),
    0,
  );
}

Deno.test("fitLossEstimator() has the realized losses in its band in 95 % of shifts within the support, where the confidence tells nothing", async () => {
  const random = new Random(31);
  const reference = simulate(random, 4000);
  const estimator = await fitLossEstimator(reference);
  const confident = fitClassifierEstimator(reference);
  let inside = 0;
  let moved = 0;
  let missed = 0;
  let widths = 0;
  for (let s = 0; s < 200; s++) {
    const [low, least] = [0.65 * random.uniform(), 0.65 * random.uniform()];
    const later = simulate(random, 400, { a: [low, low + 0.35], b: [least, least + 0.35] });
    const estimate = estimator.expect(later.X, later.P).estimate()!;
    const realized = measureLosses(later.P, later.y);
    for (const name of lossNames) {
      const { low, high, isAlert } = estimate[name]!;
      if (low <= mean(realized[name]) && mean(realized[name]) <= high) inside++;
      if (isAlert) moved++;
      if (name === "brier") widths += (high - low) / 200;
    }
    const { accuracy } = confident.estimate(later.P)!;
    const share = countCorrect(later) / later.y.length;
    if (share < accuracy!.low || share > accuracy!.high) missed++;
  }
  assert(inside >= 380, `${inside} of 400`);
  assert(moved > 100, `${moved} of the shifts are seen`);
  // The losses go from 0.2 to 1.2 with the place: a band that covers by being wide would say nothing.
  assert(widths < 0.35, `bands are ${widths} wide`);
  assert(missed > 100, `the band of CBPE misses the truth in ${missed} of 200`);
});

Deno.test("fitLossEstimator() widens the band where losses differ from chunk to chunk, few rows are known, or rows are a sample", async () => {
  const random = new Random(32);
  const steady = simulate(random, 2000);
  // In every other fifth of the reference the model is worse, and no feature tells.
  const restless = {
    ...steady,
    y: steady.y.map((truth, i) =>
      Math.floor(i / 200) % 2 && random.uniform() < 0.3 ? (truth + 1) % 3 : truth
    ),
  };
  const later = simulate(random, 500);
  const widthOf = async (reference: typeof steady, options = {}, of = 500) => {
    const estimator = await fitLossEstimator(reference, options);
    const { brier } = estimator.expect(later.X, later.P).estimate(undefined, { of })!;
    return brier!.standardError;
  };
  const width = await widthOf(steady);
  assert(await widthOf(restless) > 1.5 * width);
  assert(await widthOf(steady, { mostRows: 300 }) > width);
  assert(await widthOf(steady, {}, 100_000) > width);
});

Deno.test("fitLossEstimator() says nothing of rows beyond the support, and how many there are", async () => {
  const random = new Random(33);
  const estimator = await fitLossEstimator(simulate(random, 1000));
  const inner = simulate(random, 90, { a: [0.1, 0.9], b: [0.1, 0.9] });
  const outer = simulate(random, 90, { a: [2, 3] });
  const rows = estimator.expect(outer.X, outer.P);
  assertEquals(rows.estimate(), {
    rows: 90,
    outsideShare: 1,
    outsideFeature: 0,
    logLoss: null,
    brier: null,
  });
  const mixed = matrix(100, 2, Float32Array.of(...inner.X.data, ...outer.X.data.slice(0, 20)));
  const P = matrix(100, 3, Float32Array.of(...inner.P.data, ...outer.P.data.slice(0, 30)));
  const some = estimator.expect(mixed, P).estimate()!;
  assertEquals(some.outsideShare, 0.1);
  assert(some.logLoss !== null);
  const missing = matrix(90, 2, Float32Array.from(inner.X.data, (x, at) => at % 2 ? x : NaN));
  assertEquals(estimator.expect(missing, inner.P).estimate()!.logLoss, null);
  assertEquals(fitSupport(missing).findOutside(missing), new Uint8Array(180));
});

Deno.test("fitLossEstimator() gives the same estimates each time, of a bounded number of rows", async () => {
  const random = new Random(34);
  const [reference, later] = [simulate(random, 1000), simulate(random, 100)];
  const [first, second] = await Promise.all([1, 2].map(async () => {
    const estimator = await fitLossEstimator(reference, { mostRows: 500 });
    assertEquals(estimator.rows, 500);
    return estimator.expect(later.X, later.P).estimate();
  }));
  assertEquals(first, second);
  assertEquals((await fitLossEstimator(reference)).expect(later.X, later.P).estimate([]), null);
});

Deno.test("fitLossEstimator() stops when its pause throws, and throws when data do not fit", async () => {
  const { X, P, y } = simulate(new Random(35), 100);
  let pauses = 0;
  const pause = () => {
    if (++pauses === 5) throw new Error("No time");
  };
  await assertRejects(() => fitLossEstimator({ X, P, y }, { pause }), Error, "No time");
  assertEquals(pauses, 5);
  const few = takeRows(X, [1]);
  await assertRejects(() => fitLossEstimator({ X: few, P, y }), TypeError, "1 rows for 100");
  await assertRejects(() => fitLossEstimator({ X, P, y: y.map(() => 3) }), RangeError, "class 3");
  await assertRejects(() => fitLossEstimator({ X, P, y }, { chunks: 101 }), RangeError, "100 rows");
  const estimator = await fitLossEstimator({ X, P, y });
  assertThrows(() => estimator.expect(X, matrix(100, 2)), TypeError, "2 classes");
  assertThrows(() => estimator.expect(few, P), TypeError, "1 rows for 100");
  const broken = matrix(100, 3, P.data.map(() => NaN));
  assertThrows(() => estimator.expect(X, broken), RangeError, "NaN");
  assertThrows(() => fitSupport(X).findOutside(matrix(1, 3)), TypeError, "3 columns");
});

Deno.test("measureLosses() has the means that the report of an evaluation has", () => {
  const { P, y } = simulate(new Random(36), 200);
  P.data.set([1, 0, 0], 0);
  y[0] = 1;
  const { logLoss, brier } = measureLosses(P, y);
  const report = scoreClassifier(y, P, ["a", "b", "c"], { replicates: 0 });
  assertAlmostEquals(mean(logLoss), report.logLoss!.value, 1e-12);
  assertAlmostEquals(mean(brier), report.brier!.value, 1e-12);
  assertThrows(() => measureLosses(P, y.subarray(1)), TypeError, "199 rows");
});
