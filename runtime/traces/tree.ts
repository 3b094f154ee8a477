/** The spans of a trace in the order of a tree. */
import type { SpanRecord } from "./span.ts";

/** A span, and how many others it lies in. */
export interface PlacedSpan {
  readonly span: SpanRecord;
  readonly depth: number;
}

/**
 * Gives children after their parents, in the order in which they are given. One whose parent is not
 * there stands at the top, and so does one of spans that are each other's parents.
 */
export function orderSpans(spans: readonly SpanRecord[]): PlacedSpan[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const children = Map.groupBy(
    spans,
    ({ parentId }) => parentId !== null && ids.has(parentId) ? parentId : null,
  );
  const ordered: PlacedSpan[] = [];
  const seen = new Set<SpanRecord>();
  const add = (roots: readonly SpanRecord[]) => {
    const waiting = roots.map((span) => ({ span, depth: 0 })).reverse();
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (seen.has(next.span)) continue;
      seen.add(next.span);
      ordered.push(next);
      const depth = next.depth + 1;
      const below = children.get(next.span.spanId) ?? [];
      for (const span of below.toReversed()) waiting.push({ span, depth });
    }
  };
  add(children.get(null) ?? []);
  for (const span of spans) if (!seen.has(span)) add([span]);
  return ordered;
}
