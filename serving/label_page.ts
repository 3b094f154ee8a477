/**
 * The page on which a person says of one prediction after the other whether it is right: by the keys y,
 * n, s and u, or by buttons. What a prediction says is text, whatever it says; the page's own script
 * and style are all that a browser applies.
 *
 * @module
 */
import { escape } from "./html.ts";
import { createHash } from "node:crypto";
import { describeCase, type LabelCase } from "../judges/labels.ts";

const style = `
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.far td { font-weight: 600; }
button { font: inherit; padding: .5rem 1rem; margin-right: .5rem; }
kbd { font: 12px ui-monospace, monospace; border: 1px solid var(--line); border-radius: 3px; padding: 0 .3rem; }
.note { opacity: .75; overflow-wrap: anywhere; }
`;

const script = `
"use strict";
const { requestId, row, judge, last } = document.body.dataset;
const query = new URLSearchParams(location.search);
let isBusy = false;
async function send(id, at, label) {
  const response = await fetch("/judge-labels", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ judge, labels: [{ request_id: id, row: Number(at), label }] }),
  });
  if (!response.ok) throw new Error("The server answered " + response.status);
}
function go() { location.search = query.toString(); }
async function act(action) {
  if (isBusy) return;
  isBusy = true;
  try {
    if (action === "good" || action === "bad") {
      await send(requestId, row, action);
      query.set("last", requestId + ":" + row);
      go();
    } else if (action === "skip") {
      query.append("skip", requestId + ":" + row);
      go();
    } else if (action === "undo" && last) {
      const colon = last.lastIndexOf(":");
      await send(last.slice(0, colon), last.slice(colon + 1), null);
      query.delete("last");
      go();
    } else isBusy = false;
  } catch (error) {
    isBusy = false;
    document.getElementById("state").textContent = error.message;
  }
}
const keys = { y: "good", n: "bad", s: "skip", u: "undo" };
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const action = keys[event.key.toLowerCase()];
  if (action === undefined || (action !== "undo" && requestId === undefined)) return;
  event.preventDefault();
  act(action);
});
for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => act(button.value));
}
`;

const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** What a browser may apply and call: this page's own script and style, and this server. */
export const labelPolicy = `default-src 'none'; style-src ${hash(style)}; script-src ${
  hash(script)
}; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`;

/** More deviations than this from the class's mean stand out. */
const FAR = 2;

/** Gives the page; `shown` is `null` when nothing is left. */
export function renderLabelPage(
  shown: LabelCase | null,
  { judge, last }: {
    /** The judge whose question is answered; `""` asks whether the prediction is right. */
    readonly judge: string;
    /** The label that can be taken back, as `requestId:row`. */
    readonly last: string | null;
  },
): string {
  const data = [
    ...(shown === null
      ? []
      : [["request-id", shown.inference.requestId], ["row", String(shown.inference.row)]]),
    ["judge", judge],
    ...(last === null ? [] : [["last", last]]),
  ].map(([name, value]) => ` data-${name}="${escape(value)}"`).join("");
  const buttons = [
    ...(shown === null
      ? []
      : [button("good", "Good", "y"), button("bad", "Bad", "n"), button("skip", "Skip", "s")]),
    ...(last === null ? [] : [button("undo", "Undo", "u")]),
  ].join("");
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Label predictions</title>` +
    `<meta name="viewport" content="width=device-width"><style>${style}</style></head>` +
    `<body${data}>${
      shown === null ? "<h1>Nothing is left to label</h1>" : renderCase(shown, judge)
    }` +
    `<p>${buttons}</p><p id="state" class="note" role="status"></p>` +
    `<noscript><p>This page needs its script; deno task judges label asks in a terminal.</p></noscript>` +
    `<script>${script}</script></body></html>`;
}

function renderCase(shown: LabelCase, judge: string): string {
  const { inference: { requestId, row, label, confidence, texts = {} }, left } = shown;
  const lines = describeCase(shown).map(({ feature, value, usual, deviations }) => {
    const isFar = deviations !== null && Math.abs(deviations) > FAR;
    const distance = deviations === null ? "" : deviations.toFixed(1).replace("-", "−");
    return `<tr${isFar ? ' class="far"' : ""}><td>${escape(feature)}</td>` +
      `<td class="number">${escape(value)}</td><td class="number">${escape(usual)}</td>` +
      `<td class="number">${distance}</td></tr>`;
  });
  const asked = judge === ""
    ? `Is it ${escape(label)}?`
    : `${escape(label)}: is it good, as judge ${escape(judge)} asks?`;
  const written = Object.entries(texts).map(([name, text]) =>
    `<p><b>${escape(name)}</b> ${escape(text)}</p>`
  );
  return `<h1>${asked}</h1><p>predicted with ${
    (100 * confidence).toFixed(0)
  } % · ${left} left</p>` +
    `${written.join("")}<table><thead><tr><th>feature</th><th class="number">value</th>` +
    `<th class="number">usual</th><th class="number">deviations</th></tr></thead>` +
    `<tbody>${lines.join("")}</tbody></table>` +
    `<p class="note">${escape(requestId)} row ${row}</p>`;
}

function button(value: string, text: string, key: string): string {
  return `<button type="button" value="${value}">${text} <kbd>${key}</kbd></button>`;
}
