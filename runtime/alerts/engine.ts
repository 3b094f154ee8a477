/**
 * SQL alerts: runs each alert's query, steps its state machine, and keeps what it was and became as
 * rows.
 *
 * An alert whose query fails is in the state `error`; it is neither firing nor ok, and the others go on.
 *
 * @module
 */
import type { Finding, Plugin, Severity } from "../../plugins/plugin.ts";
import type { Store } from "../store/store.ts";
import { withLease } from "./lease.ts";
import { readMemories, rememberSteps, type Target } from "./memory.ts";
import { observe } from "./observe.ts";
import { readMarks, snoozedUntil } from "./silences.ts";
import { type AlertMemory, type AlertState, step, type Transition } from "./state.ts";

export { MAX_FINDINGS } from "./observe.ts";
export type { AlertState } from "./state.ts";

/** Outcome of one evaluation of one alert. */
export interface AlertOutcome {
  readonly alert: string;
  readonly severity: Severity;
  readonly summary: string;
  readonly state: AlertState;
  /** State of the evaluation before, or `null` when there was none. */
  readonly previous: AlertState | null;
  /** One finding per row that speaks, at most {@linkcode MAX_FINDINGS}. */
  readonly findings: readonly Finding[];
  /** Rows that speak, counted to one past the limit. */
  readonly findingCount: number;
  readonly error?: string;
}

/** Whose rows the alerts look at, and for how long. */
export interface AlertOptions extends Target {
  /** A query that runs longer is the state `error`; default 10,000. */
  readonly timeoutMs?: number;
  /** Milliseconds since 1970; default `Date.now`. */
  readonly now?: () => number;
  readonly signal?: AbortSignal;
  /** Milliseconds to wait for another process that evaluates; default 30,000. */
  readonly waitMs?: number;
}

/** Name of the lease that every evaluation takes. */
const LEASE = "alert_evaluation";

/** How long an alert's query may run. */
export const TIMEOUT_MS = 10_000;

/**
 * Evaluates the alerts in order on the rows of one model version, records every outcome, and gives
 * them. The views that a query names show that version's rows only.
 *
 * @throws {Error} when another process evaluates all the while.
 */
export async function evaluateAlerts(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  options: AlertOptions,
): Promise<AlertOutcome[]> {
  const outcomes = await evaluateInTurn(store, options, () => alerts);
  if (outcomes === null) {
    throw new Error(
      "Cannot evaluate the alerts: another process does and has not ended; try again in half a minute",
    );
  }
  return outcomes;
}

/**
 * The same for whoever asks again and again: when it is this process's turn, `choose` says which alerts
 * are still due. Gives `null` when another process has the turn.
 */
export async function evaluateInTurn(
  store: Store,
  options: AlertOptions,
  choose: (
    memories: ReadonlyMap<string, AlertMemory | "damaged">,
  ) => readonly Plugin<"alert">[],
): Promise<AlertOutcome[] | null> {
  const { waitMs = 30_000, now = Date.now, signal } = options;
  const lease = { name: LEASE, waitMs, now, ...(signal ? { signal } : {}) };
  return await withLease(store, lease, async ({ guard }) => {
    const memories = await readMemories(store, options);
    const evaluated = await evaluateAll(store, { alerts: choose(memories), memories }, options);
    if (evaluated.length > 0) {
      await store.transaction([
        guard,
        ...evaluated.flatMap((each) => [
          logStep(each, options),
          ...rememberSteps(each.alert, options, each),
        ]),
      ]);
    }
    return evaluated.map(({ outcome }) => outcome);
  });
}

/** Says what {@linkcode evaluateAlerts} would, and records nothing. */
export async function lookAtAlerts(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  options: AlertOptions,
): Promise<AlertOutcome[]> {
  const memories = await readMemories(store, options);
  return (await evaluateAll(store, { alerts, memories }, options)).map(({ outcome }) => outcome);
}

interface Evaluated {
  readonly alert: Plugin<"alert">;
  readonly outcome: AlertOutcome;
  readonly memory: AlertMemory;
  readonly transitions: readonly Transition[];
  readonly ms: number;
}

async function evaluateAll(
  store: Store,
  { alerts, memories }: {
    readonly alerts: readonly Plugin<"alert">[];
    readonly memories: ReadonlyMap<string, AlertMemory | "damaged">;
  },
  options: AlertOptions,
): Promise<Evaluated[]> {
  const { model, version, timeoutMs = TIMEOUT_MS, now = Date.now, signal } = options;
  const marks = await readMarks(store, now());
  const evaluated: Evaluated[] = [];
  for (const alert of alerts) {
    const start = performance.now();
    const before = memories.get(alert.name) ?? null;
    const seen = await observe(store, alert, { timeoutMs, scope: { model, version } });
    // A process that ends stops its queries: that says nothing about the alert.
    if (signal?.aborted) break;
    const at = now();
    const isSnoozed = (snoozedUntil(marks, alert.name) ?? 0) > at;
    const isDamaged = before === "damaged";
    const { memory, transitions } = step(
      isDamaged ? null : before,
      isDamaged ? { kind: "error", reason: DAMAGED } : { ...seen.observation, isSnoozed },
      { now: at, clocks: clocksOf(alert) },
    );
    evaluated.push({
      alert,
      memory,
      transitions,
      ms: performance.now() - start,
      outcome: {
        alert: alert.name,
        severity: alert.severity,
        summary: alert.summary,
        state: memory.state,
        previous: before === null || isDamaged ? null : before.state,
        findings: seen.findings,
        findingCount: seen.findingCount,
        ...(memory.state === "error" ? { error: memory.reason ?? "" } : {}),
      },
    });
  }
  return evaluated;
}

const DAMAGED = "what it remembered cannot be read; it begins anew with the next evaluation";

/** The clocks of an alert, with their defaults. */
export function clocksOf({ forMs = 0, keepFiringForMs = 0 }: Plugin<"alert">) {
  return { forMs, keepFiringForMs };
}

function logStep({ outcome, ms, memory }: Evaluated, { model, version }: Target) {
  return {
    sql: `insert into core.alert_log
        (alert, model, version, severity, state, previous_state, findings, finding_count, error, ms, created_at)
      values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    params: [
      outcome.alert,
      model,
      version,
      outcome.severity,
      outcome.state,
      outcome.previous,
      JSON.stringify(outcome.findings),
      outcome.findingCount,
      outcome.error ?? null,
      ms,
      new Date(memory.evaluatedAt),
    ],
  };
}
