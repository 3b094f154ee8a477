/** Whether scores are probabilities, and what makes them so. */
import { Random } from "../random.ts";
import { fitIsotonic } from "./isotonic.ts";
import { measureSoftArea } from "./soft_metrics.ts";

/** Bins and splits of the test, as in NannyML. */
const bins = 10;
const splits = 10;

/** Above this area the scores separate the classes: there is nothing left to calibrate. */
const separated = 0.999;

/**
 * Gives the expected calibration error in `[0, 1]` of `scores` against `truth` (0 or 1), both `[n]`:
 * the mean gap between mean score and share of ones over ten bins of equally many rows, in the order
 * of the scores. `null` for fewer than four rows. Equals NannyML's, for scores without ties.
 *
 * @throws {TypeError} when the lengths differ.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureCalibrationError } from "./calibration.ts";
 *
 * assertEquals(measureCalibrationError([0.25, 0.25, 0.5, 0.5], [0, 0, 1, 1]), 0.375);
 * ```
 *
 * @see Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
 * Binning", AAAI 2015
 */
export function measureCalibrationError(
  scores: ArrayLike<number>,
  truth: ArrayLike<number>,
): number | null {
  const n = scores.length;
  if (n !== truth.length) {
    throw new TypeError(`Cannot compare ${n} scores with ${truth.length} rows of truth`);
  }
  const count = n <= 2 * bins ? Math.floor(n / 2) : bins;
  if (count < 2) return null;
  const width = Math.floor(n / count);
  const edges = Array.from({ length: Math.floor(n / width) + 1 }, (_, bin) => bin * width);
  edges[edges.length - 1] = n;
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => scores[a] - scores[b]);
  let error = 0;
  for (let bin = 0; bin + 1 < edges.length; bin++) {
    let gap = 0;
    for (const i of order.subarray(edges[bin], edges[bin + 1])) gap += scores[i] - truth[i];
    error += Math.abs(gap) / n;
  }
  return error;
}

/**
 * Says whether isotonic calibration brings `scores` nearer to `truth` (0 or 1), both `[n]`, on rows it
 * was not fitted on: the calibration error over the held-out tenths of ten stratified random splits,
 * before against after. `false` when one class is absent, when the scores separate the classes (area
 * under the ROC curve above 0.999) or when a class has fewer than two rows. NannyML's test with our
 * splits.
 *
 * @throws {TypeError} when the lengths differ.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Random } from "../random.ts";
 * import { needsCalibration } from "./calibration.ts";
 *
 * const random = new Random(1);
 * const scores = Float64Array.from({ length: 2000 }, () => random.uniform());
 * const truth = scores.map((score) => random.uniform() < score ** 3 ? 1 : 0);
 * assertEquals(needsCalibration(scores, truth), true);
 * ```
 */
export function needsCalibration(
  scores: Float64Array,
  truth: ArrayLike<number>,
  { seed = 0 }: { readonly seed?: number } = {},
): boolean {
  if (scores.length !== truth.length) {
    throw new TypeError(
      `Cannot compare ${scores.length} scores with ${truth.length} rows of truth`,
    );
  }
  const classes = [0, 1].map((c) =>
    Int32Array.from({ length: scores.length }, (_, i) => i).filter((i) => truth[i] === c)
  );
  if (classes.some((rows) => rows.length < 2)) return false;
  const area = measureSoftArea(scores, (i) => truth[i])!;
  if (area > separated) return false;
  const random = new Random(seed);
  const held = { truth: [] as number[], before: [] as number[], after: [] as number[] };
  for (let split = 0; split < splits; split++) {
    const training: number[] = [];
    const test: number[] = [];
    for (const rows of classes) {
      const size = Math.max(1, Math.round(rows.length / 10));
      random.shuffle(rows).forEach((row, place) => (place < size ? test : training).push(row));
    }
    const fit = fitIsotonic(training.map((i) => scores[i]), training.map((i) => truth[i]));
    for (const i of test) {
      held.truth.push(truth[i]);
      held.before.push(scores[i]);
      held.after.push(fit.at(scores[i]));
    }
  }
  const before = measureCalibrationError(held.before, held.truth);
  const after = measureCalibrationError(held.after, held.truth);
  return before !== null && after !== null && before > after;
}
