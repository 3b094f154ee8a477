/** The Cramér–von Mises test: the squared gap of two distribution functions. */
import { greatestDivisor, logGamma } from "../special.ts";
import type { TestOutcome } from "./outcome.ts";
import { poolSamples } from "./ranks.ts";

/** The larger side's size up to which T has its exact law, as in scipy. */
const mostExactValues = 20;

/**
 * The two-sample Cramér–von Mises test; `statistic` is T, the squared gap of the distribution
 * functions summed over the pooled values. `effect` is `sqrt(T / largest)`, where the largest T of
 * these sizes is that of samples apart. The p-value is exact up to 20 values a side (an approximation
 * with ties, by midranks) and the limit law beyond. `NaN` does not count; a side without values
 * gives `null`. Equals `scipy.stats.cramervonmises_2samp`.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { testCramerVonMises } from "./cramer.ts";
 *
 * assertAlmostEquals(testCramerVonMises([1, 2, 3], [4, 5, 6])!.pValue, 2 / 20);
 * ```
 *
 * @see Anderson, "On the Distribution of the Two-Sample Cramer–von Mises Criterion", Annals of
 * Mathematical Statistics 33(3), 1962
 */
export function testCramerVonMises(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): TestOutcome | null {
  const pooled = poolSamples(reference, current);
  if (!pooled) return null;
  const { n, m, groups } = pooled;
  let rank = 0;
  let i = 0;
  let j = 0;
  let U = 0;
  for (const group of groups) {
    const middle = rank + (group.reference + group.current + 1) / 2;
    for (let c = 0; c < group.reference; c++) U += n * (middle - ++i) ** 2;
    for (let c = 0; c < group.current; c++) U += m * (middle - ++j) ** 2;
    rank += group.reference + group.current;
  }
  const statistic = toT(U, n, m);
  const largest = toT((n * m) ** 2, n, m);
  return {
    statistic,
    pValue: Math.max(n, m) <= mostExactValues ? exactTail(U, n, m) : limitTail(statistic, n, m),
    effect: Math.min(1, Math.sqrt(Math.max(0, statistic) / largest)),
  };
}

function toT(U: number, n: number, m: number): number {
  const pairs = n * m;
  return U / (pairs * (n + m)) - (4 * pairs - 1) / (6 * (n + m));
}

/** Share of all interleavings whose statistic reaches this one, counted by recursion over both sizes. */
function exactTail(U: number, n: number, m: number): number {
  const multiple = n * m / greatestDivisor(n, m);
  const a = multiple / n;
  const b = multiple / m;
  const pairs = n * m;
  const least = Math.floor(
    multiple ** 2 * (n + m) * (6 * U - pairs * (4 * pairs - 1)) / (6 * pairs ** 2) + 1e-9,
  );
  let row: Map<number, number>[] = [];
  for (let u = 0; u <= m; u++) {
    const next: Map<number, number>[] = [];
    for (let v = 0; v <= n; v++) {
      const gap = (a * v - b * u) ** 2;
      const cell = new Map<number, number>();
      if (u === 0 && v === 0) cell.set(0, 1);
      for (const before of [row[v], next[v - 1]]) {
        for (const [value, ways] of before ?? []) {
          cell.set(value + gap, (cell.get(value + gap) ?? 0) + ways);
        }
      }
      next.push(cell);
    }
    row = next;
  }
  let total = 0;
  let tail = 0;
  for (const [value, ways] of row[n]) {
    total += ways;
    if (value >= least) tail += ways;
  }
  return tail / total;
}

function limitTail(T: number, n: number, m: number): number {
  const total = n + m;
  const pairs = n * m;
  const mean = (1 + 1 / total) / 6;
  const variance = (total + 1) * (4 * pairs * total - 3 * (n * n + m * m) - 2 * pairs) /
    (45 * total ** 2 * 4 * pairs);
  const x = 1 / 6 + (T - mean) / Math.sqrt(45 * variance);
  return x < 0.003 ? 1 : Math.max(0, 1 - limitDistribution(x));
}

/** Distribution function of the limit of n times omega squared: equation 1.2 of Csörgő and Faraway. */
function limitDistribution(x: number): number {
  let sum = 0;
  for (let k = 0; k < 200; k++) {
    const y = 4 * k + 1;
    const q = y * y / (16 * x);
    const term = Math.exp(logGamma(k + 0.5) - logGamma(k + 1)) / (Math.PI ** 1.5 * Math.sqrt(x)) *
      Math.sqrt(y) * quarterBessel(q);
    sum += term;
    if (term < 1e-17) break;
  }
  return sum;
}

/** `exp(-q) * K_{1/4}(q)`: the trapezoid rule on the integral of `exp(-q cosh t) cosh(t / 4)`. */
function quarterBessel(q: number): number {
  const step = 1 / 32;
  let sum = Math.exp(-2 * q) / 2;
  for (let i = 1; i < 4000; i++) {
    const t = i * step;
    const term = Math.exp(-q * (1 + Math.cosh(t))) * Math.cosh(t / 4);
    sum += term;
    if (term < 1e-18 * sum || term === 0) break;
  }
  return sum * step;
}
