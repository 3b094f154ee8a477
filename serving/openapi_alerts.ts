/** Alerts and monitors in the OpenAPI document. */
import { z } from "zod";
import { withOptionalBody } from "./openapi_registry.ts";
import { AcknowledgeBody, SilenceBody } from "./routes/alerts.ts";
import { MAX_MONITOR_ROWS } from "./routes/monitors.ts";
import { booleans } from "./routes/rules.ts";

type Json = Record<string, unknown>;

/** Makes operations of one kind, as the document does. */
interface Operations {
  read(summary: string, operationId: string, schema: string): Json;
  write(summary: string, operationId: string, body: string, answer: string): Json;
}

const query = (name: string, description: string, schema: Json): Json => ({
  name,
  in: "query",
  description,
  schema,
});

const states = ["ok", "pending", "firing", "no_data", "error", "snoozed", "unevaluated"];

const monitorParameters: Json[] = [
  query("column", "One column, such as an input or :prediction", { type: "string", minLength: 1 }),
  query("since", "Windows that end later; left out: the latest one of each granularity", {
    type: "string",
    format: "date-time",
  }),
  query("limit", "Most columns of windows, and most estimates", {
    type: "integer",
    minimum: 1,
    maximum: MAX_MONITOR_ROWS,
    default: 500,
  }),
];

const names = (name: string, description: string) =>
  query(name, description, { type: "array", items: { type: "string" } });

const ruleParameters: Json[] = [
  query("type", "There are no recording rules", { enum: ["alert", "record"] }),
  query("exclude_alerts", "Rules alone", { enum: [...booleans.keys()] }),
  names("rule_name[]", "Rules of these names"),
  names("rule_group[]", "Rules of these schedules"),
  names("file[]", "Rules of these models"),
];

const path = (name: string): Json => ({
  name,
  in: "path",
  required: true,
  schema: { type: "string" },
});

/** Gives the paths of alerts and monitors. */
export function alertPaths({ read, write }: Operations): Json {
  const add = (operation: Json, parameters: readonly Json[]): Json => ({
    ...operation,
    parameters: [...operation.parameters as Json[], ...parameters],
  });
  return {
    "/alerts": {
      get: add(read("Alerts, their findings and series, and silences", "alerts", "Object"), [
        query("state", "Alerts in this state", { enum: states }),
      ]),
    },
    "/alerts/silences": {
      post: write("Silence what matches", "silenceAlerts", "SilenceBody", "Mark"),
    },
    "/alerts/silences/{id}": {
      parameters: [path("id")],
      delete: read("End a silence, a snooze or an acknowledgement", "endSilence", "Object"),
    },
    "/alerts/{name}/acknowledge": {
      parameters: [path("name")],
      post: withOptionalBody(
        write("Say that somebody has taken it up", "acknowledgeAlert", "AcknowledgeBody", "Mark"),
      ),
    },
    "/api/v1/alerts": {
      get: asPrometheus(
        read("What fires or is pending, as Prometheus has it", "prometheusAlerts", "Prometheus"),
      ),
    },
    "/api/v1/rules": {
      get: asPrometheus(
        add(
          read("Alerts and their definitions, as Prometheus has them", "rules", "Prometheus"),
          ruleParameters,
        ),
      ),
    },
    "/monitors": {
      get: add(read("Profile and drift of columns, estimates", "monitors", "Object"), [
        ...monitorParameters,
      ]),
    },
  };
}

/** Refusals have Prometheus' form. */
function asPrometheus(operation: Json): Json {
  const error = { $ref: "#/components/schemas/PrometheusError" };
  const responses = operation.responses as Record<string, Json>;
  return {
    ...operation,
    responses: Object.fromEntries(
      Object.entries(responses).map(([status, response]) => [
        status,
        status === "200"
          ? response
          : { ...response, content: { "application/json": { schema: error } } },
      ]),
    ),
  };
}

const time = z.iso.datetime();

const Mark = z.object({
  request_id: z.string(),
  id: z.string(),
  kind: z.enum(["silence", "ack"]),
  matchers: z.array(z.string()),
  created_by: z.string(),
  created_at: time,
  starts_at: time,
  ends_at: time.nullable().describe("null: until what fires resolves"),
  note: z.string().nullable(),
});

const Prometheus = z.object({ status: z.literal("success"), data: z.looseObject({}) });

const PrometheusError = z.object({
  status: z.literal("error"),
  errorType: z.string(),
  error: z.string(),
});

/** The schemas that the operations refer to. */
export const alertSchemas: Json = Object.fromEntries(
  Object.entries({ SilenceBody, AcknowledgeBody, Mark, Prometheus, PrometheusError }).map((
    [name, schema],
  ) => {
    const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" });
    return [name, rest];
  }),
);
