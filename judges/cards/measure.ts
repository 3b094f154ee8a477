/** What a judge is worth, from its answers to predictions of known truth. */
import { type AucDifference, compareAucs, estimateAuc } from "../../numeric/agreement/auc.ts";
import {
  type Calibrator,
  type CalibratorKind,
  chooseThreshold,
  type CrossFit,
  crossFit,
  fitCalibrator,
} from "../../numeric/agreement/calibrators.ts";
import { estimateKappa } from "../../numeric/agreement/kappa.ts";
import { measureBrier, measureCut, type ScoredRows } from "../../numeric/agreement/scores.ts";
import { measureCalibrationError } from "../../numeric/estimation/calibration.ts";

/** One prediction of known truth. */
export interface CardRow {
  /** `null` when the judge gave no score. */
  readonly score: number | null;
  readonly isGood: boolean;
  /** Score of the rule, `null` when it has no opinion. */
  readonly rule: number | null;
  /** The model's own probability of the label. */
  readonly own: number;
}

/** A number with the ends of its 95 % interval. */
interface Ends {
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
}

/** What is measured; `null` where rows of either truth are too few to tell. */
export interface CardNumbers {
  /** Scored predictions, and the good ones among them. */
  readonly n: number;
  readonly good: number;
  /** Share of the predictions that got a score, `null` without any. */
  readonly coverage: number | null;
  readonly auc: Ends | null;
  /** Agreement with the truth, each half cut where the other half says. */
  readonly kappa: Ends | null;
  readonly tpr: number | null;
  readonly tnr: number | null;
  /** Of probabilities calibrated on the other half. */
  readonly ece: number | null;
  readonly brier: number | null;
  /** Cut on the score for use from now on. */
  readonly threshold: number | null;
  readonly calibrator: Calibrator | null;
  /** Area less that of the rule, and of the model's own probability. */
  readonly ruleLift: AucDifference | null;
  readonly ownLift: AucDifference | null;
}

/** Fewer scored predictions, or of either truth, and no judge is trusted, however well it does. */
const FEWEST = 30;
const FEWEST_OF_EACH = 10;

/** Fewer rows overfit an increasing function. */
const FEWEST_FOR_ISOTONIC = 200;

/** Measures the answers of one judge. */
export function measureCard(rows: readonly CardRow[], { seed = 0 } = {}): CardNumbers {
  const scored = rows.filter((row) => row.score !== null);
  const truth = scored.map(({ isGood }) => isGood ? 1 : 0);
  const good = truth.filter((t) => t === 1).length;
  const counts = {
    n: scored.length,
    good,
    coverage: rows.length === 0 ? null : scored.length / rows.length,
  };
  const known = { scores: scored.map(({ score }) => score!), truth };
  const isEnough = scored.length >= FEWEST &&
    Math.min(good, scored.length - good) >= FEWEST_OF_EACH;
  const fit = isEnough ? chooseCalibrator(known, seed) : null;
  if (fit === null) {
    return {
      ...counts,
      ...{ auc: null, kappa: null, tpr: null, tnr: null, ece: null, brier: null },
      ...{ threshold: null, calibrator: null, ruleLift: null, ownLift: null },
    };
  }
  const { labels, probabilities } = fit.held;
  const { tpr, tnr } = measureCut({ scores: labels, truth }, 0.5);
  const ruled = scored.filter(({ rule }) => rule !== null);
  return {
    ...counts,
    auc: estimateAuc(known),
    kappa: estimateKappa(labels, truth, { seed }),
    tpr,
    tnr,
    ece: measureCalibrationError(probabilities, truth),
    brier: measureBrier({ scores: probabilities, truth }),
    threshold: chooseThreshold(known),
    calibrator: fitCalibrator(fit.kind, known),
    ruleLift: compareAucs(
      ruled.map(({ score }) => score!),
      ruled.map(({ rule }) => rule!),
      ruled.map(({ isGood }) => isGood ? 1 : 0),
    ),
    ownLift: compareAucs(known.scores, scored.map(({ own }) => own), truth),
  };
}

/** The calibrator whose probabilities lie nearest to the truth of the half it was not fitted on. */
function chooseCalibrator(
  known: ScoredRows,
  seed: number,
): { readonly kind: CalibratorKind; readonly held: CrossFit } | null {
  const kinds: CalibratorKind[] = known.truth.length >= FEWEST_FOR_ISOTONIC
    ? ["platt", "threshold", "isotonic"]
    : ["platt", "threshold"];
  let best: { kind: CalibratorKind; held: CrossFit; brier: number } | null = null;
  for (const kind of kinds) {
    const held = crossFit(kind, known, { seed });
    if (held === null) return null;
    const brier = measureBrier({ scores: held.probabilities, truth: known.truth })!;
    if (best === null || brier < best.brier) best = { kind, held, brier };
  }
  return best;
}

/** Says in words what a judge is worth and what it adds to the rule and to the model's own probability. */
export function describeCard(judge: string, numbers: CardNumbers): string {
  const { kappa, auc, n, good, ruleLift, ownLift } = numbers;
  if (auc === null || kappa === null) {
    return `is not known well enough: ${n} scored predictions of known truth, ${good} of them good; ` +
      `${FEWEST} with ${FEWEST_OF_EACH} of either kind are the least`;
  }
  const trust = (kappa.low ?? 0) > 0
    ? "agrees with the truth beyond chance"
    : "does not agree with the truth beyond chance";
  return [
    trust,
    ...(ruleLift === null || judge === "rule" ? [] : [describeLift(ruleLift, "the rule")]),
    ...(ownLift === null ? [] : [describeLift(ownLift, "the model's own probability")]),
  ].join("; ");
}

function describeLift({ difference, low, high }: AucDifference, what: string): string {
  const numbers = `AUC ${signed(difference)} [${signed(low)}, ${signed(high)}]`;
  if (low > 0) return `better than ${what}: ${numbers}`;
  if (high < 0) return `worse than ${what}: ${numbers}`;
  return `adds nothing to ${what}: ${numbers}`;
}

/** Writes a difference of areas. */
export function signed(value: number): string {
  const text = Math.abs(value).toFixed(3);
  return `${value < 0 && Number(text) !== 0 ? "−" : "+"}${text}`;
}
