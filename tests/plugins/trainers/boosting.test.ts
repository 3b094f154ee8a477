import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { type Matrix, matrix, takeRows } from "../../../numeric/matrix.ts";
import { scoreClassifier } from "../../../numeric/metrics.ts";
import { Random } from "../../../numeric/random.ts";
import type { Dataset } from "../../../plugins/plugin.ts";
import { boosting } from "../../../plugins/trainers/boosting.ts";
import {
  assertOnnxEqual,
  exportModel,
  makeClusters,
  makeContext,
  predictLabels,
  testTrainer,
} from "../../contract.ts";
import oracle from "../../oracles/boosting.json" with { type: "json" };

testTrainer(boosting, { rounds: 20 });

/** Parameters of the scikit-learn model that the oracle was scored with. */
const oracleParams = boosting.params.parse({ rounds: 60, leaves: 15, minRows: 10, l2: 1 });

function makeDataset(X: Matrix, y: Int32Array, k: number): Dataset {
  return {
    X,
    y,
    featureNames: Array.from({ length: X.cols }, (_, j) => `x${j}`),
    classNames: Array.from({ length: k }, (_, c) => `class ${c}`),
  };
}

function readDigits(): Matrix {
  const pixels = oracle.digits.X.flatMap((row) => [...row].map((c) => c.charCodeAt(0) - 97));
  return matrix(oracle.digits.X.length, oracle.digits.features, Float32Array.from(pixels));
}

function readCancer(): Matrix {
  const cells = oracle.cancer.X.flatMap((row) => row.split(" ").map(Number));
  return matrix(oracle.cancer.X.length, oracle.cancer.features, Float32Array.from(cells));
}

for (const [name, X] of [["digits", readDigits()], ["cancer", readCancer()]] as const) {
  Deno.test(`boosting.fit() is as good as scikit-learn's when fitted on ${name}`, async () => {
    const wanted = oracle[name];
    const y = Int32Array.from(wanted.y, Number);
    const rows = [...y.keys()];
    const [fitted, held] = [rows.slice(0, wanted.train), rows.slice(wanted.train)];
    const train = makeDataset(takeRows(X, fitted), y.slice(0, wanted.train), wanted.classes);
    const model = await boosting.fit(train, oracleParams, makeContext());
    const test = takeRows(X, held);
    const score = scoreClassifier(y.slice(wanted.train), model.predict(test), train.classNames, {
      replicates: 0,
    });
    // Bin edges differ, so trees do: the margin is one standard error of the accuracy.
    const margin = Math.sqrt(wanted.accuracy * (1 - wanted.accuracy) / held.length);
    assert(score.accuracy!.value >= wanted.accuracy - margin, `${score.accuracy!.value}`);
    assert(score.logLoss!.value <= 1.1 * wanted.logLoss, `${score.logLoss!.value}`);
    await assertOnnxEqual(model, test, wanted.classes);
  });
}

Deno.test("boosting.fit() gives the exact leaves when one stump is worked out by hand", async () => {
  const X = matrix(4, 1, Float32Array.of(1, 2, 3, 4));
  const train = makeDataset(X, Int32Array.of(0, 0, 0, 1), 2);
  const params = boosting.params.parse({ rounds: 1, leaves: 2, minRows: 1, learningRate: 0.5 });
  const model = await boosting.fit(train, params, makeContext());
  // At the prior p = 1/4: gradients 1/4, 1/4, 1/4, -3/4, hessians 3/16. The best split is at 3.5,
  // where leaf values are -0.5 * (3/4) / (9/16) = -2/3 and -0.5 * (-3/4) / (3/16) = 2.
  const odds = (value: number) => 1 / (1 + Math.exp(Math.log(3) - value));
  const P = model.predict(matrix(4, 1, Float32Array.of(3.4, 3.5, 3.6, -100)));
  const wanted = [odds(-2 / 3), odds(-2 / 3), odds(2), odds(-2 / 3)];
  wanted.forEach((p, i) => assertAlmostEquals(P.data[2 * i + 1], p, 1e-6));
});

Deno.test("boosting.fit() never makes a leaf of fewer rows than minRows when rows are few", async () => {
  const train = makeClusters(120, 2, { seed: 10, missing: 0.1 });
  const params = boosting.params.parse({ rounds: 1, leaves: 31, minRows: 25 });
  const P = (await boosting.fit(train, params, makeContext())).predict(train.X);
  const sizes = new Map<number, number>();
  for (let i = 0; i < P.rows; i++) sizes.set(P.data[2 * i], (sizes.get(P.data[2 * i]) ?? 0) + 1);
  assert(sizes.size > 1);
  for (const size of sizes.values()) assert(size >= 25, `leaf of ${size} rows`);
});

Deno.test("boosting.fit() learns the side of missing values when they carry the class", async () => {
  const random = new Random(11);
  for (const missingClass of [0, 1]) {
    const y = Int32Array.from({ length: 200 }, () => random.below(2));
    const X = matrix(200, 1);
    y.forEach((c, i) => X.data[i] = c === missingClass ? NaN : 10 * random.uniform());
    const train = makeDataset(X, y, 2);
    const params = boosting.params.parse({ rounds: 30 });
    const model = await boosting.fit(train, params, makeContext());
    const test = matrix(4, 1, Float32Array.of(NaN, 5, Infinity, -Infinity));
    const P = model.predict(test);
    assert(P.data[missingClass] > 0.9, "missing values show their class");
    for (const row of [1, 2, 3]) assert(P.data[2 * row + missingClass] < 0.1, `row ${row}`);
    await assertOnnxEqual(model, test, 2);
  }
});

Deno.test("boosting.fit() sends missing values to the side of more rows when training had none", async () => {
  for (const isLargeLeft of [false, true]) {
    const split = isLargeLeft ? 70 : 30;
    const X = matrix(100, 1, Float32Array.from({ length: 100 }, (_, i) => i));
    const y = Int32Array.from({ length: 100 }, (_, i) => i < split ? 0 : 1);
    const params = boosting.params.parse({ rounds: 1, leaves: 2 });
    const model = await boosting.fit(makeDataset(X, y, 2), params, makeContext());
    const test = matrix(3, 1, Float32Array.of(0, 99, NaN));
    const [left, , right, , missing] = model.predict(test).data;
    assert(left !== right);
    assertEquals(missing, isLargeLeft ? left : right);
    await assertOnnxEqual(model, test, 2);
  }
});

Deno.test("boosting.fit() splits right above an occupied bin when the bins after it are empty in the node", async () => {
  // The first split, on column 0, leaves a node in which column 1 has only 0 and 9.
  const cells: number[] = [];
  const classes: number[] = [];
  for (let i = 0; i < 200; i++) {
    const isLeft = i < 100;
    cells.push(isLeft ? 0 : 1, isLeft ? (i % 2) * 9 : i % 10);
    classes.push(isLeft ? i % 2 : 2);
  }
  const train = makeDataset(matrix(200, 2, Float32Array.from(cells)), Int32Array.from(classes), 3);
  const params = boosting.params.parse({ rounds: 30, leaves: 3 });
  const model = await boosting.fit(train, params, makeContext());
  const P = model.predict(matrix(2, 2, Float32Array.of(0, 0.4, 0, 0.6)));
  assertEquals(predictLabels(P), [0, 1]);
});

Deno.test("boosting.fit() routes as onnxruntime does when values lie on and beside the thresholds", async () => {
  const random = new Random(12);
  // Neighboring float32 values, of which no midpoint exists, and values far apart.
  const levels = Float32Array.of(-3.4e38, -1e-40, 0, 1e-40, 1, 1 + 2 ** -23, 1 + 2 ** -22, 7, 3e38);
  const X = matrix(1800, 2);
  const y = new Int32Array(1800);
  for (let i = 0; i < 1800; i++) {
    const level = random.below(levels.length);
    X.data[2 * i] = levels[level];
    X.data[2 * i + 1] = 1000 + random.below(600) * 0.1524;
    y[i] = (level + (X.data[2 * i + 1] > 1040 ? 1 : 0)) % 3;
  }
  const params = boosting.params.parse({ rounds: 20, minRows: 5 });
  const model = await boosting.fit(makeDataset(X, y, 3), params, makeContext());
  const score = scoreClassifier(y, model.predict(X), ["a", "b", "c"], { replicates: 0 });
  assertEquals(score.accuracy!.value, 1);
  await assertOnnxEqual(model, X, 3);
});

Deno.test("boosting.fit() keeps the best round count when validation rows stop it early", async () => {
  const train = makeClusters(300, 3, { seed: 13 });
  const validation = makeClusters(300, 3, { seed: 14 });
  const params = boosting.params.parse({ rounds: 300, learningRate: 0.3, patience: 5 });
  const model = await boosting.fit(train, params, makeContext({ validation }));
  const kept = model.iterations!;
  assert(kept < 250, `${kept} rounds`);
  const lossAt = async (rounds: number) => {
    const fixed = await boosting.fit(train, { ...params, rounds }, makeContext());
    const options = { replicates: 0 };
    return scoreClassifier(validation.y, fixed.predict(validation.X), train.classNames, options)
      .logLoss!.value;
  };
  const best = await lossAt(kept);
  for (const rounds of [kept - 1, kept + 1, kept + 4]) {
    if (rounds > 0) assert(best < await lossAt(rounds) + 1e-9, `${rounds} rounds`);
  }
});

Deno.test("boosting.refit() gives parameters of the same model when early stopping chose its size", async () => {
  const train = makeClusters(300, 3, { seed: 15 });
  const validation = makeClusters(200, 3, { seed: 16 });
  const params = boosting.params.parse({ rounds: 200, learningRate: 0.3, patience: 5 });
  const model = await boosting.fit(train, params, makeContext({ validation }));
  const fixed = boosting.refit(params, model);
  assertEquals(fixed, { ...params, rounds: model.iterations!, patience: null });
  const again = await boosting.fit(train, fixed, makeContext({ validation }));
  assertEquals(exportModel(again, 4, 3), exportModel(model, 4, 3));
});

Deno.test("boosting.fit() uses other features when the seed changes and featureShare is below 1", async () => {
  const train = makeClusters(300, 3, { seed: 17 });
  const params = boosting.params.parse({ rounds: 10, featureShare: 0.5 });
  const fit = async (seed: number) =>
    exportModel(await boosting.fit(train, params, makeContext({ seed })), 4, 3);
  assertEquals(await fit(1), await fit(1));
  assert((await fit(1)).join() !== (await fit(2)).join());
});

Deno.test("boosting.fit() gives importances to the columns that matter when one is noise", async () => {
  const train = makeClusters(1000, 2, { seed: 18 });
  const model = await boosting.fit(train, boosting.params.parse({ rounds: 10 }), makeContext());
  const [, , informative, noise] = model.importances!;
  assert(informative > 3 * noise, `${model.importances}`);
});

Deno.test("boosting.fit() falls back to the prior when no split is possible", async () => {
  const X = matrix(100, 2, new Float32Array(200).fill(3));
  const y = Int32Array.from({ length: 100 }, (_, i) => i % 4 === 0 ? 1 : 0);
  const model = await boosting.fit(makeDataset(X, y, 2), boosting.params.parse({}), makeContext());
  assertAlmostEquals(model.predict(X).data[1], 0.25, 1e-6);
  assertEquals(model.importances, Float64Array.of(0.5, 0.5));
  await assertOnnxEqual(model, X, 2);
});

Deno.test("boosting.fit() lets timers run and stops within moments when aborted in the middle", async () => {
  const train = makeClusters(20_000, 4, { seed: 19 });
  const params = boosting.params.parse({ rounds: 10_000 });
  const controller = new AbortController();
  let longest = 0;
  let last = performance.now();
  const clock = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  let progress = 0;
  const onProgress = (share: number) => progress = share;
  const start = performance.now();
  const timer = setTimeout(() => controller.abort(new Error("Enough")), 400);
  try {
    const context = makeContext({ signal: controller.signal, onProgress });
    await assertRejects(() => boosting.fit(train, params, context), Error, "Enough");
  } finally {
    clearInterval(clock);
    clearTimeout(timer);
  }
  assert(progress > 0 && progress < 1);
  // About 25 ms on a quiet core; the limits leave room for a busy one.
  assert(longest < 250, `${longest} ms without a turn`);
  assert(performance.now() - start < 2000);
});
