/** The routes of other systems' protocols in the OpenAPI document: their paths, bodies and errors. */
import type { Signature } from "../runtime/registry/signature.ts";
import { inputTensors, outputNames } from "./oip/contract.ts";

type Json = Record<string, unknown>;

/** Statuses of a refusal, besides those that only a body can earn. */
const readErrors = [400, 401, 403, 404, 429, 500, 503, 504];
const writeErrors = [...readErrors, 413];

/**
 * Gives the paths, under the name of the model that is served: the document describes one server.
 */
export function protocolPaths(signature: Signature | null): Json {
  const name = signature ? encodeURIComponent(signature.model) : "{model}";
  const model = `/v2/models/${name}`;
  const repository = "/v2/repository";
  const parameters = signature ? {} : { parameters: [modelParameter] };
  return {
    "/v2": { get: oip("Name, version and extensions", "oipServer", object) },
    "/v2/health/live": { get: probe("Whether the process lives", "oipLive", flag("live")) },
    "/v2/health/ready": {
      get: probe("Whether a prediction would be answered", "oipReady", flag("ready")),
    },
    "/v2/models/stats": { get: oip("Statistics of every version", "oipAllStatistics", object) },
    ...modelPaths(model, "", signature ? [] : [modelParameter]),
    ...modelPaths(`${model}/versions/{version}`, "OfVersion", [
      ...(signature ? [] : [modelParameter]),
      versionParameter,
    ]),
    [`${repository}/index`]: {
      post: oip("Every registered version and its state", "oipIndex", { type: "array" }),
    },
    [`${repository}/models/${name}/load`]: {
      ...parameters,
      post: oip("Bring a version into memory", "oipLoad", object),
    },
    [`${repository}/models/${name}/unload`]: {
      ...parameters,
      post: oip("Take a version out of use, or the whole model", "oipUnload", object),
    },
    "/invocations": { post: invocations() },
    "/ping": { get: probe("Whether a prediction would be answered", "ping", null) },
    "/version": {
      get: {
        summary: "Version of MLflow whose scoring protocol this is",
        operationId: "mlflowVersion",
        responses: responses(content({ type: "string" }, "text/plain"), [401, 403], "Error"),
      },
    },
    "/predict/stream": { post: stream() },
  };
}

/** The paths of a model, or of one version of it, whose operations have `suffix` in their ids. */
function modelPaths(path: string, suffix: string, given: readonly Json[]): Json {
  const parameters = given.length === 0 ? {} : { parameters: given };
  const read = (summary: string, id: string) => ({
    ...parameters,
    get: oip(summary, id + suffix, object),
  });
  return {
    [path]: read("The model's tensors", "oipModel"),
    [`${path}/ready`]: read("Whether it answers", "oipModelReady"),
    [`${path}/config`]: read("Configuration in Triton's form", "oipConfig"),
    [`${path}/stats`]: read("Statistics", "oipStatistics"),
    [`${path}/infer`]: { ...parameters, post: infer(`oipInfer${suffix}`) },
  };
}

/** Gives the schemas that {@linkcode protocolPaths} refers to. */
export function protocolSchemas(signature: Signature | null): Json {
  const parameters = { type: "object", additionalProperties: true };
  const cell = { type: ["number", "null"] };
  const data = { type: "array", items: {}, description: "Row by row, flat or nested" };
  const tensor = {
    type: "object",
    properties: {
      name: { type: "string" },
      shape: { type: "array", items: { type: "integer", minimum: 0 } },
      datatype: { type: "string" },
      parameters,
      data,
    },
    required: ["name", "shape", "datatype"],
  };
  const names = signature ? inputTensors(signature).map((input) => input.name) : undefined;
  return {
    OipInferBody: {
      type: "object",
      properties: {
        id: { type: "string" },
        parameters,
        inputs: {
          type: "array",
          minItems: 1,
          items: names
            ? { ...tensor, properties: { ...tensor.properties, name: { enum: names } } }
            : tensor,
        },
        outputs: {
          type: "array",
          items: {
            type: "object",
            properties: { name: { enum: outputNames }, parameters },
            required: ["name"],
          },
        },
      },
      required: ["inputs"],
    },
    OipInferAnswer: {
      type: "object",
      properties: {
        id: { type: "string" },
        model_name: { type: "string" },
        model_version: { type: "string" },
        outputs: { type: "array", items: tensor },
      },
      required: ["model_name", "model_version", "outputs"],
    },
    OipError: {
      type: "object",
      properties: { error: { type: "string" } },
      required: ["error"],
    },
    MlflowBody: {
      type: "object",
      properties: {
        dataframe_split: {
          type: "object",
          properties: {
            columns: { type: "array", items: { type: "string" } },
            data: { type: "array", items: { type: "array", items: cell } },
          },
          required: ["data"],
        },
        dataframe_records: { type: "array", items: { $ref: "#/components/schemas/Record" } },
        instances: { type: "array" },
        inputs: { type: ["array", "object"] },
        params: {
          type: "object",
          properties: { probabilities: { type: "boolean" }, slice: { type: "string" } },
        },
      },
      oneOf: ["dataframe_split", "dataframe_records", "instances", "inputs"]
        .map((form) => ({ required: [form] })),
    },
    MlflowAnswer: {
      type: "object",
      properties: { predictions: { type: "array" } },
      required: ["predictions"],
    },
    MlflowError: {
      type: "object",
      properties: { error_code: { type: "string" }, message: { type: "string" } },
      required: ["error_code", "message"],
    },
  };
}

const object: Json = { type: "object" };

const modelParameter: Json = {
  name: "model",
  in: "path",
  required: true,
  schema: { type: "string" },
};

const versionParameter: Json = {
  name: "version",
  in: "path",
  required: true,
  description: "Number or alias",
  schema: { type: "string" },
};

function infer(operationId: string): Json {
  const binary = { schema: { type: "string", format: "binary" } };
  return {
    ...oip("Predict the rows of tensors", operationId, reference("OipInferAnswer"), writeErrors),
    parameters: [{
      name: "Inference-Header-Content-Length",
      in: "header",
      description: "Bytes of the JSON that binary tensors follow",
      schema: { type: "integer", minimum: 0 },
    }],
    requestBody: {
      required: true,
      content: {
        "application/json": { schema: reference("OipInferBody") },
        "application/octet-stream": binary,
      },
    },
  };
}

function invocations(): Json {
  return {
    summary: "Predict records in the forms of MLflow",
    operationId: "invocations",
    requestBody: {
      required: true,
      content: {
        "application/json": { schema: reference("MlflowBody") },
        "text/csv": { schema: { type: "string" } },
      },
    },
    responses: responses(content(reference("MlflowAnswer")), writeErrors, "MlflowError"),
  };
}

const NDJSON = "application/x-ndjson";

function stream(): Json {
  const lines = (description: string) => content({ type: "string", description }, NDJSON);
  return {
    summary: "Predict every line of a body, in order and as it comes",
    operationId: "predictStream",
    // Any bytes: a line that is none of these has an answer of its own, and the whole is 200.
    requestBody: content({ description: "One Record or PredictBody a line" }, NDJSON),
    responses: responses(
      lines("For each line that is not blank one line of Predictions or Error"),
      readErrors,
      "Error",
    ),
  };
}

function oip(summary: string, operationId: string, schema: Json, errors = readErrors): Json {
  return { summary, operationId, responses: responses(content(schema), errors, "OipError") };
}

function probe(summary: string, operationId: string, schema: Json | null): Json {
  const answer = schema === null ? {} : content(schema);
  return {
    summary,
    operationId,
    security: [],
    responses: {
      200: { description: "It does", ...answer },
      503: { description: "It does not", ...answer },
    },
  };
}

function flag(name: string): Json {
  return { type: "object", properties: { [name]: { type: "boolean" } }, required: [name] };
}

function responses(ok: Json, errors: readonly number[], schema: string): Json {
  const all: Json = { 200: { description: "The answer", ...ok } };
  for (const status of errors) {
    all[status] = { description: "Refused", ...content(reference(schema)) };
  }
  return all;
}

function reference(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function content(schema: Json, type = "application/json"): Json {
  return { content: { [type]: { schema } } };
}
