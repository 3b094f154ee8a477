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
import { deliveryHeaders } from "../../numeric/signing.ts";
import { describeError } from "../errors.ts";
import {
  type AttemptOptions,
  makeAttempt,
  parseRetryAfter,
  raceAbort,
} from "../notifications/attempt.ts";
import type { AttemptResult } from "../notifications/outbox.ts";
import { type Lookup, parseEndpoint, resolveEndpoint } from "./address.ts";

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

/** How to send. */
export interface SendOptions extends AttemptOptions {
  readonly lookup?: Lookup;
  /** Milliseconds of Unix time; default `Date.now`. */
  readonly now?: () => number;
}

/**
 * Makes one attempt. A failure is a result, not an exception; a status other than 2xx is one.
 * @throws when `signal` was aborted.
 */
export function sendDelivery(
  outgoing: Outgoing,
  { lookup, now = Date.now, ...options }: SendOptions = {},
): Promise<AttemptResult> {
  return makeAttempt(
    (signal) => post(outgoing, { signal, now, ...(lookup ? { lookup } : {}) }),
    (error) => ({ error: explain(error, outgoing.url) }),
    options,
  );
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
  // A name is looked up by the system, which cannot be stopped.
  await raceAbort(resolveEndpoint(url, { allowsLocal, ...(lookup ? { lookup } : {}) }), signal);
  const timestamp = Math.floor(now() / 1000);
  const response = await fetch(url, {
    method: "POST",
    redirect: "manual",
    signal,
    headers: {
      "content-type": "application/json",
      ...deliveryHeaders(secret, { deliveryId, timestamp, payload }),
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

/** Why no answer came, without the URL that fetch puts into its messages: it often carries a secret. */
function explain(error: unknown, url: string): string {
  const { cause } = error as { cause?: unknown };
  const text = describeError(error instanceof TypeError && cause ? cause : error);
  if (text.startsWith("Cannot ")) return text;
  const href = URL.parse(url)?.href ?? url;
  return `Cannot deliver: ${text.replaceAll(` for url (${href})`, "").replaceAll(href, "the URL")}`;
}
