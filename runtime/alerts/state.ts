/**
 * The state machine of an alert: {@linkcode step} takes what was remembered and what an evaluation
 * saw, and gives what to remember and what changed. It reads no clock and no store.
 *
 * Each series, one per label set, runs through pending and firing on its own, with the meaning that
 * `for` and `keep_firing_for` have in Prometheus. An evaluation that failed leaves all series as they
 * are: unknown is neither firing nor resolved.
 *
 * @module
 */
import { formatDuration } from "../../numeric/durations.ts";
import { FLAP_WINDOW, isFlappingNow } from "./flapping.ts";

/** State of an alert after an evaluation. */
export type AlertState = "ok" | "pending" | "firing" | "no_data" | "error" | "snoozed";

/** What tells series apart, and what matchers look at. */
export type Labels = Readonly<Record<string, string>>;

/** One series whose condition holds. */
export interface SeenSeries {
  readonly series: string;
  readonly labels: Labels;
  readonly value: number | string | null;
  readonly message: string;
}

/** What one evaluation saw. */
export type Observation =
  & ({ readonly kind: "rows"; readonly series: readonly SeenSeries[] } | {
    readonly kind: "no_data";
  } | { readonly kind: "error"; readonly reason: string })
  & { readonly isSnoozed?: boolean };

/** A series that is pending or firing. Times are milliseconds since 1970. */
export interface ActiveSeries extends SeenSeries {
  readonly state: "pending" | "firing";
  readonly activeAt: number;
  readonly firedAt: number | null;
  /** Since when its condition is gone while it fires on. */
  readonly keptSince: number | null;
}

/** What an alert remembers between evaluations, as JSON. */
export interface AlertMemory {
  readonly state: AlertState;
  readonly since: number;
  /** State before this one, `null` at first. */
  readonly from: AlertState | null;
  readonly reason: string | null;
  readonly evaluatedAt: number;
  readonly series: readonly ActiveSeries[];
  /** The last states, a letter each. */
  readonly history: string;
  readonly isFlapping: boolean;
}

/** A change of one series, or of the alert as a whole, where `series` is `null`. */
export interface Transition {
  readonly series: string | null;
  readonly from: AlertState | null;
  readonly to: AlertState;
  readonly at: number;
  readonly value: number | string | null;
  readonly reason: string;
}

/** The clocks of an alert, in milliseconds. */
export interface Clocks {
  readonly forMs: number;
  readonly keepFiringForMs: number;
}

/**
 * Gives the memory after an observation at `now`, and the changes it made. A clock that jumped back
 * moves the times of the memory with it, so that what was waited is kept and never negative.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { type Observation, step } from "./state.ts";
 *
 * const clocks = { forMs: 60_000, keepFiringForMs: 0 };
 * const hot: Observation = {
 *   kind: "rows",
 *   series: [{ series: "P-130", labels: {}, value: 9, message: "hot" }],
 * };
 * const first = step(null, hot, { now: 0, clocks });
 * assertEquals(first.memory.state, "pending");
 * assertEquals(step(first.memory, hot, { now: 60_000, clocks }).memory.state, "firing");
 * ```
 */
export function step(
  before: AlertMemory | null,
  seen: Observation,
  { now, clocks }: { readonly now: number; readonly clocks: Clocks },
): { readonly memory: AlertMemory; readonly transitions: readonly Transition[] } {
  const past = before && follow(before, now);
  const transitions: Transition[] = [];
  const series = seen.kind === "error"
    ? past?.series ?? []
    : stepAll(past?.series ?? [], seen.kind === "rows" ? seen.series : [], {
      now,
      clocks,
      note: (transition) => transitions.push(transition),
    });
  const within = summarize(seen, series);
  const state = seen.isSnoozed ? "snoozed" : within;
  const reason = describe(seen, series);
  const hasChanged = past === null || past.state !== state;
  if (hasChanged) {
    transitions.push({
      series: null,
      from: past?.state ?? null,
      to: state,
      at: now,
      value: null,
      reason: seen.isSnoozed ? "a person snoozed it" : reason ?? "its condition is absent",
    });
  }
  const history = ((past?.history ?? "") + letterOf(within)).slice(-FLAP_WINDOW);
  const memory: AlertMemory = {
    state,
    since: hasChanged ? now : past.since,
    from: hasChanged ? past?.state ?? null : past.from,
    reason,
    evaluatedAt: now,
    series,
    history,
    isFlapping: isFlappingNow(history, past?.isFlapping ?? false),
  };
  return { memory, transitions };
}

/** Moves the times of a memory by what the clock jumped back. */
function follow(memory: AlertMemory, now: number): AlertMemory {
  const jump = memory.evaluatedAt - now;
  if (jump <= 0) return memory;
  const move = (time: number) => time - jump;
  const moveIf = (time: number | null) => time === null ? null : move(time);
  return {
    ...memory,
    since: move(memory.since),
    evaluatedAt: now,
    series: memory.series.map((each) => ({
      ...each,
      activeAt: move(each.activeAt),
      firedAt: moveIf(each.firedAt),
      keptSince: moveIf(each.keptSince),
    })),
  };
}

interface StepContext {
  readonly now: number;
  readonly clocks: Clocks;
  readonly note: (transition: Transition) => void;
}

function stepAll(
  before: readonly ActiveSeries[],
  seen: readonly SeenSeries[],
  context: StepContext,
): ActiveSeries[] {
  const active = new Map(before.map((each) => [each.series, each]));
  const present = new Map(seen.map((each) => [each.series, each]));
  const names = new Set([...active.keys(), ...present.keys()]);
  return [...names].flatMap((name) => {
    const old = active.get(name);
    const now = present.get(name);
    const next = now ? hold(old, now, context) : keep(old!, context);
    return next === null ? [] : [next];
  });
}

/** A series whose condition holds: pending until it has held for `for`. */
function hold(
  old: ActiveSeries | undefined,
  seen: SeenSeries,
  { now, clocks, note }: StepContext,
): ActiveSeries {
  const activeAt = old?.activeAt ?? now;
  const isFiring = old?.state === "firing" || now - activeAt >= clocks.forMs;
  const next: ActiveSeries = {
    ...seen,
    state: isFiring ? "firing" : "pending",
    activeAt,
    firedAt: isFiring ? old?.firedAt ?? now : null,
    keptSince: null,
  };
  if (next.state !== old?.state) {
    note({
      series: seen.series,
      from: old?.state ?? "ok",
      to: next.state,
      at: now,
      value: seen.value,
      reason: isFiring && clocks.forMs > 0
        ? `held for ${formatDuration(now - activeAt)}: ${seen.message}`
        : seen.message,
    });
  }
  return next;
}

/** A series whose condition is gone: it fires on for `keep_firing_for`. */
function keep(
  old: ActiveSeries,
  { now, clocks, note }: StepContext,
): ActiveSeries | null {
  const keptSince = old.keptSince ?? now;
  if (old.state === "firing" && now - keptSince < clocks.keepFiringForMs) {
    return { ...old, keptSince };
  }
  note({
    series: old.series,
    from: old.state,
    to: "ok",
    at: now,
    value: null,
    reason: old.state === "pending"
      ? `its condition went after ${formatDuration(now - old.activeAt)}`
      : "its condition is gone",
  });
  return null;
}

function summarize(
  seen: Observation,
  series: readonly ActiveSeries[],
): Exclude<AlertState, "snoozed"> {
  if (seen.kind === "error") return "error";
  if (series.some(({ state }) => state === "firing")) return "firing";
  if (series.length > 0) return "pending";
  return seen.kind === "no_data" ? "no_data" : "ok";
}

function describe(seen: Observation, series: readonly ActiveSeries[]): string | null {
  if (seen.kind === "error") return seen.reason;
  if (series.length > 0) {
    const firing = series.filter(({ state }) => state === "firing").length;
    return firing > 0 ? `${firing} series firing` : `${series.length} series pending`;
  }
  return seen.kind === "no_data" ? "the query gave no row" : null;
}

function letterOf(state: AlertState): string {
  return state === "firing" ? "f" : state === "error" ? "e" : "o";
}
