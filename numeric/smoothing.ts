/**
 * Exponential smoothing: a series as a level, a damped trend, seasons and an error that lasts for some
 * steps, each relearned with every value. With one season and errors that do not last it is additive
 * Holt–Winters with damped trend, ETS(A,Ad,A).
 *
 * ```text
 * expected_t = l + φ b + Σ s_i + ρ d        error_t = value_t − expected_t
 * d ← ρ d + error    l ← l + φ b + α d    b ← φ b + α β d    s_i ← s_i + γ_i d
 * ```
 *
 * `NaN` in a series is a missing value: the parts go on as if it had been what was expected.
 *
 * @see Hyndman, Koehler, Ord and Snyder, "Forecasting with Exponential Smoothing", 2008
 * @see Taylor, "Short-Term Electricity Demand Forecasting Using Double Seasonal Exponential Smoothing",
 * Journal of the Operational Research Society 54(8), 2003, for two seasons and the lasting error
 * @module
 */
import { normalPoint } from "./special.ts";

/** How quickly the parts of a series are relearned. */
export interface SmoothingParameters {
  /** Of the level, in `(0, 1)`. */
  readonly alpha: number;
  /** Of the trend, in `(0, 1)`: a part of the level's. */
  readonly beta: number;
  /** Of each season, in `(0, 1)`. */
  readonly gammas: readonly number[];
  /** What is left of the trend after each step, in `(0, 1)`. */
  readonly phi: number;
  /** What is left of an error after each step, in `[0, 1)`. */
  readonly rho: number;
}

/** Parts of a series at one time. */
export interface SmoothingState {
  readonly level: number;
  readonly trend: number;
  /** `[period]` each, the step that comes next first. */
  readonly seasons: readonly Float64Array[];
  /** The error that lasts. */
  readonly error: number;
}

/** A series that was smoothed to its end. */
export interface Smoothing {
  readonly parameters: SmoothingParameters;
  /** After the last value. */
  readonly state: SmoothingState;
  /** What was expected of each value one step before, `[n]`. */
  readonly fitted: Float64Array;
  /** Sum of the squared one-step errors of the values there are. */
  readonly squaredError: number;
  /** Standard deviation of the one-step errors; parameters count as degrees of freedom. */
  readonly sigma: number;
}

/** What comes next, `[horizon]` each. */
export interface Forecast {
  readonly mean: Float64Array;
  /** Ends of the interval that holds a value with the asked probability, when errors are normal. */
  readonly low: Float64Array;
  readonly high: Float64Array;
}

/** A state that moves on in place. */
class Walk {
  readonly #parameters: SmoothingParameters;
  readonly #seasons: readonly Float64Array[];
  #level: number;
  #trend: number;
  #error: number;
  #time = 0;

  constructor(parameters: SmoothingParameters, { level, trend, seasons, error }: SmoothingState) {
    this.#parameters = parameters;
    this.#seasons = seasons.map((season) => season.slice());
    this.#level = level;
    this.#trend = trend;
    this.#error = error;
  }

  /** What the next value is expected to be. */
  expect(): number {
    const { phi, rho } = this.#parameters;
    let sum = this.#level + phi * this.#trend + rho * this.#error;
    for (const season of this.#seasons) sum += season[this.#time % season.length];
    return sum;
  }

  /** Goes one step on, with the difference of the value from what was expected. */
  step(difference: number): void {
    const { alpha, beta, gammas, phi, rho } = this.#parameters;
    const error = rho * this.#error + difference;
    this.#level += phi * this.#trend + alpha * error;
    this.#trend = phi * this.#trend + alpha * beta * error;
    this.#seasons.forEach((season, i) => season[this.#time % season.length] += gammas[i] * error);
    this.#error = error;
    this.#time++;
  }

  state(): SmoothingState {
    const seasons = this.#seasons.map((season) =>
      season.map((_, i) => season[(this.#time + i) % season.length])
    );
    return { level: this.#level, trend: this.#trend, seasons, error: this.#error };
  }
}

/**
 * Smooths a series with given parameters from a given state.
 *
 * @param values `[n]`, `NaN` where there is none.
 * @throws {RangeError} when a parameter is out of its range, or there are not as many as seasons.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { smooth } from "./smoothing.ts";
 *
 * const parameters = { alpha: 0.5, beta: 0.5, gammas: [0.5], phi: 0.5, rho: 0 };
 * const start = { level: 10, trend: 2, seasons: [Float64Array.of(1, -1)], error: 0 };
 * const { fitted, state } = smooth([14, NaN], parameters, start);
 * assertEquals(fitted, Float64Array.of(12, 11.75));
 * assertEquals(state.seasons, [Float64Array.of(2, -1)]);
 * ```
 */
export function smooth(
  values: ArrayLike<number>,
  parameters: SmoothingParameters,
  initial: SmoothingState,
): Smoothing {
  checkParameters(parameters, initial);
  const walk = new Walk(parameters, initial);
  const fitted = new Float64Array(values.length);
  let squaredError = 0;
  let count = 0;
  for (let t = 0; t < values.length; t++) {
    fitted[t] = walk.expect();
    const difference = values[t] - fitted[t];
    if (Number.isNaN(difference)) {
      walk.step(0);
      continue;
    }
    walk.step(difference);
    squaredError += difference * difference;
    count++;
  }
  const freedom = Math.max(1, count - 4 - parameters.gammas.length);
  const sigma = Math.sqrt(squaredError / freedom);
  return { parameters, state: walk.state(), fitted, squaredError, sigma };
}

function checkParameters(
  { alpha, beta, gammas, phi, rho }: SmoothingParameters,
  { seasons }: SmoothingState,
): void {
  const named = {
    alpha,
    beta,
    phi,
    ...Object.fromEntries(gammas.map((g, i) => [`gamma ${i}`, g])),
  };
  for (const [name, value] of Object.entries(named)) {
    if (value > 0 && value < 1) continue;
    throw new RangeError(`Cannot smooth with ${name} ${value}: it must be above 0 and below 1`);
  }
  if (!(rho >= 0 && rho < 1)) {
    throw new RangeError(`Cannot smooth with rho ${rho}: it must be 0 or more and below 1`);
  }
  if (gammas.length !== seasons.length || seasons.some(({ length }) => length === 0)) {
    throw new RangeError(
      `Cannot smooth ${seasons.length} seasons with ${gammas.length} gammas: give one for each, and ` +
        "a step or more in every season",
    );
  }
}

/**
 * Forecasts the next `horizon` values, with intervals of probability `level`.
 *
 * The variance h steps ahead is `σ² (1 + Σ_{j<h} c_j²)`, where `c_j` is what an error of 1 adds to what
 * is expected j steps later; of ETS(A,Ad,A) `c_j = α (1 + β (φ + … + φ^(j−1))) + γ` with γ once a season.
 *
 * @throws {RangeError} when `horizon` is no positive integer or `level` is not in `(0, 1)`.
 */
export function predict(
  { state, parameters, sigma }: Smoothing,
  horizon: number,
  level = 0.95,
): Forecast {
  if (!Number.isInteger(horizon) || horizon < 1) {
    throw new RangeError(`Cannot forecast ${horizon} steps: give an integer above 0`);
  }
  if (!(level > 0 && level < 1)) {
    throw new RangeError(`Cannot forecast with level ${level}: it must be above 0 and below 1`);
  }
  const z = normalPoint((1 - level) / 2);
  const walk = new Walk(parameters, state);
  const impulse = new Walk(parameters, {
    level: 0,
    trend: 0,
    seasons: state.seasons.map(({ length }) => new Float64Array(length)),
    error: 0,
  });
  const mean = new Float64Array(horizon);
  const low = new Float64Array(horizon);
  const high = new Float64Array(horizon);
  let variance = 1;
  for (let h = 0; h < horizon; h++) {
    mean[h] = walk.expect();
    walk.step(0);
    if (h > 0) variance += impulse.expect() ** 2;
    impulse.step(h === 0 ? 1 : 0);
    const half = z * sigma * Math.sqrt(variance);
    low[h] = mean[h] - half;
    high[h] = mean[h] + half;
  }
  return { mean, low, high };
}
