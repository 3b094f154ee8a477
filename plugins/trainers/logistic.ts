/** Multinomial logistic regression with an L2 penalty. */
import { z } from "zod";
import {
  absentLogit,
  addLabel,
  applySoftmax,
  checkColumns,
  countClasses,
  Pacer,
} from "../../numeric/fitting.ts";
import type { Matrix } from "../../numeric/matrix.ts";
import { type Dataset, definePlugin, type Model } from "../plugin.ts";

const params = z.strictObject({
  C: z.number().positive().default(1).describe(
    "Inverse strength of the L2 penalty on the coefficients; the intercepts are free",
  ),
  classWeight: z.enum(["none", "balanced"]).default("none").describe(
    "`balanced` weights each row by n / (classes * rows of its class)",
  ),
  maxIterations: z.int().positive().default(1000).describe("Most optimizer steps"),
  tolerance: z.number().positive().default(1e-6).describe(
    "Stops when no entry of the gradient of the mean loss exceeds this",
  ),
});

/** Parameters of {@linkcode logistic}. */
export type LogisticParams = z.infer<typeof params>;

/** A fitted linear model. Its logits are `x * coefficients + intercepts`. */
export interface LogisticModel extends Model {
  /** In the columns' own units, `[d, k]`, row-major. Of two classes, the first has zeros. */
  readonly coefficients: Float64Array;
  /** `[k]`; -1e30 for a class that the training rows lack. */
  readonly intercepts: Float64Array;
}

/**
 * Fits a linear model per class, softmax over classes (one logistic model for two classes). The
 * optimum is that of scikit-learn's `LogisticRegression(C, class_weight)`. Columns need not be
 * scaled to be fitted, but the penalty acts on coefficients in the columns' own units.
 *
 * `fit` throws a RangeError when fewer than two classes occur or a feature is missing or infinite.
 * A class that the training rows lack gets probability 0. `importances` are mean absolute
 * coefficients per standard deviation of the feature, normalized.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { matrix } from "../../numeric/matrix.ts";
 * import { logistic } from "./logistic.ts";
 *
 * const train = {
 *   X: matrix(4, 1, Float32Array.of(1, 2, 3, 4)),
 *   y: Int32Array.of(0, 0, 1, 1),
 *   featureNames: ["gr"],
 *   classNames: ["sand", "shale"],
 * };
 * const context = { seed: 0, signal: new AbortController().signal };
 * const model = await logistic.fit(train, logistic.params.parse({}), context);
 * const P = model.predict(matrix(1, 1, Float32Array.of(4)));
 * assert(P.data[1] > 0.7);
 * ```
 *
 * @see Liu and Nocedal, "On the limited memory BFGS method for large scale optimization",
 * Mathematical Programming 45, 1989
 */
export const logistic = definePlugin({
  kind: "trainer",
  name: "logistic",
  summary: "multinomial logistic regression with an L2 penalty",
  params,
  handlesMissing: false,
  async fit(train, params: LogisticParams, context): Promise<LogisticModel> {
    const { counts, present } = countClasses("logistic", train);
    const pacer = new Pacer(context.signal);
    const scaled = standardize(train);
    const problem = makeProblem({ train, scaled, counts, present, params, pacer });
    const { point, steps } = await minimize(problem, params);
    context.onProgress?.(1);
    return makeModel(unscale(point, problem, { scaled, k: train.classNames.length }), steps);
  },
});

/** Standardized features; the optimizer converges fast on them, whatever the columns' units. */
interface Scaled {
  /** `[n, d]`, row-major. */
  readonly Z: Float64Array;
  readonly means: Float64Array;
  readonly scales: Float64Array;
}

function standardize({ X, featureNames }: Dataset): Scaled {
  const { rows, cols } = X;
  const means = new Float64Array(cols);
  const scales = new Float64Array(cols);
  const Z = Float64Array.from(X.data);
  for (let j = 0; j < cols; j++) {
    for (let i = 0; i < rows; i++) means[j] += Z[i * cols + j] / rows;
    if (!Number.isFinite(means[j])) {
      throw new RangeError(
        `Cannot fit "logistic" on column "${featureNames[j]}": it holds missing or infinite values`,
      );
    }
    for (let i = 0; i < rows; i++) scales[j] += (Z[i * cols + j] - means[j]) ** 2 / rows;
    scales[j] = Math.sqrt(scales[j]) || 1;
    for (let i = 0; i < rows; i++) Z[i * cols + j] = (Z[i * cols + j] - means[j]) / scales[j];
  }
  return { Z, means, scales };
}

/** The mean penalized loss over the present classes, as a function of one flat point. */
interface Problem {
  /** Classes that have coefficients; the others of `present` have logit 0. */
  readonly fitted: readonly number[];
  readonly present: readonly number[];
  /** Per fitted class: d coefficients and the intercept. */
  readonly size: number;
  /** Gives the loss at `point` and writes its gradient. */
  evaluate(point: Float64Array, gradient: Float64Array): Promise<number>;
}

/** Rows that are evaluated between two looks at the clock. */
const rowsPerTurn = 512;

function makeProblem({ train, scaled, counts, present, params, pacer }: {
  train: Dataset;
  scaled: Scaled;
  counts: Float64Array;
  present: readonly number[];
  params: LogisticParams;
  pacer: Pacer;
}): Problem {
  const { rows, cols } = train.X;
  const { Z, scales } = scaled;
  const stride = cols + 1;
  // Two classes take one logistic model: the second class against the first.
  const fitted = present.length === 2 ? present.slice(1) : present;
  const slot = new Int32Array(counts.length).fill(-1);
  fitted.forEach((c, s) => slot[c] = s);
  const rowWeight = Float64Array.from(
    counts,
    (count) => params.classWeight === "balanced" ? rows / (present.length * count) : 1,
  );
  const penalty = scales.map((scale) => 1 / (params.C * rows * scale * scale));
  const residual = new Float64Array(fitted.length);

  async function evaluate(point: Float64Array, gradient: Float64Array): Promise<number> {
    gradient.fill(0);
    let loss = 0;
    for (let i = 0; i < rows; i++) {
      if (i % rowsPerTurn === 0 && pacer.isDue()) await pacer.rest();
      const c = train.y[i];
      const weight = rowWeight[c] / rows;
      computeLogits(point, Z, { start: i * cols, cols, logits: residual });
      loss += weight * lossOf(residual, slot[c], fitted.length < present.length);
      for (let s = 0; s < residual.length; s++) {
        addScaled(gradient, Z, {
          at: s * stride,
          start: i * cols,
          cols,
          factor: weight * residual[s],
        });
      }
    }
    return loss + addPenalty(point, gradient, penalty);
  }
  return { fitted, present, size: fitted.length * stride, evaluate };
}

function computeLogits(
  point: Float64Array,
  Z: Float64Array,
  { start, cols, logits }: { start: number; cols: number; logits: Float64Array },
): void {
  for (let s = 0; s < logits.length; s++) {
    const at = s * (cols + 1);
    let sum = point[at + cols];
    for (let j = 0; j < cols; j++) sum += point[at + j] * Z[start + j];
    logits[s] = sum;
  }
}

/**
 * Gives the negative log-likelihood of the true class and turns logits into residuals, probability
 * minus truth, in place. `truth` is -1 for the class whose logit is fixed at 0.
 */
function lossOf(logits: Float64Array, truth: number, hasFixedClass: boolean): number {
  let largest = hasFixedClass ? 0 : -Infinity;
  for (let s = 0; s < logits.length; s++) largest = Math.max(largest, logits[s]);
  let sum = hasFixedClass ? Math.exp(-largest) : 0;
  for (let s = 0; s < logits.length; s++) sum += Math.exp(logits[s] - largest);
  const loss = largest + Math.log(sum) - (truth < 0 ? 0 : logits[truth]);
  for (let s = 0; s < logits.length; s++) {
    logits[s] = Math.exp(logits[s] - largest) / sum - (s === truth ? 1 : 0);
  }
  return loss;
}

function addScaled(
  gradient: Float64Array,
  Z: Float64Array,
  { at, start, cols, factor }: { at: number; start: number; cols: number; factor: number },
): void {
  for (let j = 0; j < cols; j++) gradient[at + j] += factor * Z[start + j];
  gradient[at + cols] += factor;
}

function addPenalty(point: Float64Array, gradient: Float64Array, penalty: Float64Array): number {
  const stride = penalty.length + 1;
  let loss = 0;
  for (let i = 0; i < point.length; i++) {
    const feature = i % stride;
    if (feature === penalty.length) continue;
    loss += penalty[feature] * point[i] * point[i] / 2;
    gradient[i] += penalty[feature] * point[i];
  }
  return loss;
}

/** One remembered step of the optimizer: how point and gradient changed. */
interface Memory {
  readonly step: Float64Array;
  readonly change: Float64Array;
  /** Inner product of the two; positive on a convex loss. */
  readonly curvature: number;
}

const memorySize = 10;

/** L-BFGS with a backtracking line search, from 0. */
async function minimize(
  problem: Problem,
  params: LogisticParams,
): Promise<{ point: Float64Array; steps: number }> {
  let point = new Float64Array(problem.size);
  let gradient = new Float64Array(problem.size);
  let loss = await problem.evaluate(point, gradient);
  const memory: Memory[] = [];
  let steps = 0;
  while (steps < params.maxIterations && largestEntry(gradient) > params.tolerance) {
    const direction = findDirection(gradient, memory);
    const next = await searchLine(problem, { point, gradient, loss, direction });
    if (next === null) break; // Rounding leaves no smaller loss: this is the optimum.
    const step = next.point.map((value, i) => value - point[i]);
    const change = next.gradient.map((value, i) => value - gradient[i]);
    const curvature = dot(step, change);
    if (curvature > 0) memory.push({ step, change, curvature });
    if (memory.length > memorySize) memory.shift();
    ({ point, gradient, loss } = next);
    steps++;
  }
  return { point, steps };
}

/** The two-loop recursion (Liu and Nocedal, section 2). */
function findDirection(gradient: Float64Array, memory: readonly Memory[]): Float64Array {
  const direction = gradient.map((value) => -value);
  const shares = new Float64Array(memory.length);
  for (let m = memory.length - 1; m >= 0; m--) {
    const { step, change, curvature } = memory[m];
    shares[m] = dot(step, direction) / curvature;
    for (let i = 0; i < direction.length; i++) direction[i] -= shares[m] * change[i];
  }
  const latest = memory.at(-1);
  if (latest) {
    const scale = latest.curvature / dot(latest.change, latest.change);
    for (let i = 0; i < direction.length; i++) direction[i] *= scale;
  }
  for (let m = 0; m < memory.length; m++) {
    const { step, change, curvature } = memory[m];
    const factor = shares[m] - dot(change, direction) / curvature;
    for (let i = 0; i < direction.length; i++) direction[i] += factor * step[i];
  }
  return direction;
}

interface Evaluated {
  readonly point: Float64Array<ArrayBuffer>;
  readonly gradient: Float64Array<ArrayBuffer>;
  readonly loss: number;
}

/** Halves the step until the loss falls enough (Armijo); `null` when it never does. */
async function searchLine(
  problem: Problem,
  { point, gradient, loss, direction }: Evaluated & { direction: Float64Array },
): Promise<Evaluated | null> {
  const slope = dot(gradient, direction);
  const sufficientShare = 1e-4;
  for (let length = 1; length > 1e-12; length /= 2) {
    const nextPoint = point.map((value, i) => value + length * direction[i]);
    const nextGradient = new Float64Array(problem.size);
    const nextLoss = await problem.evaluate(nextPoint, nextGradient);
    if (nextLoss < loss && nextLoss <= loss + sufficientShare * length * slope) {
      return { point: nextPoint, gradient: nextGradient, loss: nextLoss };
    }
  }
  return null;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function largestEntry(values: Float64Array): number {
  return values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
}

/** Coefficients on centered columns, so that a large mean costs no digits in float32. */
interface Linear {
  readonly k: number;
  /** `[d]` */
  readonly means: Float32Array;
  /** `[d, k]`, row-major. */
  readonly coefficients: Float64Array;
  /** Logits at the mean `[k]`. */
  readonly centerLogits: Float64Array;
  /** `[d]` */
  readonly importances: Float64Array;
}

function unscale(
  point: Float64Array,
  problem: Problem,
  { scaled, k }: { scaled: Scaled; k: number },
): Linear {
  const { means, scales } = scaled;
  const d = means.length;
  const coefficients = new Float64Array(d * k);
  const centerLogits = new Float64Array(k).fill(absentLogit);
  const importances = new Float64Array(d);
  for (const c of problem.present) centerLogits[c] = 0;
  problem.fitted.forEach((c, s) => {
    const at = s * (d + 1);
    for (let j = 0; j < d; j++) {
      coefficients[j * k + c] = point[at + j] / scales[j];
      importances[j] += Math.abs(point[at + j]);
    }
    centerLogits[c] = point[at + d];
  });
  return { k, means: Float32Array.from(means), coefficients, centerLogits, importances };
}

function makeModel(linear: Linear, iterations: number): LogisticModel {
  const { k, means, coefficients, centerLogits, importances } = linear;
  const d = means.length;
  const total = importances.reduce((sum, value) => sum + value, 0);
  return {
    iterations,
    coefficients,
    intercepts: centerLogits.map((logit, c) =>
      means.reduce((sum, mean, j) => sum - mean * coefficients[j * k + c], logit)
    ),
    importances: importances.map((value) => total > 0 ? value / total : 1 / d),
    predict(X) {
      checkColumns(X, d);
      return applySoftmax(computeAllLogits(X, linear), X.rows, k);
    },
    toGraph(graph, input) {
      const constant = (prefix: string, dims: number[], values: ArrayLike<number>) =>
        graph.constant(graph.freshName(prefix), dims, Float32Array.from(values));
      const center = constant("center", [d], means);
      const weights = constant("coefficients", [d, k], coefficients);
      const bias = constant("center_logits", [k], centerLogits);
      const centered = graph.node("Sub", [input, center], [graph.freshName("centered")]);
      const logits = graph.node("Gemm", [centered, weights, bias], [graph.freshName("logits")]);
      graph.node("Softmax", [logits], ["probabilities"], { axis: { int: 1 } });
      addLabel(graph);
    },
  };
}

function computeAllLogits(X: Matrix, linear: Linear): Float64Array {
  const { k, means, coefficients, centerLogits } = linear;
  const logits = new Float64Array(X.rows * k);
  for (let i = 0; i < X.rows; i++) {
    const at = i * k;
    for (let c = 0; c < k; c++) logits[at + c] = centerLogits[c];
    for (let j = 0; j < X.cols; j++) {
      const value = Math.fround(X.data[i * X.cols + j] - means[j]);
      for (let c = 0; c < k; c++) logits[at + c] += value * coefficients[j * k + c];
    }
  }
  return logits;
}
