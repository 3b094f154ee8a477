/** How well predictions turned out to be, once their labels are there, with intervals. */
import { fitSamplingErrors } from "../../numeric/estimation/sampling_error.ts";
import {
  expectConfusion,
  measureSoft,
  type MetricName,
  metricNames,
} from "../../numeric/estimation/soft_metrics.ts";
import type { Matrix } from "../../numeric/matrix.ts";
import { Random } from "../../numeric/random.ts";

/** Predictions with the labels that have arrived. */
export interface LabeledPredictions {
  /** Class probabilities `[n, k]`. */
  readonly P: Matrix;
  /** Predicted classes `[n]`. */
  readonly predicted: Int32Array;
  /** True classes `[n]`; a class that the model does not know is `k`. */
  readonly y: Int32Array;
}

/** A realized metric with the ends of its 95 % interval. */
export interface RealizedMetric {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** What labels say. */
export interface Realized {
  readonly metrics: Readonly<Record<MetricName, RealizedMetric | null>>;
  /** Rows of each true class (row) and predicted class (column), `[k, k]`, row-major. */
  readonly confusion: Float64Array;
}

/** Quantile of the normal distribution at 97.5 %. */
const Z = 1.959963984540054;

/** Replicates behind a bootstrap interval. */
const REPLICATES = 500;

/**
 * Measures labeled predictions. The interval of accuracy is Wilson's; those of precision, recall and F1
 * are percentiles of a bootstrap of the confusion matrix, whose cells are drawn as independent Poisson
 * counts; that of ROC-AUC is 1.96 standard errors of the rank statistic. All take rows as independent. A
 * label of a class that the model does not know is a wrong prediction for accuracy and left out of the
 * other metrics. The same rows give the same intervals.
 *
 * @throws {RangeError} when there are no rows.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "../../numeric/matrix.ts";
 * import { realize } from "./realized.ts";
 *
 * const P = matrix(4, 2, Float32Array.of(0.9, 0.1, 0.2, 0.8, 0.4, 0.6, 0.7, 0.3));
 * const predicted = Int32Array.of(0, 1, 1, 0);
 * const { metrics } = realize({ P, predicted, y: Int32Array.of(0, 1, 0, 0) });
 * assertEquals(metrics.accuracy?.value, 0.75);
 * ```
 *
 * @see Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927
 * @see Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies",
 * Computer Methods and Programs in Biomedicine 83(1), 2006
 */
export function realize({ P, predicted, y }: LabeledPredictions): Realized {
  const n = y.length;
  if (n === 0) throw new RangeError("Cannot measure predictions: there are no labeled rows");
  const k = P.cols;
  const known = Int32Array.from(y.keys()).filter((i) => y[i] < k);
  const truth = new Float64Array(known.length * k);
  known.forEach((row, i) => truth[i * k + y[row]] = 1);
  const rows = {
    k,
    scores: Float64Array.from(
      { length: known.length * k },
      (_, at) => P.data[known[Math.floor(at / k)] * k + at % k],
    ),
    predicted: known.map((row) => predicted[row]),
    truth,
  };
  const values = measureSoft(rows);
  const confusion = expectConfusion(rows);
  let correct = 0;
  for (let i = 0; i < n; i++) if (predicted[i] === y[i]) correct++;
  const metrics = Object.fromEntries(metricNames.map((name) => [name, null])) as Record<
    MetricName,
    RealizedMetric | null
  >;
  metrics.accuracy = { value: correct / n, ...findWilsonInterval(correct, n) };
  if (known.length === 0) return { metrics, confusion };
  for (const [name, ends] of bootstrap(confusion, k)) {
    if (values[name] !== null) metrics[name] = { value: values[name], ...ends };
  }
  if (values.rocAuc !== null) {
    const errorOf = fitSamplingErrors({ ...rows, y: known.map((row) => y[row]) });
    const reach = Z * errorOf("rocAuc", known.length);
    metrics.rocAuc = {
      value: values.rocAuc,
      low: Math.max(0, values.rocAuc - reach),
      high: Math.min(1, values.rocAuc + reach),
    };
  }
  return { metrics, confusion };
}

/** Gives Wilson's 95 % interval of a share of `n` > 0 rows. */
export function findWilsonInterval(hits: number, n: number): { low: number; high: number } {
  const share = hits / n;
  const scale = 1 + Z * Z / n;
  const center = (share + Z * Z / (2 * n)) / scale;
  const reach = Z * Math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / scale;
  return {
    low: hits === 0 ? 0 : Math.max(0, center - reach),
    high: hits === n ? 1 : Math.min(1, center + reach),
  };
}

type CountMetric = "precision" | "recall" | "f1";

function bootstrap(
  confusion: Float64Array,
  k: number,
): [CountMetric, { low: number; high: number }][] {
  const random = new Random(1);
  const names: readonly CountMetric[] = ["precision", "recall", "f1"];
  const draws = names.map(() => new Float64Array(REPLICATES));
  const eye = Float64Array.from({ length: k * k }, (_, at) => at % (k + 1) === 0 ? 1 : 0);
  for (let replicate = 0; replicate < REPLICATES; replicate++) {
    const cells = confusion.map((count) => drawPoisson(count, random));
    const truth = new Float64Array(k * k);
    // One row for each predicted class, with the truth of its column: the counts alone matter.
    for (let c = 0; c < k; c++) {
      for (let p = 0; p < k; p++) truth[p * k + c] = cells[c * k + p];
    }
    const metrics = measureSoft({
      k,
      scores: eye,
      predicted: Int32Array.from(Array(k).keys()),
      truth,
    });
    names.forEach((name, j) => draws[j][replicate] = metrics[name] ?? 0);
  }
  return names.map((name, j) => {
    const sorted = draws[j].sort();
    const at = (share: number) => sorted[Math.round(share * (REPLICATES - 1))];
    return [name, { low: at(0.025), high: at(0.975) }];
  });
}

/** Above this mean a Poisson count is drawn as a rounded normal value. */
const NORMAL_FROM = 50;

function drawPoisson(mean: number, random: Random): number {
  if (mean === 0) return 0;
  if (mean >= NORMAL_FROM) {
    const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
    const normal = radius * Math.cos(2 * Math.PI * random.uniform());
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal));
  }
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random.uniform(); product > limit; product *= random.uniform()) count++;
  return count;
}
