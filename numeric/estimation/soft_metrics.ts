/**
 * Metrics of a classifier whose truth is only known as probabilities: the expected confusion matrix and
 * what follows from it. A truth of ones and zeros gives the usual metrics.
 */

/** What is measured, one number each; `null` is undefined. */
export interface SoftMetrics {
  readonly accuracy: number | null;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f1: number | null;
  readonly rocAuc: number | null;
}

/** Names of the metrics. */
export type MetricName = keyof SoftMetrics;

/** Names of the metrics, in the order of reports. */
export const metricNames: readonly MetricName[] = [
  "accuracy",
  "precision",
  "recall",
  "f1",
  "rocAuc",
];

/** Rows as the metrics read them. */
export interface SoftRows {
  /** Number of classes. */
  readonly k: number;
  /** The model's scores `[n, k]`, row-major, which rank the rows. */
  readonly scores: ArrayLike<number>;
  /** Predicted class `[n]`. */
  readonly predicted: Int32Array;
  /** Probability of each class `[n, k]`, row-major; each row sums to 1. */
  readonly truth: ArrayLike<number>;
}

/** Gives the expected confusion matrix `[k, k]`, row-major: expected rows of a class (row) predicted as one (column). */
export function expectConfusion({ k, predicted, truth }: SoftRows): Float64Array {
  const confusion = new Float64Array(k * k);
  for (let i = 0; i < predicted.length; i++) {
    for (let c = 0; c < k; c++) confusion[c * k + predicted[i]] += truth[i * k + c];
  }
  return confusion;
}

/**
 * Gives the metrics of rows: of class 1 when there are two classes, the mean over classes (macro)
 * otherwise. A ratio without a denominator counts as 0, as in scikit-learn; the area leaves out classes
 * without positives or negatives. All are `null` for no rows.
 */
export function measureSoft(rows: SoftRows): SoftMetrics {
  const { k, predicted } = rows;
  const n = predicted.length;
  if (n === 0) {
    return { accuracy: null, precision: null, recall: null, f1: null, rocAuc: null };
  }
  const confusion = expectConfusion(rows);
  let correct = 0;
  for (let c = 0; c < k; c++) correct += confusion[c * k + c];
  const classes = classesOf(k).map((c) => measureClass(confusion, k, c));
  const areas = classesOf(k).flatMap((c) => {
    const scores = Float64Array.from({ length: n }, (_, i) => rows.scores[i * k + c]);
    const area = measureSoftArea(scores, (i) => rows.truth[i * k + c]);
    return area === null ? [] : [area];
  });
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  return {
    accuracy: correct / n,
    precision: mean(classes.map(({ precision }) => precision)),
    recall: mean(classes.map(({ recall }) => recall)),
    f1: mean(classes.map(({ f1 }) => f1)),
    rocAuc: areas.length === 0 ? null : mean(areas),
  };
}

/** Classes that metrics are taken over: the second of two, or all. */
export function classesOf(k: number): readonly number[] {
  return k === 2 ? [1] : Array.from({ length: k }, (_, c) => c);
}

function measureClass(
  confusion: Float64Array,
  k: number,
  c: number,
): Record<"precision" | "recall" | "f1", number> {
  const hits = confusion[c * k + c];
  let actual = 0;
  let predicted = 0;
  for (let other = 0; other < k; other++) {
    actual += confusion[c * k + other];
    predicted += confusion[other * k + c];
  }
  const ratio = (a: number, b: number) => b === 0 ? 0 : a / b;
  return {
    precision: ratio(hits, predicted),
    recall: ratio(hits, actual),
    f1: ratio(2 * hits, actual + predicted),
  };
}

/**
 * Gives the expected area under the ROC curve of `scores` when row i is positive with the probability
 * `truth(i)`: the expected share of pairs in the right order, ties counting half. `null` without
 * expected positives or negatives.
 */
export function measureSoftArea(
  scores: Float64Array,
  truth: (row: number) => number,
): number | null {
  const order = Int32Array.from(scores.keys()).sort((a, b) => scores[a] - scores[b]);
  let positives = 0;
  let negatives = 0;
  let pairs = 0;
  for (let start = 0; start < order.length;) {
    let up = 0;
    let down = 0;
    let end = start;
    while (end < order.length && scores[order[end]] === scores[order[start]]) {
      const share = truth(order[end++]);
      up += share;
      down += 1 - share;
    }
    pairs += up * (negatives + down / 2);
    positives += up;
    negatives += down;
    start = end;
  }
  return positives > 0 && negatives > 0 ? pairs / (positives * negatives) : null;
}
