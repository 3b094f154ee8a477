/** Whether a stated confidence is the accuracy that such predictions really have. */
import { z } from "zod";
import { definePlugin } from "../../plugins/plugin.ts";

const Params = z.strictObject({
  width: z.number().positive().max(0.5).default(0.1)
    .describe("labelled predictions within this much of the confidence are compared"),
  minimum: z.int().min(1).default(30).describe("fewer of them: estimated from neighbors instead"),
  neighbors: z.int().min(5).default(25).describe("nearest recent predictions of that estimate"),
});

/**
 * The score is 1 less the difference between the confidence and the accuracy of such predictions: the
 * realized one among labelled predictions of like confidence, else an estimate, the share of the
 * nearest recent predictions with the same class. `label` says which: `realized` or `estimated`.
 */
export const calibration = definePlugin({
  kind: "judge",
  name: "calibration",
  summary: "whether the confidence is the accuracy that such predictions have; no LLM",
  version: "calibration-1",
  params: Params,
  probe: () => Promise.resolve({ ready: true, detail: "needs no server" }),
  async judge(inference, { history, params = {} }) {
    const { confidence, label } = inference;
    if (history === undefined) return { status: "abstained", kind: "no_history" };
    if (!(confidence >= 0 && confidence <= 1)) {
      return { status: "abstained", kind: "no_confidence" };
    }
    const { width, minimum, neighbors } = Params.parse(params);
    const alike = (await history.outcomes())
      .filter((outcome) => Math.abs(outcome.confidence - confidence) <= width);
    if (alike.length >= minimum) {
      const right = alike.filter(({ isCorrect }) => isCorrect).length;
      return say("realized", right, alike.length);
    }
    const near = await history.neighbors(inference, neighbors);
    if (near.length < neighbors) {
      const rationale =
        `${alike.length} labelled predictions of like confidence, ${near.length} neighbors`;
      return { status: "abstained", kind: "few_neighbors", rationale };
    }
    return say("estimated", near.filter((n) => n.inference.label === label).length, near.length);

    function say(how: string, right: number, count: number) {
      const accuracy = right / count;
      return {
        status: "scored",
        score: 1 - Math.abs(confidence - accuracy),
        label: how,
        raw: JSON.stringify({ accuracy, count }),
        rationale: `confidence ${confidence.toFixed(2)}, ${how} accuracy ${
          accuracy.toFixed(2)
        } of ${count}`,
      } as const;
    }
  },
});
