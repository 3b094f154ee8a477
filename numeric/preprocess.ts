/**
 * Column-wise preparation of features (logarithm, imputation, scaling, principal components),
 * fitted in float64 and carried out by ONNX nodes in float32.
 *
 * @module
 */
import type { Matrix } from "./matrix.ts";
import type { Graph } from "./onnx.ts";
import { logFloor } from "./windows.ts";

/** Which steps to fit; they run in this order: log, impute, standardize, pca. */
export interface StepOptions {
  /** Whether the column mean replaces missing values. */
  readonly impute: boolean;
  /** Whether columns are shifted and scaled to mean 0 and population standard deviation 1. */
  readonly standardize: boolean;
  /** Names of columns that become `ln(max(x, logFloor))` first. */
  readonly log: readonly string[];
  /** Number of principal components that replace the columns, or `null` to keep the columns. */
  readonly pca: number | null;
}

/** What the steps learned, for a report. */
export interface StepSummary {
  /** Mean of each column after the logarithm, missing values left out; 0 without values. `[d]` */
  readonly means: Float64Array;
  /** Standard deviation of each column; 1 for a constant column or one without values. `[d]` */
  readonly scales: Float64Array;
  /** Share of the total variance per component; `null` without PCA or without any variance. */
  readonly explainedVarianceRatio: readonly number[] | null;
}

/** Fitted steps. */
export interface Steps {
  /** Names of the output columns, such as `gr`, `log_rt` or, after PCA, `pc_1`. */
  readonly outputNames: readonly string[];
  readonly summary: StepSummary;
  /**
   * Appends the nodes to `graph` and gives the name of the float32 tensor
   * `[n, outputNames.length]` that they compute from the float32 `[n, d]` tensor `input`; `input`
   * itself when no step is on. Missing values stay `NaN` unless imputed.
   */
  toGraph(graph: Graph, input: string): string;
}

/** ONNX's number for the element type bool. */
const boolType = 9;

/**
 * Fits the steps on `X` `[n, d]`. `NaN` and infinite values do not count in means and deviations.
 *
 * @throws {TypeError} when the number of names is not d, or PCA is asked for without imputation.
 * @throws {RangeError} when a log column is unknown, or `pca` is not an integer in
 * `1 … min(n, d)`, or there are fewer than two rows for PCA.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "./matrix.ts";
 * import { fitSteps } from "./preprocess.ts";
 *
 * const X = matrix(3, 2, Float32Array.of(1, 5, 3, 5, NaN, 5));
 * const options = { impute: true, standardize: true, log: [], pca: null };
 * const { summary } = fitSteps(X, ["a", "b"], options);
 *
 * assertEquals(summary.means, Float64Array.of(2, 5));
 * assertEquals(summary.scales, Float64Array.of(1, 1));
 * ```
 */
export function fitSteps(X: Matrix, featureNames: readonly string[], options: StepOptions): Steps {
  if (featureNames.length !== X.cols) {
    throw new TypeError(
      `Cannot fit steps on ${X.cols} columns: there are ${featureNames.length} names`,
    );
  }
  const isLog = findLogColumns(featureNames, options.log);
  const columns = Array.from({ length: X.cols }, (_, j) => readColumn(X, j, isLog[j]));
  const moments = columns.map(fitMoments);
  const means = Float64Array.from(moments, ({ mean }) => mean);
  const scales = Float64Array.from(moments, ({ scale }) => scale);
  const pca = fitPca(columns, { means, scales, options });
  const names = featureNames.map((name, j) => isLog[j] ? `log_${name}` : name);

  return {
    outputNames: pca ? pca.names : names,
    summary: { means, scales, explainedVarianceRatio: pca ? pca.explainedVarianceRatio : null },
    toGraph(graph, input) {
      let tensor = input;
      if (isLog.includes(true)) tensor = addLog(graph, tensor, isLog);
      if (options.impute) tensor = addImpute(graph, tensor, means);
      if (options.standardize || pca) tensor = addShift(graph, tensor, means);
      if (options.standardize) tensor = addScale(graph, tensor, scales);
      if (pca) tensor = addProjection(graph, tensor, pca);
      return tensor;
    },
  };
}

function findLogColumns(featureNames: readonly string[], log: readonly string[]): boolean[] {
  for (const name of log) {
    if (!featureNames.includes(name)) {
      throw new RangeError(
        `Cannot take the logarithm of "${name}": columns are ${featureNames.join(", ")}`,
      );
    }
  }
  return featureNames.map((name) => log.includes(name));
}

function readColumn({ data, rows, cols }: Matrix, column: number, isLog: boolean): Float64Array {
  const values = new Float64Array(rows);
  for (let i = 0; i < rows; i++) values[i] = data[i * cols + column];
  return isLog ? values.map((value) => Math.log(Math.max(value, Math.fround(logFloor)))) : values;
}

function fitMoments(column: Float64Array): { mean: number; scale: number } {
  const values = column.filter(Number.isFinite);
  if (values.length === 0) return { mean: 0, scale: 1 };
  // Equal values are recognized by themselves: their computed variance need not be exactly 0.
  if (values.every((value) => value === values[0])) return { mean: values[0], scale: 1 };
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, scale: Math.sqrt(variance) };
}

function addLog(graph: Graph, input: string, isLog: readonly boolean[]): string {
  const floor = addConstant(graph, "log_floor", [], [logFloor]);
  const flags = addConstant(graph, "log_flags", [isLog.length], isLog.map(Number));
  const isLogColumn = graph.node("Cast", [flags], [graph.freshName("is_log")], {
    to: { int: boolType },
  });
  // ONNX does not say what Max does with NaN; Less and Where keep it.
  const isSmall = graph.node("Less", [input, floor], [graph.freshName("is_small")]);
  const raised = graph.node("Where", [isSmall, floor, input], [graph.freshName("raised")]);
  const logarithm = graph.node("Log", [raised], [graph.freshName("logarithm")]);
  return graph.node("Where", [isLogColumn, logarithm, input], [graph.freshName("logged")]);
}

function addImpute(graph: Graph, input: string, means: Float64Array): string {
  const fill = addConstant(graph, "fill", [means.length], means);
  const isMissing = graph.node("IsNaN", [input], [graph.freshName("is_missing")]);
  return graph.node("Where", [isMissing, fill, input], [graph.freshName("imputed")]);
}

function addShift(graph: Graph, input: string, means: Float64Array): string {
  const shift = addConstant(graph, "mean", [means.length], means);
  return graph.node("Sub", [input, shift], [graph.freshName("centered")]);
}

function addScale(graph: Graph, input: string, scales: Float64Array): string {
  const factors = addConstant(graph, "factor", [scales.length], scales.map((scale) => 1 / scale));
  return graph.node("Mul", [input, factors], [graph.freshName("standardized")]);
}

function addProjection(graph: Graph, input: string, { components, names }: Pca): string {
  const dims = [components.length / names.length, names.length];
  const weights = addConstant(graph, "components", dims, components);
  return graph.node("MatMul", [input, weights], [graph.freshName("projected")]);
}

function addConstant(
  graph: Graph,
  prefix: string,
  dims: readonly number[],
  values: ArrayLike<number>,
): string {
  return graph.constant(graph.freshName(prefix), dims, Float32Array.from(values));
}

/** Fitted principal components. */
interface Pca {
  readonly names: readonly string[];
  /** `[d, k]`, row-major: one column per component. */
  readonly components: Float64Array;
  readonly explainedVarianceRatio: readonly number[] | null;
}

interface PcaInput {
  readonly means: Float64Array;
  readonly scales: Float64Array;
  readonly options: StepOptions;
}

/**
 * Principal components from the eigenvectors of the covariance matrix. Each component's largest
 * entry by absolute value is positive, as in scikit-learn.
 */
function fitPca(
  columns: readonly Float64Array[],
  { means, scales, options }: PcaInput,
): Pca | null {
  if (options.pca === null) return null;
  if (!options.impute) {
    throw new TypeError("Cannot fit PCA on missing values: imputation is off");
  }
  const count = options.pca;
  const rows = columns[0]?.length ?? 0;
  if (!Number.isInteger(count) || count < 1 || count > Math.min(rows, columns.length) || rows < 2) {
    throw new RangeError(
      `Cannot fit PCA with "${count}" components: the data are [${rows}, ${columns.length}]`,
    );
  }
  const centered = columns.map((column, j) => {
    const scale = options.standardize ? scales[j] : 1;
    return column.map((value) => Number.isFinite(value) ? (value - means[j]) / scale : 0);
  });
  const { values, vectors } = solveSymmetric(covarianceOf(centered), columns.length);
  const total = values.reduce((sum, value) => sum + value, 0);
  const kept = [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, count);
  const components = new Float64Array(columns.length * count);
  kept.forEach((which, c) => {
    orientVector(vectors[which]).forEach((weight, j) => components[j * count + c] = weight);
  });
  return {
    names: kept.map((_, c) => `pc_${c + 1}`),
    components,
    explainedVarianceRatio: total > 0 ? kept.map((which) => values[which] / total) : null,
  };
}

/** Covariance `[d, d]`, row-major, of centered columns, with divisor n - 1. */
function covarianceOf(columns: readonly Float64Array[]): Float64Array {
  const d = columns.length;
  const covariance = new Float64Array(d * d);
  for (let a = 0; a < d; a++) {
    for (let b = a; b < d; b++) {
      const left = columns[a];
      const right = columns[b];
      let sum = 0;
      for (let i = 0; i < left.length; i++) sum += left[i] * right[i];
      covariance[a * d + b] = covariance[b * d + a] = sum / (left.length - 1);
    }
  }
  return covariance;
}

function orientVector(vector: Float64Array): Float64Array {
  const largest = vector.reduce((best, v) => Math.abs(v) > Math.abs(best) ? v : best, 0);
  return largest < 0 ? vector.map((v) => -v) : vector;
}

/**
 * Eigenvalues and unit eigenvectors of a symmetric matrix `[d, d]` by cyclic Jacobi rotations.
 *
 * @see Golub and Van Loan, "Matrix Computations", 4th edition, section 8.5
 */
export function solveSymmetric(
  symmetric: Float64Array,
  d: number,
): { values: Float64Array; vectors: Float64Array[] } {
  const A = symmetric.slice();
  const vectors = Array.from({ length: d }, (_, i) => new Float64Array(d).fill(1, i, i + 1));
  const tolerance = 1e-30 * A.reduce((sum, value) => sum + value * value, 0);
  const maxSweeps = 50; // Convergence is quadratic; about ten sweeps reach the tolerance.
  for (let sweep = 0; sweep < maxSweeps && offDiagonal(A, d) > tolerance; sweep++) {
    for (let p = 0; p < d; p++) {
      for (let q = p + 1; q < d; q++) rotate(A, d, { p, q, vectors });
    }
  }
  return { values: Float64Array.from({ length: d }, (_, i) => A[i * d + i]), vectors };
}

function offDiagonal(A: Float64Array, d: number): number {
  let sum = 0;
  for (let p = 0; p < d; p++) {
    for (let q = p + 1; q < d; q++) sum += A[p * d + q] ** 2;
  }
  return sum;
}

/** Rotates axes p and q of `A` so that entry (p, q) becomes 0. */
function rotate(
  A: Float64Array,
  d: number,
  { p, q, vectors }: { p: number; q: number; vectors: Float64Array[] },
): void {
  const entry = A[p * d + q];
  if (entry === 0) return;
  const theta = (A[q * d + q] - A[p * d + p]) / (2 * entry);
  const tangent = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const cosine = 1 / Math.hypot(tangent, 1);
  const sine = tangent * cosine;
  for (let i = 0; i < d; i++) {
    const left = A[i * d + p];
    const right = A[i * d + q];
    A[i * d + p] = cosine * left - sine * right;
    A[i * d + q] = sine * left + cosine * right;
  }
  for (let i = 0; i < d; i++) {
    const upper = A[p * d + i];
    const lower = A[q * d + i];
    A[p * d + i] = cosine * upper - sine * lower;
    A[q * d + i] = sine * upper + cosine * lower;
  }
  const first = vectors[p];
  const second = vectors[q];
  for (let i = 0; i < d; i++) {
    const left = first[i];
    const right = second[i];
    first[i] = cosine * left - sine * right;
    second[i] = sine * left + cosine * right;
  }
}
