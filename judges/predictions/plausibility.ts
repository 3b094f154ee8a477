/** What cannot be so: values that a class never has, classes that never follow each other. */
import { z } from "zod";
import { definePlugin, type Inference } from "../../plugins/plugin.ts";
import { isNumber } from "../prompts/record.ts";

const Range = z.tuple([z.number().nullable(), z.number().nullable()])
  .refine(([low, high]) => low === null || high === null || low <= high, {
    error: "the low end lies above the high end",
  });

const Params = z.strictObject({
  ranges: z.record(z.string(), z.record(z.string(), Range)).default({})
    .describe("by class and column, the lowest and highest possible value; null: no limit"),
  transitions: z.array(z.tuple([z.string(), z.string()])).default([])
    .describe("pairs of classes of which the second never follows the first"),
  order: z.array(z.string()).default([])
    .describe("classes that come in this order along a sequence and never back, such as horizons"),
});

/**
 * The score is 0 when a rule of the config is broken and 1 when all that apply are kept; without a rule
 * that applies there is none. Neighboring rows are those of the same request in their order.
 */
export const plausibility = definePlugin({
  kind: "judge",
  name: "plausibility",
  summary: "rules of the config: value ranges of a class, impossible transitions, order; no LLM",
  version: "plausibility-1",
  params: Params,
  probe: () => Promise.resolve({ ready: true, detail: "needs no server" }),
  async judge(inference, { history, params = {} }) {
    const rules = Params.parse(params);
    const broken: string[] = [];
    let applied = checkRanges(inference, rules.ranges, broken);
    if (rules.transitions.length + rules.order.length > 0 && history !== undefined) {
      const { before, after } = await history.around(inference, 1);
      const labels = [...before, inference, ...after].map(({ label }) => label);
      for (let i = 1; i < labels.length; i++) {
        applied += checkStep(labels[i - 1], labels[i], rules, broken);
      }
    }
    if (applied === 0) return { status: "abstained", kind: "no_rules" };
    return {
      status: "scored",
      score: broken.length === 0 ? 1 : 0,
      label: broken.length === 0 ? "plausible" : "impossible",
      rationale: broken.length === 0 ? `${applied} rules are kept` : broken.join("; "),
    };
  },
});

/** Adds what is broken; gives how many rules applied. */
function checkRanges(
  { features, label }: Inference,
  ranges: z.infer<typeof Params>["ranges"],
  broken: string[],
): number {
  if (!Object.hasOwn(ranges, label)) return 0;
  const values = Object.entries(ranges[label])
    .map(([name, range]) => [name, features[name], range] as const)
    .filter(([, value]) => isNumber(value));
  for (const [name, value, [low, high]] of values) {
    if (value! < (low ?? -Infinity) || value! > (high ?? Infinity)) {
      broken.push(`"${label}" has no ${name} of ${value}`);
    }
  }
  return values.length;
}

function checkStep(
  from: string,
  to: string,
  { transitions, order }: z.infer<typeof Params>,
  broken: string[],
): number {
  if (transitions.some(([a, b]) => a === from && b === to)) {
    broken.push(`"${to}" never follows "${from}"`);
  }
  const [first, second] = [order.indexOf(from), order.indexOf(to)];
  const isOrdered = first >= 0 && second >= 0;
  if (isOrdered && first > second) broken.push(`"${to}" comes before "${from}" in the order`);
  return (transitions.length > 0 ? 1 : 0) + (isOrdered ? 1 : 0);
}
