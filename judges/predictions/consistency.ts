/** Similar inputs, similar outputs: how many of the nearest recent predictions have the same class. */
import { z } from "zod";
import { definePlugin } from "../../plugins/plugin.ts";

const Params = z.strictObject({
  neighbors: z.int().min(1).default(15).describe("nearest recent predictions that are compared"),
  radius: z.number().positive().default(1)
    .describe("greatest distance of a neighbor, in deviations per feature"),
  minimum: z.int().min(1).default(5).describe("fewer neighbors within the radius: no opinion"),
});

/**
 * The score is the share of the nearest neighbors that got the same class. Neighbors are the recent
 * predictions of the same version within the radius; a distance is the root of the mean squared
 * difference of the shared features, each in units of its deviation among the recent predictions.
 */
export const consistency = definePlugin({
  kind: "judge",
  name: "consistency",
  summary: "share of the nearest recent predictions with the same class; no LLM",
  version: "consistency-1",
  params: Params,
  probe: () => Promise.resolve({ ready: true, detail: "needs no server" }),
  async judge(inference, { history, params = {} }) {
    if (history === undefined) return { status: "abstained", kind: "no_history" };
    const { neighbors, radius, minimum } = Params.parse(params);
    const near = (await history.neighbors(inference, neighbors))
      .filter(({ distance }) => distance <= radius);
    if (near.length < minimum) {
      const rationale = `${near.length} recent predictions lie within ${radius}, ${minimum} must`;
      return { status: "abstained", kind: "few_neighbors", rationale };
    }
    const counts = new Map<string, number>();
    for (const { inference: { label } } of near) counts.set(label, (counts.get(label) ?? 0) + 1);
    const [label] = [...counts].reduce((a, b) => b[1] > a[1] ? b : a);
    const same = counts.get(inference.label) ?? 0;
    return {
      status: "scored",
      score: same / near.length,
      label,
      raw: JSON.stringify(Object.fromEntries(counts)),
      rationale: `${same} of ${near.length} neighbors are "${inference.label}" too`,
    };
  },
});
