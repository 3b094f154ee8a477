/** The model classifies by itself; the score is the share of the predicted class's letter. */
import { hashBytes } from "../../numeric/hash.ts";
import { Random } from "../../numeric/random.ts";
import { writeBlock } from "../prompts/data.ts";
import { describeProfile, describeValues, showClass } from "../prompts/record.ts";
import { readChoice, scoreChoice } from "./choice.ts";
import type { Form } from "./form.ts";
import { RECORD_SYSTEM } from "./reference_yesno.ts";

/** Servers give no more candidates for a token than this. */
const MAX_CLASSES = 20;

/**
 * Asks which of the lettered classes the record is of. Letters are shuffled by the seed and the row, so
 * that a liking for one of them favors no class.
 */
export function classify(): Form {
  return {
    name: "classify-1",
    definition: {},
    async judge(inference, { profiles, redact, ask, seed }) {
      const { label, requestId, row } = inference;
      const classes = Object.keys(profiles);
      if (!Object.hasOwn(profiles, label)) {
        return { verdict: { status: "abstained", kind: "no_profile" } };
      }
      if (classes.length < 2 || classes.length > MAX_CLASSES) {
        const rationale = `${classes.length} classes; the form takes 2 to ${MAX_CLASSES}`;
        return { verdict: { status: "abstained", kind: "class_count", rationale } };
      }
      const values = describeValues(inference, profiles[label], redact);
      if (values.length === 0 || describeProfile(profiles[label], redact) === "") {
        return { verdict: { status: "abstained", kind: "low_coverage" } };
      }
      const drawn = hashBytes(new TextEncoder().encode(`${seed}:${requestId}:${row}`));
      const order = new Random(drawn).shuffle([...classes]);
      const letters = order.map((_, i) => String.fromCharCode(65 + i));
      const shown = writeBlock("record", values);
      const options = writeBlock(
        "options",
        order.map((name, i) =>
          `${letters[i]}. ${showClass(name, profiles)}: usually ${
            describeProfile(profiles[name], redact)
          }`
        ),
      );
      const reply = await ask({
        system: `${RECORD_SYSTEM} Answer with one letter.`,
        user:
          `${shown}\n${options}\nWhich class fits the record best? Answer with its letter alone.`,
        wanted: { kind: "choice" },
      });
      const choice = readChoice(reply, letters);
      const verdict = scoreChoice(choice, order.indexOf(label));
      if ("abstained" in choice) return { verdict };
      const said = writeBlock("prediction", [`class: ${showClass(label, profiles)}`]);
      const best = order[choice.shares.indexOf(Math.max(...choice.shares))];
      return { verdict: { ...verdict, label: best }, shown: `${shown}\n${options}\n${said}` };
    },
  };
}
