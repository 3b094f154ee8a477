/** The Anderson–Darling test of any number of samples. */
import { sortPresent } from "../statistics.ts";

/** Significance levels of Scholz and Stephens's table 2, … */
const levels = [0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001];

/** … and the coefficients of their critical values for m = k - 1 degrees: b0 + b1 / sqrt(m) + b2 / m. */
const critical = {
  b0: [0.675, 1.281, 1.645, 1.96, 2.326, 2.573, 3.085],
  b1: [-0.245, 0.25, 0.678, 1.149, 1.822, 2.364, 3.615],
  b2: [-0.105, -0.305, -0.362, -0.391, -0.396, -0.345, -0.154],
};

/** Outcome of {@linkcode testAndersonDarling}. */
export interface AndersonDarling {
  /** The standardized statistic, about 0 when nothing differs. */
  readonly statistic: number;
  /** In `[0.001, 0.25]`: the table that it is read from ends there. */
  readonly pValue: number;
}

/**
 * The Anderson–Darling test that k ≥ 2 samples come from one distribution, which weighs the tails
 * more than Kolmogorov–Smirnov or Cramér–von Mises. Equals `scipy.stats.anderson_ksamp` with midranks:
 * the p-value is interpolated in a table of critical values and capped at its ends. `NaN` does not
 * count; `null` when a sample has no values or there are fewer than four in all. Values that are all
 * equal differ in nothing: a p-value of 0.25.
 *
 * @throws {RangeError} when there are fewer than two samples.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { testAndersonDarling } from "./anderson.ts";
 *
 * const low = Float64Array.from({ length: 30 }, (_, i) => i);
 * assertEquals(testAndersonDarling([low, low.map((v) => v + 30)])?.pValue, 0.001);
 * assertEquals(testAndersonDarling([low, low])?.pValue, 0.25);
 * ```
 *
 * @see Scholz and Stephens, "K-Sample Anderson–Darling Tests", Journal of the American Statistical
 * Association 82(399), 1987, equations 7 and 4
 */
export function testAndersonDarling(
  samples: readonly ArrayLike<number>[],
): AndersonDarling | null {
  if (samples.length < 2) {
    throw new RangeError(`Cannot compare "${samples.length}" samples: it takes two`);
  }
  const sorted = samples.map(sortPresent);
  const total = sorted.reduce((sum, sample) => sum + sample.length, 0);
  if (total < 4 || sorted.some((sample) => sample.length === 0)) return null;
  const k = samples.length;
  const statistic = (squaredGaps(sorted, total) - (k - 1)) /
    Math.sqrt(varianceOf(sorted.map((sample) => sample.length), total));
  return { statistic, pValue: interpolateLevel(statistic, k - 1) };
}

/** A²aN of equation 7: the weighted squared gaps, with midranks for ties. */
function squaredGaps(sorted: readonly Float64Array[], total: number): number {
  const place = new Int32Array(sorted.length);
  let below = 0;
  let sum = 0;
  while (below < total) {
    const value = sorted.reduce(
      (least, sample, s) => place[s] < sample.length ? Math.min(least, sample[place[s]]) : least,
      Infinity,
    );
    const counts = sorted.map((sample, s) => {
      let count = 0;
      while (place[s] < sample.length && sample[place[s]] === value) {
        place[s]++;
        count++;
      }
      return count;
    });
    const ties = counts.reduce((a, b) => a + b, 0);
    const middle = below + ties / 2;
    const weight = middle * (total - middle) - total * ties / 4;
    if (weight > 0) {
      for (let s = 0; s < sorted.length; s++) {
        const n = sorted[s].length;
        sum += ties / total * (total * (place[s] - counts[s] / 2) - middle * n) ** 2 / weight / n;
      }
    }
    below += ties;
  }
  return sum * (total - 1) / total;
}

/** Equation 4: the variance of the statistic of these sizes. */
function varianceOf(sizes: readonly number[], N: number): number {
  const k = sizes.length;
  const H = sizes.reduce((sum, size) => sum + 1 / size, 0);
  let h = 0;
  let g = 0;
  for (let i = N - 1; i >= 1; i--) {
    h += 1 / i;
    if (i >= 2) g += h / (N - i + 1);
  }
  const a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * H;
  const b = (2 * g - 4) * k ** 2 + 8 * h * k + (2 * g - 14 * h - 4) * H - 8 * h + 4 * g - 6;
  const c = (6 * h + 2 * g - 2) * k ** 2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * H + 4 * h;
  const d = (2 * h + 6) * k ** 2 - 4 * h * k;
  return (a * N ** 3 + b * N ** 2 + c * N + d) / ((N - 1) * (N - 2) * (N - 3));
}

/** The level of a statistic: a parabola through the logarithms of the table's levels. */
function interpolateLevel(statistic: number, m: number): number {
  const points = levels.map((_, i) =>
    critical.b0[i] + critical.b1[i] / Math.sqrt(m) + critical.b2[i] / m
  );
  if (statistic < points[0]) return levels[0];
  if (statistic > points[levels.length - 1]) return levels[levels.length - 1];
  return Math.exp(fitParabola(points, levels.map(Math.log))(statistic));
}

/** The least-squares parabola through points, as a function. */
function fitParabola(x: readonly number[], y: readonly number[]): (at: number) => number {
  const center = x.reduce((sum, value) => sum + value, 0) / x.length;
  const rows = [0, 1, 2].map((p) => [
    ...[0, 1, 2].map((q) => x.reduce((sum, v) => sum + (v - center) ** (p + q), 0)),
    x.reduce((sum, v, i) => sum + y[i] * (v - center) ** p, 0),
  ]);
  for (let p = 0; p < 3; p++) {
    for (let r = 0; r < 3; r++) {
      if (r === p) continue;
      const factor = rows[r][p] / rows[p][p];
      rows[r] = rows[r].map((value, col) => value - factor * rows[p][col]);
    }
  }
  const [c0, c1, c2] = rows.map((row, p) => row[3] / row[p]);
  return (at) => c0 + (at - center) * (c1 + (at - center) * c2);
}
