/**
 * History: rows that are neither requests nor hang on one. Each table is of a class with days of its
 * own, and has rows that stay whatever their age, since they say what is now.
 *
 * @module
 */
import type { Step } from "../store/store.ts";

/** A class of rows. */
export type HistoryClass = "history" | "profiles" | "estimates" | "judges" | "judgeLabels";

interface HistoryRows {
  readonly class: HistoryClass;
  /** Column of a row's time. */
  readonly time: string;
  /** Which rows stay. */
  readonly isKept: string;
}

/** A delivery that still waits. */
const pending = (outbox: string) =>
  `delivery_id in (select delivery_id from core.${outbox} where state = 'pending')`;

/** The latest window of each granularity; a baseline has no end and stays anyway. */
const latestWindow = (table: string) =>
  `(model, version, granularity, window_end) in (select (model, version, granularity, max(window_end))
     from core.${table} group by model, version, granularity)`;

/** The newest card of each version of a judge on each version of a model. */
const newestCards = `(select judge, judge_version, model, version,
    arg_max(source, created_at) as source, max(created_at) as created_at
  from core.judge_cards group by all)`;

/** How far windows are stays: what has gone is not computed anew. */
const history = {
  drift: {
    class: "history",
    time: "created_at",
    isKept: "(model, version, run_id) in (select (model, version, arg_max(run_id, created_at)) " +
      "from core.drift group by model, version)",
  },
  // An alarm that a server finds again after a crash is recent.
  online_alarms: { class: "history", time: "alarmed_at", isKept: "false" },
  alert_log: {
    class: "history",
    time: "created_at",
    isKept: "evaluation in (select max(evaluation) from core.alert_log group by model, alert)",
  },
  alert_transitions: {
    class: "history",
    time: "changed_at",
    isKept: "transition in (select max(transition) from core.alert_transitions " +
      "group by model, version, alert, series)",
  },
  alert_notifications: { class: "history", time: "told_at", isKept: "false" },
  resources: {
    class: "history",
    time: "created_at",
    isKept: "created_at = (select max(created_at) from core.resources)",
  },
  // Attempts before their deliveries, which say what waits.
  sink_attempts: { class: "history", time: "created_at", isKept: pending("sink_outbox") },
  sink_outbox: { class: "history", time: "created_at", isKept: "state = 'pending'" },
  webhook_attempts: { class: "history", time: "attempted_at", isKept: pending("webhook_outbox") },
  webhook_outbox: { class: "history", time: "created_at", isKept: "state = 'pending'" },
  spans: { class: "history", time: "started_at", isKept: "false" },
  generated_texts: {
    class: "history",
    time: "created_at",
    isKept: "(kind, subject, created_at) in (select (kind, subject, max(created_at)) " +
      "from core.generated_texts where text is not null group by kind, subject)",
  },
  llm_calls: { class: "history", time: "started_at", isKept: "false" },
  call_judgements: { class: "history", time: "created_at", isKept: "false" },
  profile_metrics: {
    class: "profiles",
    time: "window_end",
    isKept: latestWindow("profile_metrics"),
  },
  drift_metrics: { class: "profiles", time: "window_end", isKept: latestWindow("drift_metrics") },
  monitor_refreshes: {
    class: "profiles",
    time: "created_at",
    isKept: "(model, version, created_at) in (select (model, version, max(created_at)) " +
      "from core.monitor_refreshes group by model, version)",
  },
  // The next rate follows from the latest.
  monitor_costs: {
    class: "profiles",
    time: "created_at",
    isKept: "(model, monitor, coalesce(granularity, ''), created_at) in (select (model, monitor, " +
      "coalesce(granularity, ''), max(created_at)) from core.monitor_costs " +
      "group by model, monitor, granularity)",
  },
  // Causes and confusion before the estimates, which say which window is the latest.
  estimate_causes: { class: "estimates", time: "window_end", isKept: latestWindow("estimates") },
  estimate_confusion: { class: "estimates", time: "window_end", isKept: latestWindow("estimates") },
  estimates: { class: "estimates", time: "window_end", isKept: latestWindow("estimates") },
  // Answers before their cards, which say of what they are: those of the newest are not asked again.
  judge_cases: {
    class: "judges",
    time: "created_at",
    isKept: "kind = 'card' and (judge, judge_version, model, version, batch) in " +
      `(select (judge, judge_version, model, version, source) from ${newestCards})`,
  },
  judge_cards: {
    class: "judges",
    time: "created_at",
    isKept: "(judge, judge_version, model, version, created_at) in " +
      `(select (judge, judge_version, model, version, created_at) from ${newestCards})`,
  },
  judge_probes: {
    class: "judges",
    time: "created_at",
    isKept:
      "(judge, judge_version, created_at) in (select (judge, judge_version, max(created_at)) " +
      "from core.judge_probes group by judge, judge_version)",
  },
  judge_versions: {
    class: "judges",
    time: "created_at",
    isKept: ["judgements", "call_judgements", "judge_cards"].map((table) =>
      `(judge, judge_version) in (select (judge, judge_version) from core.${table})`
    ).join(" or "),
  },
  judge_labels: { class: "judgeLabels", time: "created_at", isKept: "false" },
} as const satisfies Readonly<Record<string, HistoryRows>>;

/** Tables of history. */
export type HistoryTable = keyof typeof history;

/** Time before which rows of each class go; `null` when all stay. */
export type HistoryCutoffs = Readonly<Record<HistoryClass, Date | null>>;

/** Rows of tables that go, as conditions with one parameter, the time of their class. */
export const oldRows: readonly {
  readonly table: HistoryTable;
  readonly class: HistoryClass;
  readonly where: string;
}[] = (Object.entries(history) as [HistoryTable, HistoryRows][]).map(
  ([table, { class: of, time, isKept }]) => ({
    table,
    class: of,
    where: `${time} < ? and not (${isKept})`,
  }),
);

/** Gives the steps that take rows away. */
export function historySteps(cutoffs: HistoryCutoffs): Step[] {
  return oldRows.flatMap(({ table, class: of, where }) => {
    const before = cutoffs[of];
    return before === null
      ? []
      : [{ sql: `delete from core.${table} where ${where}`, params: [before] }];
  });
}
