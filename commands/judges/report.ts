/** `deno task judges report [JUDGE…]`. */
import { signed } from "../../judges/cards/measure.ts";
import type { Agreement } from "../../judges/report/agreement.ts";
import type { ReportedRate } from "../../judges/report/rates.ts";
import { type JudgeLift, type JudgeReport, reportJudges } from "../../judges/report/report.ts";
import { judgingParams } from "../../run.ts";
import { formatCount, formatTable, print } from "../../runtime/terminal.ts";
import type { JudgesContext } from "../judges.ts";

/** Shows what judges say with intervals, corrected by labels, and what that rests on. */
export async function handle({ args, project, version, names }: JudgesContext): Promise<void> {
  const { config, plugins, store } = project;
  const report = await reportJudges(store, {
    model: version.model,
    version: version.version,
    judges: names.length === 0 ? undefined : names,
    params: judgingParams(config),
    seed: config.seed,
    plugins: plugins.list("judge"),
  });
  if (args.options.json === true) return print(JSON.stringify(report));
  if (version.note !== null) print(`note: ${version.note}`);
  const { model, version: number, judges, agreement } = report;
  print(`${model} version ${number}: intervals are of 95 %, rates of the predictions with a score`);
  if (judges.length === 0) return print('\nnothing is judged yet: "deno task judge"');
  for (const judge of judges) print(`\n${describe(judge)}`);
  if (agreement !== null) {
    print(`\nagreement of ${agreement.raters.join(", ")}: ${describeAgreement(agreement)}`);
  }
}

function describe(report: JudgeReport): string {
  const { corrected, cost, cut, stratified, members, lift } = report;
  const origin = report.cutSource === "card" ? "its card" : "the config";
  const labels = `${corrected.labels} labels`;
  const rows: (readonly [string, string])[] = [
    ["judged", `${formatCount(report.judged)}, ${formatCount(report.scored)} of them scored`],
    ["coverage", report.coverage === null ? "unknown" : percent(report.coverage)],
    ["mean score", rate(report.mean, decimals)],
    [`below ${decimals(cut)}`, `${rate(report.below, percent)}, the cut of ${origin}`],
    ["bad by PPI++", rate(corrected.ppi, percent, labels)],
    ["bad by Rogan-Gladen", rate(corrected.roganGladen, percent, labels)],
    ...(stratified === null ? [] : [
      ["mean score by strata", rate(stratified.mean, decimals)],
      [`below ${decimals(cut)} by strata`, rate(stratified.below, percent)],
    ] as const),
    ...(report.judge === "rule" ? [] : [["against the rule", describeLift(lift.rule)]] as const),
    ["against own confidence", describeLift(lift.own)],
    ...(members === null ? [] : [["members", describeAgreement(members)]] as const),
    ["abstentions", kinds(cost.abstentions)],
    ["errors", kinds(cost.errors)],
    [
      "cost",
      `${formatCount(cost.tokensIn)} tokens in, ${formatCount(cost.tokensOut)} out, ` +
      `${cost.ms.toFixed(1)} ms a call, ${formatCount(cost.calls)} calls`,
    ],
  ];
  const head = `${report.judge} (${report.judgeVersion}), ${report.status}`;
  const table = formatTable(["what", "value"], rows);
  if (stratified === null) return `${head}\n\n${table}`;
  const strata = formatTable(
    ["stratum", "predictions", "scored", "mean", `below ${decimals(cut)}`],
    stratified.strata.map(({ stratum, size, scored, mean, below }) => [
      stratum,
      size,
      scored,
      rate(mean, decimals),
      rate(below, percent),
    ]),
  );
  return `${head}\n\n${table}\n\n${strata}`;
}

function decimals(value: number): string {
  return value.toFixed(3);
}

function percent(value: number): string {
  return `${(100 * value).toFixed(1)} %`;
}

/** A number with its interval and what it rests on, or why there is none. */
function rate(
  { value, low, high, reason }: ReportedRate,
  write: (value: number) => string,
  basis?: string,
): string {
  if (value === null || low === null || high === null) return reason ?? "unknown";
  return `${write(value)} [${write(low)}, ${write(high)}]${
    basis === undefined ? "" : `, ${basis}`
  }`;
}

function describeLift(lift: JudgeLift): string {
  return lift.says === null ? rate(lift, signed) : `${lift.says}: AUC ${rate(lift, signed)}`;
}

function describeAgreement({ nominal, interval, predictions }: Agreement): string {
  const alpha = (estimate: Agreement["nominal"]) => {
    if (estimate === null) return "undefined";
    const { value, low, high } = estimate;
    const end = (value: number | null) => value === null ? "?" : decimals(value);
    return `${decimals(value)} [${end(low)}, ${end(high)}]`;
  };
  return `Krippendorff's α ${alpha(nominal)} of good or bad, ${alpha(interval)} of scores, ` +
    `${formatCount(predictions)} predictions`;
}

function kinds(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts).map(([kind, n]) => `${kind} ${formatCount(n)}`).join(", ") ||
    "none";
}
