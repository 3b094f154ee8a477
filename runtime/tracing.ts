/**
 * Spans for OpenTelemetry. Who exports them is not said here: with `OTEL_DENO=true` Deno does, else
 * whoever registered a provider before this module was loaded. Without one nothing is made, nothing is
 * loaded, and {@linkcode isTracing} is all that a caller looks at.
 *
 * @see https://docs.deno.com/runtime/fundamentals/open_telemetry/
 * @module
 */
import type { Attributes, Span, Tracer } from "@opentelemetry/api";

export type { Attributes, Span };

/** Where a provider registers, whatever version of the API it has. */
const PROVIDER = Symbol.for("opentelemetry.js.api.1");

const registered = (globalThis as { [PROVIDER]?: { readonly trace?: unknown } })[PROVIDER];

const api = registered?.trace === undefined ? null : await import("@opentelemetry/api");

const tracer: Tracer | null = api?.trace.getTracer("geophone") ?? null;

/** Whether spans go anywhere; it stays as it was when the process started. */
export const isTracing: boolean = tracer !== null;

/** The span that this code runs in, such as the one of the request that `Deno.serve` answers. */
export function currentSpan(): Span | null {
  const span = api?.trace.getActiveSpan();
  return span?.isRecording() ? span : null;
}

/** How a span is started. */
export interface SpanOptions {
  /** Left out: the span that this code runs in. */
  readonly parent?: Span;
  readonly attributes?: Attributes;
  /** Milliseconds of Unix time, fractions included; left out: now. */
  readonly startMs?: number;
}

/** Starts a span, which the caller ends; `null` when nobody traces. */
export function startSpan(name: string, options: SpanOptions = {}): Span | null {
  if (api === null || tracer === null) return null;
  const { parent, attributes, startMs } = options;
  const active = api.context.active();
  return tracer.startSpan(
    name,
    {
      kind: api.SpanKind.INTERNAL,
      ...(attributes ? { attributes } : {}),
      ...(startMs === undefined ? {} : { startTime: toTime(startMs) }),
    },
    parent ? api.trace.setSpan(active, parent) : active,
  );
}

/** Records a span of something that is over; times are milliseconds of Unix time. */
export function recordSpan(
  name: string,
  { endMs, ...options }: SpanOptions & { readonly startMs: number; readonly endMs: number },
): void {
  startSpan(name, options)?.end(toTime(endMs));
}

/**
 * Runs `action` in a span, so that what it fetches is a part of it; the span ends with it, as an error
 * when it throws.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { inSpan, isTracing } from "./tracing.ts";
 *
 * const isSpan = await inSpan("measure", {}, (span) => Promise.resolve(span !== null));
 * assertEquals(isSpan, isTracing);
 * ```
 */
export async function inSpan<T>(
  name: string,
  attributes: Attributes,
  action: (span: Span | null) => Promise<T>,
): Promise<T> {
  const span = startSpan(name, { attributes });
  if (api === null || span === null) return await action(null);
  try {
    return await api.context.with(
      api.trace.setSpan(api.context.active(), span),
      () => action(span),
    );
  } catch (error) {
    failSpan(span, String(error));
    throw error;
  } finally {
    span.end();
  }
}

/** Marks a span as failed. */
export function failSpan(span: Span, message: string): void {
  if (api) span.setStatus({ code: api.SpanStatusCode.ERROR, message });
}

/** Milliseconds of Unix time, exact to a microsecond, as spans want them. */
export function unixMs(): number {
  return Number(Temporal.Now.instant().epochNanoseconds) / 1e6;
}

/** Seconds and nanoseconds: one number of either would not hold microseconds. */
function toTime(ms: number): [seconds: number, nanoseconds: number] {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
