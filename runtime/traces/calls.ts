/**
 * The call of a language model that a span tells of, by OpenTelemetry's conventions for generative AI:
 * prompt and reply leave the span and are a row of their own.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
 * @module
 */
import { priceCall, type TracingParams } from "./params.ts";
import type { AttributeValue, SpanAttributes, SpanRecord } from "./span.ts";

/** Operations that are one request to a model; agents and tools are made of such. */
const OPERATIONS = ["chat", "text_completion", "generate_content", "embeddings"];

/** Attributes that become columns. */
const MESSAGES = ["gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"];

/** A row of `core.llm_calls`, but for its sequence. */
export interface LlmCall {
  readonly trace_id: string;
  readonly span_id: string;
  readonly started_us: number;
  readonly ms: number;
  readonly request_id: string | null;
  readonly row: number | null;
  readonly judge: string | null;
  readonly judge_version: string | null;
  readonly operation: string;
  readonly provider: string | null;
  readonly server: string | null;
  readonly model: string | null;
  readonly response_model: string | null;
  readonly status: "ok" | "error";
  /** Kind of the error, `null` when there was none. */
  readonly kind: string | null;
  readonly finish_reason: string | null;
  readonly tokens_in: number | null;
  readonly tokens_out: number | null;
  readonly cost: number | null;
  readonly temperature: number | null;
  readonly seed: number | null;
  /** Messages as JSON `[{"role", "content"}]`; `null` when none is kept. */
  readonly prompt: string | null;
  readonly reply: string | null;
}

/** A span without what was said in it, and the call that it was, `null` when it was none. */
export function splitCall(
  span: SpanRecord,
  prices: TracingParams["prices"],
): { readonly span: SpanRecord; readonly call: LlmCall | null } {
  const { attributes } = span;
  const operation = readText(attributes["gen_ai.operation.name"]);
  if (operation === null || !OPERATIONS.includes(operation)) return { span, call: null };
  const text = (...names: string[]) => first(names, attributes, readText);
  const model = text("gen_ai.request.model");
  const responseModel = text("gen_ai.response.model");
  const tokens = {
    in: first(["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"], attributes, readCount),
    out: first(
      ["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"],
      attributes,
      readCount,
    ),
  };
  const reasons = attributes["gen_ai.response.finish_reasons"];
  const row = readCount(attributes["geophone.row"] ?? null);
  const call: LlmCall = {
    trace_id: span.traceId,
    span_id: span.spanId,
    started_us: span.startedUs,
    ms: (span.endedUs - span.startedUs) / 1000,
    request_id: text("geophone.request_id"),
    row: row !== null && row < 2 ** 31 ? row : null,
    judge: text("gen_ai.evaluation.name"),
    judge_version: text("geophone.judge_version"),
    operation,
    provider: text("gen_ai.provider.name", "gen_ai.system"),
    server: text("server.address"),
    model,
    response_model: responseModel,
    status: span.status === "error" ? "error" : "ok",
    kind: span.status === "error" ? text("error.type") ?? "_OTHER" : null,
    finish_reason: Array.isArray(reasons) ? reasons.map(String).join(",") : readText(reasons),
    tokens_in: tokens.in,
    tokens_out: tokens.out,
    cost: priceCall(prices, [model, responseModel], tokens),
    temperature: readNumber(attributes["gen_ai.request.temperature"]),
    seed: readNumber(attributes["gen_ai.request.seed"], Number.isSafeInteger),
    prompt: readPrompt(attributes),
    reply: readReply(attributes["gen_ai.output.messages"]),
  };
  const rest = Object.entries(attributes).filter(([name]) => !MESSAGES.includes(name));
  return { span: { ...span, attributes: Object.fromEntries(rest) }, call };
}

function first<T>(
  names: readonly string[],
  attributes: SpanAttributes,
  read: (value: AttributeValue | undefined) => T | null,
): T | null {
  for (const name of names) {
    const value = read(attributes[name]);
    if (value !== null) return value;
  }
  return null;
}

function readText(value: AttributeValue | undefined): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function readNumber(
  value: AttributeValue | undefined,
  isValid: (value: number) => boolean = Number.isFinite,
): number | null {
  if (typeof value !== "bigint" && typeof value !== "number") return null;
  return isValid(Number(value)) ? Number(value) : null;
}

function readCount(value: AttributeValue | undefined): number | null {
  return readNumber(value, (count) => Number.isSafeInteger(count) && count >= 0);
}

/** Something that was said. */
export interface Message {
  readonly role: string;
  readonly content: string;
}

/** Messages of a prompt as a row has it; one of another form is a message of the role `prompt`. */
export function readPromptMessages(prompt: string | null): readonly Message[] {
  if (prompt === null) return [];
  const messages = toValue(prompt);
  const isRead = Array.isArray(messages) &&
    messages.every((message) =>
      typeof message?.role === "string" && typeof message?.content === "string"
    );
  return isRead ? messages : [{ role: "prompt", content: prompt }];
}

function readPrompt(attributes: SpanAttributes): string | null {
  const [system, input] = MESSAGES.map((name) => attributes[name]);
  if (system === undefined && input === undefined) return null;
  const messages = readMessages(input);
  const instructions = system === undefined ? null : readParts(toValue(system));
  // What has another shape is kept as it came.
  if (input !== undefined && messages === null) return toText(input);
  return JSON.stringify([
    ...(instructions === null ? [] : [{ role: "system", content: instructions }]),
    ...messages ?? [],
  ]);
}

function readReply(output: AttributeValue | undefined): string | null {
  if (output === undefined) return null;
  return readMessages(output)?.map(({ content }) => content).join("\n") ?? toText(output);
}

/** Messages of the conventions' JSON, `null` when it is none. */
function readMessages(given: AttributeValue | undefined): Message[] | null {
  const value = toValue(given);
  if (!Array.isArray(value)) return null;
  const messages = value.map((message) => {
    const { role, parts } = (message ?? {}) as { role?: unknown; parts?: unknown };
    const content = readParts(parts);
    return typeof role === "string" && content !== null ? { role, content } : null;
  });
  return messages.every((message) => message !== null) ? messages : null;
}

/** Texts of parts; parts of other kinds, such as calls of tools, as JSON. */
function readParts(parts: unknown): string | null {
  if (!Array.isArray(parts)) return null;
  return parts.map((part) => {
    const { type, content } = (part ?? {}) as { type?: unknown; content?: unknown };
    return type === "text" && typeof content === "string" ? content : toText(part);
  }).join("\n");
}

/** Conventions allow messages as JSON in a text, and as they are. */
function toValue(value: AttributeValue | undefined): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function toText(value: unknown): string {
  if (typeof value === "string") return value;
  return JSON.stringify(value, (_, entry) => typeof entry === "bigint" ? String(entry) : entry);
}
