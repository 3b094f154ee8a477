/**
 * Retention while a server runs: now and every hour, by the process that holds the store.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import { retain, type RetentionParams } from "./retention.ts";
import type { Store } from "../store/store.ts";

const HOUR_MS = 3_600_000;

/** How retention is run again and again. */
export interface ScheduleOptions {
  /** Hears what went, and why something did not. */
  readonly onEvent: (line: string) => void;
  readonly everyMs?: number;
}

/** Whether a config asks for any retention. */
export function isRetaining({ keepLabeled: _, ...limits }: RetentionParams): boolean {
  return Object.values(limits).some((limit) => limit !== undefined);
}

/** Runs retention until it is closed. */
export class RetentionSchedule {
  readonly #store: Store;
  readonly #params: RetentionParams;
  readonly #onEvent: (line: string) => void;
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setInterval> | undefined;
  #running: Promise<void> = Promise.resolve();

  private constructor(store: Store, params: RetentionParams, options: ScheduleOptions) {
    this.#store = store;
    this.#params = params;
    this.#onEvent = options.onEvent;
  }

  /** Begins; does nothing when `params` keep everything. */
  static start(
    store: Store,
    params: RetentionParams,
    options: ScheduleOptions,
  ): RetentionSchedule {
    const schedule = new RetentionSchedule(store, params, options);
    if (!isRetaining(params)) return schedule;
    let isRunning = false;
    const run = () => {
      // The owner does it; a run that takes longer than the interval goes on alone.
      if (isRunning || !store.isOwner) return;
      isRunning = true;
      schedule.#running = schedule.#run().finally(() => isRunning = false);
    };
    schedule.#timer = setInterval(run, options.everyMs ?? HOUR_MS);
    run();
    return schedule;
  }

  async #run(): Promise<void> {
    try {
      const { signal } = this.#abort;
      const { plan, batches } = await retain(this.#store, this.#params, { by: "server", signal });
      if (batches > 0) {
        this.#onEvent(
          `Retention took away ${plan.counts.requests} requests and what hangs on them`,
        );
      }
      if (plan.problem !== null) this.#onEvent(plan.problem);
    } catch (error) {
      this.#onEvent(`Cannot apply retention: ${describeError(error)}`);
    }
  }

  /** Ends after the transaction at hand. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#abort.abort();
    await this.#running;
  }
}
