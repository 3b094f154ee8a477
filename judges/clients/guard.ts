/**
 * What stands between judges and one server: few questions at a time, another attempt where one may
 * help, none while the server is down, and no token beyond the budget.
 *
 * @module
 */
import { sleep } from "../../runtime/sleep.ts";
import { ChatError, type ChatErrorKind, type ChatReply, toChatError } from "./client.ts";

/** Limits of a guard. */
export interface GuardOptions {
  /** Questions under way at once; default 2. */
  readonly concurrency?: number;
  /** Attempts at one question; default 3. */
  readonly attempts?: number;
  /** Longest time from the first attempt to the start of the last, milliseconds; default 20,000. */
  readonly retryMs?: number;
  /** Most tokens that are spent; default no limit. */
  readonly tokens?: number;
  /** Failures in a row that open the circuit; default 5. */
  readonly failures?: number;
  /** How long an open circuit refuses, milliseconds; default 30,000. */
  readonly coolDownMs?: number;
  /** Clock in milliseconds and its sleep, for tests. */
  readonly now?: () => number;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Kinds that say the server is not well, whatever it was asked. */
const UNWELL: readonly ChatErrorKind[] = ["unreachable", "loading", "timeout"];

/** First wait between attempts, milliseconds; it doubles, and a random share of it is taken off. */
const FIRST_WAIT_MS = 200;

/** Keeps the limits of one server. */
export class Guard {
  readonly #options: Required<GuardOptions>;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #spent = 0;
  #failures = 0;
  #openUntil = -Infinity;

  constructor(options: GuardOptions = {}) {
    this.#options = {
      concurrency: 2,
      attempts: 3,
      retryMs: 20_000,
      tokens: Infinity,
      failures: 5,
      coolDownMs: 30_000,
      now: () => performance.now(),
      sleep,
      ...options,
    };
  }

  /** Tokens spent, those that are set aside for questions under way among them. */
  get spent(): number {
    return this.#spent;
  }

  /**
   * Runs `action`, again where that may help. `reserve` tokens are set aside for it, and what the
   * result says it cost takes their place; an attempt that failed is taken to have cost nothing.
   *
   * @throws {ChatError} of the last attempt, or `budget`, `circuit_open`, `cancelled`.
   */
  async run<T extends object>(
    action: () => Promise<T>,
    { signal, reserve = 0 }: { readonly signal: AbortSignal; readonly reserve?: number },
  ): Promise<T> {
    await this.#enter(signal);
    try {
      const start = this.#options.now();
      for (let attempt = 1;; attempt++) {
        try {
          return await this.#attempt(action, reserve, signal);
        } catch (error) {
          const failure = toChatError(error);
          const waitMs = failure.retryAfterMs ??
            FIRST_WAIT_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
          const isLate = this.#options.now() - start + waitMs > this.#options.retryMs;
          const isOver = failure.kind === "circuit_open" || attempt >= this.#options.attempts;
          if (!failure.isRetryable || isOver || isLate) throw failure;
          await this.#options.sleep(waitMs, signal);
        }
      }
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  async #attempt<T extends object>(
    action: () => Promise<T>,
    reserve: number,
    signal: AbortSignal,
  ): Promise<T> {
    const { now, failures, coolDownMs, tokens } = this.#options;
    if (signal.aborted) throw new ChatError("The run was cancelled", "cancelled");
    if (now() < this.#openUntil) {
      throw new ChatError("The server failed repeatedly and is left alone for now", "circuit_open");
    }
    if (this.#spent + reserve > tokens) {
      throw new ChatError(
        `Cannot ask for ${reserve} tokens: ${this.#spent} of ${tokens} are spent; raise GEOPHONE_JUDGE_TOKENS`,
        "budget",
      );
    }
    this.#spent += reserve;
    try {
      const result = await action();
      const { tokensIn, tokensOut } = result as Partial<ChatReply>;
      if (tokensIn !== undefined && tokensOut !== undefined) {
        this.#spent += tokensIn + tokensOut - reserve;
      }
      this.#failures = 0;
      return result;
    } catch (error) {
      this.#spent -= reserve;
      const { kind } = toChatError(error);
      if (UNWELL.includes(kind)) {
        // One more after the rest is enough: the circuit then closes for nobody but a success.
        if (++this.#failures >= failures) this.#openUntil = now() + coolDownMs;
      } else if (kind !== "cancelled") this.#failures = 0;
      throw error;
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    while (this.#running >= this.#options.concurrency) {
      if (signal.aborted) throw new ChatError("The run was cancelled", "cancelled");
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      const stop = () => resolve();
      signal.addEventListener("abort", stop, { once: true });
      await promise;
      signal.removeEventListener("abort", stop);
      const place = this.#waiting.indexOf(resolve);
      if (place >= 0) this.#waiting.splice(place, 1);
    }
    this.#running++;
  }
}
