/** The OpenAPI 3.1 document of a server, made from the signature of the model it serves now. */
import { z } from "zod";
import type { Signature } from "../runtime/registry/signature.ts";
import { errorStatus } from "./http_error.ts";
import { alertPaths, alertSchemas } from "./openapi_alerts.ts";
import { MAX_CONTRIBUTIONS, MAX_EXPLAINED_ROWS } from "./explain.ts";
import { dataSchemas, describeBatchFile, describeSqlForms, jobPaths } from "./openapi_data.ts";
import { protocolPaths, protocolSchemas } from "./openapi_protocols.ts";
import { registryPaths, registrySchemas } from "./openapi_registry.ts";
import { tracePaths } from "./openapi_traces.ts";
import { bodyOptions } from "./records.ts";
import { JudgeLabelsBody } from "./routes/label.ts";
import { LabelsBody } from "./routes/labels.ts";
import { SqlBody } from "./routes/sql.ts";
import { RollbackBody } from "./routes/traffic.ts";
import { priorities } from "./traffic/urgency.ts";

type Json = Record<string, unknown>;

/** What the document says beside the model. */
export interface DocumentOptions {
  readonly maxRows: number;
  readonly maxBatchPredictRows: number;
  readonly needsKey: boolean;
}

/** Gives the document; without a model, records are objects of numbers. */
export function describeApi(signature: Signature | null, options: DocumentOptions): Json {
  const paths: Json = {
    "/": { get: read("Name and links", "root", "Object") },
    "/health": { get: { ...read("Whether the process lives", "health", "Object"), security: [] } },
    "/ready": {
      get: {
        ...read("Whether a prediction would be answered, and if not, why", "ready", "Object", [
          503,
        ]),
        security: [],
      },
    },
    "/predict": {
      post: write("Predict records", "predict", "PredictBody", "Predictions", [
        ...modelParameters,
        ...urgencyParameters,
        explainParameter,
      ]),
    },
    "/batch_predict": {
      post: describeBatchFile(write(
        "Predict many records, or a file",
        "batchPredict",
        "BatchPredictBody",
        "Predictions",
        [...modelParameters, ...urgencyParameters],
      )),
    },
    "/model_info": {
      get: {
        ...read("What the model takes and gives, and where it comes from", "modelInfo", "Object"),
        parameters: modelParameters,
      },
    },
    ...registryPaths({ read, text, write }),
    "/models/compare": {
      get: {
        ...read("Which of two versions the labels speak for", "compareVersions", "Object"),
        parameters: compareParameters,
      },
    },
    "/traffic": { get: read("How requests are divided among versions", "traffic", "Object") },
    "/traffic/rollback": {
      post: write("Stop the canary", "rollBackCanary", "RollbackBody", "Object"),
    },
    "/sql": {
      post: describeSqlForms(write("One read-only SELECT", "sql", "SqlBody", "SqlResult")),
    },
    "/labels": {
      post: write("The truth about earlier predictions", "labels", "LabelsBody", "Object"),
    },
    "/label": { get: text("A page to say whether predictions are right", "label", "text/html") },
    "/judge-labels": {
      post: write("Whether predictions are right", "judgeLabels", "JudgeLabelsBody", "Object"),
    },
    "/metrics": { get: text("Prometheus metrics", "metrics", "text/plain") },
    "/openapi.json": { get: text("This document", "openapi", "application/json") },
    "/docs": { get: text("This document as a page", "docs", "text/html") },
    ...jobPaths(read),
    ...tracePaths({ read, write }),
    ...alertPaths({ read, write }),
    ...protocolPaths(signature),
  };
  return {
    openapi: "3.1.0",
    info: {
      title: signature ? `Geophone: ${signature.model}` : "Geophone",
      version: "1",
      summary: "Predictions on record",
    },
    paths,
    components: {
      schemas: schemas(signature, options),
      securitySchemes: {
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
        bearer: { type: "http", scheme: "bearer" },
      },
    },
    security: options.needsKey ? [{ apiKey: [] }, { bearer: [] }] : [],
  };
}

const modelParameters: Json[] = [
  {
    name: "model",
    in: "query",
    description: "Serve another registered model that the server answers for",
    schema: { type: "string", minLength: 1 },
  },
  {
    name: "alias",
    in: "query",
    description: "Serve the version behind this alias",
    schema: { type: "string", minLength: 1 },
  },
  {
    name: "version",
    in: "query",
    description: "Serve this version",
    schema: { type: "integer", minimum: 1 },
  },
];

const urgencyParameters: Json[] = [
  {
    name: "X-Priority",
    in: "header",
    description: "Who is predicted first when requests wait; nobody waits for ever",
    schema: { enum: priorities, default: "normal" },
  },
  {
    name: "X-Timeout-Ms",
    in: "header",
    description: "Milliseconds after which a request that still waits is answered 504",
    schema: { type: "integer", minimum: 1 },
  },
];

const compareParameters: Json[] = [
  ...["champion", "challenger"].map((name) => ({
    name,
    in: "query",
    required: true,
    description: "Alias or version",
    schema: { type: "string", minLength: 1 },
  })),
  {
    name: "model",
    in: "query",
    description: "Left out: the one that the server is for",
    schema: { type: "string", minLength: 1 },
  },
];

const explainParameter: Json = {
  name: "explain",
  in: "query",
  description: "Explain each prediction of a tree model by this many contributions; at most " +
    `${MAX_EXPLAINED_ROWS} records then`,
  schema: { type: "integer", minimum: 1, maximum: MAX_CONTRIBUTIONS },
};

const requestIdParameter: Json = {
  name: "X-Request-Id",
  in: "header",
  description: "Id of the request in the inference table; made when left out",
  schema: { type: "string", pattern: "^[A-Za-z0-9._:-]{1,128}$" },
};

function reference(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function content(schema: Json, type = "application/json"): Json {
  return { content: { [type]: { schema } } };
}

function responses(ok: Json, statuses: readonly number[]): Json {
  const all: Json = { 200: { description: "The answer", ...ok } };
  for (const status of statuses) {
    const codes = Object.entries(errorStatus).filter(([, s]) => s === status).map(([code]) => code);
    all[status] = { description: codes.join(", "), ...content(reference("Error")) };
  }
  return all;
}

const readErrors = [400, 401, 403, 404, 429, 500, 503, 504];
const writeErrors = [...readErrors, 413, 422];

function read(summary: string, operationId: string, schema: string, plain: number[] = []): Json {
  const given = responses(
    content(reference(schema)),
    readErrors.filter((status) => !plain.includes(status)),
  );
  for (const status of plain) {
    given[status] = { description: "As for 200", ...content(reference(schema)) };
  }
  return { summary, operationId, parameters: [requestIdParameter], responses: given };
}

function text(summary: string, operationId: string, type: string): Json {
  const schema = type.startsWith("text/") ? { type: "string" } : { type: "object" };
  return { summary, operationId, responses: responses(content(schema, type), readErrors) };
}

function write(
  summary: string,
  operationId: string,
  body: string,
  answer: string,
  parameters: readonly Json[] = [],
): Json {
  return {
    summary,
    operationId,
    parameters: [requestIdParameter, ...parameters],
    requestBody: { required: true, ...content(reference(body)) },
    responses: responses(content(reference(answer)), writeErrors),
  };
}

function schemas(signature: Signature | null, options: DocumentOptions): Json {
  const { predict, batchPredict } = bodyOptions;
  return {
    Record: recordSchema(signature),
    Columns: columnsSchema(signature),
    PredictBody: bodySchema(predict, options.maxRows),
    BatchPredictBody: {
      anyOf: [
        bodySchema(batchPredict, options.maxBatchPredictRows),
        reference("BatchFileBody"),
      ],
    },
    ...dataSchemas,
    ...registrySchemas,
    ...alertSchemas,
    Predictions: predictionsSchema(signature),
    SqlBody: toSchema(SqlBody),
    LabelsBody: toSchema(LabelsBody),
    JudgeLabelsBody: toSchema(JudgeLabelsBody),
    RollbackBody: toSchema(RollbackBody),
    SqlResult: toSchema(SqlResult),
    Error: toSchema(ErrorBody),
    Object: { type: "object" },
    ...protocolSchemas(signature),
  };
}

const SqlResult = z.object({
  request_id: z.string(),
  columns: z.array(z.string()),
  rows: z.array(z.array(z.unknown())),
  row_count: z.int(),
  is_truncated: z.boolean(),
});

const ErrorBody = z.object({
  error: z.object({
    code: z.enum(Object.keys(errorStatus) as [string, ...string[]]),
    message: z.string(),
    request_id: z.string(),
    details: z.array(
      z.looseObject({
        message: z.string(),
        record: z.int().optional(),
        field: z.string().optional(),
      }),
    ).optional(),
  }),
});

function toSchema(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" });
  return rest;
}

function fieldsOf(signature: Signature): { name: string; text: string; isOrder: boolean }[] {
  const fields = signature.inputs.map(({ name, unit, range }) => ({
    name,
    text: [
      unit && `in ${unit}`,
      range && `sensible from ${range[0]} to ${range[1]}`,
      "null when unknown",
    ].filter(Boolean).join("; "),
    isOrder: name === signature.order?.column,
  }));
  const { order } = signature;
  if (order && !fields.some((field) => field.isOrder)) {
    const unit = order.unit ? `in ${order.unit}; ` : "";
    fields.push({ name: order.column, text: `${unit}position of the record`, isOrder: true });
  }
  return fields;
}

/** Names a record cannot do without; the order column is needed by more than one record only. */
function requiredOf(signature: Signature): string[] {
  return signature.inputs.map((input) => input.name);
}

function recordSchema(signature: Signature | null): Json {
  if (!signature) return { type: "object", additionalProperties: { type: ["number", "null"] } };
  const properties = fieldsOf(signature).map(({ name, text }) => [
    name,
    { type: ["number", "null"], description: text },
  ]);
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    required: requiredOf(signature),
    additionalProperties: false,
  };
}

function columnsSchema(signature: Signature | null): Json {
  const column = { type: "array", items: { type: ["number", "null"] }, minItems: 1 };
  if (!signature) return { type: "object", additionalProperties: column };
  const properties = fieldsOf(signature).map(({ name, text }) => [
    name,
    { ...column, description: text },
  ]);
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    required: requiredOf(signature),
    additionalProperties: false,
  };
}

function bodySchema(rest: z.ZodType, maxRows: number): Json {
  const { properties } = toSchema(rest) as { properties: Json };
  return {
    oneOf: [
      {
        type: "object",
        properties: {
          records: { type: "array", items: reference("Record"), minItems: 1, maxItems: maxRows },
          ...properties,
        },
        required: ["records"],
        additionalProperties: false,
      },
      {
        type: "object",
        properties: { columns: reference("Columns"), ...properties },
        required: ["columns"],
        additionalProperties: false,
      },
    ],
  };
}

/** What `explain` adds to a prediction. */
const explanationProperties: Json = {
  base_value: {
    type: "number",
    description: "Mean score (logarithm of odds) of the predicted class over the training rows",
  },
  contributions: {
    type: "array",
    description: "Exact TreeSHAP values, the largest by absolute value first, equal ones by name",
    items: {
      type: "object",
      properties: {
        feature: { type: "string" },
        value: { type: ["number", "null"] },
        contribution: { type: "number" },
      },
      required: ["feature", "value", "contribution"],
    },
  },
  input_contributions: {
    type: "object",
    description: "Per raw column, the sum over all its features; with base_value, the score",
    additionalProperties: { type: "number" },
  },
};

function predictionsSchema(signature: Signature | null): Json {
  const label = { type: "string", ...(signature ? { enum: signature.classes } : {}) };
  const probability = { type: "number", minimum: 0, maximum: 1 };
  return {
    type: "object",
    properties: {
      request_id: { type: "string" },
      model: { type: "string" },
      version: { type: "integer" },
      alias: { type: ["string", "null"] },
      predictions: {
        type: "array",
        items: {
          type: "object",
          properties: {
            label,
            confidence: probability,
            probabilities: { type: "object", additionalProperties: probability },
            ...explanationProperties,
          },
          required: ["label", "confidence"],
        },
      },
    },
    required: ["request_id", "model", "version", "alias", "predictions"],
  };
}
