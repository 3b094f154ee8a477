/**
 * Traces as pages for people: a list, and a waterfall of one with what its models were asked. Without
 * scripts; what a trace says is text, whatever it says.
 *
 * @module
 */
import { escape } from "./html.ts";
import { createHash } from "node:crypto";
import { readPromptMessages } from "../runtime/traces/calls.ts";
import type { CallJudgement } from "../runtime/traces/judgements.ts";
import type { CallRow, Trace, TraceSummary } from "../runtime/traces/read.ts";
import { type SpanRecord, writeExact } from "../runtime/traces/span.ts";
import { orderSpans } from "../runtime/traces/tree.ts";

const style = `
:root { color-scheme: light dark; --line: #8884; --bar: #3b82c4; --bad: #c4453b; }
body { font: 14px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.2rem; overflow-wrap: anywhere; }
code, pre { font: 12px/1.5 ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .5rem .75rem; border: 1px solid var(--line); border-radius: 6px; margin: .3rem 0 .8rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.number, th.number { text-align: right; white-space: nowrap; }
details { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; display: grid; grid-template-columns: 24rem 5.5rem 1fr; gap: .75rem; align-items: center; padding: .3rem 0; }
summary::-webkit-details-marker { display: none; }
summary .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
summary .ms { text-align: right; }
summary svg { width: 100%; height: 12px; }
rect { fill: var(--bar); }
.error rect { fill: var(--bad); }
.error .name { color: var(--bad); }
.body { padding: .25rem 0 1rem 1.5rem; }
.note { opacity: .75; }
@media (max-width: 50rem) { summary { grid-template-columns: 1fr 5.5rem; } summary svg { grid-column: 1 / 3; } }
${Array.from({ length: 13 }, (_, depth) => `.d${depth} { padding-left: ${depth}rem; }`).join("\n")}
`;

/** Deepest indentation. */
const MAX_DEPTH = 12;

/** The only thing that a browser may apply: the style of these pages, by its hash. */
export const tracePolicy = `default-src 'none'; style-src 'sha256-${
  createHash("sha256").update(style).digest("base64")
}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`;

/** Most calls that are shown open. */
const MAX_OPEN = 3;

/** Width of a waterfall in its own units. */
const WIDTH = 1000;

/** Gives the page of a list. */
export function renderTraces(traces: readonly TraceSummary[]): string {
  const rows = traces.map((trace) =>
    `<tr><td>${show(trace.started_at)}</td>` +
    `<td><a href="/traces/${encodeURIComponent(trace.trace_id)}">${show(trace.name)}</a></td>` +
    `<td>${show(trace.service)}</td><td>${show(trace.judge)}</td><td>${show(trace.model)}</td>` +
    `<td class="number">${formatMs(trace.duration_ms)}</td>` +
    `<td class="number">${trace.spans}</td><td class="number">${trace.errors}</td>` +
    `<td class="number">${show(trace.tokens_in)}</td>` +
    `<td class="number">${show(trace.tokens_out)}</td></tr>`
  );
  const heads = ["started (UTC)", "trace", "service", "judge", "model"].map((head) =>
    `<th>${head}</th>`
  );
  const numbers = ["time", "spans", "errors", "tokens in", "out"].map((head) =>
    `<th class="number">${head}</th>`
  );
  return wrap(
    "Traces",
    rows.length === 0
      ? "<p>No trace is like that.</p>"
      : `<table><thead><tr>${[...heads, ...numbers].join("")}</tr></thead><tbody>${
        rows.join("")
      }</tbody></table>`,
  );
}

/** Gives the page of one trace. */
export function renderTrace(trace: Trace): string {
  const { summary, spans, calls, judgements, isTruncated } = trace;
  const facts = [
    `${count(summary.spans, "span")} in ${formatMs(summary.duration_ms)}`,
    count(summary.errors, "error"),
    ...summary.llm_calls === 0 ? [] : [
      `${count(summary.llm_calls, "call")}, ${summary.tokens_in ?? "?"} tokens in and ` +
      `${summary.tokens_out ?? "?"} out${summary.cost === null ? "" : `, cost ${summary.cost}`}`,
    ],
    ...summary.judge === null ? [] : [`judge ${summary.judge}`],
    ...summary.request_id === null ? [] : [`request ${summary.request_id}`],
    `began ${summary.started_at}`,
  ];
  const callBySpan = new Map(calls.map((call) => [call.span_id, call]));
  const saidBySpan = Map.groupBy(judgements, ({ call_span_id }) => call_span_id);
  const start = spans.reduce((least, { startedUs }) => Math.min(least, startedUs), Infinity);
  const end = spans.reduce((most, { endedUs }) => Math.max(most, endedUs), start + 1);
  const rows = orderSpans(spans).map(({ span, depth }) =>
    renderSpan(span, {
      depth,
      call: callBySpan.get(span.spanId),
      judgements: saidBySpan.get(span.spanId) ?? [],
      scale: (us) => (us - start) / (end - start) * WIDTH,
      // What was asked and said is what one comes for; of a long trace it would hide the rest.
      isOpen: calls.length <= MAX_OPEN && callBySpan.has(span.spanId),
    })
  );
  return wrap(
    summary.name,
    `<p><code>${escape(summary.trace_id)}</code></p><p>${facts.map(escape).join(" · ")}</p>` +
      (isTruncated ? `<p class="note">The first ${spans.length} spans are shown.</p>` : "") +
      rows.join("") + '<p class="note"><a href="/traces">All traces</a></p>',
  );
}

function renderSpan(
  span: SpanRecord,
  { depth, call, judgements, scale, isOpen }: {
    readonly depth: number;
    readonly call: CallRow | undefined;
    readonly judgements: readonly CallJudgement[];
    readonly scale: (us: number) => number;
    readonly isOpen: boolean;
  },
): string {
  const x = scale(span.startedUs);
  const width = Math.max(2, scale(span.endedUs) - x);
  const bar = `<svg viewBox="0 0 ${WIDTH} 12" preserveAspectRatio="none" aria-hidden="true">` +
    `<rect x="${x.toFixed(1)}" y="1" width="${width.toFixed(1)}" height="10"/></svg>`;
  const facts: [string, string][] = [
    ["span", `${span.spanId}, ${span.kind}`],
    ["status", [span.status, span.statusMessage].filter(Boolean).join(": ")],
    ["scope", span.scope ?? ""],
    ...Object.entries(span.attributes).map(([name, value]): [string, string] => [
      name,
      typeof value === "string" ? value : writeExact(value),
    ]),
  ];
  const events = span.events.map(({ name, us, attributes }) =>
    `<p>${escape(name)} after ${formatMs((us - span.startedUs) / 1000)}</p>` +
    `<pre>${escape(writeExact(attributes))}</pre>`
  );
  const links = span.links.map(({ traceId, spanId }) =>
    `<p>link to <a href="/traces/${encodeURIComponent(traceId)}">${escape(traceId)}</a> ${
      escape(spanId)
    }</p>`
  );
  return `<details${span.status === "error" ? ' class="error"' : ""}${isOpen ? " open" : ""}>` +
    "<summary>" +
    `<span class="name d${Math.min(depth, MAX_DEPTH)}">${escape(span.name)}</span>` +
    `<span class="ms">${formatMs((span.endedUs - span.startedUs) / 1000)}</span>${bar}</summary>` +
    `<div class="body"><table>${
      facts.filter(([, text]) => text !== "")
        .map(([name, text]) => `<tr><th>${escape(name)}</th><td>${escape(text)}</td></tr>`).join("")
    }</table>${events.join("")}${links.join("")}${call ? renderCall(call) : ""}${
      renderJudgements(judgements)
    }</div></details>`;
}

function renderCall({ prompt, reply }: CallRow): string {
  const block = (title: string, text: string | null) =>
    text === null ? "" : `<p>${title}</p><pre>${escape(text)}</pre>`;
  return readPromptMessages(prompt).map(({ role, content }) => block(escape(role), content)).join(
    "",
  ) +
    block("reply", reply);
}

/** Verdicts on a call, each with a way to the trace in which it was given. */
function renderJudgements(judgements: readonly CallJudgement[]): string {
  if (judgements.length === 0) return "";
  const rows = judgements.map(({ judge, status, kind, score, label, rationale, trace_id }) => {
    const name = trace_id === null
      ? show(judge)
      : `<a href="/traces/${encodeURIComponent(trace_id)}">${show(judge)}</a>`;
    const found = score === null ? `${status}: ${kind}` : score.toFixed(2);
    return `<tr><th>${name}</th><td class="number">${show(found)}</td><td>${show(label)}</td>` +
      `<td>${show(rationale)}</td></tr>`;
  });
  return `<p>judged</p><table><thead><tr><th>judge</th><th class="number">score</th>` +
    `<th>label</th><th>because</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function wrap(title: string, body: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width, initial-scale=1">` +
    `<title>${escape(title)}</title><style>${style}</style></head><body>` +
    `<h1>${escape(title)}</h1>${body}</body></html>`;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

function show(value: unknown): string {
  return value === null || value === undefined ? "" : escape(String(value));
}

function formatMs(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 10 ? 2 : 0)} ms`;
}
