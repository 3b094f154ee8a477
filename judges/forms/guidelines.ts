/** A list of rules, one yes/no question each; the score is that of the rule kept least. */
import { readYesNo } from "./choice.ts";
import type { Form } from "./form.ts";
import { TEXT_SYSTEM } from "./question.ts";
import { showSubject } from "./subject.ts";

/** What a user may choose. */
export interface GuidelinesOptions {
  /** Rules in words, each of which must hold. */
  readonly rules: readonly string[];
  /** Texts that are shown, by name; none: the record. */
  readonly inputs?: readonly string[];
}

/**
 * Asks of each rule whether it is kept. One rule that got no answer leaves the whole without one: a
 * score over some of the rules would compare with nothing.
 *
 * @throws {RangeError} when there is no rule.
 */
export function guidelines({ rules, inputs = [] }: GuidelinesOptions): Form {
  if (rules.length === 0) throw new RangeError("Cannot judge by guidelines: there is no rule");
  return {
    name: "guidelines-1",
    definition: { rules, inputs },
    async judge(inference, context) {
      const subject = showSubject(inference, context, inputs);
      if ("abstained" in subject) return { verdict: subject.abstained };
      const kept: number[] = [];
      let mass = 1;
      for (const rule of rules) {
        const choice = readYesNo(
          await context.ask({
            system: `${TEXT_SYSTEM} Answer with one word: Yes or No.`,
            user: `${subject.shown}\nRule: ${rule}\nIs this rule kept? Answer Yes or No.`,
            wanted: { kind: "choice" },
          }),
        );
        if ("abstained" in choice) return { verdict: choice.abstained };
        kept.push(choice.shares[0]);
        mass = Math.min(mass, choice.mass);
      }
      const broken = rules.filter((_, i) => kept[i] < 0.5);
      return {
        verdict: {
          status: "scored",
          score: Math.min(...kept),
          mass,
          raw: JSON.stringify(kept),
          label: broken.length === 0 ? "pass" : "fail",
          ...(broken.length === 0 ? {} : { rationale: `not kept: ${broken.join("; ")}` }),
        },
      };
    },
  };
}
