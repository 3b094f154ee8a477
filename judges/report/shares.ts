/** Intervals of shares from a sample with unequal probabilities. */
import type { Stratum, SurveyEstimate } from "../../numeric/survey/design.ts";
import { findWilsonInterval } from "../../runtime/estimates/realized.ts";

/** With fewer rows of either answer the variance of a share says too little of itself. */
const FEWEST_OF_EACH = 10;

/**
 * Gives a share Wilson's interval over as many rows as its design-based variance is worth, in place of
 * the normal one: no or few hits of a sample are no proof that there are none. With few rows of either
 * answer it is over at most so many rows as the weights alone are worth. Without width where all rows
 * were drawn.
 *
 * @see Dean and Pagano, "Evaluating Confidence Interval Methods for Binomial Proportions in Clustered
 * Surveys", Journal of Survey Statistics and Methodology 3(4), 2015
 */
export function widenShare(
  estimate: SurveyEstimate,
  strata: readonly Stratum[],
): SurveyEstimate {
  const value = Math.min(1, Math.max(0, estimate.value));
  const [misses, hits] = countDrawn(strata);
  const isFew = Math.min(hits, misses) < FEWEST_OF_EACH;
  const byVariance = estimate.standardError > 0
    ? value * (1 - value) / estimate.standardError ** 2
    : Infinity;
  const rows = isFew ? Math.min(byVariance, countByWeights(strata)) : byVariance;
  if (rows === Infinity) return { ...estimate, value, low: value, high: value };
  return { ...estimate, value, ...findWilsonInterval(value * rows, rows) };
}

/** Misses and hits among rows that were drawn by chance: those that came for sure tell of no others. */
function countDrawn(strata: readonly Stratum[]): [number, number] {
  const counts: [number, number] = [0, 0];
  for (const { values, probabilities } of strata) {
    for (let i = 0; i < values.length; i++) {
      if (probabilities[i] < 1) counts[values[i] === 1 ? 1 : 0]++;
    }
  }
  return counts;
}

/** Rows of a simple sample whose share would be as uncertain, if hits had nothing to do with weights. */
function countByWeights(strata: readonly Stratum[]): number {
  const size = strata.reduce((sum, stratum) => sum + stratum.size, 0);
  let variance = 0;
  for (const stratum of strata) {
    let weights = 0;
    let squares = 0;
    for (let i = 0; i < stratum.values.length; i++) {
      const probability = stratum.probabilities[i];
      weights += 1 / probability;
      squares += (1 - probability) / probability ** 2;
    }
    variance += (stratum.size / size) ** 2 * squares / weights ** 2;
  }
  return variance === 0 ? Infinity : 1 / variance;
}
