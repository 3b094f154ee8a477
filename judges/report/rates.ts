/**
 * What a judge's verdicts say of all predictions: the mean of its scores, the share of those it calls
 * bad, and the rate of bad predictions that people's labels make of it.
 *
 * @module
 */
import { estimateStratified, type SurveyEstimate } from "../../numeric/survey/design.ts";
import { estimatePowered } from "../../numeric/survey/powered.ts";
import { correctRate } from "../../numeric/survey/rogan_gladen.ts";
import { widenShare } from "./shares.ts";

/** The last word of a judge version on one prediction. */
export interface JudgedRow {
  /** `null` when the judge gave no score. */
  readonly score: number | null;
  /** Probability in `(0, 1]` with which the prediction was drawn. */
  readonly probability: number;
  /** Stratum it belongs to, `null` when strata are not known. */
  readonly stratum: string | null;
  /** Whether it is right, `null` while nobody has said. */
  readonly isGood: boolean | null;
}

/** A number in `[0, 1]` with the ends of its 95 % interval; `null`, with the reason, where there is none. */
export interface ReportedRate {
  readonly value: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly reason: string | null;
}

/** Mean score, and share of the scores below the cut. */
export interface ScoreRates {
  readonly mean: ReportedRate;
  readonly below: ReportedRate;
}

/** Means by stratum, and those of all predictions that follow from them. */
export interface StratifiedRates extends ScoreRates {
  readonly strata: readonly (ScoreRates & {
    readonly stratum: string;
    /** Predictions of the stratum, judged or not. */
    readonly size: number;
    readonly scored: number;
  })[];
}

/** Rates of bad predictions, corrected by labels. */
export interface CorrectedRates {
  /** Scored predictions whose truth is known, and the bad ones among them. */
  readonly labels: number;
  readonly badLabels: number;
  /** By PPI++. */
  readonly ppi: ReportedRate;
  /** By Rogan and Gladen. */
  readonly roganGladen: ReportedRate;
}

/** How well a judge is known to tell bad from good at its cut, where its card is made of labels. */
export interface LabelledCut {
  readonly tpr: number;
  readonly tnr: number;
  readonly good: number;
  readonly bad: number;
}

/** Labels, and labels of either kind, that are the least for a corrected rate. */
const FEWEST = 30;
const FEWEST_OF_EACH = 10;

/** What rows of strata with fewer than two scores are called together. */
const REST = "others";

interface ScoredRow extends JudgedRow {
  readonly score: number;
}

/** The rows that have a score. */
export function keepScored(rows: readonly JudgedRow[]): ScoredRow[] {
  return rows.filter((row): row is ScoredRow => row.score !== null);
}

/** Gives Hájek's estimates, with intervals for what the draw leaves open. */
export function estimateScores(rows: readonly JudgedRow[], cut: number): ScoreRates {
  const scored = keepScored(rows);
  return rateStrata([{ size: 1, rows: scored }], cut, scored.length);
}

/** Estimates over strata, or one that holds all. */
function rateStrata(
  strata: readonly { readonly size: number; readonly rows: readonly ScoredRow[] }[],
  cut: number,
  scored: number,
): ScoreRates {
  const reason = `${count(scored, "score")}: needs 2`;
  const sample = (read: (row: ScoredRow) => number) =>
    strata.map(({ size, rows }) => ({
      size,
      values: rows.map(read),
      probabilities: rows.map(({ probability }) => probability),
    }));
  const low = sample(isBelow(cut));
  const share = estimateStratified(low);
  return {
    mean: toRate(estimateStratified(sample(({ score }) => score)), reason),
    below: toRate(share && widenShare(share, low), reason),
  };
}

/**
 * Gives the same by stratum, and for all by the strata's known sizes. Strata with fewer than two scores
 * are taken together, with the smallest of the others while that is still too few: probabilities in them
 * differ, and Hájek's mean weighs by them. `null` without strata.
 */
export function stratifyScores(
  rows: readonly JudgedRow[],
  sizes: ReadonlyMap<string, number>,
  cut: number,
): StratifiedRates | null {
  const groups = Map.groupBy(
    keepScored(rows).filter(({ stratum }) => stratum !== null && sizes.has(stratum)),
    ({ stratum }) => stratum!,
  );
  const all = [...sizes].map(([stratum, size]) => ({
    stratum,
    size,
    rows: groups.get(stratum) ?? [],
  })).sort((a, b) => a.size - b.size || (a.stratum < b.stratum ? -1 : 1));
  if (all.length === 0) return null;
  const few = all.filter(({ rows }) => rows.length < 2);
  const enough = all.filter(({ rows }) => rows.length >= 2);
  const scoredOf = (strata: typeof all) => strata.reduce((n, { rows }) => n + rows.length, 0);
  while (few.length > 0 && scoredOf(few) < 2 && enough.length > 0) few.push(enough.shift()!);
  const strata = few.length === 0 ? enough : [...enough, {
    stratum: few.length === 1 ? few[0].stratum : REST,
    size: few.reduce((n, { size }) => n + size, 0),
    rows: few.flatMap(({ rows }) => rows),
  }];
  return {
    ...rateStrata(strata, cut, scoredOf(all)),
    strata: strata.map(({ stratum, size, rows }) => ({
      stratum,
      size,
      scored: rows.length,
      ...estimateScores(rows, cut),
    })),
  };
}

/**
 * Gives the rate of bad predictions among those that a judge scores, by two ways of correction. Both
 * take the rows whose truth is known as a random part of the others. How well the judge works at the
 * cut comes from the same labels, but where the cut was chosen by them: there `labelled` says so.
 */
export function correctByLabels(
  rows: readonly JudgedRow[],
  cut: number,
  labelled: LabelledCut | null,
): CorrectedRates {
  const scored = keepScored(rows);
  const known = scored.filter(({ isGood }) => isGood !== null);
  const open = scored.filter(({ isGood }) => isGood === null);
  const bad = known.filter(({ isGood }) => isGood === false);
  const counts = { labels: known.length, badLabels: bad.length };
  const reason = known.length < FEWEST
    ? `${count(known.length, "label")}: needs ${FEWEST}`
    : Math.min(bad.length, known.length - bad.length) < FEWEST_OF_EACH
    ? `${known.length} labels, ${bad.length} of them bad: needs ${FEWEST_OF_EACH} of either kind`
    : open.length < 2
    ? `${count(open.length, "scored prediction")} without a label: needs 2`
    : null;
  if (reason !== null) {
    return { ...counts, ppi: toRate(null, reason), roganGladen: toRate(null, reason) };
  }
  const powered = estimatePowered({
    truth: known.map(({ isGood }) => isGood ? 0 : 1),
    predicted: known.map(({ score }) => 1 - score),
    probabilities: known.map(({ probability }) => probability),
    unlabelled: open.map(({ score }) => 1 - score),
    unlabelledProbabilities: open.map(({ probability }) => probability),
  });
  const low = isBelow(cut);
  const good = known.filter(({ isGood }) => isGood === true);
  const found = weigh(open, low);
  const sensitivity = labelled === null
    ? weigh(bad, low)
    : { share: labelled.tnr, rows: labelled.bad };
  const specificity = labelled === null
    ? weigh(good, (row) => 1 - low(row))
    : { share: labelled.tpr, rows: labelled.good };
  const corrected = correctRate({
    rate: found.share,
    rows: found.rows,
    sensitivity: sensitivity.share,
    positives: sensitivity.rows,
    specificity: specificity.share,
    negatives: specificity.rows,
  });
  return {
    ...counts,
    ppi: toRate(powered, "no estimate"),
    roganGladen: toRate(corrected, "it tells bad from good no better than chance at its cut"),
  };
}

/** Share of the drawn predictions that got a score, each weighted by 1 / its probability. */
export function measureCoverage(rows: readonly JudgedRow[]): number | null {
  const total = rows.reduce((sum, row) => sum + toWeight(row), 0);
  return total === 0 ? null : keepScored(rows).reduce((sum, row) => sum + toWeight(row), 0) / total;
}

/** A share weighted by 1 / probability, and how many rows of equal weight are worth as much (Kish). */
function weigh(
  rows: readonly ScoredRow[],
  read: (row: ScoredRow) => number,
): { readonly share: number; readonly rows: number } {
  let total = 0;
  let squares = 0;
  let sum = 0;
  for (const row of rows) {
    const weight = toWeight(row);
    total += weight;
    squares += weight ** 2;
    sum += weight * read(row);
  }
  // Sums of fractions may exceed a whole.
  return { share: Math.min(1, sum / total), rows: total ** 2 / squares };
}

function toWeight({ probability }: JudgedRow): number {
  return 1 / probability;
}

function isBelow(cut: number): (row: ScoredRow) => number {
  return ({ score }) => score < cut ? 1 : 0;
}

function toRate(estimate: SurveyEstimate | null, reason: string): ReportedRate {
  if (estimate === null) return { value: null, low: null, high: null, reason };
  const cut = (value: number) => Math.min(1, Math.max(0, value));
  const { value, low, high } = estimate;
  return { value: cut(value), low: cut(low), high: cut(high), reason: null };
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
