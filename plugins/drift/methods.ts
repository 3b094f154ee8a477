/**
 * The two-sample methods, one row each: distances, drifted from 0.1 on, and tests, drifted below
 * p = 0.05 (Evidently's names and thresholds). What a test reports as its statistic is how large the
 * difference is, in `[0, 1]`, where the test has such a number; its p-value stands beside it.
 *
 * @module
 */
import { testAndersonDarling } from "../../numeric/drift/anderson.ts";
import { countBins, countHalves } from "../../numeric/drift/bins.ts";
import { testCramerVonMises } from "../../numeric/drift/cramer.ts";
import {
  type Counts,
  measureHellinger,
  measureJensenShannon,
  measureKullbackLeibler,
  measureTotalVariation,
} from "../../numeric/drift/divergences.ts";
import { testWelch } from "../../numeric/drift/means.ts";
import { testMeanDiscrepancy } from "../../numeric/drift/mmd.ts";
import type { TestOutcome } from "../../numeric/drift/outcome.ts";
import { testMannWhitney } from "../../numeric/drift/ranks.ts";
import {
  testByPermutation,
  testChiSquared,
  testFisher,
  testLikelihoodRatio,
  testProportions,
} from "../../numeric/drift/tables.ts";
import { measureEnergyDistance, measureNormedWasserstein } from "../../numeric/drift/transport.ts";
import { definePlugin, type Plugin } from "../plugin.ts";

/** Distance from which a column counts as drifted. */
const drifted = 0.1;

/** Significance level of the tests. */
const level = 0.05;

type Samples = readonly [reference: Float64Array, current: Float64Array];

function defineDistance(
  name: string,
  summary: string,
  measure: (...samples: Samples) => number | null,
): Plugin<"drift"> {
  return definePlugin({
    kind: "drift",
    name,
    summary,
    threshold: drifted,
    compare(reference, current) {
      const statistic = measure(reference, current);
      return statistic === null ? null : { statistic, isDrifted: statistic >= drifted };
    },
  });
}

function defineTest(
  name: string,
  summary: string,
  test: (...samples: Samples) => Pick<TestOutcome, "statistic" | "pValue"> | null,
): Plugin<"drift"> {
  return definePlugin({
    kind: "drift",
    name,
    summary,
    threshold: level,
    compare(reference, current) {
      const result = test(reference, current);
      if (!result) return null;
      const { statistic, pValue } = result;
      return { statistic, pValue, isDrifted: pValue < level };
    },
  });
}

/** Runs a measure of counts over shared bins. */
function overBins<T>(measure: (counts: Counts) => T | null): (...samples: Samples) => T | null {
  return (...samples) => {
    const counts = countBins(...samples);
    return counts && measure(counts);
  };
}

/** Runs a test of two proportions. */
function overHalves<T>(measure: (counts: Counts) => T | null): (...samples: Samples) => T | null {
  return (...samples) => {
    const counts = countHalves(...samples);
    return counts && measure(counts);
  };
}

/** Reports the effect of a test as its statistic. */
function byEffect<A extends unknown[]>(
  test: (...input: A) => TestOutcome | null,
): (...input: A) => { statistic: number; pValue: number } | null {
  return (...input) => {
    const outcome = test(...input);
    return outcome && { statistic: outcome.effect, pValue: outcome.pValue };
  };
}

/** Every two-sample method but `ks`, `psi` and `auto`, which have files of their own. */
export const methods: readonly Plugin<"drift">[] = [
  defineDistance(
    "wasserstein",
    "mean way that values have to go, in standard deviations of the reference",
    measureNormedWasserstein,
  ),
  defineDistance("ed", "energy distance of two samples", measureEnergyDistance),
  defineDistance(
    "jensenshannon",
    "Jensen–Shannon distance over categories or Sturges bins",
    overBins(measureJensenShannon),
  ),
  defineDistance(
    "kl_div",
    "Kullback–Leibler divergence over categories or Sturges bins, in nats",
    overBins(measureKullbackLeibler),
  ),
  defineDistance(
    "hellinger",
    "Hellinger distance over categories or Sturges bins",
    overBins(measureHellinger),
  ),
  defineTest(
    "TVD",
    "total variation distance over categories or Sturges bins, with its permutation p-value",
    overBins((counts) => testByPermutation(counts, measureTotalVariation)),
  ),
  defineTest(
    "chisquare",
    "chi-squared test over categories or Sturges bins; the statistic is Cramér's V",
    overBins(byEffect(testChiSquared)),
  ),
  defineTest(
    "g_test",
    "likelihood-ratio test over categories or Sturges bins; the statistic is Cramér's V",
    overBins(byEffect(testLikelihoodRatio)),
  ),
  defineTest(
    "z",
    "z test of two shares, of a binary column or above the reference's median",
    overHalves(byEffect(testProportions)),
  ),
  defineTest(
    "fisher_exact",
    "exact test of two shares, of a binary column or above the reference's median",
    overHalves(byEffect(testFisher)),
  ),
  defineTest(
    "t_test",
    "Welch's test of the mean; the statistic is the correlation of value and window",
    byEffect(testWelch),
  ),
  defineTest(
    "mannw",
    "Mann–Whitney test of larger values; the statistic is the rank-biserial correlation",
    byEffect(testMannWhitney),
  ),
  defineTest(
    "anderson",
    "Anderson–Darling test, which weighs the tails; p-values end at 0.001 and 0.25",
    (...samples) => testAndersonDarling(samples),
  ),
  defineTest(
    "cramer_von_mises",
    "Cramér–von Mises test of the squared gap of two distribution functions",
    byEffect(testCramerVonMises),
  ),
  defineTest(
    "empirical_mmd",
    "maximum mean discrepancy of up to 500 values a side, with its permutation p-value",
    testMeanDiscrepancy,
  ),
];
