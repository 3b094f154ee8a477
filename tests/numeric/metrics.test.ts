import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { type Matrix, matrix } from "../../numeric/matrix.ts";
import { compareClassifiers, type Interval, scoreClassifier } from "../../numeric/metrics.ts";
import { Random } from "../../numeric/random.ts";
import golden from "../oracles/golden.json" with { type: "json" };

/** Probabilities that favor the truth with the given strength. */
function makePredictions(y: Int32Array, k: number, options: { strength: number; seed: number }) {
  const random = new Random(options.seed);
  const P = matrix(y.length, k);
  for (let i = 0; i < y.length; i++) {
    const row = P.data.subarray(i * k, (i + 1) * k);
    for (let c = 0; c < k; c++) row[c] = random.uniform() + (c === y[i] ? options.strength : 0);
    const sum = row.reduce((a, b) => a + b);
    for (let c = 0; c < k; c++) row[c] /= sum;
  }
  return P;
}

function makeClasses(rows: number, k: number, seed = 0): Int32Array {
  const random = new Random(seed);
  return Int32Array.from({ length: rows }, () => random.below(k));
}

function names(k: number): string[] {
  return Array.from({ length: k }, (_, c) => `class ${c}`);
}

function readCase(name: "full" | "rare") {
  const wanted = golden.metrics[name];
  const k = wanted.confusion.length;
  const y = Int32Array.from(wanted.y);
  return { wanted, k, y, P: matrix(y.length, k, Float32Array.from(wanted.P)) };
}

for (const name of ["full", "rare"] as const) {
  Deno.test(`scoreClassifier() equals scikit-learn when given the ${name} case`, () => {
    const { wanted, k, y, P } = readCase(name);
    const score = scoreClassifier(y, P, names(k), { replicates: 0 });
    const headlines = [
      "accuracy",
      "balancedAccuracy",
      "macroF1",
      "weightedF1",
      "rocAuc",
      "logLoss",
      "brier",
      "calibrationError",
    ] as const;
    for (const metric of headlines) {
      assertAlmostEquals(score[metric]!.value, wanted[metric], 2e-7, metric);
    }
    assertEquals(score.confusion, wanted.confusion);
    const areas: Record<string, number> = wanted.classRocAuc;
    score.classes.forEach((entry, c) => {
      assertEquals(entry.support, wanted.support[c]);
      const isAbsent = name === "rare" && c === 4;
      assertEquals(entry.precision, isAbsent ? null : wanted.precision[c]);
      assertEquals(entry.recall, isAbsent ? null : wanted.recall[c]);
      if (isAbsent) assertEquals(entry.f1, null);
      else assertAlmostEquals(entry.f1!, wanted.f1[c], 1e-12);
      if (areas[c] === undefined) assertEquals(entry.rocAuc, null);
      else assertAlmostEquals(entry.rocAuc!, areas[c], 1e-12);
    });
    assertEquals(score.rocAucLeftOut, name === "rare" ? ["class 3", "class 4"] : []);
  });
}

Deno.test("scoreClassifier() gives null for every metric when there are no rows", () => {
  const score = scoreClassifier(new Int32Array(0), matrix(0, 2), ["a", "b"]);
  for (const metric of ["accuracy", "macroF1", "rocAuc", "logLoss", "brier"] as const) {
    assertEquals(score[metric], null);
  }
  assertEquals([score.balancedAccuracy, score.weightedF1, score.calibrationError], [
    null,
    null,
    null,
  ]);
  assertEquals(score.confusion, [[0, 0], [0, 0]]);
});

Deno.test("scoreClassifier() clips the log-loss on both sides when rows are certain", () => {
  const P = matrix(2, 2, Float32Array.of(1, 0, 0, 1));
  const right = scoreClassifier(Int32Array.of(0, 1), P, ["a", "b"], { replicates: 0 });
  assertEquals(right.logLoss!.value, -Math.log(1 - 2 ** -23));
  const wrong = scoreClassifier(Int32Array.of(1, 0), P, ["a", "b"], { replicates: 0 });
  assertEquals(wrong.logLoss!.value, 23 * Math.LN2);
});

Deno.test("scoreClassifier() has no ROC-AUC when only one class occurs", () => {
  const P = matrix(3, 2, Float32Array.of(0.9, 0.1, 0.8, 0.2, 0.3, 0.7));
  const score = scoreClassifier(Int32Array.of(0, 0, 0), P, ["a", "b"]);
  assertEquals(score.rocAuc, null);
  assertEquals(score.rocAucLeftOut, ["a", "b"]);
  assertEquals(score.accuracy?.value, 2 / 3);
});

Deno.test("scoreClassifier() has the binomial interval of accuracy when rows are independent", () => {
  const rows = 2000;
  const y = makeClasses(rows, 3);
  const P = makePredictions(y, 3, { strength: 0.3, seed: 1 });
  const { value, low, high } = scoreClassifier(y, P, names(3)).accuracy!;
  const halfWidth = 1.96 * Math.sqrt(value * (1 - value) / rows);
  assertAlmostEquals(low!, value - halfWidth, 0.15 * halfWidth);
  assertAlmostEquals(high!, value + halfWidth, 0.15 * halfWidth);
});

Deno.test("scoreClassifier() widens the interval when the rows of a block succeed or fail together", () => {
  const blocks = Int32Array.from({ length: 900 }, (_, i) => Math.floor(i / 30));
  const y = new Int32Array(900);
  const P = matrix(900, 2);
  blocks.forEach((block, i) => P.data[2 * i + (block % 3 === 0 ? 1 : 0)] = 1);
  const rowWise = scoreClassifier(y, P, names(2)).accuracy!;
  const blockWise = scoreClassifier(y, P, names(2), { blocks }).accuracy!;
  assertEquals(rowWise.value, blockWise.value);
  // 30 equal rows carry the information of one: the width grows by the root of 30.
  const ratio = widthOf(blockWise) / widthOf(rowWise);
  assertAlmostEquals(ratio, Math.sqrt(30), 1);
});

Deno.test("scoreClassifier() repeats its intervals when the seed is the same, and holds the value inside", () => {
  const y = makeClasses(400, 3);
  const P = makePredictions(y, 3, { strength: 0.5, seed: 2 });
  const blocks = Int32Array.from({ length: 400 }, (_, i) => -Math.floor(i / 10));
  const options = { blocks, replicates: 300, seed: 5 };
  const score = scoreClassifier(y, P, names(3), options);
  assertEquals(score, scoreClassifier(y, P, names(3), options));
  assertEquals(score.blocks, 40);
  const other = scoreClassifier(y, P, names(3), { ...options, seed: 6 });
  assert(score.logLoss!.low !== other.logLoss!.low);
  for (const metric of [score.accuracy, score.macroF1, score.rocAuc, score.logLoss, score.brier]) {
    assert(metric!.low! < metric!.value && metric!.value < metric!.high!);
  }
});

Deno.test("scoreClassifier() has no interval when there is one block or a metric is mostly undefined", () => {
  const y = makeClasses(50, 2);
  const P = makePredictions(y, 2, { strength: 1, seed: 3 });
  const { accuracy } = scoreClassifier(y, P, names(2), { blocks: new Int32Array(50) });
  assert(accuracy!.value > 0.5);
  assertEquals([accuracy!.low, accuracy!.high], [null, null]);
  // Each class fills one of two blocks: half of the replicates lack a class, and three rare ones
  // in three blocks are together in a replicate two times in nine.
  const three = Int32Array.from({ length: 60 }, (_, i) => Math.floor(i / 20));
  const Q = makePredictions(three, 3, { strength: 1, seed: 3 });
  const { rocAuc } = scoreClassifier(three, Q, names(3), { blocks: three });
  assert(rocAuc!.value > 0.5);
  assertEquals([rocAuc!.low, rocAuc!.high], [null, null]);
});

Deno.test("scoreClassifier() throws when shapes disagree or values are not probabilities", () => {
  const P = matrix(2, 2, Float32Array.of(1, 0, NaN, 1));
  const y = Int32Array.of(0, 1);
  assertThrows(() => scoreClassifier(y, P, ["a"]), TypeError, "class names");
  assertThrows(() => scoreClassifier(Int32Array.of(0), P, ["a", "b"]), TypeError, "1 rows");
  assertThrows(() => scoreClassifier(y, P, ["a", "b"]), RangeError, `row "1"`);
  assertThrows(() => scoreClassifier(Int32Array.of(0, 2), P, ["a", "b"]), RangeError, "class 2");
  const Q = matrix(2, 2);
  const blocks = Int32Array.of(0);
  assertThrows(() => scoreClassifier(y, Q, ["a", "b"], { blocks }), TypeError, "blocks");
  assertThrows(() => scoreClassifier(y, Q, ["a", "b"], { replicates: -1 }), RangeError, "-1");
});

Deno.test("scoreClassifier() takes about a second when given 10,859 rows, 7 classes and 1000 replicates", () => {
  const y = makeClasses(10_859, 7);
  const P = makePredictions(y, 7, { strength: 0.5, seed: 4 });
  const start = performance.now();
  scoreClassifier(y, P, names(7));
  // Measured 0.5 s on a quiet core; the limit leaves room for a busy one.
  assert(performance.now() - start < 4000, `${performance.now() - start} ms`);
});

Deno.test("compareClassifiers() gives the difference of the two scores and turns its sign when swapped", () => {
  const y = makeClasses(500, 3);
  const good = makePredictions(y, 3, { strength: 0.8, seed: 5 });
  const poor = makePredictions(y, 3, { strength: 0.1, seed: 6 });
  const options = { replicates: 200, seed: 1 };
  const forward = compareClassifiers(y, good, poor, options);
  const backward = compareClassifiers(y, poor, good, options);
  for (const metric of ["accuracy", "macroF1", "logLoss"] as const) {
    const value = (P: Matrix) => scoreClassifier(y, P, names(3), { replicates: 0 })[metric]!.value;
    assertAlmostEquals(forward[metric]!.difference, value(good) - value(poor), 1e-12);
    assertAlmostEquals(backward[metric]!.low!, -forward[metric]!.high!, 1e-12);
  }
  assert(forward.accuracy!.low! > 0 && forward.logLoss!.high! < 0);
});

Deno.test("compareClassifiers() is tighter than separate intervals when two models agree on most rows", () => {
  const y = makeClasses(1000, 2);
  const A = makePredictions(y, 2, { strength: 0.4, seed: 7 });
  const B = matrix(A.rows, A.cols, A.data.slice());
  for (let i = 0; i < 20; i++) {
    B.data[2 * i + y[i]] = 0.1;
    B.data[2 * i + 1 - y[i]] = 0.9;
  }
  const { accuracy } = compareClassifiers(y, A, B);
  const separate = scoreClassifier(y, A, names(2)).accuracy!;
  assert(accuracy!.low! > 0, "the same rows show a difference that separate intervals hide");
  assert(accuracy!.high! - accuracy!.low! < widthOf(separate) / 2);
  const same = compareClassifiers(y, A, A);
  assertEquals(same.macroF1, { difference: 0, low: 0, high: 0 });
});

Deno.test("compareClassifiers() gives null when there are no rows and throws when shapes disagree", () => {
  const none = compareClassifiers(new Int32Array(0), matrix(0, 2), matrix(0, 2));
  assertEquals(none, { accuracy: null, macroF1: null, logLoss: null });
  const y = Int32Array.of(0);
  assertThrows(() => compareClassifiers(y, matrix(1, 2), matrix(1, 3)), TypeError, "2 and 3");
  assertThrows(() => compareClassifiers(y, matrix(1, 2), matrix(2, 2)), TypeError, "2 predictions");
});

function widthOf({ low, high }: Interval): number {
  return high! - low!;
}
