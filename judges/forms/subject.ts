/** What is judged, as a prompt shows it: texts by name, or else the record beside its class's profile. */
import type { Inference, JudgeContext, Verdict } from "../../plugins/plugin.ts";
import { hasInstructions, writeBlock, writeText } from "../prompts/data.ts";
import { describeRecord, showClass } from "../prompts/record.ts";

/** The judged content in delimiters, or the verdict that there is none. */
export type Subject = { readonly shown: string } | { readonly abstained: Verdict };

/** Names that texts may have: they become tags. */
export const TEXT_NAME = /^[a-z][a-z0-9_]{0,31}$/;

/**
 * The texts named by `inputs`, or the record where there are none. A text that speaks to its judge is
 * not shown to it: the verdict is `abstained`, kind `instructions`.
 */
export function showSubject(
  inference: Inference,
  { profiles, redact = [] }: Pick<JudgeContext, "profiles" | "redact">,
  inputs: readonly string[] = [],
): Subject {
  if (inputs.length > 0) return showTexts(inference, inputs, redact);
  if (!Object.hasOwn(profiles, inference.label)) return abstain("no_profile");
  const lines = describeRecord(inference, profiles[inference.label], redact);
  if (lines.length === 0) return abstain("low_coverage");
  const head = `predicted class: ${showClass(inference.label, profiles)}`;
  return { shown: writeBlock("record", [head, ...lines]) };
}

function showTexts(
  { texts = {} }: Inference,
  inputs: readonly string[],
  redact: readonly string[],
): Subject {
  const blocks: string[] = [];
  for (const name of inputs) {
    const text = Object.hasOwn(texts, name) ? texts[name] : undefined;
    if (text === undefined || text.trim() === "") {
      return abstain("no_text", `there is no text "${name}"`);
    }
    if (redact.includes(name)) {
      blocks.push(writeBlock(name, ["(withheld)"]));
      continue;
    }
    if (hasInstructions(text)) {
      return abstain("instructions", `the text "${name}" speaks to its judge`);
    }
    blocks.push(writeText(name, text));
  }
  return { shown: blocks.join("\n") };
}

function abstain(kind: string, rationale?: string): Subject {
  return {
    abstained: { status: "abstained", kind, ...(rationale === undefined ? {} : { rationale }) },
  };
}
