/** What is said of one window: estimates, realized values, and what explains a loss. Pure. */
import type { ClassifierEstimator } from "../../numeric/estimation/classifier.ts";
import { rankFeatures } from "../../numeric/estimation/ranking.ts";
import type { LossName } from "../../numeric/estimation/losses.ts";
import { type MetricName, metricNames } from "../../numeric/estimation/soft_metrics.ts";
import { type Matrix, takeRows } from "../../numeric/matrix.ts";
import { type DrawPlan, isDrawn, rateOfSlice } from "../monitors/sampling.ts";
import type { Floors } from "./contract.ts";
import { measureLossMetrics, type WindowLosses } from "./losses.ts";
import { realize, type RealizedMetric } from "./realized.ts";

/** Predictions of a window. */
export interface WindowRows {
  /** Class probabilities `[n, k]`. */
  readonly P: Matrix;
  /** Predicted classes `[n]`. */
  readonly predicted: Int32Array;
  /** True classes `[n]`: -1 is not known yet, `k` is a class that the model does not know. */
  readonly y: Int32Array;
  readonly slices: readonly (string | null)[];
  /** Number of each row `[n]`, by which it is in a sample. */
  readonly draws: Float64Array;
}

/** What measuring needs beside the rows. */
export interface Measuring {
  /** `null` when there is nothing to learn from; `reason` then says why. */
  readonly estimator: ClassifierEstimator | null;
  readonly reason: string | null;
  readonly floors: Floors;
  /** Fewest rows of an estimate. */
  readonly minRows: number;
  /** Fewest labeled rows of a realized value. */
  readonly minLabels: number;
  /** The sample that the rows are of. */
  readonly draw: DrawPlan;
}

/** One metric of one slice; what is not known is `null`, and `reason` says why. */
export interface MeasuredMetric {
  readonly metric: MetricName | LossName;
  /** How it is estimated: from the probabilities (CBPE), or from features and known losses (DLE). */
  readonly method: "cbpe" | "dle";
  readonly estimate: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly lowerThreshold: number | null;
  readonly upperThreshold: number | null;
  readonly isCalibrated: boolean | null;
  readonly realized: RealizedMetric | null;
  readonly floor: number | null;
  /** Share of the rows with a feature beyond what DLE learned from; `null` for CBPE. */
  readonly outsideShare: number | null;
  readonly reason: string | null;
}

/** What is said of a slice of a window. */
export interface MeasuredSlice {
  /** `null` is all rows of the window. */
  readonly slice: string | null;
  /** Rows that were drawn, each with probability `fraction`. */
  readonly rows: number;
  readonly fraction: number;
  readonly labeledRows: number;
  readonly metrics: readonly MeasuredMetric[];
  /** Cells `[k][k]` by true and predicted class; `null` is not known. */
  readonly confusion: {
    readonly expected: readonly (readonly number[])[] | null;
    readonly errors: readonly (readonly number[])[] | null;
    readonly realized: readonly (readonly number[])[] | null;
  };
  /** Whether the accuracy is expected outside its threshold or below its floor. */
  readonly isSuspicious: boolean;
}

/** Slices of a window that are measured, the most frequent ones. */
const MOST_SLICES = 100;

/**
 * Lists the slices of rows with the rows of their samples: all rows first, then the most frequent
 * slices.
 */
export function listSlices(
  { slices, draws }: Pick<WindowRows, "slices" | "draws">,
  draw: DrawPlan,
): [slice: string | null, rows: Int32Array][] {
  const groups = Map.groupBy(
    slices.keys().filter((i) => slices[i] !== null && isDrawn(draw, draws[i], slices[i])),
    (i) => slices[i]!,
  );
  const chosen = [...groups].sort(([a, x], [b, y]) => y.length - x.length || (a < b ? -1 : 1))
    .slice(0, MOST_SLICES);
  return [
    [null, listRows({ slices, draws }, draw, null)],
    ...chosen.map(([slice, rows]): [string, Int32Array] => [slice, Int32Array.from(rows)]),
  ];
}

/** Measures a window and each of its slices; its losses when they are given. */
export function measureWindow(
  window: WindowRows,
  measuring: Measuring,
  losses?: WindowLosses,
): MeasuredSlice[] {
  const { draw, minRows, minLabels } = measuring;
  return listSlices(window, draw).map(([slice, rows]) => {
    const own = {
      P: takeRows(window.P, rows),
      predicted: rows.map((i) => window.predicted[i]),
      y: rows.map((i) => window.y[i]),
    };
    const measured = measureSlice(slice, own, measuring);
    if (!losses) return measured;
    const index = listRows(losses, draw, slice);
    const added = measureLossMetrics(own, { losses, index, minRows, minLabels });
    return { ...measured, metrics: [...measured.metrics, ...added] };
  });
}

/** Lists the rows of the sample of a slice; null is all rows. */
function listRows(
  { slices, draws }: Pick<WindowRows, "slices" | "draws">,
  draw: DrawPlan,
  slice: string | null,
): Int32Array {
  return Int32Array.from(
    slices.keys().filter((i) =>
      (slice === null || slices[i] === slice) && isDrawn(draw, draws[i], slice)
    ),
  );
}

function measureSlice(
  slice: string | null,
  { P, predicted, y }: Omit<WindowRows, "slices" | "draws">,
  { estimator, reason, floors, minRows, minLabels, draw }: Measuring,
): MeasuredSlice {
  const rows = P.rows;
  const labeled = Int32Array.from(y.keys()).filter((i) => y[i] >= 0);
  const estimate = estimator && rows >= minRows ? estimator.estimate(P, predicted) : null;
  const realized = labeled.length >= minLabels
    ? realize({
      P: takeRows(P, labeled),
      predicted: labeled.map((i) => predicted[i]),
      y: labeled.map((i) => y[i]),
    })
    : null;
  const why = [
    ...(estimate ? [] : [estimator ? `${rows} rows, an estimate takes ${minRows}` : reason ?? ""]),
    ...(realized ? [] : [`${labeled.length} labels, a realized value takes ${minLabels}`]),
  ].join("; ");
  const k = P.cols;
  const metrics = metricNames.map((metric): MeasuredMetric => {
    const expected = estimate?.[metric] ?? null;
    const known = realized?.metrics[metric] ?? null;
    const isUndefined = estimate !== null && expected === null;
    return {
      metric,
      method: "cbpe",
      estimate: expected?.value ?? null,
      low: expected?.low ?? null,
      high: expected?.high ?? null,
      lowerThreshold: expected?.threshold.low ?? null,
      upperThreshold: expected?.threshold.high ?? null,
      isCalibrated: estimator ? estimator.isCalibrated.some(Boolean) : null,
      realized: known,
      floor: floors[metric] ?? null,
      outsideShare: null,
      reason: (isUndefined ? `${metric} is undefined on these rows` : why) || null,
    };
  });
  const accuracy = estimate?.accuracy;
  const cells = realized &&
    Array.from({ length: k }, (_, c) => [...realized.confusion.subarray(c * k, (c + 1) * k)]);
  return {
    slice,
    rows,
    fraction: rateOfSlice(draw, slice),
    labeledRows: labeled.length,
    metrics,
    confusion: {
      expected: estimate?.confusion ?? null,
      errors: estimate?.confusionErrors ?? null,
      realized: cells,
    },
    isSuspicious: accuracy !== null && accuracy !== undefined &&
      (accuracy.isAlert || accuracy.high < (floors.accuracy ?? 0)),
  };
}

/** Rows as causes are found in: raw inputs `[n, d]` with probabilities and predicted classes. */
export interface CauseRows {
  readonly X: Matrix;
  readonly P: Matrix;
  readonly predicted: Int32Array;
}

/** How much of the change of the estimated loss a feature explains. */
export interface Cause {
  readonly feature: string;
  /** From 1, that which explains most. */
  readonly position: number;
  /** Estimated loss of these rows minus that of the reference. */
  readonly change: number;
  readonly explained: number;
  readonly share: number | null;
}

/**
 * Ranks features by how much of the change of the estimated loss since the reference they explain; the
 * loss of a row is 1 minus the calibrated probability of its predicted class.
 */
export function findCauses(
  reference: CauseRows,
  current: CauseRows,
  { estimator, features }: {
    readonly estimator: ClassifierEstimator;
    readonly features: readonly string[];
  },
): Cause[] {
  const lossesOf = ({ P, predicted }: CauseRows) => {
    const calibrated = estimator.calibrate(P);
    return Float64Array.from(predicted, (c, i) => 1 - calibrated[i * P.cols + c]);
  };
  const ranking = rankFeatures(
    { X: reference.X, losses: lossesOf(reference) },
    { X: current.X, losses: lossesOf(current) },
  );
  return (ranking?.features ?? []).map(({ feature, explained, share }, i) => ({
    feature: features[feature],
    position: i + 1,
    change: ranking!.change,
    explained,
    share,
  }));
}

/** Gives the class of the largest probability of each row `[n]`. */
export function predictClasses(P: Matrix): Int32Array {
  return Int32Array.from({ length: P.rows }, (_, i) => {
    let best = 0;
    for (let c = 1; c < P.cols; c++) {
      if (P.data[i * P.cols + c] > P.data[i * P.cols + best]) best = c;
    }
    return best;
  });
}
