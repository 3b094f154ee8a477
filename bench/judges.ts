/**
 * What each form of judge is worth, beside a rule and the model's own probability:
 * `deno run -A bench/judges.ts [--store FILE] [--cases N] [--forms a,b]`, after `deno task pipeline`
 * and with a server of a language model where the judges look for one (docs/judges.md).
 *
 * Cases are held-out predictions of the training well, whose truth is known, in two tasks: `swapped`,
 * the true label against another class drawn at random, and `mistakes`, the model's own predictions,
 * half of them wrong. A score is good when it is higher for the right label. `combined` is a logistic
 * regression of rule and own probability, without and with the language model, each half of the cases
 * scored by what the other half teaches.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { connection } from "../judges/mod.ts";
import { classify } from "../judges/forms/classify.ts";
import { createLlmJudge, type Form } from "../judges/forms/form.ts";
import { referenceYesNo } from "../judges/forms/reference_yesno.ts";
import { rubricJson } from "../judges/forms/rubric_json.ts";
import { rule } from "../judges/rule.ts";
import { compareAucs, estimateAuc } from "../numeric/agreement/auc.ts";
import { crossFit, drawHalves } from "../numeric/agreement/calibrators.ts";
import { estimateKappa } from "../numeric/agreement/kappa.ts";
import { fitLogistic, predictLogistic } from "../numeric/agreement/logistic.ts";
import { Random } from "../numeric/random.ts";
import type { ClassProfile, Inference, Plugin } from "../plugins/plugin.ts";
import { readHeldOut } from "../runtime/estimates/held_out.ts";
import { resolveVersion } from "../runtime/registry/model_registry.ts";
import { openStore } from "../runtime/store/store.ts";
import { formatTable } from "../runtime/terminal.ts";

const { values: options } = parseArgs({
  options: {
    store: { type: "string", default: ".geophone/dev.duckdb" },
    model: { type: "string", default: "wells" },
    cases: { type: "string", default: "200" },
    forms: { type: "string", default: "reference-yesno" },
    out: { type: "string" },
  },
});
const count = Number(options.cases);

const forms: Readonly<Record<string, () => Form>> = {
  "reference-yesno": referenceYesNo,
  classify,
  "rubric-json": () =>
    rubricJson({ rubric: "10: every measured value is typical of the class; 0: none is." }),
};

interface Case {
  readonly task: "swapped" | "mistakes";
  readonly inference: Inference;
  /** 1 when the label is the true one. */
  readonly truth: number;
  /** Held-out probability that the model gives the label. */
  readonly own: number;
}

await using store = await openStore(options.store, { publish: false });
const version = await resolveVersion(store, options.model, "production");
const [row] = await store.query<{ input_names: string[]; class_names: string[]; report: string }>(
  "select input_names, class_names, report from models where model = ? and version = ?",
  [version.model, version.version],
);
const { input_names: inputNames, class_names: classNames } = row;
const { profiles }: { readonly profiles: Readonly<Record<string, ClassProfile>> } = JSON.parse(
  row.report,
);
const found = await readHeldOut(store, version);
if (found === null) throw new Error("Cannot make cases: the held-out predictions are gone");
const heldOut = found;
const cases = makeCases();
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
const scores = new Map<string, (number | null)[]>([["own probability", cases.map((c) => c.own)]]);
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
if (options.out) {
  const rows = cases.map(({ task, truth }, i) => ({
    task,
    truth,
    ...Object.fromEntries([...scores].map(([name, given]) => [name, given[i]])),
  }));
  await Deno.writeTextFile(options.out, JSON.stringify(rows));
}
for (const task of ["swapped", "mistakes"] as const) show(task);

function makeCases(): Case[] {
  const random = new Random(7);
  const { X, P, y } = heldOut;
  const order = random.shuffle(Int32Array.from(y.keys()));
  const best = (i: number) => {
    const row = P.data.subarray(i * P.cols, (i + 1) * P.cols);
    return row.indexOf(Math.max(...row));
  };
  const make = (task: Case["task"], i: number, label: number): Case => ({
    task,
    truth: label === y[i] ? 1 : 0,
    own: P.data[i * P.cols + label],
    inference: {
      requestId: `case-${i}`,
      row: 0,
      model: options.model,
      version: version.version,
      features: Object.fromEntries(inputNames.map((name, j) => {
        const value = X.data[i * X.cols + j];
        return [name, Number.isNaN(value) ? null : value];
      })),
      label: classNames[label],
      probabilities: Object.fromEntries(
        classNames.map((name, j) => [name, P.data[i * P.cols + j]]),
      ),
      confidence: P.data[i * P.cols + label],
    },
  });
  const swapped = [...order.subarray(0, count)].map((i, place) => {
    if (place % 2 === 0) return make("swapped", i, y[i]);
    const other = (y[i] + 1 + random.below(P.cols - 1)) % P.cols;
    return make("swapped", i, other);
  });
  const rest = [...order.subarray(count)];
  const right = rest.filter((i) => best(i) === y[i]).slice(0, count / 2);
  const wrong = rest.filter((i) => best(i) !== y[i]).slice(0, count / 2);
  return [...swapped, ...[...right, ...wrong].map((i) => make("mistakes", i, best(i)))];
}

function show(task: Case["task"]): void {
  // All are compared on the cases that every judge scored.
  const rows = cases.flatMap((each, i) =>
    each.task === task && [...scores.values()].every((given) => given[i] !== null) ? [i] : []
  );
  const truth = rows.map((i) => cases[i].truth);
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
  console.log(formatTable(
    ["judge", "AUC", "less the rule's", "kappa", "agreement", "ms a case", "tokens a case"],
    [...table].map(([name, given]) => {
      const cost = costs.get(name);
      // What is combined is a probability already; other scores are cut where the other half says.
      const labels = name.startsWith("combined")
        ? given.map((p) => p >= 0.5 ? 1 : 0)
        : crossFit("threshold", { scores: given, truth })!.labels;
      const agreement = truth.filter((value, i) => value === labels[i]).length / truth.length;
      return [
        name,
        formatInterval(estimateAuc({ scores: given, truth })),
        name === rule.name ? "" : formatInterval(compareAucs(given, table.get(rule.name)!, truth)),
        formatInterval(estimateKappa(labels, truth)),
        agreement.toFixed(2),
        cost ? (cost.ms / cases.length).toFixed(0) : "",
        cost && cost.tokens > 0 ? (cost.tokens / cases.length).toFixed(0) : "",
      ];
    }),
  ));
  if (llm.length > 0) {
    console.log(
      `the language model adds ${formatInterval(compareAucs(all, base, truth))} to rule and own ` +
        "probability\n",
    );
  } else console.log();
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
