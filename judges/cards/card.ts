/**
 * Cards: what a version of a judge is worth on predictions of one version of a model whose truth is
 * known. Where people or labels have said enough of what was judged in production, that counts; else
 * predictions that training held out.
 *
 * @module
 */
import type { KnownInference } from "../../plugins/plugin.ts";
import type { Store } from "../../runtime/store/store.ts";
import { type Asked } from "../asking.ts";
import { askCases } from "../cases/asked.ts";
import { type CaseTask, FEWEST_CASES, isMeasured, makeCases } from "../cases/cases.ts";
import { readOwn } from "../combined/combined.ts";
import { rule } from "../rule.ts";
import { inferenceColumns, type InferenceRow, toInference } from "../rows.ts";
import { type CardNumbers, type CardRow, describeCard, measureCard } from "./measure.ts";

/** Where the truth of a card comes from. */
export type CardSource = "labels" | CaseTask;

/** Names of the sources, the best first. */
export const cardSources: readonly CardSource[] = ["labels", "mistakes", "swapped"];

/** A card. */
export interface JudgeCard extends CardNumbers {
  readonly judge: string;
  readonly judgeVersion: string;
  readonly model: string;
  readonly version: number;
  readonly source: CardSource;
  readonly status: "trusted" | "advisory" | "quarantined";
  /** What it comes to, in words. */
  readonly summary: string;
  /** What the answers took: all tokens, and milliseconds of one. */
  readonly tokens: number;
  readonly ms: number;
}

/** How a card is made. */
export interface CardOptions {
  readonly model: string;
  readonly version: number;
  /** Most held-out predictions that the judge is asked about. */
  readonly rows: number;
  /** Left out: the first source that has enough. */
  readonly source?: CardSource | undefined;
  readonly signal: AbortSignal;
  readonly onProgress?: (share: number) => void;
}

/** A judge's answer to a prediction of known truth. */
interface Answer extends KnownInference {
  readonly score: number | null;
  readonly tokens: number;
  readonly ms: number;
}

/** Measures a judge, keeps its card and gives it. Answers that are there already are not asked for again. */
export async function makeCard(
  store: Store,
  asked: Asked,
  options: CardOptions,
): Promise<JudgeCard> {
  const { source, answers } = await findAnswers(store, asked, options);
  const rows = await Promise.all(answers.map(async (answer): Promise<CardRow> => {
    const ruled = await rule.judge(answer.inference, asked.context);
    return {
      score: answer.score,
      isGood: answer.isGood,
      rule: ruled.status === "scored" ? ruled.score : null,
      own: readOwn(answer.inference),
    };
  }));
  const numbers = measureCard(rows);
  const sum = (read: (answer: Answer) => number) =>
    answers.reduce((total, answer) => total + read(answer), 0);
  const card = {
    ...numbers,
    judge: asked.judge,
    judgeVersion: asked.judgeVersion,
    model: options.model,
    version: options.version,
    source,
    summary: describeCard(asked.judge, numbers),
    tokens: sum(({ tokens }) => tokens),
    ms: answers.length === 0 ? 0 : sum(({ ms }) => ms) / answers.length,
  };
  await keepCard(store, card);
  const [{ status }] = await store.query<{ status: JudgeCard["status"] }>(
    `select status from judge_cards
     where judge = ? and judge_version = ? and model = ? and version = ?`,
    [card.judge, card.judgeVersion, card.model, card.version],
  );
  return { ...card, status };
}

async function findAnswers(
  store: Store,
  asked: Asked,
  options: CardOptions,
): Promise<{ readonly source: CardSource; readonly answers: readonly Answer[] }> {
  const { source } = options;
  if (source === undefined || source === "labels") {
    const answers = await readLabelled(store, asked, options);
    const good = answers.filter(({ isGood }) => isGood).length;
    const fewest = Math.min(good, answers.length - good);
    if (source === "labels" || 2 * fewest >= FEWEST_CASES) return { source: "labels", answers };
  }
  const tasks: readonly CaseTask[] = source === undefined ? ["mistakes", "swapped"] : [source];
  for (const task of tasks) {
    const { model, version, rows } = options;
    const cases = await makeCases(store, { model, version, count: rows, half: "measure", task });
    if (cases.length < Math.min(rows, FEWEST_CASES) && task !== tasks.at(-1)) continue;
    return { source: task, answers: await answerCases(store, asked, { ...options, task, cases }) };
  }
  return { source: "swapped", answers: [] };
}

/** What the judge said of production, where it is known whether it is so. */
async function readLabelled(
  store: Store,
  { plugin, judge, judgeVersion }: Asked,
  { model, version }: CardOptions,
): Promise<Answer[]> {
  const rows = await store.query<
    InferenceRow & {
      readonly is_good: boolean;
      readonly score: number | null;
      readonly tokens: number;
      readonly ms: number;
    }
  >(
    `with truth as (
       select * from judge_truth where judge in ('', ?)
       qualify row_number() over (partition by request_id, row order by judge desc) = 1),
     words as (
       select * from core.judgements where judge = ? and judge_version = ?
       qualify row_number() over (partition by request_id, row order by created_at desc) = 1)
     select ${inferenceColumns}, t.is_good, w.score, w.ms,
       coalesce(w.tokens_in, 0) + coalesce(w.tokens_out, 0) as tokens
     from words w join truth t using (request_id, row) join inferences i using (request_id, row)
     where i.model = ? and i.version = ?
       ${plugin.learn === undefined ? "" : `and ${isMeasured("i.request_id || ':' || i.row")}`}
     order by i.request_id, i.row`,
    [judge, judge, judgeVersion, model, version],
  );
  return rows.map((row) => ({
    inference: toInference(row, { model, version }),
    isGood: row.is_good,
    score: row.score,
    tokens: row.tokens,
    ms: row.ms,
  }));
}

async function answerCases(
  store: Store,
  asked: Asked,
  { cases, task, model, version, signal, onProgress }: CardOptions & {
    readonly cases: readonly KnownInference[];
    readonly task: CaseTask;
  },
): Promise<Answer[]> {
  const read = async () => {
    const rows = await store.query<
      { request_id: string; score: number | null; tokens: number; ms: number }
    >(
      `select request_id, score, ms, coalesce(tokens_in, 0) + coalesce(tokens_out, 0) as tokens
       from core.judge_cases where kind = 'card' and batch = ? and model = ? and version = ?
         and judge = ? and judge_version = ? and status <> 'error'`,
      [task, model, version, asked.judge, asked.judgeVersion],
    );
    return new Map(rows.map((row) => [row.request_id, row]));
  };
  const known = await read();
  const missing = cases.filter(({ inference }) => !known.has(inference.requestId));
  const batch = { kind: "card", batch: task, model, version, signal } as const;
  await askCases(store, asked, missing, onProgress ? { ...batch, onProgress } : batch);
  const all = await read();
  return cases.map((row) => {
    const { score = null, tokens = 0, ms = 0 } = all.get(row.inference.requestId) ?? {};
    return { ...row, score, tokens, ms };
  });
}

async function keepCard(store: Store, card: Omit<JudgeCard, "status">): Promise<void> {
  const { auc, kappa, ruleLift, ownLift } = card;
  const values = {
    judge: card.judge,
    judge_version: card.judgeVersion,
    model: card.model,
    version: card.version,
    source: card.source,
    n: card.n,
    good: card.good,
    coverage: card.coverage,
    auc: auc?.value ?? null,
    auc_low: auc?.low ?? null,
    auc_high: auc?.high ?? null,
    kappa: kappa?.value ?? null,
    kappa_low: kappa?.low ?? null,
    kappa_high: kappa?.high ?? null,
    tpr: card.tpr,
    tnr: card.tnr,
    ece: card.ece,
    brier: card.brier,
    threshold: card.threshold,
    calibrator: card.calibrator === null ? null : JSON.stringify(card.calibrator),
    rule_lift: ruleLift?.difference ?? null,
    rule_lift_low: ruleLift?.low ?? null,
    rule_lift_high: ruleLift?.high ?? null,
    own_lift: ownLift?.difference ?? null,
    own_lift_low: ownLift?.low ?? null,
    own_lift_high: ownLift?.high ?? null,
    summary: card.summary,
    tokens: card.tokens,
    ms: card.ms,
    created_at: new Date(),
  };
  const names = Object.keys(values);
  await store.query(
    `insert into core.judge_cards (${names.join(", ")}) values (${
      names.map(() => "?").join(", ")
    })`,
    Object.values(values),
  );
}
