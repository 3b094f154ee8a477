/**
 * Pushes events to Prometheus' Alertmanager, which groups, silences and routes them.
 *
 * An alert that fires ends by itself after `holdHours` unless it is told again or resolved before:
 * Alertmanager forgets what it does not hear of any more, and else would do so after five minutes.
 *
 * @see https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml postAlerts
 * @module
 */
import { z } from "zod";
import type { AlertEvent } from "../plugin.ts";
import { type EndpointOptions, findEndpointObstacle, post, readVariable } from "./endpoint.ts";
import { defineSink } from "./sink.ts";
import { describeEvent, fillTemplate, templateParam, toIso } from "./template.ts";

const VARIABLE = "GEOPHONE_ALERTMANAGER_URL";
const HOUR_MS = 3_600_000;

const Params = z.strictObject({
  template: templateParam("{{text}}", 'annotation "description" of each alert'),
  generatorUrl: z.url().optional().describe("where an alert's source link leads"),
  holdHours: z.number().positive().default(24).describe(
    "hours after which an alert that is told no more counts as resolved",
  ),
});

/** Makes the sink; `alertmanager` below is the one of the process's environment. */
export function createAlertmanager({ read = readVariable, timeoutMs }: EndpointOptions = {}) {
  const endpoint = { sink: "alertmanager", variable: VARIABLE, read };
  return defineSink({
    name: "alertmanager",
    summary: `alerts for the Alertmanager at ${VARIABLE}`,
    params: Params,
    timeoutMs,
    findObstacle: () => findEndpointObstacle(endpoint),
    async send(events, { params, signal }) {
      await post(endpoint, {
        path: "/api/v2/alerts",
        body: JSON.stringify(events.map((event) => toAlert(event, params))),
        headers: { "content-type": "application/json" },
        signal,
      });
    },
  });
}

/** `POST /api/v2/alerts`, one alert per event. */
export const alertmanager = createAlertmanager();

/**
 * An error and missing data are alerts of their own beside the one they are about: their `condition`
 * tells them apart, so that one does not resolve another.
 */
function toAlert(
  event: AlertEvent,
  { template, generatorUrl, holdHours }: z.infer<typeof Params>,
) {
  const { kind, alert, series, severity, startsAt, runbook, value } = event;
  const labels = Object.entries(event.labels).map(([name, text]) => [toLabelName(name), text]);
  const isBroken = kind === "error" || kind === "no_data";
  const endsAt = event.endsAt ??
    (kind === "resolved" ? Date.now() : Date.now() + HOUR_MS * holdHours);
  return {
    labels: {
      ...Object.fromEntries(labels),
      ...(series === null ? {} : { series }),
      ...(isBroken ? { condition: kind } : {}),
      alertname: alert,
      severity,
    },
    annotations: {
      summary: describeEvent(event),
      description: fillTemplate(template, event),
      ...(value === null ? {} : { value: String(value) }),
      ...(runbook === null ? {} : { runbook_url: runbook }),
    },
    startsAt: toIso(startsAt),
    endsAt: toIso(endsAt),
    ...(generatorUrl === undefined ? {} : { generatorURL: generatorUrl }),
  };
}

/** Alertmanager 0.2x takes names of `[a-zA-Z_][a-zA-Z0-9_]*` alone. */
function toLabelName(name: string): string {
  return name.replace(/[^a-zA-Z0-9_]/g, "_").replace(/^(?=\d)|^$/, "_");
}
