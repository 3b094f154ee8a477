/**
 * Tests that look at the order of the values only, so that neither unit nor transformation matters.
 * `NaN` does not count; a side without values gives `null`.
 *
 * @module
 */
import { normalTail } from "../special.ts";
import { sortPresent } from "../statistics.ts";
import type { TestOutcome } from "./outcome.ts";

/** Two samples in one order. */
export interface Pooled {
  readonly n: number;
  readonly m: number;
  /** Ascending groups of equal values: how many come from each side. */
  readonly groups: readonly { readonly reference: number; readonly current: number }[];
}

/** Gives two samples merged in ascending order, or `null` when either has no values. */
export function poolSamples(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): Pooled | null {
  const a = sortPresent(reference);
  const b = sortPresent(current);
  if (a.length === 0 || b.length === 0) return null;
  const groups: { reference: number; current: number }[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const value = Math.min(i < a.length ? a[i] : Infinity, j < b.length ? b[j] : Infinity);
    const group = { reference: 0, current: 0 };
    for (; i < a.length && a[i] === value; i++) group.reference++;
    for (; j < b.length && b[j] === value; j++) group.current++;
    groups.push(group);
  }
  return { n: a.length, m: b.length, groups };
}

/** The smaller side's size up to which U has its exact law, as in scipy, … */
const mostExactValues = 8;

/** … and most pairs for which it is computed. */
const mostExactPairs = 100_000;

/**
 * The Mann–Whitney U test; `statistic` is U of the reference, the pairs in which its value is larger,
 * ties counting half. `effect` is the rank-biserial correlation `|2 U / (n m) - 1|`. The p-value is
 * exact when there are no ties, a side has at most 8 values and there are at most 100,000 pairs;
 * otherwise it is the normal limit, corrected for ties and continuity. Equals
 * `scipy.stats.mannwhitneyu(alternative="two-sided")`. It sees that one side's values tend to be
 * larger and nothing else.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals, assertEquals } from "@std/assert";
 * import { testMannWhitney } from "./ranks.ts";
 *
 * const { statistic, pValue } = testMannWhitney([1, 2, 3], [4, 5, 6])!;
 * assertEquals(statistic, 0);
 * assertAlmostEquals(pValue, 2 / 20);
 * ```
 *
 * @see Mann and Whitney, "On a Test of Whether One of Two Random Variables Is Stochastically Larger
 * Than the Other", Annals of Mathematical Statistics 18(1), 1947
 */
export function testMannWhitney(
  reference: ArrayLike<number>,
  current: ArrayLike<number>,
): TestOutcome | null {
  const pooled = poolSamples(reference, current);
  if (!pooled) return null;
  const { n, m, groups } = pooled;
  let statistic = 0;
  let below = 0;
  let tied = 0;
  for (const group of groups) {
    const size = group.reference + group.current;
    statistic += group.reference * (below + group.current / 2);
    below += group.current;
    tied += size ** 3 - size;
  }
  const larger = Math.max(statistic, n * m - statistic);
  const isExact = tied === 0 && Math.min(n, m) <= mostExactValues && n * m <= mostExactPairs;
  return {
    statistic,
    pValue: Math.min(1, isExact ? 2 * exactTail(n, m, larger) : limitTail(pooled, larger, tied)),
    effect: 2 * larger / (n * m) - 1,
  };
}

function limitTail({ n, m }: Pooled, larger: number, tied: number): number {
  const total = n + m;
  const variance = n * m / 12 * (total + 1 - tied / (total * (total - 1)));
  if (!(variance > 0)) return 1; // All values are equal.
  return 2 * normalTail((larger - n * m / 2 - 0.5) / Math.sqrt(variance));
}

/** Probability that U reaches `least`: the Gaussian binomial coefficient's terms, as shares. */
function exactTail(n: number, m: number, least: number): number {
  const ways = new Float64Array(n * m + 1);
  ways[0] = 1;
  const [short, long] = n < m ? [n, m] : [m, n];
  for (let i = 1; i <= short; i++) {
    // Times (1 - q**(long + i)), divided by (1 - q**i).
    for (let u = n * m; u >= long + i; u--) ways[u] -= ways[u - long - i];
    for (let u = i; u <= n * m; u++) ways[u] += ways[u - i];
  }
  let total = 0;
  let tail = 0;
  for (let u = 0; u <= n * m; u++) {
    total += ways[u];
    if (u >= least) tail += ways[u];
  }
  return tail / total;
}
