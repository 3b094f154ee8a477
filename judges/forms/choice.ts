/** Reads which of a few answers a model would give, from the candidates for its first token. */
import type { Verdict } from "../../plugins/plugin.ts";
import type { ChatReply } from "../clients/client.ts";

/** Below this probability on all answers together there is no answer. */
const MINIMUM_MASS = 0.5;

/** Shares of the answers, which sum to 1, or the verdict that there is none. */
export type Choice =
  | { readonly shares: readonly number[]; readonly mass: number; readonly raw: string }
  | { readonly abstained: Verdict };

/**
 * The share of each answer among the probability that all of them have. A candidate counts for the
 * answer that it is but for spaces around it, and for case where `isCaseFree`.
 */
export function readChoice(
  { candidates, text }: ChatReply,
  answers: readonly string[],
  { isCaseFree = false }: { readonly isCaseFree?: boolean } = {},
): Choice {
  const fold = (word: string) => isCaseFree ? word.toLowerCase() : word;
  const sums = answers.map((answer) =>
    candidates.filter(({ token }) => fold(token.trim()) === fold(answer))
      .reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)
  );
  const sum = sums.reduce((a, b) => a + b, 0);
  const mass = Math.min(1, sum);
  const raw = text;
  if (mass < MINIMUM_MASS) {
    const rationale = `P(${answers.join(") + P(")}) = ${mass.toFixed(3)}`;
    return { abstained: { status: "abstained", kind: "low_token_mass", rationale, mass, raw } };
  }
  return { shares: sums.map((value) => value / sum), mass, raw };
}

/** P(Yes) among Yes and No. */
export function readYesNo(reply: ChatReply): Choice {
  return readChoice(reply, ["Yes", "No"], { isCaseFree: true });
}

/** A verdict whose score is the share of one answer. */
export function scoreChoice(choice: Choice, index = 0): Verdict {
  if ("abstained" in choice) return choice.abstained;
  const { shares, mass, raw } = choice;
  return { status: "scored", score: shares[index], mass, raw };
}
