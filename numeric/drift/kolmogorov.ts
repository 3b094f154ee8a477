/** The exact law of the two-sample Kolmogorov–Smirnov distance. */
import { greatestDivisor } from "../special.ts";
import { largestDistance, sortPresent, testKolmogorovSmirnov } from "../statistics.ts";

/** Outcome of {@linkcode testKolmogorovSmirnovExactly}. */
export interface ExactKolmogorovSmirnov {
  /** Largest distance of the two distribution functions, in `[0, 1]`. */
  readonly statistic: number;
  /** Two-sided p-value in `[0, 1]`. */
  readonly pValue: number;
  /** Whether the p-value is exact or Kolmogorov's limit. */
  readonly method: "exact" | "limit";
}

/** Most pairs of values, n times m, whose exact law is computed: some tens of milliseconds. */
export const mostExactPairs = 10_000_000;

/**
 * Tests whether two samples come from one distribution, with the exact p-value up to
 * {@linkcode mostExactPairs} pairs and Kolmogorov's limit beyond; `NaN` does not count, and a sample
 * without values gives `null`. Equals `scipy.stats.ks_2samp(method="exact")`. With ties the p-value is
 * an upper bound.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { testKolmogorovSmirnovExactly } from "./kolmogorov.ts";
 *
 * const { statistic, pValue } = testKolmogorovSmirnovExactly([1, 2, 3], [4, 5, 6])!;
 * assertAlmostEquals(statistic, 1);
 * assertAlmostEquals(pValue, 2 / 20);
 * ```
 *
 * @see Hodges, "The Significance Probability of the Smirnov Two-Sample Test", Arkiv för Matematik 3,
 * 1958
 */
export function testKolmogorovSmirnovExactly(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): ExactKolmogorovSmirnov | null {
  const a = sortPresent(reference);
  const b = sortPresent(current);
  if (a.length === 0 || b.length === 0) return null;
  if (a.length * b.length > mostExactPairs) {
    return { ...testKolmogorovSmirnov(a, b)!, method: "limit" };
  }
  const statistic = largestDistance(a, b);
  return { statistic, pValue: exactTail(a.length, b.length, statistic), method: "exact" };
}

/**
 * Share of the lattice paths from (0, 0) to (n, m) that leave the band of distances below the
 * observed one. The share of paths to (i, j) that left it is the mean of those to its two
 * predecessors, weighted by how many paths come from each.
 */
function exactTail(n: number, m: number, statistic: number): number {
  const [long, short] = n < m ? [m, n] : [n, m];
  const divisor = greatestDivisor(long, short);
  const longStep = long / divisor;
  const shortStep = short / divisor;
  // The distance in units of 1 / lcm(n, m), an integer.
  const height = Math.round(statistic * longStep * short);
  if (height === 0) return 1;
  const outside = new Float64Array(short + 2).fill(1);
  let low = 0;
  let high = Math.min(Math.ceil(height / longStep), short + 1);
  outside.fill(0, 0, high);
  for (let i = 1; i <= long; i++) {
    const lastLow = low;
    const lastLength = high - low;
    low = Math.min(Math.max(Math.floor((shortStep * i - height) / longStep) + 1, 0), short);
    high = Math.min(Math.ceil((shortStep * i + height) / longStep), short + 1);
    if (high <= low) return 1;
    let value = low === 0 ? 0 : 1;
    for (let j = low; j < high; j++) {
      value = (outside[j - lastLow] * i + value * j) / (i + j);
      outside[j - low] = value;
    }
    if (lastLength > high - low) outside.fill(1, high - low, lastLength);
  }
  return Math.min(1, outside[high - low - 1]);
}
