/**
 * What makes a judge's scores probabilities, and where to cut them.
 *
 * @module
 */
import { fitIsotonic } from "../estimation/isotonic.ts";
import { Random } from "../random.ts";
import { fitLogistic, sigmoid } from "./logistic.ts";
import { checkScored, type ScoredRows } from "./scores.ts";

/** A fitted calibrator; plain data, so that it can be kept. */
export type Calibrator =
  | { readonly kind: "platt"; readonly slope: number; readonly intercept: number }
  | { readonly kind: "isotonic"; readonly points: readonly (readonly [x: number, y: number])[] }
  | {
    readonly kind: "threshold";
    readonly at: number;
    readonly below: number;
    readonly from: number;
  };

/** Names of the calibrators. */
export type CalibratorKind = Calibrator["kind"];

/** The calibrators, the one with the fewest parameters first. */
export const calibratorKinds: readonly CalibratorKind[] = ["platt", "threshold", "isotonic"];

/**
 * Fits a calibrator to scores and truth (1 or 0), both `[n]`:
 *
 * - `platt`: a logistic curve over the score, its targets drawn in from 0 and 1 as Platt did; equals
 *   scikit-learn's sigmoid calibration;
 * - `isotonic`: the nearest increasing function;
 * - `threshold`: one cut, where balanced accuracy is highest, with the share of 1 on either side.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a score is `NaN`, a truth is neither 0 nor 1, or one of them is absent.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { calibrate, fitCalibrator } from "./calibrators.ts";
 *
 * const rows = { scores: [0.5, 0.52, 0.53, 0.55], truth: [0, 0, 1, 1] };
 * assertEquals(fitCalibrator("threshold", rows), { kind: "threshold", at: 0.525, below: 0.25, from: 0.75 });
 * assert(calibrate(fitCalibrator("platt", rows), 0.9) > 0.5);
 * ```
 *
 * @see Platt, "Probabilistic Outputs for Support Vector Machines", Advances in Large Margin Classifiers 1999
 */
export function fitCalibrator(kind: CalibratorKind, rows: ScoredRows): Calibrator {
  checkScored(rows);
  const { scores, truth } = rows;
  const positives = sum(truth);
  const negatives = truth.length - positives;
  if (positives === 0 || negatives === 0) {
    throw new RangeError(`Cannot calibrate: all ${truth.length} rows have the same truth`);
  }
  if (kind === "isotonic") {
    const fit = fitIsotonic(scores, truth);
    const xs = [...new Set(Array.from(scores))].sort((a, b) => a - b);
    return { kind, points: dropMiddles(xs.map((x) => [x, fit.at(x)])) };
  }
  // Laplace's rule keeps either side from certainty that so few rows cannot give.
  const high = (positives + 1) / (positives + 2);
  const low = 1 / (negatives + 2);
  if (kind === "platt") {
    const fit = fitLogistic({
      x: Array.from(scores, (score) => [score]),
      y: Array.from(truth, (t) => t === 1 ? high : low),
    }, 0);
    return { kind, slope: fit.weights[0], intercept: fit.intercept };
  }
  const at = chooseThreshold(rows);
  const share = (keep: (score: number) => boolean) => {
    const kept = Array.from(truth).filter((_, i) => keep(scores[i]));
    return (sum(kept) + 1) / (kept.length + 2);
  };
  return { kind, at, below: share((score) => score < at), from: share((score) => score >= at) };
}

/** Gives the probability of 1 in `[0, 1]` that a calibrator sees in a score. */
export function calibrate(calibrator: Calibrator, score: number): number {
  if (calibrator.kind === "platt") {
    return sigmoid(calibrator.intercept + calibrator.slope * score);
  }
  if (calibrator.kind === "threshold") {
    return score >= calibrator.at ? calibrator.from : calibrator.below;
  }
  const { points } = calibrator;
  const above = points.findIndex(([x]) => x >= score);
  if (above === -1) return points[points.length - 1][1];
  if (above === 0) return points[0][1];
  const [[x0, y0], [x1, y1]] = [points[above - 1], points[above]];
  return y0 + (y1 - y0) * (score - x0) / (x1 - x0);
}

/**
 * Gives the cut "score ≥ threshold" of the highest balanced accuracy: half-way between two scores, the
 * middle one of several that are equally good.
 *
 * @throws {RangeError} when a truth is absent.
 */
export function chooseThreshold(rows: ScoredRows): number {
  checkScored(rows);
  const { scores, truth } = rows;
  const order = Int32Array.from({ length: scores.length }, (_, i) => i)
    .sort((a, b) => scores[a] - scores[b]);
  const positives = sum(truth);
  const negatives = truth.length - positives;
  if (positives === 0 || negatives === 0) {
    throw new RangeError(`Cannot cut scores: all ${truth.length} rows have the same truth`);
  }
  let gain = 0;
  let best: { gain: number; cuts: number[] } = { gain: 0, cuts: [scores[order[0]]] };
  for (let place = 0; place < order.length; place++) {
    gain += truth[order[place]] === 1 ? -1 / positives : 1 / negatives;
    const here = scores[order[place]];
    const next = place + 1 < order.length ? scores[order[place + 1]] : NaN;
    if (!(next > here)) continue;
    if (gain > best.gain + 1e-12) best = { gain, cuts: [] };
    if (gain > best.gain - 1e-12) best.cuts.push((here + next) / 2);
  }
  return best.cuts[best.cuts.length >> 1];
}

/** Scores that a calibrator gave to rows it was not fitted on. */
export interface CrossFit {
  /** Calibrated probability of each row `[n]`. */
  readonly probabilities: Float64Array;
  /** Whether the row's score reaches the cut that the other half chose, `[n]`: 1 or 0. */
  readonly labels: Uint8Array;
  /** The cut on the score that either half chose. */
  readonly thresholds: readonly [number, number];
}

/**
 * Calibrates each half of the rows by what the other half teaches: halves are drawn by the seed within
 * either truth, so what comes out may be measured against the same truth. `null` with fewer than two
 * rows of either truth.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a score is `NaN` or a truth is neither 0 nor 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { crossFit } from "./calibrators.ts";
 *
 * const scores = Array.from({ length: 40 }, (_, i) => i / 40);
 * const truth = scores.map((score) => score < 0.5 ? 0 : 1);
 * const { labels } = crossFit("platt", { scores, truth })!;
 * assertEquals(labels.filter((label, i) => label === truth[i]).length >= 38, true);
 * ```
 */
export function crossFit(
  kind: CalibratorKind,
  rows: ScoredRows,
  { seed = 0 }: { readonly seed?: number } = {},
): CrossFit | null {
  checkScored(rows);
  const halves = drawHalves(rows.truth, seed);
  if (halves === null) return null;
  const probabilities = new Float64Array(rows.scores.length);
  const labels = new Uint8Array(rows.scores.length);
  const cut = halves.map((fitted, half) => {
    const training = takeScored(rows, fitted);
    const calibrator = fitCalibrator(kind, training);
    const threshold = chooseThreshold(training);
    for (const i of halves[1 - half]) {
      probabilities[i] = calibrate(calibrator, rows.scores[i]);
      labels[i] = rows.scores[i] >= threshold ? 1 : 0;
    }
    return threshold;
  });
  return { probabilities, labels, thresholds: [cut[0], cut[1]] };
}

/** Draws two halves of the rows, with half of either truth in each; `null` when one has too few. */
export function drawHalves(
  truth: ArrayLike<number>,
  seed: number,
): [Int32Array, Int32Array] | null {
  const random = new Random(seed);
  const halves: [number[], number[]] = [[], []];
  for (const kind of [0, 1]) {
    const rows = Int32Array.from({ length: truth.length }, (_, i) => i)
      .filter((i) => truth[i] === kind);
    if (rows.length < 2) return null;
    random.shuffle(rows).forEach((row, place) => halves[place % 2].push(row));
  }
  return halves.map((half) => Int32Array.from(half).sort()) as [Int32Array, Int32Array];
}

/** The rows at these places. */
export function takeScored({ scores, truth }: ScoredRows, rows: ArrayLike<number>): ScoredRows {
  return {
    scores: Array.from(rows, (i) => scores[i]),
    truth: Array.from(rows, (i) => truth[i]),
  };
}

/** Leaves out points between equal neighbors. */
function dropMiddles(points: [number, number][]): [number, number][] {
  return points.filter(([, y], i) =>
    i === 0 || i === points.length - 1 || points[i - 1][1] !== y || points[i + 1][1] !== y
  );
}

function sum(values: ArrayLike<number>): number {
  return Array.from(values).reduce((a, b) => a + b, 0);
}
