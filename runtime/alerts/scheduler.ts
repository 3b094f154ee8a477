/**
 * Evaluates alerts when their schedules say so, and puts what is to be told into the outbox.
 *
 * What is due follows from when an alert was evaluated last, which is in the store: however many ticks
 * were missed while nobody ran or the machine slept, the alert is evaluated once, now. Of several
 * processes one evaluates a tick, whichever comes first; no evaluation overlaps another.
 *
 * @module
 */
import type { Plugin } from "../../plugins/plugin.ts";
import { describeError } from "../errors.ts";
import { sleep } from "../sleep.ts";
import type { Store } from "../store/store.ts";
import { nextTick } from "./cron.ts";
import { dispatchAlerts, type DispatchOptions } from "./dispatch.ts";
import { type AlertOutcome, evaluateInTurn } from "./engine.ts";
import { readMemories, type Target } from "./memory.ts";
import type { AlertMemory } from "./state.ts";

/** What a schedule evaluates, and whom it tells. */
export interface ScheduleDeps extends Pick<DispatchOptions, "params" | "defaultSinks"> {
  readonly alerts: readonly Plugin<"alert">[];
  /** The model version to look at now, or `null` while there is none. */
  readonly target: () => Promise<Target | null>;
}

/** How a schedule runs. */
export interface ScheduleOptions {
  /** Hears what changed, and what went wrong. */
  readonly onEvent?: (line: string, level: "info" | "warn") => void;
  /** Milliseconds since 1970; default `Date.now`. */
  readonly now?: () => number;
  /** A query that runs longer is the state `error`. */
  readonly timeoutMs?: number;
}

/** Longest sleep, so that a clock that is set and a version that is promoted are noticed. */
const LONGEST_SLEEP_MS = 15_000;

/** Sleep after another process had the turn. */
const RETRY_MS = 1_000;

/** Runs the alerts of one model until it is closed. */
export class AlertSchedule {
  readonly #store: Store;
  readonly #deps: ScheduleDeps;
  readonly #options: ScheduleOptions;
  readonly #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();
  readonly #setBackAt = new Map<string, number>();
  #firstSeen: { readonly key: string; readonly at: number } | null = null;

  /** Makes a schedule that does nothing before its first {@linkcode AlertSchedule.tick}. */
  constructor(store: Store, deps: ScheduleDeps, options: ScheduleOptions = {}) {
    this.#store = store;
    this.#deps = deps;
    this.#options = options;
  }

  /** Makes a schedule and runs it. */
  static start(store: Store, deps: ScheduleDeps, options: ScheduleOptions = {}): AlertSchedule {
    const schedule = new AlertSchedule(store, deps, options);
    schedule.#running = schedule.#run();
    return schedule;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const sleepMs = await this.tick().catch((error) => {
        if (!signal.aborted) this.#say(`Cannot evaluate alerts: ${describeError(error)}`, "warn");
        return LONGEST_SLEEP_MS;
      });
      await sleep(sleepMs, signal);
    }
  }

  /** Evaluates and tells what is due now; gives the milliseconds until there may be more. */
  async tick(): Promise<number> {
    const { now = Date.now } = this.#options;
    const { signal } = this.#abort;
    const target = await this.#deps.target();
    if (target === null) return LONGEST_SLEEP_MS;
    const memories = await readMemories(this.#store, target);
    if (this.#listDue(memories, target).length > 0) {
      const { timeoutMs } = this.#options;
      const outcomes = await evaluateInTurn(this.#store, {
        ...target,
        now,
        signal,
        waitMs: 0,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      }, (current) => this.#listDue(current, target));
      if (outcomes === null) return RETRY_MS;
      this.#report(outcomes);
    }
    if (signal.aborted) return 0;
    const { alerts } = this.#deps;
    const { nextAt } = await dispatchAlerts(this.#store, alerts, {
      ...this.#deps,
      ...target,
      now,
      signal,
    });
    const current = await readMemories(this.#store, target);
    const times = alerts.map((alert) => this.#nextOf(alert, current, target))
      .concat(nextAt).filter((time) => time !== null);
    const untilNext = Math.min(...times) - now();
    return Math.min(LONGEST_SLEEP_MS, Math.max(0, untilNext));
  }

  #listDue(
    memories: ReadonlyMap<string, AlertMemory | "damaged">,
    target: Target,
  ): Plugin<"alert">[] {
    const { now = Date.now } = this.#options;
    return this.#deps.alerts.filter((alert) => {
      const next = this.#nextOf(alert, memories, target);
      return next !== null && next <= now();
    });
  }

  /** First tick after the last evaluation; without one, after this schedule first saw the version. */
  #nextOf(
    alert: Plugin<"alert">,
    memories: ReadonlyMap<string, AlertMemory | "damaged">,
    { model, version }: Target,
  ): number | null {
    if (alert.schedule?.isPaused) return null;
    const now = (this.#options.now ?? Date.now)();
    const key = JSON.stringify([model, version]);
    if (this.#firstSeen?.key !== key) this.#firstSeen = { key, at: now };
    const memory = memories.get(alert.name);
    const last = memory === undefined || memory === "damaged"
      ? this.#firstSeen.at
      : memory.evaluatedAt;
    if (last <= now) {
      this.#setBackAt.delete(alert.name);
      return nextTick(alert.schedule, last);
    }
    // The clock jumped back: the schedule begins where that was noticed.
    const setBackAt = Math.min(now, this.#setBackAt.get(alert.name) ?? now);
    this.#setBackAt.set(alert.name, setBackAt);
    return nextTick(alert.schedule, setBackAt);
  }

  #report(outcomes: readonly AlertOutcome[]): void {
    for (const { alert, state, previous, error } of outcomes) {
      if (state === previous || (previous === null && state === "ok")) continue;
      const from = previous === null ? "" : `, was ${previous}`;
      const level = state === "firing" || state === "error" ? "warn" : "info";
      this.#say(`Alert ${alert} is ${state}${from}${error ? `: ${error}` : ""}`, level);
    }
  }

  #say(line: string, level: "info" | "warn"): void {
    this.#options.onEvent?.(line, level);
  }

  /** Ends; what is being evaluated is not recorded. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }
}
