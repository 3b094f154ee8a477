/**
 * A connection to whatever server of language models the settings name: it asks which dialect the
 * server speaks, keeps the limits, and says what is missing.
 *
 * @module
 */
import { type ChatClient, ChatError, type ChatRequest, toChatError } from "./client.ts";
import { traceCall } from "../tracing.ts";
import { Guard, type GuardOptions } from "./guard.ts";
import { type Endpoint, fetchJson } from "./http.ts";
import { createOllamaClient, listOllamaModels } from "./ollama.ts";
import { createOpenaiClient, listOpenaiModels } from "./openai.ts";
import { createReplayClient, readCassette } from "./replay.ts";
import { checkHost, type ClientSettings, readSettings } from "./settings.ts";

/** One server and one model, shared by the judges that ask it. */
export interface Connection {
  /** The model with its digest, as far as it is known: part of each judge's version. */
  readonly modelVersion: string;
  /** Looks at the server now, once. */
  probe(signal: AbortSignal): Promise<{ readonly ready: boolean; readonly detail: string }>;
  /** The client, after a look at the server where there was none yet. @throws {ChatError} */
  open(signal: AbortSignal): Promise<ChatClient>;
  /** The same server under the same limits, another model. */
  withModel(model: string): Connection;
}

const DEFAULT_MODEL = "qwen2.5:0.5b";

/** A probe must not hold up a run. */
const PROBE_TIMEOUT_MS = 1_500;

/** Bytes of text that are at least one token, to set tokens aside for a prompt. */
const BYTES_PER_TOKEN = 3;

/** A connection with these settings; default those of the environment, read when they are needed. */
export function connect(
  settings: Partial<ClientSettings> = {},
  limits: GuardOptions = {},
): Connection {
  let guard: Guard | null = null;
  return createConnection(settings, (tokens) => guard ??= new Guard({ tokens, ...limits }));
}

function createConnection(
  settings: Partial<ClientSettings>,
  guardWith: (tokens: number) => Guard,
): Connection {
  const read = (): ClientSettings => ({ ...readSettings(), ...settings });
  let client: ChatClient | null = null;

  async function look(signal: AbortSignal): Promise<ChatClient> {
    const current = read();
    const found = current.cassette === undefined
      ? await findClient(current, signal)
      : createReplayClient(await readCassette(current.cassette));
    return client = guardClient(found, guardWith(current.tokens));
  }

  return {
    get modelVersion() {
      if (client === null) return settings.model ?? readModel();
      return client.digest === null ? client.model : `${client.model}@${client.digest}`;
    },
    async probe(signal) {
      try {
        const { model, server } = await look(signal);
        return { ready: true, detail: `${model} at ${server}` };
      } catch (error) {
        return { ready: false, detail: toDetail(error, settings.host ?? read().host) };
      }
    },
    async open(signal) {
      if (client !== null) return client;
      return await guardWith(read().tokens).run(() => look(signal), { signal });
    },
    withModel: (model) => createConnection({ ...settings, model }, guardWith),
  };

  function readModel(): string {
    try {
      return read().model ?? DEFAULT_MODEL;
    } catch {
      return DEFAULT_MODEL;
    }
  }
}

/** The client of the server that answers there. @throws {ChatError} */
async function findClient(settings: ClientSettings, signal: AbortSignal): Promise<ChatClient> {
  const { key, timeoutMs, model } = settings;
  const endpoint: Endpoint = {
    host: checkHost(settings),
    timeoutMs,
    ...(key === undefined ? {} : { key }),
  };
  const probing = { ...endpoint, timeoutMs: Math.min(PROBE_TIMEOUT_MS, timeoutMs) };
  if (await isOllama(probing, signal)) {
    const models = await listOllamaModels(probing, signal);
    // Ollama itself reads a name without a tag so.
    const name = chooseModel([...models.keys()], model, `${model}:latest`);
    if (name === null) {
      throw missing(endpoint, model, `run "ollama pull ${model ?? DEFAULT_MODEL}"`);
    }
    return createOllamaClient(endpoint, { model: name, digest: models.get(name) ?? null });
  }
  const models = await listOpenaiModels(probing, signal);
  const name = chooseModel(models.map(({ model }) => model), model);
  const found = models.find(({ model }) => model === name);
  if (found === undefined) throw missing(endpoint, model, "load it there");
  return createOpenaiClient(endpoint, found);
}

async function isOllama(endpoint: Endpoint, signal: AbortSignal): Promise<boolean> {
  try {
    return typeof (await fetchJson(endpoint, "/api/version", { signal })).version === "string";
  } catch (error) {
    // A server of another dialect refuses the path, each in its own way.
    const { kind } = toChatError(error);
    if (["http", "model_missing", "schema", "unauthorized"].includes(kind)) return false;
    throw error;
  }
}

function chooseModel(
  names: readonly string[],
  asked: string | undefined,
  other = asked,
): string | null {
  if (asked !== undefined) return names.find((name) => name === asked || name === other) ?? null;
  if (names.includes(DEFAULT_MODEL)) return DEFAULT_MODEL;
  return names.length === 1 ? names[0] : null;
}

function missing(endpoint: Endpoint, model: string | undefined, wayOut: string): ChatError {
  return new ChatError(
    `Cannot use model "${
      model ?? DEFAULT_MODEL
    }": ${endpoint.host} has none of this name; ${wayOut} or set GEOPHONE_JUDGE_MODEL`,
    "model_missing",
  );
}

function toDetail(error: unknown, host: string): string {
  if (!(error instanceof ChatError)) return (error as Error).message;
  if (error.kind === "model_missing" || error.kind === "refused") return error.message;
  return `no Ollama and no server of OpenAI's dialect answers at ${host}: ${error.message}`;
}

function guardClient(client: ChatClient, guard: Guard): ChatClient {
  return {
    server: client.server,
    model: client.model,
    digest: client.digest,
    ask(request, signal) {
      const tokens = estimateTokens(request);
      const ask = () => client.ask(request, signal);
      return guard.run(
        () => traceCall(client, request, { tokens, ask }),
        { signal, reserve: tokens.in + tokens.out },
      );
    },
  };
}

/** Tokens that a question is likely to cost at most. */
function estimateTokens({ system, user, wanted }: ChatRequest): { in: number; out: number } {
  const bytes = new TextEncoder().encode(system + user).length;
  return {
    in: Math.ceil(bytes / BYTES_PER_TOKEN),
    out: wanted.kind === "choice" ? 1 : wanted.maxTokens,
  };
}
