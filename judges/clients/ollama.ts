/** Ollama's own dialect: `/api/chat` through the npm client. */
import type { Ollama } from "ollama";
import {
  type ChatClient,
  ChatError,
  readCandidates,
  readText,
  readUsage,
  toChatError,
  toRecord,
} from "./client.ts";
import { noteReply } from "../tracing.ts";
import { type Endpoint, makeFetch, toText } from "./http.ts";

/** A model of an Ollama server. */
export function createOllamaClient(
  endpoint: Endpoint,
  { model, digest }: { readonly model: string; readonly digest: string | null },
): ChatClient {
  return {
    server: endpoint.host,
    model,
    digest,
    provider: "ollama",
    async ask({ system, user, wanted, seed }, signal) {
      const client = await connect(endpoint, signal);
      const isChoice = wanted.kind === "choice";
      let reply: unknown;
      try {
        reply = await client.chat({
          model,
          stream: false,
          messages: [{ role: "system", content: system }, { role: "user", content: user }],
          ...(isChoice ? { logprobs: true, top_logprobs: 20 } : {}),
          ...(wanted.kind === "json" ? { format: wanted.schema } : {}),
          options: { temperature: 0, num_predict: isChoice ? 1 : wanted.maxTokens, seed },
        });
      } catch (error) {
        throw toChatError(error);
      }
      const fields = toRecord(reply);
      if (fields.error !== undefined) {
        throw new ChatError(`The server says: ${toText(fields.error)}`, "http");
      }
      const { content } = toRecord(fields.message);
      const usage = readUsage(fields.prompt_eval_count, fields.eval_count);
      noteReply({ model: fields.model, finish: fields.done_reason, text: content, ...usage });
      if (!isChoice) {
        return { text: readText(content, fields.done_reason), candidates: [], ...usage };
      }
      const { logprobs } = fields;
      const first = Array.isArray(logprobs) ? toRecord(logprobs[0]) : {};
      const candidates = readCandidates(first.top_logprobs);
      return { text: typeof content === "string" ? content : "", candidates, ...usage };
    },
  };
}

/** The models that a server has, by name, with their digests. @throws {ChatError} */
export async function listOllamaModels(
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<Map<string, string | null>> {
  try {
    const { models } = await (await connect(endpoint, signal)).list();
    return new Map(models.map(({ name, digest }) => [
      name,
      typeof digest === "string" ? digest.slice(0, 12) : null,
    ]));
  } catch (error) {
    throw toChatError(error);
  }
}

/** The client has no time-out of its own, and its `abort()` does not reach plain calls. */
async function connect(endpoint: Endpoint, signal: AbortSignal): Promise<Ollama> {
  const { Ollama } = await import("ollama");
  return new Ollama({ host: endpoint.host, fetch: makeFetch(endpoint, signal) });
}
