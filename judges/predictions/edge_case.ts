/** How far a record lies from everything that training saw. */
import { normalTail } from "../../numeric/special.ts";
import { definePlugin } from "../../plugins/plugin.ts";
import { isNumber } from "../prompts/record.ts";

/** A feature further than this from every class is out of the range of training, in deviations. */
const RANGE = 4;

/**
 * The score is the share of a normal distribution that lies further out than the record does from its
 * nearest class, by the root of the mean squared standardized difference; 0 when a feature lies
 * more than four deviations from every class.
 */
export const edgeCase = definePlugin({
  kind: "judge",
  name: "edge_case",
  summary: "distance of the record to everything seen in training; no LLM",
  version: "edge-case-1",
  probe: () => Promise.resolve({ ready: true, detail: "needs no server" }),
  judge({ features, label }, { profiles }) {
    if (!Object.hasOwn(profiles, label)) {
      return Promise.resolve({ status: "abstained", kind: "no_profile" });
    }
    /** Distances to each class by feature. */
    const distances = Object.values(profiles).map(({ mean, std }) =>
      Object.entries(mean).flatMap(([name, center]) => {
        const value = Object.hasOwn(features, name) ? features[name] : null;
        const isUsable = isNumber(value) && isNumber(center) && isNumber(std[name]) &&
          std[name] > 0;
        return isUsable ? [[name, Math.abs(value - center) / std[name]] as const] : [];
      })
    ).filter((list) => list.length > 0);
    if (distances.length === 0) {
      return Promise.resolve({ status: "abstained", kind: "low_coverage" });
    }
    const nearest = new Map<string, number>();
    for (const [name, distance] of distances.flat()) {
      nearest.set(name, Math.min(distance, nearest.get(name) ?? Infinity));
    }
    const outside = [...nearest].filter(([, distance]) => distance > RANGE).map(([name]) => name);
    const whole = Math.min(
      ...distances.map((list) =>
        Math.sqrt(list.reduce((sum, [, distance]) => sum + distance ** 2, 0) / list.length)
      ),
    );
    return Promise.resolve({
      status: "scored",
      score: outside.length > 0 ? 0 : Math.min(1, 2 * normalTail(whole)),
      label: outside.length > 0 ? "outside" : "inside",
      raw: JSON.stringify({ distance: whole, outside }),
      rationale: outside.length > 0
        ? `beyond training: ${outside.join(", ")}`
        : `${whole.toFixed(2)} deviations from the nearest class`,
    });
  },
});
