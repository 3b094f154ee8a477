/** Against statsmodels 0.15 (`tests/oracles/make_forecast_golden.py`) and simulations. */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { backtest, seasonalScale } from "../../numeric/backtest.ts";
import { fitSmoothing, startState } from "../../numeric/forecast.ts";
import { Random } from "../../numeric/random.ts";
import { minimize } from "../../numeric/simplex.ts";
import { predict, smooth, type SmoothingState } from "../../numeric/smoothing.ts";
import golden from "../oracles/forecast.json" with { type: "json" };

const start: SmoothingState = {
  level: golden.start.level,
  trend: golden.start.trend,
  seasons: [Float64Array.from(golden.start.season)],
  error: 0,
};
const { alpha, beta, gamma, phi } = golden.parameters;
const parameters = { alpha, beta, gammas: [gamma], phi, rho: 0 };

function assertClose(actual: ArrayLike<number>, expected: readonly number[], tolerance = 1e-9) {
  assertEquals(actual.length, expected.length);
  expected.forEach((value, i) => assertAlmostEquals(actual[i], value, tolerance * Math.abs(value)));
}

/** Standard normal values. */
function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

/** Hours of requests: days, quiet week ends, noise that lasts. */
function simulateDemand(weeks: number, seed: number): Float64Array {
  const random = new Random(seed);
  let error = 0;
  return Float64Array.from({ length: weeks * 168 }, (_, t) => {
    error = 0.8 * error + 6 * drawNormal(random);
    const isWeekEnd = Math.floor(t / 24) % 7 >= 5;
    return 200 + 80 * Math.sin(2 * Math.PI * t / 24) - (isWeekEnd ? 70 : 0) + error;
  });
}

Deno.test("smooth() gives statsmodels' fitted values, error and forecast of the same parameters", () => {
  const smoothing = smooth(golden.values, parameters, start);
  assertClose(smoothing.fitted, golden.fitted);
  assertAlmostEquals(smoothing.squaredError, golden.squared_error, 1e-7);
  assertClose(predict(smoothing, golden.forecast.length).mean, golden.forecast);
});

Deno.test("predict() gives intervals as wide as the variances of statsmodels' state-space form", () => {
  const smoothing = smooth(golden.values, parameters, start);
  const { mean, low, high } = predict(smoothing, golden.relative_variance.length, 0.8);
  // The normal value that 10 % exceed.
  const z = 1.2815515655446004;
  const variances = mean.map((m, h) => ((high[h] - m) / (z * smoothing.sigma)) ** 2);
  assertClose(variances, golden.relative_variance, 1e-8);
  mean.forEach((m, h) => assertAlmostEquals(m - low[h], high[h] - m, 1e-9));
});

Deno.test("the search finds an error no greater than statsmodels' optimizer does", () => {
  const toUnit = (x: number) => 1e-4 + (1 - 2e-4) / (1 + Math.exp(-x));
  const errorOf = ([a, b, c, d]: Float64Array) =>
    smooth(golden.values, {
      alpha: toUnit(a),
      beta: toUnit(b),
      gammas: [toUnit(c)],
      phi: 0.8 + 0.195 * toUnit(d),
      rho: 0,
    }, start).squaredError;
  const best = Math.min(
    ...[-3, 0, 3].map((x) => errorOf(minimize(errorOf, Float64Array.of(x, -2, -2, 0)))),
  );
  assert(best <= golden.best_squared_error * 1.002, `${best} > ${golden.best_squared_error}`);
});

Deno.test("fitSmoothing() forecasts demand of two seasons better than the week before, within its intervals", () => {
  const values = simulateDemand(12, 3);
  const options = { horizon: 24, origins: 28, level: 0.9 } as const;
  const both = backtest(values, { periods: [24, 168], ...options });
  assert(both.mase < 1 && both.mase < both.naiveMase, `MASE ${both.mase}`);
  assert(both.coverage > 0.82 && both.coverage < 0.97, `coverage ${both.coverage}`);
  assertEquals(both.count, 24 * 28);
  const day = backtest(values, { periods: [24], ...options });
  const scale = seasonalScale(values, 24) / seasonalScale(values, 168);
  assert(both.mase < day.mase * scale, "the week is worth knowing");
});

Deno.test("fitSmoothing() is deterministic, leaves its values alone and takes gaps as what was expected", () => {
  const values = simulateDemand(4, 5);
  const copy = values.slice();
  const whole = fitSmoothing(values, { periods: [24] });
  assertEquals(fitSmoothing(values, { periods: [24] }), whole);
  assertEquals(values, copy);
  for (let t = 0; t < values.length; t += 9) values[t] = NaN;
  values.fill(NaN, 500, 530);
  const { mean } = predict(fitSmoothing(values, { periods: [24] }), 24);
  const expected = predict(whole, 24).mean;
  mean.forEach((m, h) => assert(Math.abs(m - expected[h]) < 30, `hour ${h}: ${m}, ${expected[h]}`));
});

Deno.test("fitSmoothing() follows a level and a constant without a season", () => {
  const constant = new Float64Array(20).fill(7);
  const { mean, low, high } = predict(fitSmoothing(constant, { periods: [] }), 3);
  for (const list of [mean, low, high]) list.forEach((value) => assertAlmostEquals(value, 7, 1e-9));
  const line = Float64Array.from({ length: 60 }, (_, t) => 3 * t);
  const next = predict(fitSmoothing(line, { periods: [] }), 1).mean[0];
  assert(Math.abs(next - 180) < 3, `${next}`);
});

Deno.test("startState() refuses a period that is none and a series that is too short or empty", () => {
  for (const period of [0, 1, 2.5, NaN]) {
    assertThrows(() => startState(new Float64Array(99), [period]), RangeError, "period");
  }
  assertThrows(() => startState(new Float64Array(47), [24]), RangeError, "two whole periods");
  assertThrows(() => fitSmoothing([], { periods: [] }), RangeError, "two whole periods");
  const gap = new Float64Array(48).fill(NaN, 24);
  assertThrows(() => fitSmoothing(gap, { periods: [24] }), RangeError, "values in each");
});

Deno.test("smooth() and predict() refuse parameters, horizons and levels out of range", () => {
  for (const wrong of [{ alpha: 0 }, { beta: 1 }, { gammas: [NaN] }, { phi: -1 }, { rho: 1 }]) {
    assertThrows(
      () => smooth([1], { ...parameters, ...wrong }, start),
      RangeError,
      "Cannot smooth",
    );
  }
  assertThrows(() => smooth([1], { ...parameters, gammas: [] }, start), RangeError, "1 seasons");
  const smoothing = smooth([1], parameters, start);
  for (const horizon of [0, 1.5, NaN]) assertThrows(() => predict(smoothing, horizon), RangeError);
  for (const level of [0, 1, NaN]) assertThrows(() => predict(smoothing, 1, level), RangeError);
});

Deno.test("backtest() refuses a series that repeats itself exactly: nothing scales its errors", () => {
  const values = Float64Array.from({ length: 240 }, (_, t) => t % 24);
  assertThrows(
    () => backtest(values, { periods: [24], horizon: 24, origins: 2 }),
    RangeError,
    "repeats itself exactly",
  );
});

Deno.test("minimize() finds a minimum, keeps its start and takes NaN as no value", () => {
  const begin = Float64Array.of(3, -4, 5);
  const point = minimize(
    ([x, y, z]) => x > 10 ? NaN : (x - 1) ** 2 + (y - 2) ** 2 + 3 * (z + 1) ** 2,
    begin,
  );
  [1, 2, -1].forEach((value, i) => assertAlmostEquals(point[i], value, 1e-3));
  assertEquals(begin, Float64Array.of(3, -4, 5));
});
