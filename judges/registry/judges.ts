/**
 * Judges whose text is in the prompt registry: `plugins: ["prompts:/polite@production"]` of a config.
 *
 * @module
 */
import type { Plugin } from "../../plugins/plugin.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { Connection } from "../clients/connection.ts";
import { parseJudge } from "../markdown.ts";
import { type Prompt, resolvePrompt } from "./registry.ts";

const SCHEME = "prompts:/";

/** Whether a plugin's specifier names a prompt of the registry. */
export function isPromptReference(specifier: string): boolean {
  return specifier.startsWith(SCHEME);
}

/** The reference of a specifier, such as `polite@production`. */
export function promptOf(specifier: string): string {
  return specifier.slice(SCHEME.length);
}

/**
 * Gives the judge of a prompt. Where its reference leads is looked up again whenever the judge is
 * probed, which is before every batch: a server follows an alias that moves, and each verdict has the
 * version that gave it.
 *
 * @throws {UsageError} `Cannot find prompt "<reference>": …`
 */
export async function openPromptJudge(
  store: Store,
  specifier: string,
  connection: Connection,
): Promise<Plugin<"judge">> {
  const reference = promptOf(specifier);
  const read = async () => load(await resolvePrompt(store, reference), connection);
  let current = await read();
  const { name } = current.judge;
  return {
    kind: "judge",
    name,
    summary: current.judge.summary,
    get version() {
      return current.judge.version;
    },
    get definition() {
      return current.judge.definition;
    },
    get prompt() {
      return current.prompt;
    },
    async probe(signal) {
      current = await read();
      const { ready, detail } = await current.judge.probe(signal);
      return { ready, detail: `${detail}, prompt ${current.prompt}` };
    },
    judge: (inference, context) => current.judge.judge(inference, context),
  };
}

function load(
  { name, version, text }: Prompt,
  connection: Connection,
): { readonly judge: Plugin<"judge">; readonly prompt: string } {
  return { judge: parseJudge(text, `${name}.md`, connection), prompt: `${name}/${version}` };
}
