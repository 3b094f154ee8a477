/** One attempt at a receiver: bounded in time, and a result however it ends. */
import { ATTEMPT_TIMEOUT_MS } from "./dispatcher.ts";
import type { AttemptResult } from "./outbox.ts";

/** Bounds of one attempt. */
export interface AttemptOptions {
  /** Milliseconds, all in all; default {@linkcode ATTEMPT_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Runs `action` and gives how it ended; what it throws becomes a result by `explain`. It is waited for
 * no longer than `timeoutMs`, even when it does not heed its signal.
 *
 * @throws when `signal` was aborted.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { makeAttempt } from "./attempt.ts";
 *
 * const hang = () => new Promise<never>(() => {});
 * const explain = () => ({ error: "Cannot deliver: it failed" });
 * const { isDelivered, error } = await makeAttempt(hang, explain, { timeoutMs: 1 });
 * assertEquals([isDelivered, error], [false, "Cannot deliver: the receiver did not answer within 1 ms"]);
 * ```
 */
export async function makeAttempt(
  action: (signal: AbortSignal) => Promise<Partial<AttemptResult>>,
  explain: (error: unknown) => Partial<AttemptResult>,
  { timeoutMs = ATTEMPT_TIMEOUT_MS, signal }: AttemptOptions = {},
): Promise<AttemptResult> {
  const started = performance.now();
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  const base = { isDelivered: false, status: null, error: null, body: "", retryAfterMs: null };
  const abort = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
  try {
    const answer = await raceAbort(action(abort), abort);
    return { ...base, ...answer, ms: performance.now() - started };
  } catch (error) {
    signal?.throwIfAborted();
    const failure = timeout.signal.aborted
      ? { error: `Cannot deliver: the receiver did not answer within ${timeoutMs} ms` }
      : explain(error);
    return { ...base, ...failure, ms: performance.now() - started };
  } finally {
    clearTimeout(timer);
  }
}

/** Stops to wait for what does not stop by itself, such as the resolver of the system. */
export function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", stop));
}

/**
 * Gives the milliseconds that a Retry-After header asks for, `null` when it is none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseRetryAfter } from "./attempt.ts";
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
