/** HTTP to a language model's server: what it refuses is a typed error, and nothing hangs. */
import { ChatError, toChatError, toRecord } from "./client.ts";

/** Where and how a server is asked. */
export interface Endpoint {
  /** Address without a slash at its end. */
  readonly host: string;
  readonly key?: string;
  /** Longest time of one request, milliseconds. */
  readonly timeoutMs: number;
}

/**
 * A `fetch` for this endpoint and these signals. It follows no redirect, since judged content must
 * not leave for a host that nobody named.
 *
 * @throws {ChatError} for every answer that is no success.
 */
export function makeFetch({ key, timeoutMs }: Endpoint, signal: AbortSignal): typeof fetch {
  const timeout = AbortSignal.timeout(timeoutMs);
  return async (input, init = {}) => {
    const headers = new Headers(init.headers);
    if (key !== undefined) headers.set("authorization", `Bearer ${key}`);
    try {
      const response = await fetch(input, {
        ...init,
        headers,
        redirect: "error",
        signal: AbortSignal.any([signal, timeout]),
      });
      if (!response.ok) throw await readRefusal(response);
      // Read whole under the signals: a body may hang as well as a head.
      return new Response(await response.text(), response);
    } catch (error) {
      throw describeFailure(error, { timeout, signal });
    }
  };
}

/** Asks for JSON; a body is sent as JSON. @throws {ChatError} */
export async function fetchJson(
  endpoint: Endpoint,
  path: string,
  { signal, body }: { readonly signal: AbortSignal; readonly body?: unknown },
): Promise<Record<string, unknown>> {
  const response = await makeFetch(endpoint, signal)(`${endpoint.host}${path}`, {
    ...(body === undefined ? {} : {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }),
  });
  try {
    return toRecord(JSON.parse(await response.text()));
  } catch (error) {
    throw toChatError(error);
  }
}

function describeFailure(
  error: unknown,
  { timeout, signal }: { readonly timeout: AbortSignal; readonly signal: AbortSignal },
): ChatError {
  if (signal.aborted) return new ChatError("The run was cancelled", "cancelled");
  if (timeout.aborted) return new ChatError("The server did not answer in time", "timeout");
  return toChatError(error);
}

async function readRefusal(response: Response): Promise<ChatError> {
  const text = await response.text();
  let error: unknown = text;
  try {
    error = toRecord(JSON.parse(text)).error ?? text;
  } catch {
    // A proxy in between answers in its own words.
  }
  const { status } = response;
  const message = `HTTP ${status}: ${toText(error)}`;
  // A server of another dialect answers 404, too, but does not speak of a model.
  if (status === 404 && /model/i.test(message)) return new ChatError(message, "model_missing");
  if (status === 401 || status === 403) return new ChatError(message, "unauthorized");
  const retryAfterMs = readRetryAfter(response.headers.get("retry-after"));
  if (status === 429) return new ChatError(message, "rate_limited", { retryAfterMs });
  if (status === 503) return new ChatError(message, "loading", { retryAfterMs });
  return new ChatError(message, "http", { isRetryable: status >= 500 });
}

/** Milliseconds that a header `Retry-After` asks to wait: seconds, or a date. */
function readRetryAfter(value: string | null): number | null {
  if (value === null) return null;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}

/** An error of a server in words, whatever shape it has. */
export function toText(value: unknown): string {
  if (typeof value === "string") return value;
  const { message } = toRecord(value);
  return typeof message === "string" ? message : JSON.stringify(value);
}
