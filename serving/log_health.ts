/** Says when the inference log cannot write, and when it can again. */
import type { InferenceLogStats } from "../runtime/inference/inference_log.ts";
import type { Logger } from "../runtime/logger.ts";

/** How often a log that failed is looked at. */
const LOOK_MS = 1_000;

/** Tells the operator how the inference log is doing. */
export class LogHealth implements Disposable {
  readonly #logger: Logger;
  readonly #readStats: () => Pick<InferenceLogStats, "lastFailure" | "queuedRows">;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    logger: Logger,
    readStats: () => Pick<InferenceLogStats, "lastFailure" | "queuedRows">,
  ) {
    this.#logger = logger;
    this.#readStats = readStats;
  }

  /** Hears of every failed write. */
  failed(error: Error): void {
    this.#logger.error("log_failed", error.message, { queued_rows: this.#readStats().queuedRows });
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
  }

  #look(): void {
    const { lastFailure, queuedRows } = this.#readStats();
    if (lastFailure !== null) return;
    this[Symbol.dispose]();
    this.#logger.info("log_recovered", "The inference log writes again", {
      queued_rows: queuedRows,
    });
  }

  /** Looks no more. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
