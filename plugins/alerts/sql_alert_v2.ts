/**
 * Lakehouse SQL alerts (version 2 of that API, as JSON) read as alerts of ours.
 *
 * @see https://docs.databricks.com/api/workspace/alertsv2
 *
 * @module
 */
import { z } from "zod";
import { type Alert, thresholdAggregations, thresholdOperators } from "../plugin.ts";
import { readHeader, refuse } from "./header.ts";
import { convertQuartz } from "./quartz.ts";

const Source = z.strictObject({
  name: z.string().min(1),
  aggregation: z.enum(thresholdAggregations).optional(),
  display: z.string().optional(),
});

const Value = z.strictObject({
  double_value: z.number().optional(),
  string_value: z.string().optional(),
  bool_value: z.boolean().optional(),
});

const AlertV2 = z.strictObject({
  display_name: z.string().min(1),
  query_text: z.string().min(1),
  parameters: z.array(z.unknown()).max(0, "queries with parameters are not supported").optional(),
  evaluation: z.strictObject({
    source: Source,
    comparison_operator: z.enum(thresholdOperators),
    threshold: z.strictObject({ column: Source.optional(), value: Value.optional() }).optional(),
    empty_result_state: z.enum(["UNKNOWN", "TRIGGERED", "OK", "ERROR"]).default("OK"),
    notification: z.strictObject({
      notify_on_ok: z.boolean().default(false),
      retrigger_seconds: z.int().min(0).default(0),
      subscriptions: z.array(z.unknown()).optional(),
    }).optional(),
  }),
  schedule: z.strictObject({
    quartz_cron_schedule: z.string().min(1),
    timezone_id: z.string().min(1),
    pause_status: z.enum(["PAUSED", "UNPAUSED"]).default("UNPAUSED"),
  }),
  custom_summary: z.string().optional(),
  custom_description: z.string().optional(),
});

/** What a service answers beside the alert itself: nothing that an evaluation needs. */
const SERVICE_KEYS = [
  "id",
  "create_time",
  "update_time",
  "owner_user_name",
  "lifecycle_state",
  "parent_path",
  "warehouse_id",
  "run_as",
  "run_as_user_name",
  "effective_run_as",
];

const emptyStates = { UNKNOWN: "no_data", TRIGGERED: "firing", OK: "ok", ERROR: "error" } as const;

/**
 * Gives the alert of a SQL alert's JSON. There is no severity in it: it is `warning`. Subscriptions
 * are users and destinations of that service; the sinks of the config hear of it instead. As there,
 * a column without aggregation is compared in the first row alone.
 *
 * @throws {SyntaxError} when it is no such JSON.
 */
export function parseAlertV2(name: string, text: string): Alert {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`Cannot load alert "${name}": it is no JSON`, { cause: error });
  }
  const values = typeof json === "object" && json !== null && !Array.isArray(json)
    ? Object.fromEntries(Object.entries(json).filter(([key]) => !SERVICE_KEYS.includes(key)))
    : json;
  const result = AlertV2.safeParse(values);
  if (!result.success) throw refuse(name, result.error.issues, AlertV2);
  const { evaluation, schedule, query_text, ...about } = result.data;
  const { source, notification } = evaluation;
  const query = query_text.trim().replace(/;\s*$/, "");
  let cron: string;
  try {
    cron = convertQuartz(schedule.quartz_cron_schedule);
  } catch (error) {
    throw new SyntaxError(`Cannot load alert "${name}": ${(error as Error).message}`);
  }
  return {
    ...readHeader(name, {
      severity: "warning",
      summary: about.custom_summary ?? about.custom_description ?? about.display_name,
      empty: emptyStates[evaluation.empty_result_state],
      schedule: cron,
      timezone: schedule.timezone_id,
      paused: schedule.pause_status === "PAUSED",
      threshold: {
        ...readColumn(source),
        operator: evaluation.comparison_operator,
        ...readThreshold(evaluation.threshold),
      },
      notify: { on_ok: notification?.notify_on_ok ?? false },
      retrigger: notification?.retrigger_seconds ?? 0,
    }),
    sql: source.aggregation === undefined ? `from (\n${query}\n) limit 1` : query,
  };
}

function readColumn({ name, aggregation }: z.infer<typeof Source>) {
  return { column: name, ...(aggregation ? { aggregation } : {}) };
}

function readThreshold(threshold: z.infer<typeof AlertV2>["evaluation"]["threshold"]) {
  if (threshold?.column) return { value: readColumn(threshold.column) };
  const { double_value, string_value, bool_value } = threshold?.value ?? {};
  const value = double_value ?? string_value ?? bool_value;
  return value === undefined ? {} : { value };
}
