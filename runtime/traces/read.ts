/** Traces out of the store: which there are, one as a whole, and spans as they came. */
import type { Row, SqlValue, Store } from "../store/store.ts";
import type { LlmCall } from "./calls.ts";
import { addEvaluations, type CallJudgement, readCallJudgements } from "./judgements.ts";
import { parseExact, type SpanAttributes, type SpanRecord, writeExact } from "./span.ts";

/** A trace as lists show it: a row of the view `traces`. */
export interface TraceSummary extends Row {
  readonly trace_id: string;
  readonly name: string;
  readonly started_at: string;
  readonly duration_ms: number;
  readonly spans: number;
  readonly errors: number;
  readonly status: "ok" | "error";
  readonly service: string | null;
  readonly request_id: string | null;
  readonly judge: string | null;
  readonly model: string | null;
  readonly llm_calls: number;
  readonly tokens_in: number | null;
  readonly tokens_out: number | null;
  readonly cost: number | null;
}

/** Which traces a list shows. */
export interface TraceFilter {
  readonly from?: Date;
  /** Exclusive. */
  readonly to?: Date;
  readonly judge?: string;
  readonly model?: string;
  readonly status?: "ok" | "error";
  readonly minMs?: number;
  /** Most traces, the newest. */
  readonly limit: number;
}

/** The traces that a filter lets pass, the newest first. */
export async function listTraces(store: Store, filter: TraceFilter): Promise<TraceSummary[]> {
  const { from, to, judge, model, status, minMs, limit } = filter;
  const conditions: [string, SqlValue][] = [];
  if (from !== undefined) conditions.push(["started_at >= ?", from]);
  if (to !== undefined) conditions.push(["started_at < ?", to]);
  // A trace may hold calls of more than one judge and model.
  const byCall = (column: string) =>
    `trace_id in (select trace_id from llm_calls where ${column} = ?)`;
  if (judge !== undefined) conditions.push([byCall("judge"), judge]);
  if (model !== undefined) conditions.push([byCall("model"), model]);
  if (status !== undefined) conditions.push(["status = ?", status]);
  if (minMs !== undefined) conditions.push(["duration_ms >= ?::double", minMs]);
  const where = conditions.map(([sql]) => sql).join(" and ");
  return await store.query<TraceSummary>(
    `select * exclude (ended_at) from traces ${where === "" ? "" : `where ${where}`}
     order by started_at desc, trace_id limit ?`,
    [...conditions.map(([, value]) => value), limit],
  );
}

/** A call as its trace shows it. */
export type CallRow = Omit<LlmCall, "started_us" | "trace_id">;

/** One trace with its spans in their order, and the calls among them by span. */
export interface Trace {
  readonly summary: TraceSummary;
  readonly spans: readonly SpanRecord[];
  readonly calls: readonly CallRow[];
  /** What judges said of the calls. */
  readonly judgements: readonly CallJudgement[];
  /** Whether spans were left out. */
  readonly isTruncated: boolean;
}

/** Most spans of a trace that are given. */
const MAX_SPANS = 5_000;

/** One trace, `null` when the store has none of this id. */
export async function readTrace(store: Store, traceId: string): Promise<Trace | null> {
  const [summary] = await store.query<TraceSummary>(
    "select * exclude (ended_at) from traces where trace_id = ?",
    [traceId],
  );
  if (summary === undefined) return null;
  const spans = await store.query<SpanRow>(
    `select ${spanColumns} from core.spans where trace_id = ?
     order by started_at, parent_id is not null, sequence limit ?`,
    [traceId, MAX_SPANS],
  );
  const calls = await store.query<CallRow & Row>(
    `select * exclude (sequence, trace_id, started_at) from core.llm_calls where trace_id = ?
     order by started_at, sequence limit ?`,
    [traceId, MAX_SPANS],
  );
  return {
    summary,
    spans: spans.map(toSpan),
    calls,
    judgements: await readCallJudgements(store, [traceId]),
    isTruncated: summary.spans > spans.length,
  };
}

/**
 * A trace as JSON, in which 64-bit integers are exact. A verdict on a call stands beside the call, and
 * as an event on its span.
 */
export function writeTrace({ summary, spans, calls, judgements, isTruncated }: Trace): string {
  const said = Map.groupBy(judgements, ({ call_span_id }) => call_span_id);
  const plain = JSON.stringify({
    ...summary,
    span_count: summary.spans,
    calls: calls.map((call) => ({
      ...call,
      judgements: (said.get(call.span_id) ?? [])
        .map(({ call_trace_id: _trace, call_span_id: _span, ...judgement }) => judgement),
    })),
    is_truncated: isTruncated,
    spans: undefined,
  });
  const written = addEvaluations(spans, judgements).map((span) =>
    writeExact({
      trace_id: span.traceId,
      span_id: span.spanId,
      parent_id: span.parentId,
      name: span.name,
      kind: span.kind,
      started_us: BigInt(span.startedUs),
      duration_us: BigInt(span.endedUs - span.startedUs),
      status: span.status,
      status_message: span.statusMessage,
      attributes: span.attributes,
      events: span.events.map((event) => ({ ...event, us: BigInt(event.us) })),
      links: span.links.map(({ traceId, spanId, attributes }) => ({
        trace_id: traceId,
        span_id: spanId,
        attributes,
      })),
      resource: span.resource,
      scope: span.scope,
    })
  );
  return `${plain.slice(0, -1)},"spans":[${written.join(",")}]}`;
}

/** What spans are sent elsewhere: those that started in a time. */
export interface SpanRange {
  readonly from?: Date;
  /** Exclusive. */
  readonly to?: Date;
}

/** Stored spans in batches, in the order in which they came. */
export async function* readSpans(
  store: Store,
  { from, to }: SpanRange,
  batchRows: number,
): AsyncGenerator<readonly SpanRecord[]> {
  for (let last = -1;;) {
    const rows = await store.query<SpanRow & { sequence: number }>(
      `select sequence, ${spanColumns} from core.spans
       where sequence > ? and started_at >= coalesce(?, timestamp '-infinity')
         and started_at < coalesce(?, timestamp 'infinity')
       order by sequence limit ?`,
      [last, from ?? null, to ?? null, batchRows],
    );
    if (rows.length === 0) return;
    last = rows[rows.length - 1].sequence;
    const judgements = await readCallJudgements(store, rows.map(({ trace_id }) => trace_id));
    yield addEvaluations(rows.map(toSpan), judgements);
  }
}

interface SpanRow extends Row {
  readonly trace_id: string;
  readonly span_id: string;
  readonly parent_id: string | null;
  readonly name: string;
  readonly kind: SpanRecord["kind"];
  readonly started_us: number;
  readonly ended_us: number;
  readonly status: SpanRecord["status"];
  readonly status_message: string | null;
  readonly attributes: string;
  readonly events: string;
  readonly links: string;
  readonly resource: string;
  readonly scope: string | null;
  readonly scope_version: string | null;
}

const spanColumns = `trace_id, span_id, parent_id, name, kind, epoch_us(started_at) as started_us,
  epoch_us(ended_at) as ended_us, status, status_message, attributes, events, links, resource, scope,
  scope_version`;

function toSpan(row: SpanRow): SpanRecord {
  const events = parseExact(row.events) as readonly {
    readonly name: string;
    readonly us: bigint;
    readonly attributes: SpanAttributes;
  }[];
  const links = parseExact(row.links) as readonly {
    readonly trace_id: string;
    readonly span_id: string;
    readonly attributes: SpanAttributes;
  }[];
  return {
    traceId: row.trace_id,
    spanId: row.span_id,
    parentId: row.parent_id,
    name: row.name,
    kind: row.kind,
    startedUs: row.started_us,
    endedUs: row.ended_us,
    status: row.status,
    statusMessage: row.status_message,
    attributes: parseExact(row.attributes) as SpanAttributes,
    events: events.map(({ us, ...event }) => ({ ...event, us: Number(us) })),
    links: links.map(({ trace_id, span_id, attributes }) => ({
      traceId: trace_id,
      spanId: span_id,
      attributes,
    })),
    resource: parseExact(row.resource) as SpanAttributes,
    scope: row.scope,
    scopeVersion: row.scope_version,
  };
}
