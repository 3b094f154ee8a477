/**
 * Losses without labels: what the held-out predictions of a version teach of its log loss and Brier
 * score, and what that says of a window. It needs the features, where accuracy and its kin are estimated
 * from the probabilities alone.
 *
 * @module
 */
import {
  type ExpectedRows,
  fitLossEstimator,
  type LossEstimator,
} from "../../numeric/estimation/loss_estimator.ts";
import { lossNames, measureLosses } from "../../numeric/estimation/losses.ts";
import { type Matrix, takeRows } from "../../numeric/matrix.ts";
import { computeMean, computeStd } from "../../numeric/statistics.ts";
import { Pace } from "../monitors/pace.ts";
import type { Store } from "../store/store.ts";
import type { HeldOut } from "./held_out.ts";
import type { MeasuredMetric } from "./measure.ts";
import type { RealizedMetric } from "./realized.ts";

/** An estimator, or why there is none. */
export interface LossFit {
  readonly estimator: LossEstimator | null;
  readonly reason: string | null;
}

/** Fewest held-out predictions that say how losses go with the features. */
const FEWEST_HELD_OUT = 300;

/** Milliseconds after which fitting is given up, and for which it keeps others waiting at most. */
const MOST_FIT_MS = 30_000;
const TURN_MS = 10;

/** Versions of a store whose fits are kept. */
const MOST_FITS = 16;

const fits = new WeakMap<Store, Map<string, LossFit>>();

/**
 * Learns the losses of a version from its held-out predictions, once for each store in this process: they
 * never change. Other work has its turn while trees grow.
 *
 * @throws {unknown} the reason of `signal` when it is aborted.
 */
export async function openLossFit(
  store: Store,
  { model, version, inputs, heldOut, reason, signal, mostMs = MOST_FIT_MS, pace = new Pace(1) }: {
    readonly model: string;
    readonly version: number;
    /** Number of inputs of the model. */
    readonly inputs: number;
    /** `null` when there are none; `reason` then says why. */
    readonly heldOut: HeldOut | null;
    readonly reason: string | null;
    readonly signal?: AbortSignal;
    /** Milliseconds after which fitting is given up, without its rests; default 30,000. */
    readonly mostMs?: number;
    /** How it gives way to others; default as little as can be. */
    readonly pace?: Pace;
  },
): Promise<LossFit> {
  if (heldOut === null) return { estimator: null, reason };
  const rows = heldOut.y.length;
  if (rows < FEWEST_HELD_OUT) {
    return {
      estimator: null,
      reason: `${rows} held-out predictions, a loss by features takes ${FEWEST_HELD_OUT}`,
    };
  }
  if (heldOut.X.cols !== inputs) {
    return {
      estimator: null,
      reason: `held-out predictions have ${heldOut.X.cols} features, the model takes ${inputs}`,
    };
  }
  const own = fits.get(store) ?? new Map<string, LossFit>();
  fits.set(store, own);
  const key = `${model}/${version}`;
  const known = own.get(key);
  if (known) return known;
  const found = await fit(heldOut, { mostMs, signal, pace });
  own.set(key, found);
  if (own.size > MOST_FITS) own.delete(own.keys().next().value!);
  return found;
}

/** Ends a fit that takes too long. */
class Overtime extends Error {}

async function fit(
  { X, P, y }: HeldOut,
  { mostMs, signal, pace }: {
    readonly mostMs: number;
    readonly signal: AbortSignal | undefined;
    readonly pace: Pace;
  },
): Promise<LossFit> {
  const start = performance.now() - pace.restedMs;
  let turn = performance.now();
  const pause = async () => {
    await pace.rest();
    if (performance.now() - turn < TURN_MS) return;
    await new Promise((resolve) => setTimeout(resolve, 0));
    signal?.throwIfAborted();
    turn = performance.now();
    if (turn - pace.restedMs - start > mostMs) throw new Overtime();
  };
  try {
    return { estimator: await fitLossEstimator({ X, P, y }, { pause }), reason: null };
  } catch (error) {
    if (!(error instanceof Overtime)) throw error;
    return { estimator: null, reason: `learning losses takes more than ${mostMs} ms` };
  }
}

/** Rows of a window that were drawn for losses, with what is expected of them. */
export interface WindowLosses {
  readonly slices: readonly (string | null)[];
  /** Number of each row `[n]`, by which it is in a sample. */
  readonly draws: Float64Array;
  /** `null` when nothing can be expected; `reason` then says why. */
  readonly expected: ExpectedRows | null;
  readonly mostOutside: number;
  readonly reason: string | null;
  /** Names of the features. */
  readonly features: readonly string[];
}

/** Gives what is expected of rows with their features, which are read when something can be. */
export async function expectLosses(
  { estimator, reason }: LossFit,
  features: readonly string[],
  read: () => Promise<
    Pick<WindowLosses, "slices" | "draws"> & { readonly X: Matrix; readonly P: Matrix }
  >,
): Promise<WindowLosses> {
  if (estimator === null) {
    const none = { slices: [], draws: new Float64Array(), expected: null, mostOutside: 0 };
    return { ...none, reason, features };
  }
  const { slices, draws, X, P } = await read();
  const { mostOutside } = estimator;
  return { slices, draws, expected: estimator.expect(X, P), mostOutside, reason, features };
}

/** Measures the losses of a slice: what is expected of those of its rows that have features, and what labels say. */
export function measureLossMetrics(
  { P, y }: { readonly P: Matrix; readonly y: Int32Array },
  { losses, index, minRows, minLabels }: {
    readonly losses: WindowLosses;
    /** Rows of `losses` that are of the slice. */
    readonly index: Int32Array;
    readonly minRows: number;
    readonly minLabels: number;
  },
): MeasuredMetric[] {
  const estimate = index.length >= minRows
    ? losses.expected?.estimate(index, { of: P.rows }) ?? null
    : null;
  const known = Int32Array.from(y.keys()).filter((i) => y[i] >= 0 && y[i] < P.cols);
  const realized = known.length >= minLabels
    ? measureLosses(takeRows(P, known), known.map((i) => y[i]))
    : null;
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const missing = losses.reason ??
    (index.length < minRows
      ? `${index.length} rows with their features, an estimate takes ${minRows}`
      : estimate?.logLoss === null
      ? `${
        percent(estimate.outsideShare)
      } of the rows have a feature beyond those of the held-out ` +
        `predictions (${losses.features[estimate.outsideFeature!]} most often), of more than ${
          percent(losses.mostOutside)
        } nothing is said`
      : null);
  const reason = [
    ...(missing === null ? [] : [missing]),
    ...(realized ? [] : [`${known.length} labels, a realized value takes ${minLabels}`]),
  ].join("; ");
  return lossNames.map((metric): MeasuredMetric => {
    const expected = estimate?.[metric] ?? null;
    return {
      metric,
      method: "dle",
      estimate: expected?.value ?? null,
      low: expected?.low ?? null,
      high: expected?.high ?? null,
      lowerThreshold: expected?.threshold.low ?? null,
      upperThreshold: expected?.threshold.high ?? null,
      isCalibrated: null,
      realized: realized && realizeMean(realized[metric]),
      floor: null,
      outsideShare: estimate?.outsideShare ?? null,
      reason: reason || null,
    };
  });
}

/** Quantile of the normal distribution at 97.5 %. */
const Z = 1.959963984540054;

/** Gives a mean ≥ 0 with its 95 % interval, as of independent rows. */
function realizeMean(losses: Float64Array): RealizedMetric {
  const value = computeMean(losses)!;
  const reach = Z * (computeStd(losses) ?? 0) / Math.sqrt(losses.length);
  return { value, low: Math.max(0, value - reach), high: value + reach };
}
