/** Two-sample Kolmogorov–Smirnov distance of a column's distribution functions. */
import { testKolmogorovSmirnov } from "../../numeric/statistics.ts";
import { definePlugin } from "../plugin.ts";

/** Distance from which a column counts as drifted; the p-value alone alarms on any large sample. */
const threshold = 0.2;

/** Largest distance of two distribution functions; drifted at ≥ 0.2 with p < 0.05. */
export const ks = definePlugin({
  kind: "drift",
  name: "ks",
  summary: "largest distance of two distribution functions, with its asymptotic p-value",
  threshold,
  compare(reference, current) {
    const result = testKolmogorovSmirnov(reference, current);
    if (!result) return null;
    return { ...result, isDrifted: result.statistic >= threshold && result.pValue < 0.05 };
  },
});
