/**
 * Where language models are asked, from the environment only: an address, a model and a key belong to a
 * machine, not to a config that is shared.
 *
 * @module
 */
import { ChatError } from "./client.ts";

/** Settings of a connection. */
export interface ClientSettings {
  /** Address of the server; default `GEOPHONE_JUDGE_HOST`, else `OLLAMA_HOST`, else this machine. */
  readonly host: string;
  /** Default `GEOPHONE_JUDGE_MODEL`; left out: the server's only model, else qwen2.5:0.5b. */
  readonly model?: string;
  /** Bearer token, `GEOPHONE_JUDGE_KEY`. */
  readonly key?: string;
  /** The one host beyond this machine that may be asked, `GEOPHONE_JUDGE_REMOTE`. */
  readonly remote?: string;
  /** File to answer from instead of a server, `GEOPHONE_JUDGE_CASSETTE`. */
  readonly cassette?: string;
  /** Longest time of one request, `GEOPHONE_JUDGE_TIMEOUT_MS`, milliseconds; default 30,000. */
  readonly timeoutMs: number;
  /** Most tokens of prompts and replies together that this process may spend; default no limit. */
  readonly tokens: number;
}

const DEFAULT_HOST = "http://127.0.0.1:11434";
const DEFAULT_TIMEOUT_MS = 30_000;

/** The settings of this process. @throws {ChatError} `refused` when a number is none. */
export function readSettings(read: (name: string) => string | undefined = readEnv): ClientSettings {
  const text = (key: string, name: string) => {
    const value = read(name);
    return value === undefined ? {} : { [key]: value };
  };
  return {
    host: read("GEOPHONE_JUDGE_HOST") ?? read("OLLAMA_HOST") ?? DEFAULT_HOST,
    ...text("model", "GEOPHONE_JUDGE_MODEL"),
    ...text("key", "GEOPHONE_JUDGE_KEY"),
    ...text("remote", "GEOPHONE_JUDGE_REMOTE"),
    ...text("cassette", "GEOPHONE_JUDGE_CASSETTE"),
    timeoutMs: readCount("GEOPHONE_JUDGE_TIMEOUT_MS", read) ?? DEFAULT_TIMEOUT_MS,
    tokens: readCount("GEOPHONE_JUDGE_TOKENS", read) ?? Infinity,
  };
}

/**
 * The address to ask, when it may be asked: this machine, or the one remote host that was named.
 * @throws {ChatError} `refused`, with the way out.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { ChatError } from "./client.ts";
 * import { checkHost } from "./settings.ts";
 *
 * assertEquals(checkHost({ host: "0.0.0.0:11434" }), "http://127.0.0.1:11434");
 * assertThrows(() => checkHost({ host: "https://api.example.com" }), ChatError, "GEOPHONE_JUDGE_REMOTE");
 * ```
 */
export function checkHost({ host, remote }: Pick<ClientSettings, "host" | "remote">): string {
  const text = /^https?:\/\//i.test(host) ? host : `http://${host}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new ChatError(
      `Cannot ask "${host}": it is no address; set GEOPHONE_JUDGE_HOST`,
      "refused",
    );
  }
  // A server that listens everywhere is reached on this machine.
  if (url.hostname === "0.0.0.0") url.hostname = "127.0.0.1";
  const isLocal = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (!isLocal && url.hostname !== remote) {
    throw new ChatError(
      `Cannot ask "${url.hostname}": judged data stays on this machine; set GEOPHONE_JUDGE_REMOTE=${url.hostname} to let it leave`,
      "refused",
    );
  }
  // Credentials in an address would end in every verdict's row.
  return `${url.protocol}//${url.host}${url.pathname.replace(/(\/v1)?\/*$/, "")}`;
}

function readCount(name: string, read: (name: string) => string | undefined): number | undefined {
  const text = read(name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new ChatError(
    `Cannot use ${name} "${text}": it is no whole number above 0; change it or leave it out`,
    "refused",
  );
}

function readEnv(name: string): string | undefined {
  try {
    const value = Deno.env.get(name);
    return value === undefined || value === "" ? undefined : value;
  } catch {
    return undefined;
  }
}
