/** Two candidates in both orders; a preference that turns with the order is none. */
import type { Inference, JudgeContext } from "../../plugins/plugin.ts";
import { writeBlock, writeText } from "../prompts/data.ts";
import { describeProfile, describeValues, showClass } from "../prompts/record.ts";
import { readChoice } from "./choice.ts";
import type { Form, Opinion } from "./form.ts";
import { TEXT_SYSTEM } from "./question.ts";
import { showSubject, type Subject } from "./subject.ts";

/** What a user may choose. */
export interface PairwiseOptions {
  /** Ends in a question mark; the candidates are A and B. */
  readonly question?: string;
  /** Texts that both candidates are about. */
  readonly inputs?: readonly string[];
  /** Texts that are compared; left out: the predicted class with the model's second choice. */
  readonly candidates?: readonly [first: string, second: string];
  /** Means nearer than this to a tie abstain; default 0.05. */
  readonly margin?: number;
}

/** Asks which of two is better, in both orders; the score is the mean share of the first. */
export function pairwise(options: PairwiseOptions = {}): Form {
  const { inputs = [], candidates, margin = 0.05 } = options;
  const question = options.question ??
    (candidates ? "Which candidate is better?" : "Which class fits the record better?");
  return {
    name: "pairwise-1",
    definition: { question, inputs, candidates, margin },
    async judge(inference, context): Promise<Opinion> {
      const pair = candidates
        ? showTexts(inference, context, { inputs, candidates })
        : showClasses(inference, context);
      if ("abstained" in pair) return { verdict: pair.abstained };
      const shares: number[] = [];
      let mass = 1;
      for (const isSwapped of [false, true]) {
        const [a, b] = isSwapped ? [pair.second, pair.first] : [pair.first, pair.second];
        const reply = await context.ask({
          system: `${TEXT_SYSTEM} Answer with one letter: A or B.`,
          user: `${pair.shown}\nCandidate A:\n${a}\nCandidate B:\n${b}\n${question} Answer A or B.`,
          wanted: { kind: "choice" },
        });
        const choice = readChoice(reply, ["A", "B"]);
        if ("abstained" in choice) return { verdict: choice.abstained };
        shares.push(choice.shares[isSwapped ? 1 : 0]);
        mass = Math.min(mass, choice.mass);
      }
      const [first, second] = shares;
      const raw = JSON.stringify(shares);
      const rationale = `share of the first: ${first.toFixed(3)}, in the other order ${
        second.toFixed(3)
      }`;
      if ((first - 0.5) * (second - 0.5) < 0) {
        return {
          verdict: { status: "abstained", kind: "order_disagreement", rationale, mass, raw },
        };
      }
      const score = (first + second) / 2;
      if (Math.abs(score - 0.5) < margin) {
        return { verdict: { status: "abstained", kind: "low_margin", rationale, mass, raw } };
      }
      return { verdict: { status: "scored", score, mass, raw } };
    },
  };
}

type Pair =
  | { readonly shown: string; readonly first: string; readonly second: string }
  | Exclude<Subject, { readonly shown: string }>;

function showTexts(
  inference: Inference,
  context: JudgeContext,
  { inputs, candidates }: {
    readonly inputs: readonly string[];
    readonly candidates: readonly [string, string];
  },
): Pair {
  const all = showSubject(inference, context, [...inputs, ...candidates]);
  if ("abstained" in all) return all;
  const about = inputs.length === 0 ? { shown: "" } : showSubject(inference, context, inputs);
  if ("abstained" in about) return about;
  const show = (name: string) =>
    context.redact?.includes(name)
      ? writeBlock("candidate", ["(withheld)"])
      : writeText("candidate", inference.texts![name]);
  return { shown: about.shown, first: show(candidates[0]), second: show(candidates[1]) };
}

/** The predicted class and the one that the model found second most probable. */
function showClasses(inference: Inference, { profiles, redact }: JudgeContext): Pair {
  const { label, probabilities } = inference;
  const [other] = Object.keys(profiles).filter((name) => name !== label)
    .sort((a, b) => (probabilities[b] ?? 0) - (probabilities[a] ?? 0));
  if (!Object.hasOwn(profiles, label) || other === undefined) {
    return { abstained: { status: "abstained", kind: "no_profile" } };
  }
  const values = describeValues(inference, profiles[label], redact);
  const [first, second] = [label, other].map((name) => {
    const profile = describeProfile(profiles[name], redact);
    return {
      profile,
      block: writeBlock("class", [`${showClass(name, profiles)}: usually ${profile}`]),
    };
  });
  if (values.length === 0 || first.profile === "" || second.profile === "") {
    return { abstained: { status: "abstained", kind: "low_coverage" } };
  }
  return { shown: writeBlock("record", values), first: first.block, second: second.block };
}
