/** What every measure of agreement asks of its rows. */

/** Scores beside what is true. */
export interface ScoredRows {
  /** Score of each row `[n]`; a higher one speaks for 1. */
  readonly scores: ArrayLike<number>;
  /** Truth of each row `[n]`: 1 or 0. */
  readonly truth: ArrayLike<number>;
}

/**
 * Checks rows of scores and truth.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a score is `NaN` or a truth is neither 0 nor 1.
 */
export function checkScored({ scores, truth }: ScoredRows): void {
  if (scores.length !== truth.length) {
    throw new TypeError(`Cannot compare ${scores.length} scores with ${truth.length} truths`);
  }
  for (let i = 0; i < scores.length; i++) {
    if (Number.isNaN(scores[i])) throw new RangeError(`Cannot read row "${i}": its score is NaN`);
    if (truth[i] !== 0 && truth[i] !== 1) {
      throw new RangeError(`Cannot read row "${i}": its truth ${truth[i]} is neither 0 nor 1`);
    }
  }
}

/**
 * Gives the Brier score in `[0, 1]`: the mean squared distance of probabilities to the truth. `null`
 * without rows. Equals scikit-learn's `brier_score_loss`.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a score is `NaN` or a truth is neither 0 nor 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureBrier } from "./scores.ts";
 *
 * assertEquals(measureBrier({ scores: [0.5, 1], truth: [0, 1] }), 0.125);
 * ```
 *
 * @see Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review
 * 78(1), 1950
 */
export function measureBrier(rows: ScoredRows): number | null {
  checkScored(rows);
  const { scores, truth } = rows;
  if (scores.length === 0) return null;
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += (scores[i] - truth[i]) ** 2;
  return sum / scores.length;
}

/** How a cut separates the rows; `null` where a kind of row is absent. */
export interface CutRates {
  /** Share of the rows of truth 1 whose score reaches the threshold. */
  readonly tpr: number | null;
  /** Share of the rows of truth 0 whose score lies below the threshold. */
  readonly tnr: number | null;
  /** Rows of truth 1. */
  readonly positives: number;
  /** Rows of truth 0. */
  readonly negatives: number;
}

/**
 * Gives the true positive and true negative rates of "score ≥ threshold".
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a score is `NaN` or a truth is neither 0 nor 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureCut } from "./scores.ts";
 *
 * const { tpr, tnr } = measureCut({ scores: [0.2, 0.6, 0.9], truth: [0, 0, 1] }, 0.5);
 * assertEquals([tpr, tnr], [1, 0.5]);
 * ```
 */
export function measureCut(rows: ScoredRows, threshold: number): CutRates {
  checkScored(rows);
  const counts = [[0, 0], [0, 0]];
  for (let i = 0; i < rows.scores.length; i++) {
    counts[rows.truth[i]][rows.scores[i] >= threshold ? 1 : 0]++;
  }
  const [[trueNegatives, falsePositives], [falseNegatives, truePositives]] = counts;
  const negatives = trueNegatives + falsePositives;
  const positives = truePositives + falseNegatives;
  return {
    tpr: positives === 0 ? null : truePositives / positives,
    tnr: negatives === 0 ? null : trueNegatives / negatives,
    positives,
    negatives,
  };
}
