/**
 * Standard errors of metrics by sampling, from a reference whose truth is known: the deviation of what a
 * row contributes, over the root of the rows that contribute (NannyML's formulas).
 *
 * @see NannyML 0.13, `sampling_error`
 */
import { classesOf, type MetricName } from "./soft_metrics.ts";

/** Rows of the reference. */
export interface LabelledRows {
  readonly k: number;
  /** `[n, k]`, row-major. */
  readonly scores: ArrayLike<number>;
  readonly predicted: Int32Array;
  readonly y: Int32Array;
}

/** Variance of what a row contributes and the share of rows that do. */
interface Contribution {
  readonly variance: number;
  readonly share: number;
}

/** NannyML found that the classes' errors together are that much larger. */
const macroAreaFactor = 1.2;

/** Gives, for each metric, its standard error over a number of rows. */
export function fitSamplingErrors(
  rows: LabelledRows,
): (metric: MetricName, count: number) => number {
  const n = rows.y.length;
  let correct = 0;
  for (let i = 0; i < n; i++) if (rows.y[i] === rows.predicted[i]) correct++;
  const classes = classesOf(rows.k);
  const contributions: Readonly<Record<MetricName, readonly Contribution[]>> = {
    accuracy: [ofShare(correct, n, n)],
    ...countContributions(rows, classes),
    rocAuc: classes.map((c) => rankContribution(rows, c)),
  };
  return (metric, count) => {
    const parts = contributions[metric];
    const variance = parts.reduce((sum, part) => sum + part.variance / (count * part.share), 0);
    const factor = metric === "rocAuc" && parts.length > 1 ? macroAreaFactor : 1;
    return factor * Math.sqrt(variance) / parts.length;
  };
}

/** Contribution of ones and zeros: `hits` ones among `relevant` of n rows. */
function ofShare(hits: number, relevant: number, n: number): Contribution {
  if (relevant === 0) return { variance: 0, share: 1 };
  const rate = hits / relevant;
  return { variance: rate * (1 - rate), share: relevant / n };
}

function countContributions(
  { k, predicted, y }: LabelledRows,
  classes: readonly number[],
): Record<"precision" | "recall" | "f1", Contribution[]> {
  const n = y.length;
  const parts = { precision: [], recall: [], f1: [] } as Record<
    "precision" | "recall" | "f1",
    Contribution[]
  >;
  for (const c of classes) {
    let hits = 0;
    let called = 0;
    let actual = 0;
    for (let i = 0; i < n; i++) {
      if (predicted[i] === c) called++;
      if (y[i] === c) actual++;
      if (predicted[i] === c && y[i] === c) hits++;
    }
    parts.precision.push(ofShare(hits, called, n));
    parts.recall.push(ofShare(hits, actual, n));
    const relevant = called + actual - hits;
    const f1 = ofShare(hits, relevant, n);
    // The factor that makes the mean contribution F1 itself; NannyML has it for two classes only.
    const factor = k === 2 && relevant > 0 ? relevant / ((called + actual) / 2) : 1;
    parts.f1.push({ ...f1, variance: f1.variance * factor ** 2 });
  }
  return parts;
}

/** Of the area as a Mann–Whitney statistic: for each row of the rarer side, the share of others below it. */
function rankContribution({ k, scores, y }: LabelledRows, c: number): Contribution {
  const n = y.length;
  const actual = y.reduce((sum, truth) => sum + (truth === c ? 1 : 0), 0);
  const isFlipped = actual > n / 2;
  const order = Int32Array.from(y.keys()).sort((a, b) => scores[a * k + c] - scores[b * k + c]);
  if (isFlipped) order.reverse();
  const shares: number[] = [];
  let others = 0;
  for (const row of order) {
    if ((y[row] === c) !== isFlipped) shares.push(others);
    else others++;
  }
  if (shares.length === 0 || others === 0) return { variance: 0, share: 1 };
  const mean = shares.reduce((a, b) => a + b, 0) / shares.length;
  const variance = shares.reduce((sum, s) => sum + (s - mean) ** 2, 0) / shares.length;
  return { variance: variance / others ** 2, share: shares.length / n };
}
