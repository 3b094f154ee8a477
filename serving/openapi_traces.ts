/** Traces in the OpenAPI document. */
type Json = Record<string, unknown>;

const parameters: Json[] = [
  ["from", "Traces that began at this time or later", { type: "string", format: "date-time" }],
  ["to", "Traces that began before this time", { type: "string", format: "date-time" }],
  ["judge", "With a call of this judge", { type: "string", minLength: 1 }],
  ["model", "With a call of this language model", { type: "string", minLength: 1 }],
  ["status", "error: with a span that failed", { enum: ["ok", "error"] }],
  ["min_ms", "Traces that took so long, milliseconds", { type: "number", minimum: 0 }],
  ["limit", "Most traces", { type: "integer", minimum: 1, maximum: 1000, default: 100 }],
].map(([name, description, schema]) => ({ name, in: "query", description, schema }));

/** Gives the paths of traces. */
export function tracePaths(
  { read, write }: {
    read(summary: string, operationId: string, schema: string): Json;
    write(summary: string, operationId: string, body: string, answer: string): Json;
  },
): Json {
  const page = (operation: Json) => {
    const responses = operation.responses as Record<string, { content: Json }>;
    responses[200].content["text/html"] = { schema: { type: "string" } };
    return operation;
  };
  const list = read("Traces, the newest first; with Accept: text/html a page", "traces", "Object");
  const receive = write("Spans over OTLP/HTTP", "exportTraces", "Object", "Object");
  describeRefusal(receive.responses as Record<string, Json>);
  const body = receive.requestBody as { content: Json };
  body.content["application/x-protobuf"] = { schema: { type: "string", format: "binary" } };
  return {
    "/traces": {
      get: page({ ...list, parameters: [...list.parameters as Json[], ...parameters] }),
    },
    "/traces/{id}": {
      parameters: [{
        name: "id",
        in: "path",
        required: true,
        schema: { type: "string", pattern: "^[0-9a-fA-F]{32}$" },
      }],
      get: page(read("A trace: spans, calls, prompts, replies", "trace", "Object")),
    },
    "/v1/traces": { post: receive },
  };
}

/** What cannot be read is refused as OTLP has it, with `google.rpc.Status` in the form of the request. */
function describeRefusal(responses: Record<string, Json>): void {
  const status = {
    type: "object",
    required: ["code", "message"],
    properties: { code: { type: "integer" }, message: { type: "string" } },
  };
  const { description, content } = responses[400] as {
    description: string;
    content: Record<string, { schema: Json }>;
  };
  responses[400] = {
    description,
    content: {
      "application/json": { schema: { anyOf: [content["application/json"].schema, status] } },
      "application/x-protobuf": { schema: { type: "string", format: "binary" } },
    },
  };
}
