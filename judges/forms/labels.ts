/** A choice among labels of one's own, each worth a score. */
import { hashBytes } from "../../numeric/hash.ts";
import { Random } from "../../numeric/random.ts";
import { readChoice } from "./choice.ts";
import type { Form } from "./form.ts";
import { TEXT_SYSTEM } from "./question.ts";
import { showSubject } from "./subject.ts";

/** What a user may choose. */
export interface LabelsOptions {
  readonly question: string;
  /** Score in `[0, 1]` of each label. */
  readonly labels: Readonly<Record<string, number>>;
  /** Texts that are shown, by name; none: the record. */
  readonly inputs?: readonly string[];
}

/** Servers give no more candidates for a token than this. */
const MAX_LABELS = 20;

/**
 * Asks for one of the lettered labels; the score is the mean of theirs, weighted by their shares.
 *
 * @throws {RangeError} when there are not 2 to 20 labels, or a score is not in `[0, 1]`.
 */
export function labels({ question, labels, inputs = [] }: LabelsOptions): Form {
  const names = Object.keys(labels);
  if (names.length < 2 || names.length > MAX_LABELS) {
    throw new RangeError(
      `Cannot judge by ${names.length} labels: there must be 2 to ${MAX_LABELS}`,
    );
  }
  for (const [name, score] of Object.entries(labels)) {
    if (score >= 0 && score <= 1) continue;
    throw new RangeError(`Cannot judge by label "${name}": its score ${score} is not in [0, 1]`);
  }
  return {
    name: "labels-1",
    definition: { question, labels, inputs },
    async judge(inference, context) {
      const subject = showSubject(inference, context, inputs);
      if ("abstained" in subject) return { verdict: subject.abstained };
      const { requestId, row } = inference;
      const drawn = hashBytes(new TextEncoder().encode(`${context.seed}:${requestId}:${row}`));
      const order = new Random(drawn).shuffle([...names]);
      const letters = order.map((_, i) => String.fromCharCode(65 + i));
      const options = order.map((name, i) => `${letters[i]}. ${name}`).join("\n");
      const reply = await context.ask({
        system: `${TEXT_SYSTEM} Answer with one letter.`,
        user: `${subject.shown}\n${question}\n${options}\nAnswer with one letter alone.`,
        wanted: { kind: "choice" },
      });
      const choice = readChoice(reply, letters);
      if ("abstained" in choice) return { verdict: choice.abstained };
      const { shares, mass, raw } = choice;
      const score = shares.reduce((sum, share, i) => sum + share * labels[order[i]], 0);
      const label = order[shares.indexOf(Math.max(...shares))];
      // Rounding may leave a sum of shares a little above 1.
      const verdict = { status: "scored", score: Math.min(1, score), label, mass, raw } as const;
      return { verdict, shown: subject.shown };
    },
  };
}
