/**
 * What each form of judge is worth, beside a rule and the model's own probability:
 * `deno run -A bench/judges.ts [--store FILE] [--cases N] [--forms a,b] [--tasks a,b] [--out FILE]`,
 * after `deno task pipeline` and with a server of a language model where the judges look for one
 * (docs/judges.md).
 *
 * Cases are those of cards (judges/cases/cases.ts), the label of half of them swapped, or predictions of
 * the model, half of them wrong. A score is good when it is higher for the right label. `combined` is a logistic
 * regression of rule and own probability, without and with the language model, each half of the cases
 * scored by what the other half teaches.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { type CaseTask, makeCases } from "../judges/cases/cases.ts";
import { readOwn } from "../judges/combined/combined.ts";
import { classify } from "../judges/forms/classify.ts";
import { createLlmJudge, type Form } from "../judges/forms/form.ts";
import { referenceYesNo } from "../judges/forms/reference_yesno.ts";
import { rubricJson } from "../judges/forms/rubric_json.ts";
import { connection } from "../judges/mod.ts";
import { readProfiles } from "../judges/rows.ts";
import { rule } from "../judges/rule.ts";
import { compareAucs, estimateAuc } from "../numeric/agreement/auc.ts";
import { crossFit, drawHalves } from "../numeric/agreement/calibrators.ts";
import { estimateKappa } from "../numeric/agreement/kappa.ts";
import { fitLogistic, predictLogistic } from "../numeric/agreement/logistic.ts";
import type { KnownInference, Plugin } from "../plugins/plugin.ts";
import { resolveVersion } from "../runtime/registry/model_registry.ts";
import { openStore } from "../runtime/store/store.ts";
import { formatTable } from "../runtime/terminal.ts";

const { values: options } = parseArgs({
  options: {
    store: { type: "string", default: ".geophone/dev.duckdb" },
    model: { type: "string", default: "wells" },
    cases: { type: "string", default: "200" },
    forms: { type: "string", default: "reference-yesno" },
    tasks: { type: "string", default: "swapped,mistakes" },
    out: { type: "string" },
  },
});
const count = Number(options.cases);
const tasks = options.tasks.split(",") as CaseTask[];

const forms: Readonly<Record<string, () => Form>> = {
  "reference-yesno": referenceYesNo,
  classify,
  "rubric-json": () =>
    rubricJson({ rubric: "10: every measured value is typical of the class; 0: none is." }),
};

interface Case extends KnownInference {
  readonly task: CaseTask;
}

await using store = await openStore(options.store, { publish: false });
const version = await resolveVersion(store, options.model, "production");
const profiles = await readProfiles(store, version);
const cases: Case[] = [];
for (const task of tasks) {
  const found = await makeCases(store, { ...version, count, half: "measure", task });
  cases.push(...found.map((each) => ({ ...each, task })));
}
await store.close();

const signal = new AbortController().signal;
const probe = await connection.probe(signal);
console.log(`language model: ${probe.detail}\n`);
const judges: Plugin<"judge">[] = [
  rule,
  ...(probe.ready ? options.forms.split(",") : []).map((name) =>
    createLlmJudge({ name, summary: "", form: forms[name](), connection, rationale: "never" })
  ),
];
const scores = new Map<string, (number | null)[]>([[
  "own probability",
  cases.map(({ inference }) => readOwn(inference)),
]]);
const costs = new Map<string, { ms: number; tokens: number }>();
for (const judge of judges) {
  const cost = { ms: 0, tokens: 0 };
  const given: (number | null)[] = [];
  for (const { inference } of cases) {
    const start = performance.now();
    const verdict = await judge.judge(inference, { profiles, signal });
    cost.ms += performance.now() - start;
    cost.tokens += (verdict.tokensIn ?? 0) + (verdict.tokensOut ?? 0);
    given.push(verdict.status === "scored" ? verdict.score : null);
  }
  scores.set(judge.name, given);
  costs.set(judge.name, cost);
}
const results = tasks.map(show);
if (options.out) {
  const rows = cases.map(({ task, isGood }, i) => ({
    task,
    truth: isGood ? 1 : 0,
    ...Object.fromEntries([...scores].map(([name, given]) => [name, given[i]])),
  }));
  await Deno.writeTextFile(options.out, JSON.stringify({ results, rows }));
}

/** Prints the table of a task, and gives what is in it. */
function show(task: Case["task"]) {
  // All are compared on the cases that every judge scored.
  const rows = cases.flatMap((each, i) =>
    each.task === task && [...scores.values()].every((given) => given[i] !== null) ? [i] : []
  );
  const truth = rows.map((i) => cases[i].isGood ? 1 : 0);
  const table = new Map([...scores].map(([name, given]) => [name, rows.map((i) => given[i]!)]));
  const parts = (names: readonly string[]) =>
    truth.map((_, i) => names.map((name) => logit(table.get(name)![i])));
  const llm = judges.map(({ name }) => name).filter((name) => name !== rule.name);
  const base = combine(parts([rule.name, "own probability"]), truth);
  const all = llm.length === 0
    ? base
    : combine(parts([rule.name, "own probability", ...llm]), truth);
  table.set("combined, no LLM", base);
  if (llm.length > 0) table.set("combined", all);
  const asked = cases.filter((each) => each.task === task).length;
  console.log(`${task}: ${rows.length} of ${asked} cases scored by all`);
  const measured = [...table].map(([name, given]) => {
    // What is combined is a probability already; other scores are cut where the other half says.
    const labels = name.startsWith("combined")
      ? given.map((p) => p >= 0.5 ? 1 : 0)
      : crossFit("threshold", { scores: given, truth })!.labels;
    const cost = costs.get(name);
    return {
      judge: name,
      auc: estimateAuc({ scores: given, truth }),
      lessRule: name === rule.name ? null : compareAucs(given, table.get(rule.name)!, truth),
      kappa: estimateKappa(labels, truth),
      agreement: truth.filter((value, i) => value === labels[i]).length / truth.length,
      ms: cost === undefined ? null : cost.ms / cases.length,
      tokens: cost === undefined ? null : cost.tokens / cases.length,
    };
  });
  console.log(formatTable(
    ["judge", "AUC", "less the rule's", "kappa", "agreement", "ms a case", "tokens a case"],
    measured.map(({ judge, auc, lessRule, kappa, agreement, ms, tokens }) => [
      judge,
      formatInterval(auc),
      formatInterval(lessRule),
      formatInterval(kappa),
      agreement.toFixed(2),
      ms?.toFixed(0) ?? "",
      tokens ? tokens.toFixed(0) : "",
    ]),
  ));
  const adds = llm.length === 0 ? null : compareAucs(all, base, truth);
  if (adds !== null) {
    console.log(
      `the language model adds ${formatInterval(adds)} to rule and own probability`,
    );
  }
  console.log();
  return { task, asked, scored: rows.length, adds, judges: measured };
}

/** Scores of each half by a logistic regression on the other. */
function combine(x: readonly (readonly number[])[], truth: readonly number[]): number[] {
  const out = new Array<number>(truth.length);
  const halves = drawHalves(truth, 0)!;
  halves.forEach((half, which) => {
    const fitted = fitLogistic({
      x: Array.from(half, (i) => x[i]),
      y: Array.from(half, (i) => truth[i]),
    });
    for (const i of halves[1 - which]) out[i] = predictLogistic(fitted, x[i]);
  });
  return out;
}

function logit(p: number): number {
  const q = Math.min(1 - 1e-4, Math.max(1e-4, p));
  return Math.log(q / (1 - q));
}

function formatInterval(
  estimate:
    | { readonly value: number; readonly low: number | null; readonly high: number | null }
    | { readonly difference: number; readonly low: number; readonly high: number }
    | null,
): string {
  if (estimate === null) return "";
  const value = "value" in estimate ? estimate.value : estimate.difference;
  const { low, high } = estimate;
  return `${value.toFixed(3)} [${low?.toFixed(3) ?? "?"}, ${high?.toFixed(3) ?? "?"}]`;
}
