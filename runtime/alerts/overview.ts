/**
 * What every alert says now: its state, its series, what it found when it was evaluated last, and what
 * people said to it.
 *
 * @module
 */
import type { Finding, Plugin } from "../../plugins/plugin.ts";
import type { Store } from "../store/store.ts";
import { listActive } from "./active.ts";
import { readMemories, type Target } from "./memory.ts";
import type { AlertingParams } from "./params.ts";
import { findSilence, isAcknowledged, type Mark, readMarks, snoozedUntil } from "./silences.ts";
import type { ActiveSeries, AlertState } from "./state.ts";

/** A series that is pending or firing, and who hears of it. Times are milliseconds since 1970. */
export interface SeriesNow extends ActiveSeries {
  /** Id of the silence or snooze that keeps it from being told. */
  readonly silencedBy: string | null;
  readonly isAcknowledged: boolean;
  /** Nobody is told: silenced, snoozed, inhibited, or part of an alert that flaps. */
  readonly isMuted: boolean;
}

/** The last evaluation of an alert. */
export interface LastEvaluation {
  readonly at: number;
  readonly ms: number;
  readonly findings: readonly Finding[];
  /** Findings there were, counted to one past those that are kept. */
  readonly findingCount: number;
  readonly error: string | null;
}

/** What an alert says now. */
export interface AlertNow {
  readonly alert: Plugin<"alert">;
  /** `null` before the first evaluation. */
  readonly state: AlertState | null;
  readonly since: number | null;
  readonly reason: string | null;
  readonly isFlapping: boolean;
  readonly snoozedUntil: number | null;
  readonly series: readonly SeriesNow[];
  readonly last: LastEvaluation | null;
}

/** All alerts, and what people said to them. */
export interface AlertsNow {
  readonly alerts: readonly AlertNow[];
  /** Those that hold now, the oldest first. */
  readonly marks: readonly Mark[];
}

/** Reads what these alerts say of a version; evaluates nothing. */
export async function readAlertsNow(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  { params, now = Date.now(), ...target }: Target & {
    readonly params: AlertingParams;
    readonly now?: number;
  },
): Promise<AlertsNow> {
  const [memories, marks, evaluations] = await Promise.all([
    readMemories(store, target),
    readMarks(store, now),
    readEvaluations(store, target),
  ]);
  const muted = new Set(
    listActive(alerts, memories, { marks, params }).filter(({ isMuted }) => isMuted)
      .map(({ event }) => JSON.stringify([event.alert, event.series])),
  );
  const describe = (alert: Plugin<"alert">): AlertNow => {
    const memory = memories.get(alert.name);
    const about = {
      alert,
      snoozedUntil: snoozedUntil(marks, alert.name),
      last: evaluations.get(alert.name) ?? null,
    };
    const none = { since: null, isFlapping: false, series: [] };
    if (memory === undefined) return { ...about, ...none, state: null, reason: null };
    if (memory === "damaged") {
      return { ...about, ...none, state: "error", reason: "what it remembered cannot be read" };
    }
    const { state, since, reason, isFlapping } = memory;
    const series = memory.series.map((each) => ({
      ...each,
      silencedBy: findSilence(marks, each.labels)?.id ?? null,
      isAcknowledged: isAcknowledged(marks, each.labels, each.activeAt),
      isMuted: muted.has(JSON.stringify([alert.name, each.series])),
    }));
    return { ...about, state, since, reason, isFlapping, series };
  };
  return { alerts: alerts.map(describe), marks };
}

async function readEvaluations(
  store: Store,
  { model, version }: Target,
): Promise<Map<string, LastEvaluation>> {
  // By the time of the last one, so that no older findings are read.
  const rows = await store.query<{
    alert: string;
    at: string;
    ms: number;
    findings: string;
    findingCount: number;
    error: string | null;
  }>(
    `select l.alert, l.created_at as at, l.ms, l.findings::varchar as findings,
       l.finding_count as "findingCount", l.error
     from core.alert_log l join core.alert_states s
       on s.alert = l.alert and s.model = l.model and s.version = l.version
         and s.evaluated_at = l.created_at
     where l.model = ? and l.version = ?
     qualify row_number() over (partition by l.alert order by l.evaluation desc) = 1`,
    [model, version],
  );
  return new Map(rows.map(({ alert, at, findings, ...rest }) => [
    alert,
    { ...rest, at: Date.parse(at), findings: JSON.parse(findings) as Finding[] },
  ]));
}
