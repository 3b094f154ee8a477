/** The model registry in the OpenAPI document. */
import { z } from "zod";
import { DecisionBody, PromoteBody } from "./routes/registry.ts";

type Json = Record<string, unknown>;

/** Makes operations of one kind, as the document does. */
export interface Operations {
  read(summary: string, operationId: string, schema: string): Json;
  text(summary: string, operationId: string, type: string): Json;
  write(summary: string, operationId: string, body: string, answer: string): Json;
}

const listParameters: Json[] = [
  {
    name: "search",
    in: "query",
    description: "Part of a name, tag, class or trainer, in any case",
    schema: { type: "string" },
  },
  {
    name: "alias",
    in: "query",
    description: "Only versions of this alias",
    schema: { type: "string" },
  },
];

const versionParameters: Json[] = [
  { name: "name", in: "path", required: true, schema: { type: "string" } },
  {
    name: "version",
    in: "path",
    required: true,
    description: "Number or alias",
    schema: { type: "string" },
  },
];

/** Gives the paths of models and versions. */
export function registryPaths({ read, text, write }: Operations): Json {
  const version = "/models/{name}/versions/{version}";
  const below = (method: string, operation: Json) => ({
    parameters: versionParameters,
    [method]: operation,
  });
  return {
    "/models": {
      get: { ...read("Registered versions", "models", "Object"), parameters: listParameters },
    },
    [version]: below(
      "get",
      read("A version: report, approvals, promotions", "modelVersion", "Object"),
    ),
    [`${version}/card`]: below("get", text("Its model card", "modelCard", "text/markdown")),
    [`${version}/approve`]: below(
      "post",
      withOptionalBody(write("Approve these bytes", "approveVersion", "DecisionBody", "Object")),
    ),
    [`${version}/reject`]: below(
      "post",
      withOptionalBody(write("Reject these bytes", "rejectVersion", "DecisionBody", "Object")),
    ),
    [`${version}/promote`]: below(
      "post",
      write("Move an alias when the gates pass", "promoteVersion", "PromoteBody", "Object"),
    ),
  };
}

/** Gives the operation with a body that may be left out. */
export function withOptionalBody(operation: Json): Json {
  return { ...operation, requestBody: { ...operation.requestBody as Json, required: false } };
}

/** The schemas that the operations refer to. */
export const registrySchemas: Json = Object.fromEntries(
  Object.entries({ DecisionBody, PromoteBody }).map(([name, schema]) => {
    const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" });
    return [name, rest];
  }),
);
