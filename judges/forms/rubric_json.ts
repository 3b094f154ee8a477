/** A mark from 0 to 10 with its reasoning, as JSON by a schema. */
import { z } from "zod";
import { ChatError } from "../clients/client.ts";
import type { Form } from "./form.ts";
import { TEXT_SYSTEM } from "./question.ts";
import { showSubject } from "./subject.ts";

/** What a user may choose. */
export interface RubricOptions {
  /** What earns a high mark and what a low one. */
  readonly rubric: string;
  /** Texts that are shown, by name; none: the record. */
  readonly inputs?: readonly string[];
  /** How often a reply that does not fit the schema is asked for again; default 1. */
  readonly repairs?: number;
  /** Fields of the answer beside its own three; they are kept in `raw`. */
  readonly fields?: Readonly<Record<string, "string" | "number" | "boolean">>;
}

/** Longest reasoning, UTF-16 units: a grammar alone guarantees no end. */
const REASONING_LENGTH = 400;

/** Room for the longest answer, in tokens. */
const ANSWER_TOKENS = 256;

const Answer = z.strictObject({
  reasoning: z.string().max(REASONING_LENGTH),
  verdict: z.enum(["good", "bad"]),
  mark: z.int().min(0).max(10),
});

type Answer = z.infer<typeof Answer>;

const FIELDS = {
  string: z.string().max(REASONING_LENGTH),
  number: z.number(),
  boolean: z.boolean(),
} as const;

/**
 * Asks for reasoning, a word and a mark; the score is a tenth of the mark. A word and a mark that
 * contradict each other are no answer: the verdict is `abstained`, kind `inconsistent`.
 *
 * @throws {RangeError} when a field has a name of the answer's own.
 */
export function rubricJson(options: RubricOptions): Form {
  const { rubric, inputs = [], repairs = 1, fields = {} } = options;
  for (const name of Object.keys(fields).filter((name) => Object.hasOwn(Answer.shape, name))) {
    throw new RangeError(`Cannot add field "${name}": every answer has one; choose another name`);
  }
  const more = Object.entries(fields).map(([name, type]) => [name, FIELDS[type]]);
  const answer = Answer.extend(Object.fromEntries(more)) as unknown as z.ZodType<Answer>;
  const { $schema: _, ...schema } = z.toJSONSchema(answer);
  const others = Object.keys(fields).map((name) => `, "${name}"`).join("");
  return {
    name: "rubric-json-1",
    definition: { rubric, inputs, repairs, schema },
    async judge(inference, context) {
      const subject = showSubject(inference, context, inputs);
      if ("abstained" in subject) return { verdict: subject.abstained };
      const system = `${TEXT_SYSTEM} You give marks from 0 to 10 and answer in JSON.`;
      const ask = `${subject.shown}\nRubric: ${rubric}\n` +
        `Give "reasoning" (one sentence), "verdict" ("good" or "bad") and "mark" (0 to 10)${others}.`;
      let complaint = "";
      for (let attempt = 0;; attempt++) {
        const { text: raw } = await context.ask({
          system,
          user: ask + complaint,
          wanted: {
            kind: "json",
            schema,
            maxTokens: ANSWER_TOKENS * (1 + Object.keys(fields).length),
          },
        });
        const read = readAnswer(raw, answer);
        if (read !== null) return { verdict: toVerdict(read, raw) };
        if (attempt >= repairs) {
          throw new ChatError(`The reply does not fit the schema: ${raw}`, "schema");
        }
        complaint = "\nYour last answer did not fit. Answer with the JSON object alone.";
      }
    },
  };
}

/** The answer, also from within a fence that a model put around it; `null` when it is none. */
function readAnswer(raw: string, answer: z.ZodType<Answer>): Answer | null {
  const text = /^\s*```(?:json)?\s*\n([\s\S]*?)\n?\s*```\s*$/.exec(raw)?.[1] ?? raw;
  try {
    return answer.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function toVerdict({ reasoning, verdict, mark }: Answer, raw: string) {
  const rest = { rationale: reasoning, label: verdict, raw } as const;
  if ((verdict === "good" && mark < 5) || (verdict === "bad" && mark > 5)) {
    return { status: "abstained", kind: "inconsistent", ...rest } as const;
  }
  return { status: "scored", score: mark / 10, ...rest } as const;
}
