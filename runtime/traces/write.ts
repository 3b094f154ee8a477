/** Statements that keep spans and calls, each once, however often a client sends it. */
import type { Step } from "../store/store.ts";
import type { LlmCall } from "./calls.ts";
import { type SpanRecord, writeExact } from "./span.ts";

/** Columns of `core.spans` as they come, with their types in JSON. */
const spanColumns = {
  trace_id: "VARCHAR",
  span_id: "VARCHAR",
  parent_id: "VARCHAR",
  name: "VARCHAR",
  kind: "VARCHAR",
  started_us: "BIGINT",
  ended_us: "BIGINT",
  status: "VARCHAR",
  status_message: "VARCHAR",
  attributes: "VARCHAR",
  events: "VARCHAR",
  links: "VARCHAR",
  resource: "VARCHAR",
  scope: "VARCHAR",
  scope_version: "VARCHAR",
} as const;

const callColumns: Readonly<Record<keyof LlmCall, string>> = {
  trace_id: "VARCHAR",
  span_id: "VARCHAR",
  started_us: "BIGINT",
  ms: "DOUBLE",
  request_id: "VARCHAR",
  row: "INTEGER",
  judge: "VARCHAR",
  judge_version: "VARCHAR",
  operation: "VARCHAR",
  provider: "VARCHAR",
  server: "VARCHAR",
  model: "VARCHAR",
  response_model: "VARCHAR",
  status: "VARCHAR",
  kind: "VARCHAR",
  finish_reason: "VARCHAR",
  tokens_in: "BIGINT",
  tokens_out: "BIGINT",
  cost: "DOUBLE",
  temperature: "DOUBLE",
  seed: "BIGINT",
  prompt: "VARCHAR",
  reply: "VARCHAR",
};

/** Rows of one statement: more would be one long text. */
const STATEMENT_ROWS = 2_000;

/** Steps of one transaction that keeps what is not there yet. */
export function writeSteps(spans: readonly SpanRecord[], calls: readonly LlmCall[]): Step[] {
  return [
    ...insertSteps("spans", spanColumns, spans.map(toRow)),
    ...insertSteps("llm_calls", callColumns, calls),
  ];
}

interface Started {
  readonly trace_id: string;
  readonly span_id: string;
  readonly started_us: number;
}

/** The first row of each span. */
function takeOnce(rows: readonly Started[]): Started[] {
  return [...new Map(rows.toReversed().map((row) => [row.trace_id + row.span_id, row])).values()]
    .reverse();
}

function insertSteps(
  table: string,
  columns: Readonly<Record<string, string>>,
  rows: readonly Started[],
): Step[] {
  const names = Object.keys(columns);
  const targets = names.map((name) => name.replace(/_us$/, "_at"));
  const values = names.map((name) =>
    name.endsWith("_us") ? `make_timestamp(n.${name})` : `n.${name}`
  );
  const steps: Step[] = [];
  for (let start = 0; start < rows.length; start += STATEMENT_ROWS) {
    const part = takeOnce(rows.slice(start, start + STATEMENT_ROWS));
    const times = part.map((row) => row.started_us);
    steps.push({
      // A span that is sent again has the time it had, so that blocks of other times are not read.
      sql: `insert into core.${table} (${targets.join(", ")})
        select ${values.join(", ")} from (
          select unnest(from_json(?::json, ?), max_depth := 2) as n
        ) n
        anti join (
          select trace_id, span_id from core.${table}
          where started_at between make_timestamp(?::bigint) and make_timestamp(?::bigint)
        ) o using (trace_id, span_id)
        order by n.place`,
      params: [
        JSON.stringify(part.map((row, place) => ({ ...row, place }))),
        JSON.stringify([{ ...columns, place: "INTEGER" }]),
        times.reduce((a, b) => Math.min(a, b)),
        times.reduce((a, b) => Math.max(a, b)),
      ],
    });
  }
  return steps;
}

function toRow(span: SpanRecord): Started & Readonly<Record<keyof typeof spanColumns, unknown>> {
  return {
    trace_id: span.traceId,
    span_id: span.spanId,
    parent_id: span.parentId,
    name: span.name,
    kind: span.kind,
    started_us: span.startedUs,
    ended_us: span.endedUs,
    status: span.status,
    status_message: span.statusMessage,
    attributes: writeExact(span.attributes),
    events: writeExact(
      span.events.map(({ name, us, attributes }) => ({ name, us: BigInt(us), attributes })),
    ),
    links: writeExact(
      span.links.map(({ traceId, spanId, attributes }) => ({
        trace_id: traceId,
        span_id: spanId,
        attributes,
      })),
    ),
    resource: writeExact(span.resource),
    scope: span.scope,
    scope_version: span.scopeVersion,
  };
}
