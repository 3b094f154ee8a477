/** Data in and out in the OpenAPI document: forms of `/sql`, and the jobs of `/batch_predict`. */
import { z } from "zod";
import { sqlFormatNames, sqlFormats } from "../runtime/sql_formats/mod.ts";
import { BatchFileBody } from "./routes/batch.ts";

type Json = Record<string, unknown>;

/** An operation with its answers by status. */
interface Operation extends Json {
  readonly parameters?: readonly Json[];
  readonly responses: Readonly<Record<string, Json>>;
}

/** Adds the forms in which `/sql` answers to its operation. */
export function describeSqlForms(operation: Json): Json {
  const { parameters = [], responses } = operation as Operation;
  const { content } = responses[200] as { content: Json };
  const forms = sqlFormatNames.filter((name) => name !== "json").map((name) => {
    const { mediaType, isText } = sqlFormats[name];
    return [mediaType, {
      schema: isText ? { type: "string" } : { type: "string", format: "binary" },
    }];
  });
  return {
    ...operation,
    parameters: [...parameters, {
      name: "format",
      in: "query",
      description: "Form of the answer; counts before Accept",
      schema: { enum: sqlFormatNames, default: "json" },
    }],
    responses: {
      ...responses,
      200: {
        ...responses[200],
        headers: {
          "X-Truncated": { description: "Whether rows were left out", schema: { type: "boolean" } },
          "X-Row-Count": { description: "Rows of the answer", schema: { type: "integer" } },
        },
        content: { ...content, ...Object.fromEntries(forms) },
      },
      406: { ...responses[404], description: "not_acceptable" },
    },
  };
}

/** Adds the answer to a body that names a file to the operation of `/batch_predict`. */
export function describeBatchFile(operation: Json): Json {
  const { responses } = operation as Operation;
  const job = { $ref: "#/components/schemas/BatchJob" };
  return {
    ...operation,
    responses: {
      ...responses,
      202: {
        description: "The file is predicted in the background, Location says where to look",
        content: { "application/json": { schema: job } },
      },
    },
  };
}

/** The paths of the jobs; `read` makes an operation that reads, by its summary, id and schema. */
export function jobPaths(read: (summary: string, id: string, schema: string) => Json): Json {
  return {
    "/batch_predict/jobs": { get: read("Jobs that this server knows", "batchJobs", "Object") },
    "/batch_predict/jobs/{id}": {
      parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
      get: read("How far a job is", "batchJob", "BatchJob"),
      delete: read("Cancel a job; what it has written is gone", "cancelBatchJob", "BatchJob"),
    },
  };
}

const time = z.iso.datetime().nullable();

const BatchJob = z.looseObject({
  job: z.string(),
  state: z.enum(["queued", "running", "succeeded", "failed", "cancelled"]),
  path: z.string(),
  output: z.string(),
  model: z.string(),
  version: z.int(),
  rows: z.int().nullable().describe("Rows of the file, once it is read"),
  rows_read: z.int().describe("Rows that have a prediction"),
  rows_written: z.int().describe("Rows of the output, which appears whole at the end"),
  queued_at: z.iso.datetime(),
  started_at: time,
  ended_at: time,
  error: z.string().nullable(),
});

/** The schemas that the operations refer to. */
export const dataSchemas: Json = Object.fromEntries(
  Object.entries({ BatchFileBody, BatchJob }).map(([name, schema]) => {
    const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" });
    return [name, rest];
  }),
);
