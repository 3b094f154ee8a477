/**
 * How good forecasts of a series would have been: made again and again from what was known at a time
 * (rolling origin), and compared with what came.
 *
 * @module
 */
import { fitSmoothing, type ForecastOptions, startState } from "./forecast.ts";
import { predict, smooth } from "./smoothing.ts";

/** What to forecast again. */
export interface BacktestOptions extends ForecastOptions {
  /** Steps of each forecast. */
  readonly horizon: number;
  /** Forecasts; the last one ends with the series. */
  readonly origins: number;
  /** Steps between the origins; default `horizon`. */
  readonly stride?: number;
  /** Probability of the intervals; default 0.95. */
  readonly level?: number;
}

/** How good the forecasts were. */
export interface Backtest {
  /** Values forecast that there are. */
  readonly count: number;
  /** Mean absolute scaled error: below 1 is better than the longest season before was in training. */
  readonly mase: number;
  /** The same of the seasonal-naive forecast: each value as one longest season before. */
  readonly naiveMase: number;
  /** Share of the values that lay in their intervals. */
  readonly coverage: number;
}

/**
 * Gives the mean absolute difference of values one period apart: what errors are scaled by; `NaN` when
 * there are none.
 */
export function seasonalScale(values: ArrayLike<number>, period: number): number {
  let sum = 0;
  let count = 0;
  for (let t = period; t < values.length; t++) {
    const difference = Math.abs(values[t] - values[t - period]);
    if (Number.isNaN(difference)) continue;
    sum += difference;
    count++;
  }
  return sum / count;
}

/**
 * Forecasts the end of a series from several origins. The parameters come from what lies before the
 * first origin alone; the states go on to each.
 *
 * @param values `[n]`, `NaN` where there is none.
 * @throws {RangeError} when too little lies before the first origin, or it repeats itself exactly, so
 * that there is nothing to scale errors by.
 * @see Hyndman and Koehler, "Another Look at Measures of Forecast Accuracy", International Journal of
 * Forecasting 22(4), 2006
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { backtest } from "./backtest.ts";
 *
 * const noise = (t: number) => Math.sin(t * t) * 5;
 * const hours = Float64Array.from(
 *   { length: 480 },
 *   (_, t) => 50 + 20 * Math.sin(t * Math.PI / 12) + noise(t),
 * );
 * const { mase, naiveMase } = backtest(hours, { periods: [24], horizon: 24, origins: 5 });
 * assert(mase < naiveMase);
 * ```
 */
export function backtest(
  values: Float64Array,
  { horizon, origins, stride = horizon, level = 0.95, ...options }: BacktestOptions,
): Backtest {
  const first = values.length - horizon - (origins - 1) * stride;
  const known = values.subarray(0, Math.max(0, first));
  const period = Math.max(1, ...options.periods);
  const initial = startState(known, options.periods);
  const scale = seasonalScale(known, period);
  if (!(scale > 0)) {
    throw new RangeError(
      `Cannot scale the errors of a forecast with period ${period}: the series repeats itself exactly`,
    );
  }
  const { parameters } = fitSmoothing(known, options);
  const sums = { error: 0, naive: 0, naiveCount: 0, within: 0, count: 0 };
  for (let origin = first; origin <= values.length - horizon; origin += stride) {
    const { mean, low, high } = predict(
      smooth(values.subarray(0, origin), parameters, initial),
      horizon,
      level,
    );
    for (let h = 0; h < horizon; h++) {
      const value = values[origin + h];
      if (Number.isNaN(value)) continue;
      sums.count++;
      sums.error += Math.abs(value - mean[h]);
      if (value >= low[h] && value <= high[h]) sums.within++;
      const naive = values[origin - period + h % period];
      if (Number.isNaN(naive)) continue;
      sums.naive += Math.abs(value - naive);
      sums.naiveCount++;
    }
  }
  return {
    count: sums.count,
    mase: sums.error / sums.count / scale,
    naiveMase: sums.naive / sums.naiveCount / scale,
    coverage: sums.within / sums.count,
  };
}
