/**
 * What an alert would have said: its query and its state machine run over the stored history, each
 * evaluation at a time of its own, as if it were then.
 *
 * @module
 */
import type { Plugin } from "../../plugins/plugin.ts";
import { UsageError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import { AsOf } from "./as_of.ts";
import { nextTick } from "./cron.ts";
import { clocksOf, TIMEOUT_MS } from "./engine.ts";
import type { Target } from "./memory.ts";
import { observe } from "./observe.ts";
import { type AlertMemory, step, type Transition } from "./state.ts";

/** Over which time an alert is run; milliseconds since 1970. */
export interface BacktestOptions extends Target {
  readonly from: number;
  readonly to: number;
  /** Milliseconds between evaluations; default the alert's own schedule. */
  readonly stepMs?: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (share: number) => void;
}

/** A time in which a series fired. */
export interface Episode {
  readonly series: string;
  readonly from: number;
  /** `null` when it still fired at the end. */
  readonly to: number | null;
  readonly message: string;
}

/** What a backtest found. */
export interface Backtest {
  readonly alert: string;
  readonly evaluations: number;
  readonly episodes: readonly Episode[];
  readonly transitions: readonly Transition[];
  /** Shares of the evaluations, in [0, 1]. */
  readonly firingShare: number;
  readonly flappingShare: number;
  readonly noDataShare: number;
  /** Evaluations that failed, and why the first one did. */
  readonly errors: number;
  readonly error: string | null;
}

/** Most evaluations of one backtest. */
const MOST_EVALUATIONS = 20_000;

/**
 * Runs an alert over a span of time. Nothing is recorded and nobody is told.
 *
 * @throws {UsageError} when the span is empty or has too many evaluations, or the query cannot be asked
 * about the past.
 */
export async function backtestAlert(
  store: Store,
  alert: Plugin<"alert">,
  options: BacktestOptions,
): Promise<Backtest> {
  const { model, version, signal, onProgress = () => {} } = options;
  const scope = { model, version };
  const times = listTimes(alert, options);
  await new AsOf(store, { time: times[0] }).rewrite(alert.sql, { scope });
  const transitions: Transition[] = [];
  const counts = { firing: 0, flapping: 0, noData: 0, errors: 0 };
  let error: string | null = null;
  let memory: AlertMemory | null = null;
  for (const [i, time] of times.entries()) {
    signal.throwIfAborted();
    const past = new AsOf(store, { time });
    const { observation } = await observe(past, alert, { timeoutMs: TIMEOUT_MS, scope });
    const stepped = step(memory, observation, { now: time, clocks: clocksOf(alert) });
    memory = stepped.memory;
    transitions.push(...stepped.transitions);
    if (memory.state === "firing") counts.firing++;
    if (memory.state === "no_data") counts.noData++;
    if (memory.isFlapping) counts.flapping++;
    if (observation.kind === "error") {
      counts.errors++;
      error ??= observation.reason;
    }
    onProgress((i + 1) / times.length);
  }
  return {
    alert: alert.name,
    evaluations: times.length,
    episodes: toEpisodes(transitions),
    transitions,
    firingShare: counts.firing / times.length,
    flappingShare: counts.flapping / times.length,
    noDataShare: counts.noData / times.length,
    errors: counts.errors,
    error,
  };
}

function listTimes(alert: Plugin<"alert">, { from, to, stepMs }: BacktestOptions): number[] {
  const times: number[] = [];
  const next = (time: number) =>
    stepMs === undefined ? nextTick(alert.schedule, time) : time + stepMs;
  // A tick at the very beginning counts.
  for (
    let time = stepMs === undefined ? next(from - 1) : from;
    time !== null && time <= to;
    time = next(time)
  ) {
    if (times.length === MOST_EVALUATIONS) {
      throw new UsageError(
        `Cannot backtest alert "${alert.name}": there are more than ${MOST_EVALUATIONS} evaluations; ` +
          "take a shorter time or a longer --step",
      );
    }
    times.push(time);
  }
  if (times.length > 0) return times;
  throw new UsageError(
    `Cannot backtest alert "${alert.name}": it is not evaluated once from ${
      new Date(from).toISOString()
    } to ${new Date(to).toISOString()}; take a longer time`,
  );
}

/** Pairs the times at which series began and ceased to fire. */
export function toEpisodes(transitions: readonly Transition[]): Episode[] {
  const episodes: Episode[] = [];
  const open = new Map<string, number>();
  for (const { series, from, to, at, reason } of transitions) {
    if (series === null) continue;
    if (to === "firing") {
      open.set(series, episodes.length);
      episodes.push({ series, from: at, to: null, message: reason });
    } else if (from === "firing") {
      const i = open.get(series);
      if (i === undefined) continue;
      episodes[i] = { ...episodes[i], to: at };
      open.delete(series);
    }
  }
  return episodes;
}
