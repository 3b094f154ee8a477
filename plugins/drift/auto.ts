/** The method that suits a column's type and size. */
import { countBins, countDistinct, countHalves } from "../../numeric/drift/bins.ts";
import { chooseMethod, type ChosenMethod } from "../../numeric/drift/choice.ts";
import { measureJensenShannon } from "../../numeric/drift/divergences.ts";
import { testKolmogorovSmirnovExactly } from "../../numeric/drift/kolmogorov.ts";
import { testChiSquared, testProportions } from "../../numeric/drift/tables.ts";
import { measureNormedWasserstein } from "../../numeric/drift/transport.ts";
import { definePlugin, type DriftResult } from "../plugin.ts";

type Scores = Omit<DriftResult, "isDrifted">;

const runs: Readonly<
  Record<ChosenMethod, (reference: Float64Array, current: Float64Array) => Scores>
> = {
  ks(reference, current) {
    const { statistic, pValue } = testKolmogorovSmirnovExactly(reference, current)!;
    return { statistic, pValue };
  },
  chisquare(reference, current) {
    const { effect, pValue } = testChiSquared(countBins(reference, current)!)!;
    return { statistic: effect, pValue };
  },
  z(reference, current) {
    const { effect, pValue } = testProportions(countHalves(reference, current)!)!;
    return { statistic: effect, pValue };
  },
  wasserstein: (reference, current) => ({
    statistic: measureNormedWasserstein(reference, current)!,
  }),
  jensenshannon: (reference, current) => ({
    statistic: measureJensenShannon(countBins(reference, current)!)!,
  }),
};

/** What the chosen method found, and why it was chosen. */
export interface AutoResult extends DriftResult {
  readonly method: ChosenMethod;
  /** The decision in words, one step a line. */
  readonly path: readonly string[];
}

/**
 * The method of Evidently 0.7's defaults for a numeric column: a test up to 1000 reference rows, a
 * distance beyond. A test's threshold is 0.05 on the p-value, a distance's 0.1.
 */
export const auto = definePlugin({
  kind: "drift",
  name: "auto",
  summary: "the method that suits the column's size and number of distinct values",
  threshold: 0.1,
  compare(reference, current): AutoResult | null {
    if (reference.length === 0 || current.length === 0) return null;
    const pooled = new Float64Array(reference.length + current.length);
    pooled.set(reference);
    pooled.set(current, reference.length);
    const { method, decides, threshold, path } = chooseMethod({
      type: "numeric",
      referenceCount: reference.length,
      distinctCount: countDistinct(pooled.sort()),
    });
    const scores = runs[method](reference, current);
    const isDrifted = decides === "pValue"
      ? scores.pValue! < threshold
      : scores.statistic >= threshold;
    return { ...scores, isDrifted, method, path };
  },
});
