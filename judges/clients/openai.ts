/** OpenAI's dialect, as llama.cpp, vLLM and OpenAI speak it: `/v1/chat/completions`. */
import { createHash } from "node:crypto";
import {
  type ChatClient,
  ChatError,
  readCandidates,
  readText,
  readUsage,
  toRecord,
} from "./client.ts";
import { noteReply } from "../tracing.ts";
import { type Endpoint, fetchJson, toText } from "./http.ts";

/** A model of a server, and what the server's list said of it. */
export interface OpenaiModel {
  readonly model: string;
  readonly digest: string | null;
  /** Whether the server is llama.cpp, whose cache of prompts changes log-probabilities. */
  readonly isLlamaCpp: boolean;
}

/** A model of a server of OpenAI's dialect. */
export function createOpenaiClient(
  endpoint: Endpoint,
  { model, digest, isLlamaCpp }: OpenaiModel,
): ChatClient {
  return {
    server: endpoint.host,
    model,
    digest,
    provider: isLlamaCpp ? "llama.cpp" : "openai",
    async ask({ system, user, wanted, seed }, signal) {
      const isChoice = wanted.kind === "choice";
      const reply = await fetchJson(endpoint, "/v1/chat/completions", {
        signal,
        body: {
          model,
          messages: [{ role: "system", content: system }, { role: "user", content: user }],
          temperature: 0,
          seed,
          max_tokens: isChoice ? 1 : wanted.maxTokens,
          ...(isChoice ? { logprobs: true, top_logprobs: 20 } : {}),
          ...(isLlamaCpp ? { cache_prompt: false } : {}),
          ...(wanted.kind !== "json" ? {} : {
            response_format: {
              type: "json_schema",
              json_schema: { name: "answer", strict: true, schema: wanted.schema },
            },
          }),
        },
      });
      if (reply.error !== undefined) {
        throw new ChatError(`The server says: ${toText(reply.error)}`, "http");
      }
      const choice = Array.isArray(reply.choices) ? toRecord(reply.choices[0]) : {};
      const { content } = toRecord(choice.message);
      const { prompt_tokens, completion_tokens } = toRecord(reply.usage);
      const usage = readUsage(prompt_tokens, completion_tokens);
      noteReply({ model: reply.model, finish: choice.finish_reason, text: content, ...usage });
      if (!isChoice) {
        return { text: readText(content, choice.finish_reason), candidates: [], ...usage };
      }
      const tokens = toRecord(choice.logprobs).content;
      const first = Array.isArray(tokens) ? toRecord(tokens[0]) : {};
      const candidates = readCandidates(first.top_logprobs);
      return { text: typeof content === "string" ? content : "", candidates, ...usage };
    },
  };
}

/** The models that a server lists. @throws {ChatError} `schema` when the answer is no such list. */
export async function listOpenaiModels(
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<OpenaiModel[]> {
  const { data } = await fetchJson(endpoint, "/v1/models", { signal });
  if (!Array.isArray(data)) throw new ChatError("The list of models is none", "schema");
  return data.flatMap((entry) => {
    const { id, owned_by, meta } = toRecord(entry);
    if (typeof id !== "string") return [];
    // llama.cpp tells a model's sizes, which change with its weights more often than its name does.
    const digest = meta === undefined || meta === null
      ? null
      : createHash("sha256").update(JSON.stringify(meta)).digest("hex").slice(0, 12);
    return [{ model: id, digest, isLlamaCpp: owned_by === "llamacpp" }];
  });
}
