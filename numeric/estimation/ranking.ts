/** Which features explain that a model is expected to do worse. */
import type { Matrix } from "../matrix.ts";
import { computeQuantiles } from "../statistics.ts";

/** Rows and what a model is expected to lose on them. */
export interface ExpectedLosses {
  /** Features `[n, d]`; `NaN` is missing. */
  readonly X: Matrix;
  /**
   * Expected loss of each row `[n]`: for a classifier 1 minus the calibrated probability of the
   * predicted class, for a regressor the expected absolute error.
   */
  readonly losses: Float64Array;
}

/** How much of the change of the loss a feature explains. */
export interface RankedFeature {
  /** Column of the feature. */
  readonly feature: number;
  /** The change of the mean loss that the shift of this feature alone brings, in the loss's unit. */
  readonly explained: number;
  /** `explained` over the whole change; `null` when the loss did not change. */
  readonly share: number | null;
}

/** Outcome of {@linkcode rankFeatures}. */
export interface FeatureRanking {
  /** Mean expected loss of the current rows minus that of the reference. */
  readonly change: number;
  /** The features, those that explain most of the change first. */
  readonly features: readonly RankedFeature[];
}

/** Bins of a feature. */
const bins = 10;

/**
 * Ranks features by how much of the change of the expected loss they explain, not by how much they
 * drifted: a feature can move far where the model does not care. For each feature, the rows are put
 * into ten bins of the reference's quantiles and one for missing values; `explained` is the sum over
 * bins of (share of the current rows - share of the reference's) × (mean loss of the reference's rows in
 * the bin - mean loss of all). So it is the change of the loss if this feature alone had shifted and the
 * loss for a given value had stayed. Features that go together explain the same change, so shares need
 * not add up to 1. A bin without reference rows explains nothing.
 *
 * `null` when either side has no rows.
 *
 * @throws {TypeError} when the numbers of rows or columns disagree.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { rankFeatures } from "./ranking.ts";
 *
 * // The loss is large where the second feature is 1; the first one moves as well.
 * const reference = { X: matrix(4, 2, Float32Array.of(0, 0, 1, 0, 0, 1, 1, 1)), losses: Float64Array.of(0, 0, 1, 1) };
 * const current = { X: matrix(2, 2, Float32Array.of(1, 1, 1, 1)), losses: Float64Array.of(1, 1) };
 * const { change, features } = rankFeatures(reference, current)!;
 * assertEquals(change, 0.5);
 * assertEquals(features, [
 *   { feature: 1, explained: 0.5, share: 1 },
 *   { feature: 0, explained: 0, share: 0 },
 * ]);
 * ```
 *
 * @see Oaxaca, "Male–Female Wage Differentials in Urban Labor Markets", International Economic Review
 * 14(3), 1973 (the decomposition into a change of shares and a change of means)
 */
export function rankFeatures(
  reference: ExpectedLosses,
  current: ExpectedLosses,
): FeatureRanking | null {
  for (const { X, losses } of [reference, current]) {
    if (X.rows !== losses.length) {
      throw new TypeError(`Cannot rank features: ${X.rows} rows for ${losses.length} losses`);
    }
  }
  const d = reference.X.cols;
  if (current.X.cols !== d) {
    throw new TypeError(`Cannot rank features: ${d} columns against ${current.X.cols}`);
  }
  if (reference.X.rows === 0 || current.X.rows === 0) return null;
  const mean = meanOf(reference.losses);
  const change = meanOf(current.losses) - mean;
  const features = Array.from({ length: d }, (_, feature) => {
    const explained = explain(feature, { reference, current, mean });
    return { feature, explained, share: change === 0 ? null : explained / change };
  });
  const direction = change < 0 ? -1 : 1;
  return {
    change,
    features: features.sort((a, b) => direction * (b.explained - a.explained)),
  };
}

function explain(
  feature: number,
  { reference, current, mean }: {
    reference: ExpectedLosses;
    current: ExpectedLosses;
    mean: number;
  },
): number {
  const values = readColumn(reference.X, feature);
  const shares = Array.from({ length: bins - 1 }, (_, bin) => (bin + 1) / bins);
  const edges = [...new Set(computeQuantiles(values, shares) ?? [])];
  const counts = new Float64Array(edges.length + 2);
  const sums = new Float64Array(edges.length + 2);
  values.forEach((value, i) => {
    const bin = findBin(edges, value);
    counts[bin]++;
    sums[bin] += reference.losses[i];
  });
  const seen = new Float64Array(edges.length + 2);
  for (const value of readColumn(current.X, feature)) seen[findBin(edges, value)]++;
  let explained = 0;
  for (let bin = 0; bin < counts.length; bin++) {
    if (counts[bin] === 0) continue;
    const shift = seen[bin] / current.X.rows - counts[bin] / reference.X.rows;
    explained += shift * (sums[bin] / counts[bin] - mean);
  }
  return explained;
}

/** The last bin is that of missing values; a bin holds its upper edge. */
function findBin(edges: readonly number[], value: number): number {
  if (Number.isNaN(value)) return edges.length + 1;
  let bin = 0;
  while (bin < edges.length && value > edges[bin]) bin++;
  return bin;
}

function readColumn({ data, rows, cols }: Matrix, column: number): Float64Array {
  return Float64Array.from({ length: rows }, (_, i) => data[i * cols + column]);
}

function meanOf(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
