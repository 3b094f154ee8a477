/**
 * SQL alerts: runs each alert's query, keeps its state as rows, and hands new findings to sinks.
 *
 * A query that fails is the state `error`; it is neither firing nor ok, and the other alerts go on.
 *
 * @module
 */
import type { Finding, Plugin, Severity } from "../plugins/plugin.ts";
import { describeError } from "./errors.ts";
import type { ReadLimits, Store } from "./store.ts";

/** State of an alert after an evaluation. */
export type AlertState = "ok" | "firing" | "no_data" | "error";

/** Outcome of one evaluation of one alert. */
export interface AlertOutcome {
  readonly alert: string;
  readonly severity: Severity;
  readonly summary: string;
  readonly state: AlertState;
  /** State of the evaluation before, or `null` when there was none. */
  readonly previous: AlertState | null;
  /** One finding per row of the query, at most {@linkcode MAX_FINDINGS}. */
  readonly findings: readonly Finding[];
  /** Rows the query gave, counted to one past the limit. */
  readonly findingCount: number;
  readonly error?: string;
}

/** Most findings one evaluation keeps. */
export const MAX_FINDINGS = 100;

/** Whose rows the alerts look at, and for how long. */
export interface AlertOptions {
  readonly model: string;
  readonly version: number;
  /** A query that runs longer is the state `error`; default 10,000. */
  readonly timeoutMs?: number;
}

/**
 * Evaluates the alerts in order on the rows of one model version, records every outcome, and gives
 * them. The views that a query names show that version's rows only.
 */
export async function evaluateAlerts(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  options: AlertOptions,
): Promise<AlertOutcome[]> {
  const timed = await evaluateAll(store, alerts, options);
  const now = new Date();
  await store.transaction(timed.map(({ outcome, ms }) => ({
    sql: `insert into core.alert_log
        (alert, model, version, severity, state, previous_state, findings, finding_count, error, ms, created_at)
      values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    params: [
      outcome.alert,
      options.model,
      options.version,
      outcome.severity,
      outcome.state,
      outcome.previous,
      JSON.stringify(outcome.findings),
      outcome.findingCount,
      outcome.error ?? null,
      ms,
      now,
    ],
  })));
  return timed.map(({ outcome }) => outcome);
}

/** Says what {@linkcode evaluateAlerts} would, and records nothing. */
export async function lookAtAlerts(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  options: AlertOptions,
): Promise<AlertOutcome[]> {
  return (await evaluateAll(store, alerts, options)).map(({ outcome }) => outcome);
}

async function evaluateAll(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  { model, version, timeoutMs = 10_000 }: AlertOptions,
): Promise<{ readonly outcome: AlertOutcome; readonly ms: number }[]> {
  const states = await store.query<{ alert: string; state: AlertState }>(
    "select alert, state from alerts where model = ?",
    [model],
  );
  const previous = new Map(states.map((row) => [row.alert, row.state]));
  const timed: { outcome: AlertOutcome; ms: number }[] = [];
  for (const alert of alerts) {
    const start = performance.now();
    const outcome = await evaluate(store, alert, {
      previous: previous.get(alert.name) ?? null,
      limits: { timeoutMs, maxRows: MAX_FINDINGS, scope: { model, version } },
    });
    timed.push({ outcome, ms: performance.now() - start });
  }
  return timed;
}

async function evaluate(
  store: Store,
  alert: Plugin<"alert">,
  { previous, limits }: { readonly previous: AlertState | null; readonly limits: ReadLimits },
): Promise<AlertOutcome> {
  const base = { alert: alert.name, severity: alert.severity, summary: alert.summary, previous };
  try {
    const { columns, rows, isTruncated } = await store.queryReadOnly(alert.sql, limits);
    const findings = rows.map((row) => toFinding(alert, columns, row));
    const state = findings.length > 0 ? "firing" : alert.empty;
    return { ...base, state, findings, findingCount: rows.length + (isTruncated ? 1 : 0) };
  } catch (error) {
    const message = describeError(error).split("\n")[0];
    return { ...base, state: "error", findings: [], findingCount: 0, error: message };
  }
}

/** A row becomes a sentence: its `message` column, else its columns by name. */
function toFinding(
  alert: Plugin<"alert">,
  columns: readonly string[],
  row: readonly unknown[],
): Finding {
  const record = Object.fromEntries(columns.map((name, j) => [name, row[j]]));
  const { message, subject } = record;
  const text = typeof message === "string" && message !== ""
    ? message
    : Object.entries(record).filter(([name]) => name !== "message")
      .map(([name, value]) => `${name} = ${formatCell(value)}`).join(", ") || alert.summary;
  return {
    check: `alert:${alert.name}`,
    severity: alert.severity,
    message: text,
    ...(typeof subject === "string" ? { subject } : {}),
    rows: [record],
  };
}

function formatCell(value: unknown): string {
  if (typeof value === "number" && !Number.isInteger(value)) return value.toPrecision(4);
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

/**
 * Delivers the findings of alerts that began to fire to every sink; a sink that fails does not
 * hold up another, and its failure is given back by name.
 */
export async function deliverFindings(
  sinks: readonly Plugin<"sink">[],
  outcomes: readonly AlertOutcome[],
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const findings = outcomes
    .filter(({ state, previous }) => state === "firing" && previous !== "firing")
    .flatMap((outcome) => outcome.findings);
  const failures = new Map<string, string>();
  if (findings.length === 0) return failures;
  await Promise.all(sinks.map(async (sink) => {
    try {
      await sink.deliver(findings, signal);
    } catch (error) {
      failures.set(sink.name, describeError(error));
    }
  }));
  return failures;
}
