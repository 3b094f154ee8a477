/**
 * Verdicts and the questions behind them as spans: kept in the store always, and exported where
 * OpenTelemetry is on. The judge whose verdict is being made is known to whatever it calls, however
 * deep, so that no form has to pass it on.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Inference, Verdict } from "../plugins/plugin.ts";
import type { Store } from "../runtime/store/store.ts";
import { BudgetError } from "../runtime/traces/budget.ts";
import { describeEvaluation } from "../runtime/traces/judgements.ts";
import { TraceLog } from "../runtime/traces/log.ts";
import { makeId, type SpanRecord } from "../runtime/traces/span.ts";
import { type Attributes, failSpan, inSpan, type Span, unixMs } from "../runtime/tracing.ts";
import {
  type ChatClient,
  ChatError,
  type ChatReply,
  type ChatRequest,
  toChatError,
} from "./clients/client.ts";
import {
  describeQuestion,
  describeReply,
  describeVerdict,
  quote,
  type ReplyNotes,
  toEvaluation,
  toExact,
} from "./conventions.ts";
import { redactText } from "./prompts/redact.ts";
import type { SpanId } from "./subjects/subjects.ts";

/** The verdict that is being made. */
interface Scope {
  readonly log: TraceLog;
  readonly judge: string;
  readonly judgeVersion: string;
  readonly inference: Inference;
  /** The call that is judged, where it is no prediction. */
  readonly call?: SpanId | null;
  readonly traceId: string;
  readonly spanId: string;
  /** Questions asked for it so far. */
  calls: number;
}

const scopes = new AsyncLocalStorage<Scope>();
const notes = new AsyncLocalStorage<{ reply: ReplyNotes }>();

/** The traces of a store, without personal data. */
export function traceLog(store: Store): TraceLog {
  return TraceLog.of(store, redactText);
}

/** Keeps what a server said of the question that is being asked; outside of one it is nothing. */
export function noteReply(reply: ReplyNotes): void {
  const noted = notes.getStore();
  if (noted) noted.reply = reply;
}

/**
 * Makes a verdict in a span that names the request; the questions asked for it are spans in it. Gives
 * the trace, `null` when no model was asked and nobody else traces.
 */
export async function traceVerdict(
  store: Store,
  about: {
    readonly judge: string;
    readonly judgeVersion: string;
    readonly inference: Inference;
    /** The call that is judged, where it is no prediction: the span of the verdict has a link to it. */
    readonly call?: SpanId | null;
    /** What the verdict is for, where it is not for the sample: `card` or `canary`. */
    readonly purpose?: string;
  },
  make: () => Promise<Verdict>,
): Promise<{ readonly verdict: Verdict; readonly traceId: string | null }> {
  const log = traceLog(store);
  const attributes = {
    ...nameSubject(about),
    ...(about.call ? {} : {
      "geophone.model": about.inference.model,
      "geophone.version": about.inference.version,
    }),
    ...(about.purpose === undefined ? {} : { "geophone.purpose": about.purpose }),
  };
  const name = `judge ${about.judge}`;
  return await inSpan(name, attributes, async (span) => {
    const ids = readIds(span);
    const scope: Scope = { log, ...about, ...ids, calls: 0 };
    const startedUs = nowUs();
    const verdict = await scopes.run(scope, make);
    span?.setAttributes(describeVerdict(verdict));
    if (span !== null && verdict.status === "error") failSpan(span, verdict.message);
    if (scope.calls > 0) {
      const endedUs = nowUs();
      log.record({
        ...plainSpan,
        ...ids,
        name,
        startedUs,
        endedUs,
        ...(verdict.status === "error"
          ? { status: "error", statusMessage: verdict.message }
          : { status: "ok" }),
        attributes: toExact({ ...attributes, "geophone.verdict": verdict.status }),
        links: about.call ? [{ ...about.call, attributes: {} }] : [],
        events: [{
          name: "gen_ai.evaluation.result",
          us: endedUs,
          attributes: describeEvaluation(toEvaluation(about.judge, verdict)),
        }],
      });
    }
    const isTraced = span !== null || (scope.calls > 0 && log.isOn);
    return { verdict, traceId: isTraced ? ids.traceId : null };
  });
}

/**
 * Asks one question as a span within the verdict's, when the budget of the judge's day allows it.
 * @throws {ChatError} as `ask`, or of kind `budget`.
 */
export async function traceCall(
  client: ChatClient,
  request: ChatRequest,
  { tokens, ask }: {
    /** Most tokens that it is likely to take. */
    readonly tokens: { readonly in: number; readonly out: number };
    readonly ask: () => Promise<ChatReply>;
  },
): Promise<ChatReply> {
  const scope = scopes.getStore();
  if (scope === undefined) return await ask();
  const { log, judge } = scope;
  const planned = { judge, model: client.model, tokensIn: tokens.in, tokensOut: tokens.out };
  const settle = await log.budgets.reserve(planned).catch(refuse);
  scope.calls++;
  const attributes: Attributes = {
    ...nameSubject(scope),
    ...describeQuestion(client, request),
  };
  const name = `chat ${client.model}`;
  return await inSpan(name, attributes, async (span) => {
    const ids = readIds(span, scope.traceId);
    const noted: { reply: ReplyNotes } = { reply: {} };
    const startedUs = nowUs();
    const end = (reply: ReplyNotes, failure: ChatError | null) => {
      const known = { ...describeReply(reply), ...(failure ? { "error.type": failure.kind } : {}) };
      span?.setAttributes(known);
      if (span !== null && failure !== null) failSpan(span, failure.message);
      settle(log.record({
        ...plainSpan,
        ...ids,
        parentId: scope.spanId,
        name,
        kind: "client",
        startedUs,
        endedUs: nowUs(),
        ...(failure === null
          ? { status: "unset" }
          : { status: "error", statusMessage: failure.message }),
        attributes: {
          ...toExact({ ...attributes, ...known }),
          ...(log.hasContent ? quote(request, reply) : {}),
        },
      }));
    };
    try {
      const reply = await notes.run(noted, ask);
      end({ ...reply, ...noted.reply }, null);
      return reply;
    } catch (error) {
      const failure = toChatError(error);
      end(noted.reply, failure);
      throw failure;
    }
  });
}

/** What spans of this module have in common. */
const plainSpan = {
  parentId: null,
  kind: "internal",
  statusMessage: null,
  events: [],
  links: [],
  resource: { "service.name": "geophone" },
  scope: "geophone.judges",
  scopeVersion: null,
} as const satisfies Partial<SpanRecord>;

function refuse(error: unknown): never {
  if (error instanceof BudgetError) throw new ChatError(error.message, "budget");
  throw error;
}

function nameSubject(
  { judge, judgeVersion, inference, call }: Pick<
    Scope,
    "judge" | "judgeVersion" | "inference" | "call"
  >,
): Record<string, string | number> {
  return {
    "gen_ai.evaluation.name": judge,
    "geophone.judge_version": judgeVersion,
    ...(call
      ? { "geophone.call_trace_id": call.traceId, "geophone.call_span_id": call.spanId }
      : { "geophone.request_id": inference.requestId, "geophone.row": inference.row }),
  };
}

/** The ids of an exported span, so that both are one; else new ones. */
function readIds(span: Span | null, traceId = makeId(16)): { traceId: string; spanId: string } {
  const context = span?.spanContext();
  return context === undefined
    ? { traceId, spanId: makeId(8) }
    : { traceId: context.traceId, spanId: context.spanId };
}

/** Microseconds of Unix time. */
function nowUs(): number {
  return Math.round(unixMs() * 1000);
}
