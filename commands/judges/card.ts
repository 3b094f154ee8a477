/** `deno task judges card NAME`. */
import { type CardSource, cardSources, type JudgeCard, makeCard } from "../../judges/cards/card.ts";
import { createProgressLine, formatTable, print } from "../../runtime/terminal.ts";
import type { JudgesContext } from "../judges.ts";
import { checkName, readText } from "../options.ts";
import { openJudge, readRows } from "./asked.ts";

/** Held-out predictions that a judge is asked about unless said otherwise. */
const ROWS = 200;

const sources: Readonly<Record<CardSource, string>> = {
  labels: "judged predictions whose truth is known",
  mistakes: "held-out predictions of the model, half of them wrong",
  swapped: "held-out rows, half of them with another label",
};

/** Measures a judge and shows its card. */
export async function handle(context: JudgesContext): Promise<void> {
  const card = await measure(context);
  print(context.args.options.json === true ? JSON.stringify(card) : describe(card));
}

async function measure(context: JudgesContext): Promise<JudgeCard> {
  const { args, project, version: { model, version } } = context;
  const given = readText(args.options.cases);
  const source = given === undefined ? undefined : checkName("cases", given, cardSources);
  const rows = readRows(context, ROWS);
  const asked = await openJudge(context);
  using line = createProgressLine();
  return await makeCard(project.store, asked, {
    model,
    version,
    rows,
    source,
    signal: args.signal,
    onProgress: (share) => line.show(`judge ${asked.judge} ${Math.round(100 * share)} %`),
  });
}

function describe(card: JudgeCard): string {
  const interval = (ends: { value: number; low: number | null; high: number | null } | null) =>
    ends === null
      ? "unknown"
      : `${ends.value.toFixed(3)} [${ends.low?.toFixed(3) ?? "?"}, ${
        ends.high?.toFixed(3) ?? "?"
      }]`;
  const number = (value: number | null) => value === null ? "unknown" : value.toFixed(3);
  const rows: (readonly [string, string])[] = [
    ["status", card.status],
    ["rows", `${card.n} scored, ${card.good} of them good: ${sources[card.source]}`],
    ["coverage", card.coverage === null ? "unknown" : `${(100 * card.coverage).toFixed(1)} %`],
    ["AUC", interval(card.auc)],
    ["kappa", interval(card.kappa)],
    ["true good rate", number(card.tpr)],
    ["true bad rate", number(card.tnr)],
    ["threshold", number(card.threshold)],
    ["calibrator", card.calibrator?.kind ?? "unknown"],
    ["ECE", number(card.ece)],
    ["Brier", number(card.brier)],
    ["cost", `${card.tokens} tokens, ${card.ms.toFixed(1)} ms a verdict`],
  ];
  return `${card.judge} (${card.judgeVersion}) on ${card.model} version ${card.version}\n\n${
    formatTable(["what", "value"], rows)
  }\n\n${card.judge} ${card.summary}`;
}
