/** Calls of language models, from traces: what a user's programs asked, never what judges did. */
import { z } from "zod";
import { drawSql } from "../../runtime/draw.ts";
import type { Store } from "../../runtime/store/store.ts";
import { checkFilter, filtered } from "../sampling/plan.ts";
import { callColumns, type CallRow, readCallTexts } from "./call_texts.ts";
import type { Sample, Subjects } from "./subjects.ts";

/** Section `judging.traces` of a config. */
export const CallParams = z.strictObject({
  judges: z.array(z.string()).default([])
    .describe("judges of texts by name, such as safety; none: calls are not judged"),
  samplingRate: z.number().min(0).max(1).default(0.05).describe("share of calls that are judged"),
  rates: z.record(z.string(), z.number().min(0).max(1)).default({})
    .describe("share by judge, where it is not samplingRate; a lower one lies within a higher one"),
  where: z.string().nullable().default(null)
    .describe("a condition over the view llm_calls, such as model = 'large'"),
  maxRows: z.int().min(0).default(200).describe("most calls one judge takes at once"),
});

/** How calls are drawn. */
export interface CallOptions {
  readonly seed: number;
  readonly params: z.infer<typeof CallParams>;
}

/** Operations that write text. */
const OPERATIONS = "('chat', 'text_completion', 'generate_content')";

/** The view whose rows a filter is a condition over. */
const VIEW = "llm_calls";

/** Calls belong to no version of a model: no model has this name. */
const NO_MODEL = { model: "", version: 0 } as const;

/** What no judge asked, with a reply that was kept. */
const ELIGIBLE = `judge is null and reply is not null and operation in ${OPERATIONS}`;

/** Calls of language models as a source. */
export function callSubjects(store: Store, { seed, params }: CallOptions): Subjects {
  const { samplingRate, rates, where, maxRows } = params;
  return {
    ...NO_MODEL,
    lease: "judging:calls",
    busy: "another process judges calls now",
    maxRows,
    check: () => checkFilter(store, where, VIEW),
    sampleFor: (judge) => sampleCalls({ rate: rates[judge] ?? samplingRate, where, seed }),
    columns: callColumns,
    // The request of a call is the one that a judge asked for; it names no call.
    relation: `(select trace_id as request_id, span_id as row, * exclude (request_id, row)
      from core.llm_calls)`,
    read: async (rows) => {
      const calls = rows as readonly CallRow[];
      const texts = await readCallTexts(store, calls);
      return calls.map(({ trace_id, span_id, model }, i) => ({
        inference: {
          ...NO_MODEL,
          model: model ?? NO_MODEL.model,
          requestId: span_id,
          row: 0,
          features: {},
          label: "",
          probabilities: {},
          confidence: NaN,
          texts: texts[i],
        },
        call: { traceId: trace_id, spanId: span_id },
      }));
    },
    table: "core.call_judgements",
    name: (rows) => ({
      call_trace_id: rows.map(({ call }) => call!.traceId),
      call_span_id: rows.map(({ call }) => call!.spanId),
      model: rows.map(({ inference }) => inference.model || null),
    }),
  };
}

/** Whether there is any call that could be drawn. */
export async function hasCalls(store: Store): Promise<boolean> {
  const rows = await store.query(`select 1 from core.llm_calls where ${ELIGIBLE} limit 1`);
  return rows.length > 0;
}

/** Every call has the same probability, so that there is one stratum. */
function sampleCalls({ rate, where, seed }: {
  readonly rate: number;
  readonly where: string | null;
  readonly seed: number;
}): Sample {
  const plan = { ...NO_MODEL, rate, where, seed };
  return {
    plan,
    drawn: (from) => ({
      sql: `select *, ?::double as probability, '' as stratum from (
          select trace_id as request_id, span_id as row, started_at as request_time
          from ${filtered(VIEW, where)} i
          where ${ELIGIBLE}${from === null ? "" : " and started_at >= ?"})
        where ${drawSql(seed)} < ?::double`,
      params: [rate, ...(from === null ? [] : [from]), rate],
    }),
    existing: (before) => ({
      sql: `select trace_id as request_id, span_id as row from core.llm_calls
        where ${ELIGIBLE} and started_at < ?`,
      params: [before],
    }),
    verdicts:
      "(select call_trace_id as request_id, call_span_id as row, * from core.call_judgements)",
  };
}
