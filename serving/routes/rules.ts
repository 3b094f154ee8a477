/**
 * `GET /api/v1/alerts` and `GET /api/v1/rules`: alerts in the form of Prometheus, so that what reads
 * alerts from a Prometheus (Grafana, dashboards, scripts) reads these.
 *
 * @see https://prometheus.io/docs/prometheus/latest/querying/api/#rules
 *
 * @module
 */
import { DEFAULT_SCHEDULE, nextTick } from "../../runtime/alerts/cron.ts";
import { type AlertNow, readAlertsNow, type SeriesNow } from "../../runtime/alerts/overview.ts";
import type { Answer } from "../answers.ts";
import { jsonAnswer } from "../answers.ts";
import { encodeReply } from "../compression.ts";
import type { AddRoute, Handler } from "../exchange.ts";
import { HttpError } from "../http_error.ts";
import type { AlertRouteDeps } from "./alerts.ts";

/** Adds both routes; their refusals have Prometheus' form, too. */
export function addRuleRoutes(add: AddRoute, deps: AlertRouteDeps): void {
  const options = { role: "viewer", writeError: writePrometheusError } as const;
  add("GET", "/api/v1/alerts", answer(deps, writeAlerts), options);
  add("GET", "/api/v1/rules", answer(deps, writeRules), options);
}

/** Gives `{"status": "error", …}` with the error type that Prometheus has for such a status. */
function writePrometheusError({ status, message, headers }: HttpError): Answer {
  const errorType = errorTypes[status] ?? (status < 500 ? "client_error" : "internal");
  return { status, body: JSON.stringify({ status: "error", errorType, error: message }), headers };
}

const errorTypes: Readonly<Record<number, string>> = {
  400: "bad_data",
  404: "not_found",
  422: "bad_data",
  499: "canceled",
  503: "unavailable",
  504: "timeout",
};

function answer(
  { store, access, alerts, params, target }: AlertRouteDeps,
  write: (alerts: readonly AlertNow[], query: URLSearchParams, model: string) => unknown,
): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const { request } = exchange;
    const about = await target();
    const now = about === null
      ? []
      : (await readAlertsNow(store, alerts, { ...about, params })).alerts;
    const data = write(now, new URL(request.url).searchParams, about?.model ?? "");
    return await encodeReply(jsonAnswer({ status: "success", data }), request);
  };
}

function writeAlerts(alerts: readonly AlertNow[]) {
  return {
    alerts: alerts.flatMap((each) => each.series.map((series) => writeSeries(each, series))),
  };
}

function writeSeries({ alert }: AlertNow, { labels, state, activeAt, value, message }: SeriesNow) {
  return {
    labels: nameLabels(alert.name, labels),
    annotations: { ...annotate(alert), description: message },
    state,
    activeAt: new Date(activeAt).toISOString(),
    // Prometheus writes numbers as text; what is no number is its text for that.
    value: typeof value === "number" ? String(value) : "NaN",
  };
}

/** Prometheus has the alert's name in another label. */
function nameLabels(alertname: string, labels: Readonly<Record<string, string>>) {
  const { alert: _, ...rest } = labels;
  return { alertname, ...rest };
}

function annotate({ summary, runbook }: AlertNow["alert"]) {
  return { summary, ...(runbook === undefined ? {} : { runbook_url: runbook }) };
}

/** Booleans as Go reads them. */
export const booleans: ReadonlyMap<string, boolean> = new Map([
  ...["1", "t", "T", "true", "TRUE", "True"].map((text) => [text, true] as const),
  ...["0", "f", "F", "false", "FALSE", "False"].map((text) => [text, false] as const),
]);

/** One group per schedule: what is evaluated together. */
function writeRules(all: readonly AlertNow[], query: URLSearchParams, model: string) {
  const type = query.get("type");
  if (type !== null && type !== "alert" && type !== "record") {
    throw badQuery("type", type, "alert or record");
  }
  const given = query.get("exclude_alerts") ?? "false";
  const isHidden = booleans.get(given);
  if (isHidden === undefined) throw badQuery("exclude_alerts", given, "a boolean");
  const isWanted = (name: string, value: string) => {
    const wanted = query.getAll(`${name}[]`);
    return wanted.length === 0 || wanted.includes(value);
  };
  // There are no recording rules.
  const alerts = type === "record"
    ? []
    : all.filter(({ alert }) => isWanted("rule_name", alert.name));
  const groups = Map.groupBy(alerts, ({ alert }) => nameSchedule(alert));
  return {
    groups: [...groups].filter(([name]) => isWanted("rule_group", name) && isWanted("file", model))
      .map(([name, members]) => {
        const evaluations = members.flatMap(({ last }) => last === null ? [] : [last]);
        return {
          name,
          file: model,
          interval: intervalSeconds(members[0].alert),
          limit: 0,
          evaluationTime: evaluations.reduce((sum, { ms }) => sum + ms, 0) / 1000,
          lastEvaluation: writeTime(Math.max(...evaluations.map(({ at }) => at))),
          rules: members.map((member) => writeRule(member, !isHidden)),
        };
      }),
  };
}

function badQuery(name: string, given: string, wanted: string): HttpError {
  return new HttpError(
    `Cannot read the query: ${name} "${given.slice(0, 40)}" is not ${wanted}`,
    "invalid_query",
  );
}

function nameSchedule({ schedule }: AlertNow["alert"]): string {
  if (schedule?.isPaused) return "paused";
  const { cron, timezone = DEFAULT_SCHEDULE.timezone } = schedule ?? DEFAULT_SCHEDULE;
  return `${cron} ${timezone}`;
}

/** Seconds between the next two evaluations; 0 when there are none. */
function intervalSeconds({ schedule }: AlertNow["alert"]): number {
  if (schedule?.isPaused) return 0;
  const next = nextTick(schedule, Date.now());
  const after = next === null ? null : nextTick(schedule, next);
  return after === null ? 0 : (after - next!) / 1000;
}

/** What was never has Go's zero time there. */
function writeTime(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : "0001-01-01T00:00:00Z";
}

function writeRule(now: AlertNow, hasAlerts: boolean) {
  const { alert, state, reason, series, last } = now;
  const isKnown = state !== null;
  return {
    state: series.some((each) => each.state === "firing")
      ? "firing"
      : series.length > 0
      ? "pending"
      : "inactive",
    name: alert.name,
    query: alert.sql,
    duration: (alert.forMs ?? 0) / 1000,
    keepFiringFor: (alert.keepFiringForMs ?? 0) / 1000,
    labels: { ...alert.labels, severity: alert.severity },
    annotations: annotate(alert),
    alerts: hasAlerts ? series.map((each) => writeSeries(now, each)) : [],
    health: state === "error" ? "err" : isKnown ? "ok" : "unknown",
    ...(state === "error" ? { lastError: last?.error ?? reason ?? "" } : {}),
    evaluationTime: (last?.ms ?? 0) / 1000,
    lastEvaluation: writeTime(last?.at ?? NaN),
    type: "alerting",
  };
}
