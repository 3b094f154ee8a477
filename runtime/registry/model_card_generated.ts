/**
 * What a language model wrote of a version, as the last section of its card: for people to read, and
 * nothing that a gate, an alert or a judge looks at.
 *
 * @module
 */
import { code, escapeMarkdown } from "../markdown.ts";
import type { Store } from "../store/store.ts";
import type { ModelVersion } from "./model_registry.ts";

/** Heading of the section. */
export const GENERATED_TITLE = "Generated description";

/** How generated texts name the version that they are of. */
export function generatedSubject({ model, version }: Pick<ModelVersion, "model" | "version">) {
  return `${model}/${version}`;
}

/** Gives the latest text with who wrote it, `null` when there is none. */
export async function writeGenerated(store: Store, version: ModelVersion): Promise<string | null> {
  const [row] = await store.query<{
    text: string;
    model: string;
    model_digest: string | null;
    created_at: string;
  }>(
    `select text, model, model_digest, created_at from core.generated_texts
     where kind = 'model' and subject = ? and text is not null order by created_at desc limit 1`,
    [generatedSubject(version)],
  );
  if (row === undefined) return null;
  const digest = code(row.model_digest);
  const author = `${escapeMarkdown(row.model)}${digest === null ? "" : ` (${digest.text})`}`;
  // A mark before the text, so that nothing in it begins a heading or a list.
  return `A language model, ${author}, wrote this on ${row.created_at}. Numbers and names were looked ` +
    `up in the facts; no person has checked it, and no gate reads it.\n\n> “${
      escapeMarkdown(row.text)
    }”`;
}
