/**
 * How a rule, the model's own probability and a language model weigh together: a logistic regression
 * with a ridge over their logarithms, fitted to rows of known truth.
 *
 * @module
 */
import { compareAucs } from "../../numeric/agreement/auc.ts";
import { drawHalves } from "../../numeric/agreement/calibrators.ts";
import { fitLogistic, type Logistic, predictLogistic } from "../../numeric/agreement/logistic.ts";

/** What is known of a prediction. */
export interface Signals {
  /** Score of the rule, in `[0, 1]`. */
  readonly rule: number;
  /** The model's own probability of the label it predicts. */
  readonly own: number;
  /** P(Yes) of the language model, `null` when it was not asked or had no answer. */
  readonly llm: number | null;
}

/** The same, and what is true. */
export interface KnownSignals extends Signals {
  readonly isGood: boolean;
}

/** A fitted combination, or why there is none. */
export type Combination =
  | {
    readonly kind: "fitted";
    readonly rows: number;
    /** Over rule and own probability; `null`: the rule alone is better. */
    readonly base: Logistic | null;
    /** Over both and the language model, where enough rows have its score and it is not worse. */
    readonly full: Logistic | null;
  }
  | { readonly kind: "rule"; readonly reason: string };

/** Fewer rows, or fewer of either truth, teach nothing. */
const FEWEST = 30;
const FEWEST_OF_EACH = 10;

/** Rows with a language model's score from which on it is weighed, too. */
const FEWEST_WITH_LLM = 50;

/**
 * Fits the combination. It is checked on halves that it was not fitted on: where it ranks rows worse
 * than the rule alone, the rule stands alone.
 */
export function fitCombination(rows: readonly KnownSignals[]): Combination {
  if (!isEnough(rows, FEWEST)) {
    return {
      kind: "rule",
      reason: `${rows.length} predictions of known truth are too few to weigh more than the rule`,
    };
  }
  const base = fitOver(rows, baseColumns);
  const asked = rows.filter(({ llm }) => llm !== null);
  const full = isEnough(asked, FEWEST_WITH_LLM) ? fitOver(asked, fullColumns) : null;
  if (base === null && full === null) {
    return { kind: "rule", reason: "it tells good from bad better on held-out rows" };
  }
  return { kind: "fitted", rows: rows.length, base, full };
}

/** Gives the probability in `[0, 1]` that a prediction is good. */
export function combine(combination: Combination, signals: Signals): number {
  if (combination.kind === "rule") return signals.rule;
  const { base, full } = combination;
  if (full !== null && signals.llm !== null) return predictLogistic(full, fullColumns(signals));
  return base === null ? signals.rule : predictLogistic(base, baseColumns(signals));
}

function isEnough(rows: readonly KnownSignals[], fewest: number): boolean {
  const good = rows.filter(({ isGood }) => isGood).length;
  return rows.length >= fewest && Math.min(good, rows.length - good) >= FEWEST_OF_EACH;
}

/** A fit over all rows, `null` when fits over halves rank the others worse than the rule does. */
function fitOver(
  rows: readonly KnownSignals[],
  columns: (signals: Signals) => number[],
): Logistic | null {
  const x = rows.map(columns);
  const y = rows.map(({ isGood }) => isGood ? 1 : 0);
  const halves = drawHalves(y, 0)!;
  const held = new Float64Array(rows.length);
  halves.forEach((half, i) => {
    const fit = fitLogistic({ x: [...half].map((row) => x[row]), y: half.map((row) => y[row]) });
    for (const row of halves[1 - i]) held[row] = predictLogistic(fit, x[row]);
  });
  const against = compareAucs(held, rows.map(({ rule }) => rule), y);
  return against !== null && against.difference >= 0 ? fitLogistic({ x, y }) : null;
}

function baseColumns({ rule, own }: Signals): number[] {
  return [logarithm(rule), logarithm(own)];
}

function fullColumns(signals: Signals): number[] {
  const llm = signals.llm!;
  return [...baseColumns(signals), logarithm(llm) - logarithm(1 - llm)];
}

/** Nothing is quite impossible. */
function logarithm(probability: number): number {
  return Math.log(Math.max(1e-6, probability));
}
