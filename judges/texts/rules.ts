/** Judges of texts that need no language model: the same text always gets the same verdict. */
import { RE2JS } from "re2js";
import { z } from "zod";
import { definePlugin, type Inference, type Plugin, type Verdict } from "../../plugins/plugin.ts";
import { findPersonalData, findRedacted, personalKinds } from "../prompts/redact.ts";

const text = z.string().default("output").describe("name of the text that is judged");

/** Makes a judge of one text by a rule; `null` from the rule: its parameters say nothing. */
function defineRule<P extends z.ZodType<{ readonly text: string }>>(rule: {
  readonly name: string;
  readonly summary: string;
  readonly params: P;
  /** One more with each other way to decide; default 1. */
  readonly revision?: number;
  /** Whether the text passes, and why. */
  check(text: string, params: z.infer<P>): readonly [boolean, string] | null;
}): Plugin<"judge"> {
  return definePlugin({
    kind: "judge",
    name: rule.name,
    summary: `${rule.summary}; no LLM`,
    version: `${rule.name}-${rule.revision ?? 1}`,
    params: rule.params,
    probe: () => Promise.resolve({ ready: true, detail: "needs no server" }),
    judge(inference: Inference, { params = {} }): Promise<Verdict> {
      const parsed = rule.params.parse(params);
      const content = inference.texts?.[parsed.text];
      if (typeof content !== "string") {
        const rationale = `there is no text "${parsed.text}"`;
        return Promise.resolve({ status: "abstained", kind: "no_text", rationale });
      }
      const found = rule.check(content, parsed);
      if (found === null) return Promise.resolve({ status: "abstained", kind: "no_rules" });
      const [isPassed, rationale] = found;
      const label = isPassed ? "pass" : "fail";
      return Promise.resolve({ status: "scored", score: isPassed ? 1 : 0, label, rationale });
    },
  });
}

/** A pattern of RE2: whoever wrote the text cannot make it take for ever. */
const pattern = z.string().refine((source) => {
  try {
    return RE2JS.compile(source) instanceof RE2JS;
  } catch {
    return false;
  }
}, { error: "is no regular expression of RE2" });

/** PII, regex, length and JSON validity. */
export const textRules: readonly Plugin<"judge">[] = [
  defineRule({
    name: "pii",
    revision: 2,
    summary: "whether a text is free of personal data: e-mail, telephone, IBAN, card, IP address",
    params: z.strictObject({
      text,
      kinds: z.array(z.enum(personalKinds)).default([...personalKinds]).describe(
        "what is looked for",
      ),
    }),
    // What redaction took out of a text before it was stored was in it.
    check(content, { kinds }) {
      const found = [...findPersonalData(content).map(({ kind }) => kind), ...findRedacted(content)]
        .filter((kind) => kinds.includes(kind));
      const names = [...new Set(found)].join(", ");
      return [found.length === 0, found.length === 0 ? "none found" : `${found.length} × ${names}`];
    },
  }),
  defineRule({
    name: "regex",
    revision: 2,
    summary: "whether a text matches a pattern, or matches none that it must not",
    params: z.strictObject({
      text,
      matches: pattern.optional().describe("must be found"),
      excludes: pattern.optional().describe("must not be found"),
    }),
    check(content, { matches, excludes }) {
      if (matches === undefined && excludes === undefined) return null;
      if (matches !== undefined && !RE2JS.compile(matches).test(content)) {
        return [false, `does not match ${matches}`];
      }
      if (excludes !== undefined && RE2JS.compile(excludes).test(content)) {
        return [false, `matches ${excludes}`];
      }
      return [true, "as asked"];
    },
  }),
  defineRule({
    name: "length",
    summary: "whether a text has a length within limits",
    params: z.strictObject({
      text,
      min: z.int().min(0).optional().describe("fewest units"),
      max: z.int().min(0).optional().describe("most units"),
      unit: z.enum(["words", "characters"]).default("words").describe("what is counted"),
    }),
    check(content, { min, max, unit }) {
      if (min === undefined && max === undefined) return null;
      const count = unit === "characters"
        ? [...content].length
        : content.split(/\s+/).filter((word) => word !== "").length;
      return [count >= (min ?? 0) && count <= (max ?? Infinity), `${count} ${unit}`];
    },
  }),
  defineRule({
    name: "json",
    summary: "whether a text is JSON, with the fields that it must have",
    params: z.strictObject({
      text,
      required: z.array(z.string()).default([]).describe("fields of the object"),
    }),
    check(content, { required }) {
      let value: unknown;
      try {
        value = JSON.parse(content);
      } catch (error) {
        return [false, (error as Error).message];
      }
      const isObject = typeof value === "object" && value !== null;
      const missing = required.filter((name) => !isObject || !Object.hasOwn(value as object, name));
      return [missing.length === 0, missing.length === 0 ? "valid" : `no ${missing.join(", ")}`];
    },
  }),
];
