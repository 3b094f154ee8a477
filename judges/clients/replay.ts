/**
 * Replies from cassettes instead of a server: a test, or a second look at yesterday's verdicts, gives
 * the same bytes without a model.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type ChatClient, ChatError, type ChatReply, type ChatRequest } from "./client.ts";

/** What a cassette holds: replies by the key of their question. */
export interface Cassette {
  readonly server: string;
  readonly model: string;
  readonly digest: string | null;
  readonly replies: Readonly<Record<string, ChatReply>>;
}

/** The key of a question: a hash of model, its digest, prompt and parameters. */
export function cassetteKey(
  { model, digest }: Pick<ChatClient, "model" | "digest">,
  { system, user, wanted, seed }: ChatRequest,
): string {
  const text = JSON.stringify([model, digest, system, user, wanted, seed]);
  return createHash("sha256").update(text).digest("hex");
}

/**
 * A client that answers from a cassette and from nothing else.
 *
 * @example
 * ```ts
 * import { assertEquals, assertRejects } from "@std/assert";
 * import { ChatError } from "./client.ts";
 * import { createReplayClient } from "./replay.ts";
 *
 * const client = createReplayClient({ server: "replay", model: "m", digest: null, replies: {} });
 * const question = { system: "", user: "?", wanted: { kind: "choice" }, seed: 0 } as const;
 * const error = await assertRejects(() => client.ask(question, AbortSignal.timeout(1000)), ChatError);
 * assertEquals(error.kind, "cassette_missing");
 * ```
 */
export function createReplayClient({ server, model, digest, replies }: Cassette): ChatClient {
  return {
    server,
    model,
    digest,
    ask(request, signal) {
      if (signal.aborted) {
        return Promise.reject(new ChatError("The run was cancelled", "cancelled"));
      }
      const key = cassetteKey({ model, digest }, request);
      if (Object.hasOwn(replies, key)) return Promise.resolve(replies[key]);
      return Promise.reject(
        new ChatError(
          `Cannot replay question "${
            key.slice(0, 12)
          }": the cassette has no reply to it; record it again`,
          "cassette_missing",
        ),
      );
    },
  };
}

/** A client that asks another and keeps what it answered; `cassette()` gives what was kept. */
export function recordClient(client: ChatClient): ChatClient & { cassette(): Cassette } {
  const replies = new Map<string, ChatReply>();
  const { server, model, digest } = client;
  return {
    server,
    model,
    digest,
    async ask(request, signal) {
      const reply = await client.ask(request, signal);
      replies.set(cassetteKey(client, request), reply);
      return reply;
    },
    cassette() {
      const sorted = [...replies].sort(([a], [b]) => a < b ? -1 : 1);
      return { server, model, digest, replies: Object.fromEntries(sorted) };
    },
  };
}

/**
 * Reads a cassette's file.
 * @throws {ChatError} `Cannot read cassette "<path>": …` when it is missing or is none.
 */
export async function readCassette(path: string): Promise<Cassette> {
  try {
    const value = JSON.parse(await Deno.readTextFile(path));
    if (typeof value?.model !== "string" || typeof value.replies !== "object") {
      throw new TypeError("It names no model or has no replies");
    }
    return value;
  } catch (error) {
    throw new ChatError(
      `Cannot read cassette "${path}": ${(error as Error).message}; record it first`,
      "cassette_missing",
    );
  }
}

/** Writes a cassette, one reply a line, so that a change shows as lines. */
export async function writeCassette(path: string, cassette: Cassette): Promise<void> {
  const { replies, ...head } = cassette;
  const lines = Object.entries(replies)
    .map(([key, reply]) => `    ${JSON.stringify(key)}: ${JSON.stringify(reply)}`);
  const text = JSON.stringify(head, null, 2).replace(
    /\n}$/,
    `,\n  "replies": {${lines.length > 0 ? `\n${lines.join(",\n")}\n  ` : ""}}\n}\n`,
  );
  await Deno.writeTextFile(path, text);
}
