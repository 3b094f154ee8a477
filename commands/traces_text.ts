/** A trace as text for a terminal: its spans as a tree, and what its models were asked. */
import { formatTable } from "../runtime/terminal.ts";
import type { Trace } from "../runtime/traces/read.ts";
import type { SpanRecord } from "../runtime/traces/span.ts";
import { orderSpans } from "../runtime/traces/tree.ts";

/** Columns of a bar. */
const BAR_WIDTH = 40;

/** Gives the text of a trace. */
export function describeTrace({ summary, spans, calls, judgements, isTruncated }: Trace): string {
  const start = spans.reduce((least, { startedUs }) => Math.min(least, startedUs), Infinity);
  const end = spans.reduce((most, { endedUs }) => Math.max(most, endedUs), start + 1);
  const bar = ({ startedUs, endedUs }: SpanRecord) => {
    const from = Math.floor((startedUs - start) / (end - start) * (BAR_WIDTH - 1));
    const to = Math.ceil((endedUs - start) / (end - start) * BAR_WIDTH);
    return " ".repeat(from) + "█".repeat(Math.max(1, to - from));
  };
  const lines = [
    `${toLine(summary.name)}  ${summary.trace_id}`,
    `${summary.started_at}, ${summary.spans} spans, ${summary.errors} errors` +
    (summary.request_id === null ? "" : `, request ${toLine(summary.request_id)}`),
    "",
    formatTable(
      ["span", "ms", "status", ""],
      orderSpans(spans).map(({ span, depth }) => [
        toLine("  ".repeat(depth) + span.name),
        (span.endedUs - span.startedUs) / 1000,
        span.status,
        bar(span),
      ]),
    ),
  ];
  if (isTruncated) lines.push(`(the first ${spans.length} spans)`);
  for (const call of calls) {
    lines.push(
      "",
      toLine(
        `${call.model ?? "a model"}, ${call.tokens_in ?? "?"} tokens in, ${
          call.tokens_out ?? "?"
        } out, ${call.kind ?? call.finish_reason ?? "ended"}`,
      ),
    );
    if (call.prompt !== null) lines.push(`prompt: ${toLine(call.prompt)}`);
    if (call.reply !== null) lines.push(`reply: ${toLine(call.reply)}`);
    for (const { call_span_id, judge, status, kind, score, rationale } of judgements) {
      if (call_span_id !== call.span_id) continue;
      const found = score === null ? `${status}, ${kind}` : score.toFixed(2);
      lines.push(toLine(`judge ${judge}: ${found}${rationale === null ? "" : `, ${rationale}`}`));
    }
  }
  return lines.join("\n");
}

/** What others wrote as one line that does nothing to a terminal. */
export function toLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]+/gu, " ");
}
