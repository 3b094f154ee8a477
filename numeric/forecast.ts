/**
 * Forecasts of a series: the parameters of {@link ./smoothing.ts} are those of the least squared
 * one-step error.
 *
 * @module
 */
import { minimize } from "./simplex.ts";
import {
  smooth,
  type Smoothing,
  type SmoothingParameters,
  type SmoothingState,
} from "./smoothing.ts";

/** A trend that lasts longer is none that a forecast of some seasons should follow. */
const PHI_RANGE = [0.8, 0.995] as const;

/** Steps that stand for a season where there is none, and seasons that the first state is made of. */
const SEASONLESS = 8;
const FIRST_SEASONS = 4;

/** The search begins at the best of these. */
const starts: readonly Omit<SmoothingParameters, "gammas">[] = [0.01, 0.1, 0.5].flatMap((alpha) =>
  [0.3, 0.9].map((rho) => ({ alpha, beta: 0.05, phi: 0.95, rho }))
);
const startGammas = [0.05, 0.3];

/** What is known of a series beforehand. */
export interface ForecastOptions {
  /** Steps of each season, such as 24 for the hours of a day, the shortest first; none when empty. */
  readonly periods: readonly number[];
  /** Whether errors last, so that what is unusual now is expected to go on a while; default true. */
  readonly hasLastingErrors?: boolean;
}

/**
 * Gives the parts of the beginning of a series: the mean of its first season, the mean step between its
 * first two, and what each step of a season differs from its own season's mean.
 *
 * @throws {RangeError} when the series has no two whole longest seasons with a value in each.
 */
export function startState(
  values: ArrayLike<number>,
  periods: readonly number[],
): SmoothingState {
  for (const period of periods) {
    if (Number.isInteger(period) && period > 1) continue;
    throw new RangeError(`Cannot forecast with period ${period}: it must be an integer above 1`);
  }
  const block = periods.length > 0
    ? Math.max(...periods)
    : Math.max(1, Math.min(SEASONLESS, values.length >> 1));
  const blocks = Math.min(FIRST_SEASONS, Math.floor(values.length / block));
  const means = Array.from({ length: blocks }, (_, i) => meanOf(values, i * block, block));
  if (blocks < 2 || means.some(Number.isNaN)) {
    throw new RangeError(
      `Cannot forecast ${values.length} values with periods ${
        periods.join(", ") || "none"
      }: give ` +
        "two whole periods or more, with values in each",
    );
  }
  const rest = Float64Array.from(
    { length: blocks * block },
    (_, t) => values[t] - means[Math.floor(t / block)],
  );
  const seasons = periods.map((period) => takeSeason(rest, period));
  const trend = (means[1] - means[0]) / block;
  // The mean is the level in the middle of its block; smoothing begins before the first value.
  return { level: means[0] - trend * (block + 1) / 2, trend, seasons, error: 0 };
}

function meanOf(values: ArrayLike<number>, start: number, count: number): number {
  let sum = 0;
  let present = 0;
  for (let i = start; i < start + count; i++) {
    if (Number.isNaN(values[i])) continue;
    sum += values[i];
    present++;
  }
  return present === 0 ? NaN : sum / present;
}

/** Gives the means by step of a season, and takes them out of `rest`. */
function takeSeason(rest: Float64Array, period: number): Float64Array {
  const sums = new Float64Array(period);
  const counts = new Float64Array(period);
  rest.forEach((value, t) => {
    if (Number.isNaN(value)) return;
    sums[t % period] += value;
    counts[t % period]++;
  });
  const season = sums.map((sum, i) => counts[i] === 0 ? 0 : sum / counts[i]);
  rest.forEach((_, t) => rest[t] -= season[t % period]);
  return season;
}

/**
 * Smooths a series with the parameters of the least squared one-step error, found by Nelder and Mead's
 * search from the best of a grid.
 *
 * @param values `[n]`, `NaN` where there is none; at least two of the longest season.
 * @throws {RangeError} when there are too few values.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { fitSmoothing } from "./forecast.ts";
 * import { predict } from "./smoothing.ts";
 *
 * const hours = Float64Array.from({ length: 240 }, (_, t) => 50 + 20 * Math.sin(t * Math.PI / 12));
 * const { mean } = predict(fitSmoothing(hours, { periods: [24] }), 24);
 * assert(Math.abs(mean[5] - (50 + 20 * Math.sin(245 * Math.PI / 12))) < 0.5);
 * ```
 */
export function fitSmoothing(
  values: ArrayLike<number>,
  { periods, hasLastingErrors = true }: ForecastOptions,
): Smoothing {
  const initial = startState(values, periods);
  const toParameters = (point: Float64Array) => fromPoint(point, hasLastingErrors);
  const errorOf = (point: Float64Array) =>
    smooth(values, toParameters(point), initial).squaredError;
  const points = starts.flatMap((start) =>
    startGammas.map((gamma) => toPoint({ ...start, gammas: periods.map(() => gamma) }))
  );
  const errors = points.map(errorOf);
  const best = points[errors.indexOf(Math.min(...errors))];
  return smooth(values, toParameters(minimize(errorOf, best)), initial);
}

/** Numbers without bounds stand for the parameters, so that the search cannot leave them. */
function fromPoint(point: Float64Array, hasLastingErrors: boolean): SmoothingParameters {
  const [alpha, beta, damping, rho, ...gammas] = Array.from(point, toUnit);
  const [least, most] = PHI_RANGE;
  const phi = least + (most - least) * damping;
  return { alpha, beta, phi, rho: hasLastingErrors ? rho : 0, gammas };
}

function toPoint({ alpha, beta, phi, rho, gammas }: SmoothingParameters): Float64Array {
  const [least, most] = PHI_RANGE;
  const parts = [alpha, beta, (phi - least) / (most - least), rho, ...gammas];
  return Float64Array.from(parts, (p) => Math.log(p / (1 - p)));
}

/** A logistic function whose ends stay within `(0, 1)`. */
function toUnit(x: number): number {
  const margin = 1e-4;
  return margin + (1 - 2 * margin) / (1 + Math.exp(-x));
}
