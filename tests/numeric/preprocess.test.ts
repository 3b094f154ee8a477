import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as ort from "onnxruntime-node";
import { type Matrix, matrix } from "../../numeric/matrix.ts";
import { Graph } from "../../numeric/onnx.ts";
import { fitSteps, type StepOptions, type Steps } from "../../numeric/preprocess.ts";
import golden from "../oracles/golden.json" with { type: "json" };

const off: StepOptions = { impute: false, standardize: false, log: [], pca: null };

/** Runs the fitted steps in onnxruntime. */
async function runSteps(steps: Steps, X: Matrix): Promise<Float32Array> {
  const graph = new Graph();
  const input = graph.input("x", "float32", ["n", X.cols]);
  const tensor = steps.toGraph(graph, input);
  graph.node("Identity", [tensor], ["out"]);
  graph.output("out", "float32", ["n", steps.outputNames.length]);
  const session = await ort.InferenceSession.create(graph.toBytes());
  const { out } = await session.run({ x: new ort.Tensor("float32", X.data, [X.rows, X.cols]) });
  assertEquals(out.dims, [X.rows, steps.outputNames.length]);
  return out.data as Float32Array;
}

function assertClose(actual: Float32Array, expected: ArrayLike<number>, tolerance: number): void {
  assertEquals(actual.length, expected.length);
  actual.forEach((value, i) => assertAlmostEquals(value, expected[i], tolerance, `value ${i}`));
}

Deno.test("fitSteps() equals scikit-learn's StandardScaler and PCA when both are on", async () => {
  const { X: values, features, projected, ...wanted } = golden.pca;
  const X = matrix(values.length / features, features, Float32Array.from(values));
  const columns = Array.from({ length: features }, (_, j) => `x${j}`);
  const steps = fitSteps(X, columns, { ...off, impute: true, standardize: true, pca: 4 });
  steps.summary.means.forEach((m, j) => assertAlmostEquals(m, wanted.means[j]));
  steps.summary.scales.forEach((s, j) => assertAlmostEquals(s, wanted.scales[j]));
  steps.summary.explainedVarianceRatio!.forEach((ratio, c) =>
    assertAlmostEquals(ratio, wanted.explainedVarianceRatio[c], 1e-9)
  );
  assertEquals(steps.outputNames, ["pc_1", "pc_2", "pc_3", "pc_4"]);
  assertClose(await runSteps(steps, X), projected.flat(), 2e-5);
});

Deno.test("fitSteps() centers before PCA when standardization is off", async () => {
  const X = matrix(4, 2, Float32Array.of(11, 0, 13, 2, 15, 4, 17, 6));
  const steps = fitSteps(X, ["a", "b"], { ...off, impute: true, pca: 1 });
  assertAlmostEquals(steps.summary.explainedVarianceRatio![0], 1, 1e-12);
  const r = Math.SQRT2;
  assertClose(await runSteps(steps, X), [-3 * r, -r, r, 3 * r], 1e-5);
});

Deno.test("fitSteps() fills with the mean after the logarithm when imputation and log are on", async () => {
  const X = matrix(3, 2, Float32Array.of(Math.E, 1, NaN, NaN, Math.E ** 3, 5));
  const steps = fitSteps(X, ["rt", "gr"], { ...off, impute: true, log: ["rt"] });
  assertEquals(steps.outputNames, ["log_rt", "gr"]);
  assertClose(await runSteps(steps, X), [1, 1, 2, 3, 3, 5], 1e-6);
});

Deno.test("fitSteps() takes the logarithm of the floor when a value is zero or negative, and keeps NaN", async () => {
  const X = matrix(4, 2, Float32Array.of(0, 0, -5, -5, 1, 1, NaN, NaN));
  const out = await runSteps(fitSteps(X, ["rt", "sp"], { ...off, log: ["rt"] }), X);
  const floor = Math.log(1e-6);
  assertClose(out, [floor, 0, floor, -5, 0, 1, NaN, NaN], 1e-5);
});

Deno.test("fitSteps() keeps NaN and scales the rest when standardization is on without imputation", async () => {
  const X = matrix(3, 1, Float32Array.of(1, NaN, 5));
  const out = await runSteps(fitSteps(X, ["a"], { ...off, standardize: true }), X);
  assertClose(out, [-1, NaN, 1], 1e-6);
});

Deno.test("fitSteps() scales by 1 when a column is constant and centers on 0 when it has no values", async () => {
  const X = matrix(3, 3, Float32Array.of(0.1, NaN, 1, 0.1, NaN, Infinity, 0.1, NaN, 3));
  const steps = fitSteps(X, ["flat", "none", "infinite"], {
    ...off,
    impute: true,
    standardize: true,
  });
  assertEquals(steps.summary.scales, Float64Array.of(1, 1, 1));
  assertEquals(steps.summary.means, Float64Array.of(Math.fround(0.1), 0, 2));
  const out = await runSteps(steps, X);
  assertEquals(out, Float32Array.of(0, 0, -1, 0, 0, Infinity, 0, 0, 1));
});

Deno.test("fitSteps() gives the input tensor itself when every step is off", () => {
  const graph = new Graph();
  const input = graph.input("x", "float32", ["n", 2]);
  assertEquals(fitSteps(matrix(2, 2), ["a", "b"], off).toGraph(graph, input), input);
});

Deno.test("fitSteps() gives equal bytes when fitted twice, and runs twice in one graph", async () => {
  const X = matrix(6, 2, Float32Array.of(1, 9, 2, 7, 3, 8, 4, 4, 5, 6, 6, 1));
  const build = () => {
    const graph = new Graph();
    const options = { impute: true, standardize: true, log: ["a"], pca: 2 };
    const first = fitSteps(X, ["a", "b"], options);
    const middle = first.toGraph(graph, graph.input("x", "float32", ["n", 2]));
    const last = fitSteps(X, ["a", "b"], options).toGraph(graph, middle);
    graph.output(last, "float32", ["n", 2]);
    return graph.toBytes();
  };
  assertEquals(build(), build());
  const session = await ort.InferenceSession.create(build());
  const out = await session.run({ x: new ort.Tensor("float32", X.data, [6, 2]) });
  assert((Object.values(out)[0].data as Float32Array).every(Number.isFinite));
});

Deno.test("fitSteps() has no variance ratio when all columns are constant", () => {
  const X = matrix(3, 2, new Float32Array(6).fill(4));
  const { summary } = fitSteps(X, ["a", "b"], { ...off, impute: true, pca: 1 });
  assertEquals(summary.explainedVarianceRatio, null);
});

Deno.test("fitSteps() throws when names, steps or components do not fit the data", () => {
  const X = matrix(3, 2);
  assertThrows(() => fitSteps(X, ["a"], off), TypeError, "1 names");
  assertThrows(() => fitSteps(X, ["a", "b"], { ...off, log: ["c"] }), RangeError, `"c"`);
  assertThrows(() => fitSteps(X, ["a", "b"], { ...off, pca: 1 }), TypeError, "imputation is off");
  for (const pca of [0, 3, 1.5]) {
    const options = { ...off, impute: true, pca };
    assertThrows(() => fitSteps(X, ["a", "b"], options), RangeError, `"${pca}" components`);
  }
});
