/**
 * What judges say of one version of a model, and how far that can be believed: every number with its
 * interval, or with the reason why there is none.
 *
 * @module
 */
import type { z } from "zod";
import type { Plugin } from "../../plugins/plugin.ts";
import { UsageError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { JudgingParams } from "../judging.ts";
import type { JudgeVersion } from "../rows.ts";
import { checkFilter, type SamplingPlan } from "../sampling/plan.ts";
import { type Agreement, measureAgreement, type Rater, readMembers } from "./agreement.ts";
import {
  correctByLabels,
  type CorrectedRates,
  estimateScores,
  keepScored,
  measureCoverage,
  type ReportedRate,
  type ScoreRates,
  type StratifiedRates,
  stratifyScores,
} from "./rates.ts";
import {
  type JudgeCost,
  readCard,
  readJudges,
  readSizes,
  readVerdicts,
  type ReportCard,
  type VerdictRow,
} from "./rows.ts";

/** What one version of a judge says, and is worth. */
export interface JudgeReport extends JudgeVersion, ScoreRates {
  readonly status: ReportCard["status"];
  /** Predictions with a verdict, and those with a score. */
  readonly judged: number;
  readonly scored: number;
  /** Share of the drawn predictions that got a score, weighted; `null` without any. */
  readonly coverage: number | null;
  /** A score below it is called bad, … */
  readonly cut: number;
  /** … as the judge's card says, or the config where the card says nothing. */
  readonly cutSource: "card" | "config";
  /** The same rates by stratum; `null` where the config's sample is not stratified. */
  readonly stratified: StratifiedRates | null;
  /** Rate of bad predictions by labels. */
  readonly corrected: CorrectedRates;
  /** Area less that of the rule, and of the model's own probability, from the card. */
  readonly lift: Readonly<Record<"rule" | "own", JudgeLift>>;
  /** Agreement of its members; `null` where it is no ensemble. */
  readonly members: Agreement | null;
  readonly cost: JudgeCost;
}

/** A difference of areas, and what it comes to. */
export interface JudgeLift extends ReportedRate {
  readonly says: "better" | "worse" | "adds nothing" | null;
}

/** Outcome of {@linkcode reportJudges}. */
export interface JudgesReport {
  readonly model: string;
  readonly version: number;
  readonly judges: readonly JudgeReport[];
  /** Agreement of the newest versions of the judges; `null` of one alone. */
  readonly agreement: Agreement | null;
}

/** What is reported. */
export interface ReportOptions {
  readonly model: string;
  readonly version: number;
  /** Names of judges, of each of which all versions are reported; left out: the newest of every judge. */
  readonly judges?: readonly string[] | undefined;
  readonly params: Pick<z.infer<typeof JudgingParams>, "threshold" | "sampling">;
  readonly seed: number;
  /** Judges there are: of one that learns, or that nobody knows, rows that teach are no labels. */
  readonly plugins: readonly Plugin<"judge">[];
}

/**
 * Makes the report.
 * @throws {UsageError} when a judge that is named has judged nothing of the version.
 */
export async function reportJudges(store: Store, options: ReportOptions): Promise<JudgesReport> {
  const { model, version } = options;
  const all = await readJudges(store, options);
  // The newest version of a judge comes first.
  const found = options.judges !== undefined
    ? all
    : all.filter(({ judge }, i) => all[i - 1]?.judge !== judge);
  const missing = options.judges?.find((name) => found.every(({ judge }) => judge !== name));
  if (missing !== undefined) {
    throw new UsageError(
      `Cannot report judge "${missing}": it has judged nothing of ${model} version ${version}; ` +
        `run "deno task judge ${missing}"`,
    );
  }
  const strata = await readStrata(store, options);
  const reports: JudgeReport[] = [];
  const raters = new Map<string, Rater>();
  for (const judge of found) {
    const { report, verdicts } = await reportJudge(store, judge, { ...options, strata });
    reports.push(report);
    if (!raters.has(report.judge)) {
      raters.set(report.judge, { name: report.judge, cut: report.cut, scores: toScores(verdicts) });
    }
  }
  return { model, version, judges: reports, agreement: measureAgreement([...raters.values()]) };
}

interface Strata {
  readonly plan: SamplingPlan;
  readonly sizes: ReadonlyMap<string, number>;
}

async function readStrata(
  store: Store,
  { model, version, params: { sampling }, seed }: ReportOptions,
): Promise<Strata | null> {
  if (sampling.mode !== "stratified") return null;
  await checkFilter(store, sampling.where);
  const plan = { ...sampling, model, version, rate: 1, seed };
  return { plan, sizes: await readSizes(store, plan) };
}

async function reportJudge(
  store: Store,
  { judge, judgeVersion, ...cost }: JudgeVersion & JudgeCost,
  { model, version, params, plugins, strata }: ReportOptions & { readonly strata: Strata | null },
): Promise<{ readonly report: JudgeReport; readonly verdicts: readonly VerdictRow[] }> {
  const about = { judge, judgeVersion, model, version };
  const card = await readCard(store, about);
  const plan = strata?.plan ?? null;
  const verdicts = await readVerdicts(store, { ...about, plan, isLearning: false });
  const plugin = plugins.find(({ name }) => name === judge);
  const isLearning = plugin === undefined || plugin.learn !== undefined;
  const believed = isLearning
    ? await readVerdicts(store, { ...about, plan, isLearning })
    : verdicts;
  const cut = card?.threshold ?? params.threshold;
  const report: JudgeReport = {
    judge,
    judgeVersion,
    status: card?.status ?? "advisory",
    judged: verdicts.length,
    scored: keepScored(verdicts).length,
    coverage: measureCoverage(verdicts),
    cut,
    cutSource: card?.threshold == null ? "config" : "card",
    ...estimateScores(verdicts, cut),
    stratified: strata && stratifyScores(verdicts, strata.sizes, cut),
    corrected: correctByLabels(believed, cut, readCut(card)),
    lift: { rule: describeLift(judge, card, "rule"), own: describeLift(judge, card, "own") },
    members: measureAgreement(readMembers(verdicts)),
    cost,
  };
  return { report, verdicts };
}

function toScores(rows: readonly VerdictRow[]): ReadonlyMap<string, number> {
  return new Map(rows.flatMap(({ key, score }) => score === null ? [] : [[key, score] as const]));
}

/** What a card of labels has measured on halves that did not choose its cut. */
function readCut(card: ReportCard | null) {
  if (card === null || card.source !== "labels" || card.tpr === null || card.tnr === null) {
    return null;
  }
  return { tpr: card.tpr, tnr: card.tnr, good: card.good, bad: card.n - card.good };
}

function describeLift(judge: string, card: ReportCard | null, of: "rule" | "own"): JudgeLift {
  const { value, low, high } = card?.lifts[of] ?? { value: null, low: null, high: null };
  if (value !== null && low !== null && high !== null) {
    const says = low > 0 ? "better" : high < 0 ? "worse" : "adds nothing";
    return { value, low, high, reason: null, says };
  }
  const reason = card === null
    ? `no card: run "deno task judges card ${judge}"`
    : `${card.n} scored predictions on its card, too few of either truth`;
  return { value: null, low: null, high: null, reason, says: null };
}
