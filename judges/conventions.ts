/**
 * Questions, replies and verdicts as attributes of spans, by OpenTelemetry's conventions.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
 * @module
 */
import type { Verdict } from "../plugins/plugin.ts";
import type { Evaluation } from "../runtime/traces/judgements.ts";
import type { SpanAttributes } from "../runtime/traces/span.ts";
import type { Attributes } from "../runtime/tracing.ts";
import type { ChatClient, ChatRequest } from "./clients/client.ts";

/** What a server said of a reply, also of one that cannot be used. */
export interface ReplyNotes {
  readonly model?: unknown;
  readonly finish?: unknown;
  readonly text?: unknown;
  readonly tokensIn?: number;
  readonly tokensOut?: number;
}

/** A question before it is asked. */
export function describeQuestion(
  { model, server, provider = "_OTHER" }: ChatClient,
  { wanted, seed }: ChatRequest,
): Record<string, string | number> {
  const url = URL.parse(server);
  const port = Number(url?.port || (url?.protocol === "https:" ? 443 : 80));
  return {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": provider,
    // The name of before, which some that read traces still look for.
    "gen_ai.system": provider,
    "gen_ai.request.model": model,
    "gen_ai.request.temperature": 0,
    "gen_ai.request.seed": seed,
    "gen_ai.request.max_tokens": wanted.kind === "choice" ? 1 : wanted.maxTokens,
    "gen_ai.output.type": wanted.kind === "json" ? "json" : "text",
    ...(url
      ? { "server.address": url.hostname, "server.port": port }
      : { "server.address": server }),
  };
}

/** What came back. */
export function describeReply({ model, finish, tokensIn, tokensOut }: ReplyNotes) {
  return {
    ...(typeof model === "string" ? { "gen_ai.response.model": model } : {}),
    ...(typeof finish === "string" ? { "gen_ai.response.finish_reasons": [finish] } : {}),
    ...(tokensIn === undefined ? {} : { "gen_ai.usage.input_tokens": tokensIn }),
    ...(tokensOut === undefined ? {} : { "gen_ai.usage.output_tokens": tokensOut }),
  };
}

/** What was said, in the conventions' form. */
export function quote({ system, user }: ChatRequest, { text, finish }: ReplyNotes): SpanAttributes {
  const say = (content: string) => [{ type: "text", content }];
  return {
    "gen_ai.system_instructions": JSON.stringify(say(system)),
    "gen_ai.input.messages": JSON.stringify([{ role: "user", parts: say(user) }]),
    ...(typeof text !== "string" ? {} : {
      "gen_ai.output.messages": JSON.stringify([
        {
          role: "assistant",
          parts: say(text),
          finish_reason: typeof finish === "string" ? finish : "unknown",
        },
      ]),
    }),
  };
}

/** A verdict on its span. */
export function describeVerdict(verdict: Verdict): Attributes {
  const { status, tokensIn, tokensOut } = verdict;
  return {
    "geophone.verdict": status,
    ...(status === "scored"
      ? { "gen_ai.evaluation.score.value": verdict.score }
      : { "geophone.verdict_kind": verdict.kind }),
    ...describeReply({
      ...(tokensIn === undefined ? {} : { tokensIn }),
      ...(tokensOut === undefined ? {} : { tokensOut }),
    }),
  };
}

/** A verdict as rows and events have it. */
export function toEvaluation(judge: string, verdict: Verdict): Evaluation {
  const { status, label } = verdict;
  return {
    judge,
    status,
    kind: status === "scored" ? null : verdict.kind,
    score: status === "scored" ? verdict.score : null,
    label: label ?? null,
    rationale: (status === "error" ? verdict.message : verdict.rationale) ?? null,
  };
}

/** Attributes that are doubles whatever their value. */
const DOUBLES = ["gen_ai.request.temperature", "gen_ai.evaluation.score.value"];

/** Whole numbers as integers, as the conventions type them. */
export function toExact(attributes: Attributes): SpanAttributes {
  return Object.fromEntries(
    Object.entries(attributes).filter(([, value]) => value !== undefined).map(([name, value]) => [
      name,
      Number.isSafeInteger(value) && !DOUBLES.includes(name) ? BigInt(value as number) : value,
    ]),
  ) as SpanAttributes;
}
