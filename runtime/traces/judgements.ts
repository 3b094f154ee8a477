/**
 * What judges said of calls, beside the spans of these calls: rows are the truth, and the event that
 * the conventions put on a span is made from them whenever a span is given out.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/
 * @module
 */
import type { Row, Store } from "../store/store.ts";
import type { SpanAttributes, SpanRecord } from "./span.ts";

/** A verdict, whatever it is of. */
export interface Evaluation {
  readonly judge: string;
  readonly status: "scored" | "abstained" | "error";
  /** Why there is no score. */
  readonly kind: string | null;
  /** In `[0, 1]`; `null` unless scored. */
  readonly score: number | null;
  readonly label: string | null;
  readonly rationale: string | null;
}

/** A verdict on a call. */
export interface CallJudgement extends Evaluation, Row {
  readonly call_trace_id: string;
  readonly call_span_id: string;
  readonly judge_version: string;
  /** Microseconds of Unix time. */
  readonly created_us: number;
  /** Trace of the verdict, `null` when no model was asked. */
  readonly trace_id: string | null;
}

/** A verdict as attributes of the event `gen_ai.evaluation.result`. */
export function describeEvaluation(evaluation: Evaluation): SpanAttributes {
  const { judge, status, kind, score, label, rationale } = evaluation;
  return {
    "gen_ai.evaluation.name": judge,
    ...(score === null ? {} : { "gen_ai.evaluation.score.value": score }),
    ...(label === null ? {} : { "gen_ai.evaluation.score.label": label }),
    ...(rationale === null ? {} : { "gen_ai.evaluation.explanation": rationale }),
    ...(status === "error" ? { "error.type": kind } : {}),
    ...(status === "abstained" ? { "geophone.verdict_kind": kind } : {}),
  };
}

/** The last word of each judge version on each call of these traces, in the order of time. */
export async function readCallJudgements(
  store: Store,
  traceIds: readonly string[],
): Promise<CallJudgement[]> {
  return await store.query<CallJudgement>(
    `select call_trace_id, call_span_id, judge, judge_version, status, kind, score, label, rationale,
       epoch_us(created_at) as created_us, trace_id
     from core.call_judgements
     where call_trace_id in (select unnest(from_json(?::json, '["VARCHAR"]')))
     qualify row_number() over (
       partition by judge, judge_version, call_trace_id, call_span_id
       order by created_at desc) = 1
     order by created_at, judge, judge_version`,
    [JSON.stringify([...new Set(traceIds)])],
  );
}

/** Gives the spans with an event for each verdict on them. */
export function addEvaluations(
  spans: readonly SpanRecord[],
  judgements: readonly CallJudgement[],
): readonly SpanRecord[] {
  if (judgements.length === 0) return spans;
  const bySpan = Map.groupBy(
    judgements,
    ({ call_trace_id, call_span_id }) => `${call_trace_id}:${call_span_id}`,
  );
  return spans.map((span) => {
    const said = bySpan.get(`${span.traceId}:${span.spanId}`);
    if (said === undefined) return span;
    const events = said.map((judgement) => ({
      name: "gen_ai.evaluation.result",
      us: judgement.created_us,
      attributes: describeEvaluation(judgement),
    }));
    return { ...span, events: [...span.events, ...events] };
  });
}
