/** The judge that weighs what the others say: rule, the model's own probability, a language model. */
import {
  definePlugin,
  type Inference,
  type JudgeContext,
  type JudgeHistory,
} from "../../plugins/plugin.ts";
import { hashDefinition } from "../forms/form.ts";
import { rule } from "../rule.ts";
import { type Combination, combine, fitCombination, type KnownSignals } from "./fit.ts";

/** Judge whose stored scores are weighed, too. */
const LLM = "llm";

/** What was learned, as long as the history it was learned from is used. */
const learned = new WeakMap<JudgeHistory, Promise<Combination>>();

/**
 * Gives the probability that a prediction is good: the rule's score, the model's own probability of its
 * label and, where judge `llm` has judged the row, its P(Yes), weighed by rows of known truth. Nothing
 * is asked of a language model here. Without enough such rows, or when it would rank them worse than
 * the rule, it answers with the rule's score and says so. Where the rule abstains, so does it.
 */
export const combined = definePlugin({
  kind: "judge",
  name: "combined",
  summary: "rule, the model's own probability and judge llm, weighed by rows of known truth",
  version: "combined-1",
  probe() {
    return Promise.resolve({ ready: true, detail: "needs no server" });
  },
  async learn(context) {
    return hashDefinition(await learn(context));
  },
  async judge(inference, context) {
    const combination = await learn(context);
    const verdict = await rule.judge(inference, context);
    if (verdict.status !== "scored") return verdict;
    const { [LLM]: llm = null } = await context.history?.scores(inference) ?? {};
    const signals = { rule: verdict.score, own: readOwn(inference), llm };
    const score = combine(combination, signals);
    return {
      status: "scored",
      score,
      raw: JSON.stringify(signals),
      rationale: combination.kind === "rule"
        ? `the rule alone: ${combination.reason}`
        : `rule ${signals.rule.toFixed(2)}, own probability ${signals.own.toFixed(2)}` +
          (llm !== null && combination.full !== null ? `, llm ${llm.toFixed(2)}` : ""),
    };
  },
});

/** The model's own probability of the label it predicts. */
export function readOwn({ probabilities, label, confidence }: Inference): number {
  return Object.hasOwn(probabilities, label) ? probabilities[label] : confidence;
}

async function learn(context: JudgeContext): Promise<Combination> {
  const { history } = context;
  if (history === undefined) return fitCombination([]);
  let combination = learned.get(history);
  if (combination === undefined) {
    combination = readSignals(context, history).then(fitCombination);
    learned.set(history, combination);
  }
  return await combination;
}

async function readSignals(context: JudgeContext, history: JudgeHistory): Promise<KnownSignals[]> {
  const rows: KnownSignals[] = [];
  for (const { inference, isGood, scores } of await history.known()) {
    const verdict = await rule.judge(inference, context);
    if (verdict.status !== "scored") continue;
    const llm = scores?.[LLM] ?? null;
    rows.push({ rule: verdict.score, own: readOwn(inference), llm, isGood });
  }
  return rows;
}
