/**
 * Computes windows beside a server soon after they close: their profile and drift, then the estimates
 * of performance. What is due is in the store, so that nothing is skipped while nobody ran; of several
 * processes one has the turn. It gives way to requests every few milliseconds and takes a twentieth of the
 * time; its queries wait in line with those of the inference log, not with requests, which are answered
 * from the journal.
 *
 * @module
 */
import type { Target } from "../alerts/memory.ts";
import { withLease } from "../alerts/lease.ts";
import { describeError } from "../errors.ts";
import { type EstimateRefresh, refreshEstimatesOf } from "../estimates/refresh.ts";
import { sleep } from "../sleep.ts";
import type { Store } from "../store/store.ts";
import { Pace } from "./pace.ts";
import { type MonitorRefresh, refreshMonitors, type RefreshOptions } from "./refresh.ts";

/** What a schedule computes. */
export interface MonitorScheduleDeps
  extends Pick<RefreshOptions, "definition" | "methods" | "sampling"> {
  /** The model version to look at now, or `null` while there is none. */
  readonly target: () => Promise<Target | null>;
}

/** How a schedule runs. */
export interface MonitorScheduleOptions {
  /** Hears what was computed, and what went wrong. */
  readonly onEvent?: (line: string, level: "info" | "warn") => void;
  /** Milliseconds since 1970; default `Date.now`. */
  readonly now?: () => number;
}

/** What one turn computed. */
export interface Computed {
  readonly refreshed: MonitorRefresh;
  readonly estimated: EstimateRefresh;
}

/**
 * Computes what is due now when it is this process's turn; gives `null` when another had it all the
 * while.
 *
 * @throws the signal's reason when it is aborted; windows that were computed whole are kept.
 */
export async function computeInTurn(
  store: Store,
  { now = Date.now, signal, waitMs = 30_000, share = 1, ...options }:
    & Omit<RefreshOptions, "now" | "signal">
    & {
      readonly signal: AbortSignal;
      /** Milliseconds since 1970; default `Date.now`. */
      readonly now?: () => number;
      /** Milliseconds to wait for who has the turn; default 30,000. */
      readonly waitMs?: number;
      /** Share of the time that it may take, in `(0, 1]`; default 1. */
      readonly share?: number;
    },
): Promise<Computed | null> {
  const lease = { name: "monitor_refresh", now, signal, waitMs };
  return await withLease(store, lease, async () => {
    const at = now();
    const pace = new Pace(share, signal);
    const refreshed = await refreshMonitors(store, { ...options, now: new Date(at), signal, pace });
    signal.throwIfAborted();
    const { model, version, definition, sampling } = options;
    const about = {
      model,
      version,
      definition,
      now: at,
      signal,
      pace,
      ...(sampling === undefined ? {} : { sampling }),
    };
    return { refreshed, estimated: await refreshEstimatesOf(store, about) };
  });
}

/** Windows are of five minutes at least: nobody misses one for so long. */
const LOOK_EVERY_MS = 30_000;

/** Of the time of the thread that answers requests, and of the database's. */
const SHARE = 0.05;

/** Computes what is due of one model until it is closed. */
export class MonitorSchedule {
  readonly #store: Store;
  readonly #deps: MonitorScheduleDeps;
  readonly #options: MonitorScheduleOptions;
  readonly #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** What failed last, which is said once. */
  #failure: string | null = null;

  /** Makes a schedule that does nothing before its first {@linkcode MonitorSchedule.tick}. */
  constructor(store: Store, deps: MonitorScheduleDeps, options: MonitorScheduleOptions = {}) {
    this.#store = store;
    this.#deps = deps;
    this.#options = options;
  }

  /** Makes a schedule and runs it; `null` when the definition names no windows. */
  static start(
    store: Store,
    deps: MonitorScheduleDeps,
    options: MonitorScheduleOptions = {},
  ): MonitorSchedule | null {
    if (deps.definition.granularities.length === 0) return null;
    const schedule = new MonitorSchedule(store, deps, options);
    schedule.#running = schedule.#run();
    return schedule;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await this.tick().catch((error) => {
        if (!signal.aborted) this.#fail(`Cannot compute windows: ${describeError(error)}`);
      });
      await sleep(LOOK_EVERY_MS, signal);
    }
  }

  /** Computes what is due now; gives whether it was this process's turn and there was a version. */
  async tick(): Promise<boolean> {
    const { target, ...deps } = this.#deps;
    const version = await target();
    if (version === null) return false;
    const done = await computeInTurn(this.#store, {
      ...version,
      ...deps,
      now: this.#options.now ?? Date.now,
      signal: this.#abort.signal,
      waitMs: 0,
      share: SHARE,
    });
    if (done === null) return false;
    const { refreshed, estimated } = done;
    if (refreshed.state === "FAILED") this.#fail(`The profile is not whole: ${refreshed.message}`);
    else this.#failure = null;
    if (refreshed.windows + estimated.windows > 0) {
      this.#options.onEvent?.(
        `Computed ${refreshed.windows} windows and estimated ${estimated.windows}, ` +
          `${estimated.belowContract} below the contract`,
        "info",
      );
    }
    return true;
  }

  #fail(line: string): void {
    if (this.#failure !== line) this.#options.onEvent?.(line, "warn");
    this.#failure = line;
  }

  /** Ends; windows that were computed whole are kept. */
  async close(): Promise<void> {
    this.#abort.abort(new Error("The schedule has ended"));
    await this.#running;
  }
}
