/** A request of OTLP as it is read from either form, and the spans that it holds. */
import {
  type SpanAttributes,
  type SpanEvent,
  spanKinds,
  type SpanLink,
  type SpanRecord,
  spanStatuses,
} from "../span.ts";

/** A span as it came: numbers and ids are not checked yet. */
export interface RawSpan {
  /** Hex of any length and case. */
  traceId: string;
  spanId: string;
  parentId: string;
  name: string;
  kind: number;
  startNs: bigint;
  endNs: bigint;
  attributes: SpanAttributes;
  events: { readonly ns: bigint; readonly name: string; readonly attributes: SpanAttributes }[];
  links: SpanLink[];
  code: number;
  message: string;
}

/** Spans of one resource and scope. */
export interface RawGroup {
  readonly resource: SpanAttributes;
  readonly scope: string;
  readonly scopeVersion: string;
  readonly spans: readonly RawSpan[];
}

/** What of a request can be kept, and what not. */
export interface ReceivedSpans {
  readonly spans: readonly SpanRecord[];
  readonly rejected: number;
  /** What is wrong with the first that was rejected, empty when none was. */
  readonly reason: string;
}

/** A span without values, which is what a message without fields means. */
export function makeRawSpan(): RawSpan {
  return {
    traceId: "",
    spanId: "",
    parentId: "",
    name: "",
    kind: 0,
    startNs: 0n,
    endNs: 0n,
    attributes: {},
    events: [],
    links: [],
    code: 0,
    message: "",
  };
}

/** Takes what follows the specification; one bad span does not cost the others. */
export function receiveSpans(groups: Iterable<RawGroup>): ReceivedSpans {
  const spans: SpanRecord[] = [];
  let rejected = 0;
  let reason = "";
  for (const { resource, scope, scopeVersion, spans: raw } of groups) {
    for (const span of raw) {
      const problem = findProblem(span);
      if (problem === null) {
        spans.push({
          ...toRecord(span),
          resource,
          scope: scope || null,
          scopeVersion: scopeVersion || null,
        });
      } else {
        rejected++;
        reason ||= `span "${span.spanId.slice(0, 32)}": ${problem}`;
      }
    }
  }
  return { spans, rejected, reason };
}

function findProblem({ traceId, spanId, parentId, startNs, endNs }: RawSpan): string | null {
  if (!isId(traceId, 32)) return "its trace id is not 16 bytes, one of them not 0";
  if (!isId(spanId, 16)) return "its id is not 8 bytes, one of them not 0";
  if (parentId !== "" && !/^0*$/.test(parentId) && !isId(parentId, 16)) {
    return "its parent's id is not 8 bytes";
  }
  if (startNs === 0n) return "it has no start";
  if (endNs < startNs) return "it ends before it starts";
  return null;
}

function isId(hex: string, length: number): boolean {
  return hex.length === length && /^[0-9a-f]+$/i.test(hex) && !/^0+$/.test(hex);
}

function toRecord(raw: RawSpan): Omit<SpanRecord, "resource" | "scope" | "scopeVersion"> {
  return {
    traceId: raw.traceId.toLowerCase(),
    spanId: raw.spanId.toLowerCase(),
    parentId: /^0*$/.test(raw.parentId) ? null : raw.parentId.toLowerCase(),
    name: raw.name,
    kind: spanKinds[raw.kind] ?? "unspecified",
    startedUs: toUs(raw.startNs),
    endedUs: toUs(raw.endNs),
    status: spanStatuses[raw.code] ?? "unset",
    statusMessage: raw.message || null,
    attributes: raw.attributes,
    events: raw.events.map(({ ns, name, attributes }): SpanEvent => ({
      name,
      us: toUs(ns),
      attributes,
    })),
    links: raw.links.map((link) => ({
      ...link,
      traceId: link.traceId.toLowerCase(),
      spanId: link.spanId.toLowerCase(),
    })),
  };
}

/** Every 64-bit count of nanoseconds is an exact count of microseconds, rounded down. */
function toUs(ns: bigint): number {
  return Number(ns / 1000n);
}
