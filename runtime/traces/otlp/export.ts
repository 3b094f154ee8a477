/** Stored spans sent to a collector over OTLP. */
import { describeError, UsageError } from "../../errors.ts";
import type { Store } from "../../store/store.ts";
import { readSpans, type SpanRange } from "../read.ts";
import { writeJson } from "./json.ts";

/** Where spans go. */
export interface ExportOptions extends SpanRange {
  /** Address of the collector; `/v1/traces` is added unless it is there. */
  readonly url: string;
  readonly signal: AbortSignal;
  /** First wait before another attempt, milliseconds; default 500. */
  readonly waitMs?: number;
}

/** What was sent. */
export interface ExportResult {
  readonly spans: number;
  /** Spans that the collector did not take, as it says. */
  readonly rejected: number;
}

/** Spans of one request. */
const BATCH_SPANS = 512;

const ATTEMPTS = 4;
const REQUEST_MS = 10_000;

/** Answers after which the same request may be taken later. @see OTLP 1.9, Retryable Response Codes */
const RETRYABLE = [429, 502, 503, 504];

/**
 * Sends spans in the order in which they came. A span that is sent again, after an end in between, is
 * one span to a collector, since its ids are the same.
 *
 * @throws {UsageError} when the address is none.
 * @throws {Error} when the collector does not take them.
 */
export async function exportSpans(store: Store, options: ExportOptions): Promise<ExportResult> {
  const address = toAddress(options.url);
  let spans = 0;
  let rejected = 0;
  for await (const batch of readSpans(store, options, BATCH_SPANS)) {
    options.signal.throwIfAborted();
    rejected += await send(address, writeJson(batch), options);
    spans += batch.length;
  }
  return { spans, rejected };
}

function toAddress(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(
      `Cannot send spans to "${text}": it is no address; write one such as http://127.0.0.1:4318`,
    );
  }
  if (!url.pathname.endsWith("/v1/traces")) {
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/traces`;
  }
  return url.href;
}

async function send(
  address: string,
  body: string,
  { signal, waitMs = 500 }: ExportOptions,
): Promise<number> {
  for (let attempt = 1;; attempt++) {
    let state: string;
    let delayMs = waitMs * 2 ** (attempt - 1);
    try {
      const response = await fetch(address, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        redirect: "error",
        signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]),
      });
      const text = await response.text();
      if (response.ok) return readRejected(text);
      state = `it answers ${response.status} ${text.slice(0, 200)}`.trimEnd();
      if (!RETRYABLE.includes(response.status)) attempt = ATTEMPTS;
      const asked = Number(response.headers.get("retry-after") ?? NaN) * 1000;
      if (asked >= 0) delayMs = Math.min(asked, REQUEST_MS);
    } catch (error) {
      signal.throwIfAborted();
      state = describeError(error);
    }
    if (attempt >= ATTEMPTS) {
      throw new Error(
        `Cannot send spans to "${address}": ${
          state.replace(/[.\s]+$/, "")
        }; start the collector, ` +
          "and send them again",
      );
    }
    await new Promise((resolve) => setTimeout(resolve, delayMs));
  }
}

/** Spans that a partial success leaves out; a collector need not say anything. */
function readRejected(text: string): number {
  try {
    return Number(JSON.parse(text)?.partialSuccess?.rejectedSpans ?? 0) || 0;
  } catch {
    return 0;
  }
}
