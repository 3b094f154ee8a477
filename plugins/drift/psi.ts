/** Population stability index over ten bins of the reference's quantiles. */
import { measureStability } from "../../numeric/statistics.ts";
import { definePlugin } from "../plugin.ts";

/** Customary bound of a significant shift (Siddiqi, Credit Risk Scorecards, 2006). */
const threshold = 0.25;

/** Population stability index; drifted at ≥ 0.25. */
export const psi = definePlugin({
  kind: "drift",
  name: "psi",
  summary: "population stability index over ten quantile bins of the reference",
  threshold,
  compare(reference, current) {
    const statistic = measureStability(reference, current);
    return statistic === null ? null : { statistic, isDrifted: statistic >= threshold };
  },
});
