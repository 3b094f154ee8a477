/** Spans for tests. */
import { makeId, type SpanRecord } from "../../../runtime/traces/span.ts";

/** Gives a span of a millisecond; `others` are what is different about it. */
export function makeSpan(others: Partial<SpanRecord> = {}): SpanRecord {
  const startedUs = others.startedUs ?? Date.parse("2026-01-02T03:04:05.678Z") * 1000;
  return {
    traceId: "a".repeat(32),
    spanId: makeId(8),
    parentId: null,
    name: "work",
    kind: "internal",
    startedUs,
    endedUs: startedUs + 1_000,
    status: "unset",
    statusMessage: null,
    attributes: {},
    events: [],
    links: [],
    resource: { "service.name": "tests" },
    scope: null,
    scopeVersion: null,
    ...others,
  };
}

/** Gives a span that is a call of a model. */
export function makeCallSpan(
  tokens: readonly [number, number],
  others: Partial<SpanRecord> = {},
): SpanRecord {
  return makeSpan({
    name: "chat tiny",
    kind: "client",
    ...others,
    attributes: {
      "gen_ai.operation.name": "chat",
      "gen_ai.request.model": "tiny",
      "gen_ai.evaluation.name": "llm",
      "gen_ai.usage.input_tokens": BigInt(tokens[0]),
      "gen_ai.usage.output_tokens": BigInt(tokens[1]),
      ...others.attributes,
    },
  });
}
