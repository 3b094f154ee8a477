/** The spans of one request. */
import {
  type Attributes,
  currentSpan,
  failSpan,
  isTracing,
  recordSpan,
  type Span,
  startSpan,
  unixMs,
} from "../runtime/tracing.ts";
import type { Exchange } from "./exchange.ts";
import type { ServedPrediction } from "./served_model.ts";

/** Tells a tracer what became of a request; there is one only while somebody traces. */
export class RequestTrace {
  readonly #span: Span;
  /** Whether the span ends with the answer; that of a request is ended by who serves HTTP. */
  readonly #isOwn: boolean;
  /** Unix time of 0 on the clock of `performance.now`, read anew since the two drift apart. */
  readonly #originMs = unixMs() - performance.now();

  private constructor(span: Span, isOwn: boolean) {
    this.#span = span;
    this.#isOwn = isOwn;
  }

  /** The request that `Deno.serve` answers now; `null` without a tracer. */
  static ofRequest(): RequestTrace | null {
    const span = isTracing ? currentSpan() : null;
    return span && new RequestTrace(span, false);
  }

  /** One part of the request, such as a line of a stream. */
  part(name: string): RequestTrace | null {
    const span = startSpan(name, { parent: this.#span });
    return span && new RequestTrace(span, true);
  }

  /** 32 hex digits. */
  get traceId(): string {
    return this.#span.spanContext().traceId;
  }

  /** Records a step between two times of `performance.now`, the second one now by default. */
  step(
    name: string,
    { from, to = performance.now(), attributes = {} }: {
      readonly from: number;
      readonly to?: number;
      readonly attributes?: Attributes;
    },
  ): void {
    recordSpan(name, {
      parent: this.#span,
      attributes,
      startMs: this.#originMs + from,
      endMs: this.#originMs + to,
    });
  }

  /** Records the wait and the model run of a prediction asked for at `askedAt`. */
  predicted(askedAt: number, prediction: ServedPrediction): void {
    const { queueMs, modelMs, batchId, batchRows } = prediction;
    // From the cache: there was neither.
    if (batchId === null) return;
    const startedAt = askedAt + queueMs;
    this.step("queue", { from: askedAt, to: startedAt });
    this.step("model run", {
      from: startedAt,
      to: startedAt + modelMs,
      attributes: { "geophone.batch_id": batchId, "geophone.batch_rows": batchRows },
    });
  }

  /** Says what the request was and how it ended. */
  answered(exchange: Exchange, status: number): void {
    const { request: { method }, route, held, failure } = exchange;
    const span = this.#span;
    const isMatched = route !== "unmatched";
    if (!this.#isOwn) span.updateName(isMatched ? `${method} ${route}` : method);
    if (isMatched) span.setAttribute("http.route", route);
    span.setAttributes({
      "geophone.request_id": exchange.requestId,
      "geophone.rows": exchange.rowCount,
    });
    setKnown(span, {
      "geophone.client_request_id": exchange.clientRequestId,
      "geophone.requester": exchange.requester,
      "geophone.model": held?.model.version.model ?? exchange.model,
      "geophone.version": held?.model.version.version ?? null,
      "geophone.alias": held?.alias ?? null,
      "geophone.cache": exchange.cache,
      "geophone.error_code": failure?.code ?? null,
    });
    if (!this.#isOwn) return;
    span.setAttribute("http.response.status_code", status);
    if (failure !== null && status >= 500) failSpan(span, failure.message);
    span.end();
  }
}

function setKnown(span: Span, attributes: Readonly<Record<string, string | number | null>>): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) span.setAttribute(name, value);
  }
}
