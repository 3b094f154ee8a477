/**
 * One POST to the receiver of a webhook, whose addresses are looked up and checked before each attempt.
 * Redirects are not followed.
 *
 * A name could still lead elsewhere between the check and the connection (DNS rebinding). That gains
 * nothing: without `allowsLocal` a receiver is asked by https alone, and another host has no
 * certificate for the name, so that not a byte of the delivery reaches it.
 *
 * @module
 */
import { describeError } from "./errors.ts";
import { type Lookup, parseEndpoint, resolveEndpoint } from "./webhook_address.ts";
import { signDelivery } from "./webhook_secrets.ts";

/** Milliseconds that a receiver may take for one attempt, all in all. */
export const ATTEMPT_TIMEOUT_MS = 10_000;

/** Characters kept of what a receiver answers. */
const MAX_ANSWER_CHARS = 1_000;

/** What is sent, and where. */
export interface Outgoing {
  readonly url: string;
  readonly allowsLocal: boolean;
  /** Signs the delivery; `null` sends it without a signature. */
  readonly secret: string | null;
  readonly deliveryId: string;
  readonly payload: string;
}

/** How one attempt ended. */
export interface AttemptResult {
  readonly isDelivered: boolean;
  /** HTTP status, `null` when no answer came. */
  readonly status: number | null;
  /** Why it was not delivered. */
  readonly error: string | null;
  /** The beginning of the answer's body. */
  readonly body: string;
  /** Milliseconds it took. */
  readonly ms: number;
  /** Milliseconds the receiver asks to wait. */
  readonly retryAfterMs: number | null;
}

/** How to send. */
export interface SendOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly lookup?: Lookup;
  /** Milliseconds of Unix time; default `Date.now`. */
  readonly now?: () => number;
}

/**
 * Makes one attempt. A failure is a result, not an exception; a status other than 2xx is one.
 * @throws when `signal` was aborted.
 */
export async function sendDelivery(
  outgoing: Outgoing,
  { timeoutMs = ATTEMPT_TIMEOUT_MS, signal, lookup, now = Date.now }: SendOptions = {},
): Promise<AttemptResult> {
  const started = performance.now();
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  const base = { isDelivered: false, status: null, error: null, body: "", retryAfterMs: null };
  const abort = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
  try {
    const answer = await post(outgoing, { signal: abort, now, ...(lookup ? { lookup } : {}) });
    return { ...base, ...answer, ms: performance.now() - started };
  } catch (error) {
    signal?.throwIfAborted();
    const reason = timeout.signal.aborted
      ? `Cannot deliver: the receiver did not answer within ${timeoutMs} ms`
      : explain(error, outgoing.url);
    return { ...base, error: reason, ms: performance.now() - started };
  } finally {
    clearTimeout(timer);
  }
}

async function post(
  { url: text, allowsLocal, secret, deliveryId, payload }: Outgoing,
  { signal, lookup, now }: {
    readonly signal: AbortSignal;
    readonly lookup?: Lookup;
    readonly now: () => number;
  },
): Promise<Partial<AttemptResult>> {
  const url = parseEndpoint(text, { allowsLocal });
  await raceAbort(resolveEndpoint(url, { allowsLocal, ...(lookup ? { lookup } : {}) }), signal);
  const timestamp = Math.floor(now() / 1000);
  const signature = secret === null
    ? null
    : signDelivery(secret, { deliveryId, timestamp, payload });
  const response = await fetch(url, {
    method: "POST",
    redirect: "manual",
    signal,
    headers: {
      "content-type": "application/json",
      "user-agent": "Geophone",
      "x-mlflow-delivery-id": deliveryId,
      "x-mlflow-timestamp": String(timestamp),
      "webhook-id": deliveryId,
      "webhook-timestamp": String(timestamp),
      ...(signature === null
        ? {}
        : { "x-mlflow-signature": signature, "webhook-signature": signature }),
    },
    body: payload,
  });
  const { ok: isDelivered, status } = response;
  return {
    isDelivered,
    status,
    body: await readStart(response),
    error: isDelivered ? null : `Cannot deliver: the receiver answered ${status}`,
    retryAfterMs: isDelivered ? null : parseRetryAfter(response.headers.get("retry-after"), now()),
  };
}

/** Reads the beginning of an answer and drops the rest; the status has said what counts. */
async function readStart(response: Response): Promise<string> {
  let text = "";
  try {
    for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += part;
      if (text.length >= MAX_ANSWER_CHARS) break;
    }
  } catch {
    // The answer broke off.
  }
  return text.slice(0, MAX_ANSWER_CHARS);
}

/**
 * Gives the milliseconds that a Retry-After header asks for, `null` when it is none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseRetryAfter } from "./webhook_sender.ts";
 *
 * assertEquals(parseRetryAfter("120", 0), 120_000);
 * assertEquals(parseRetryAfter("Thu, 01 Jan 1970 00:00:09 GMT", 4_000), 5_000);
 * assertEquals(parseRetryAfter("soon", 0), null);
 * ```
 */
export function parseRetryAfter(value: string | null, nowMs: number): number | null {
  if (value === null) return null;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}

/** A name is looked up by the system, which cannot be stopped; we stop to wait for it. */
function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", stop));
}

/** Why no answer came, without the URL that fetch puts into its messages: it often carries a secret. */
function explain(error: unknown, url: string): string {
  const { cause } = error as { cause?: unknown };
  const text = describeError(error instanceof TypeError && cause ? cause : error);
  if (text.startsWith("Cannot ")) return text;
  const href = URL.parse(url)?.href ?? url;
  return `Cannot deliver: ${text.replaceAll(` for url (${href})`, "").replaceAll(href, "the URL")}`;
}
