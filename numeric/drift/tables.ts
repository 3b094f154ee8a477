/**
 * Tests of counts: whether two samples have the same shares. A bin that both sides lack says nothing
 * and does not count; a side without values gives `null`.
 *
 * @module
 */
import { Random } from "../random.ts";
import { chiSquaredTail, normalTail } from "../special.ts";
import type { Counts } from "./divergences.ts";
import type { TestOutcome } from "./outcome.ts";
import { drawTable, logTableWeight } from "./table_draws.ts";

/** Both sides without the bins that both lack, and their sizes; `null` when a side is empty. */
interface Table extends Counts {
  readonly n: number;
  readonly m: number;
}

function readTable({ reference, current }: Counts): Table | null {
  if (reference.length !== current.length) {
    throw new TypeError(
      `Cannot test ${reference.length} bins against ${current.length}: they are not the same bins`,
    );
  }
  const isSeen = (_: number, bin: number) => reference[bin] + current[bin] > 0;
  const table = { reference: reference.filter(isSeen), current: current.filter(isSeen) };
  const n = sum(table.reference);
  const m = sum(table.current);
  return n === 0 || m === 0 ? null : { ...table, n, m };
}

function sum(counts: Float64Array): number {
  return counts.reduce((total, count) => total + count, 0);
}

/** A test that compares counts with those expected under equal shares. */
function testAgainstExpected(
  counts: Counts,
  part: (observed: number, expected: number) => number,
): TestOutcome | null {
  const table = readTable(counts);
  if (!table) return null;
  const { reference, current, n, m } = table;
  let statistic = 0;
  let squares = 0;
  for (let bin = 0; bin < reference.length; bin++) {
    for (const [observed, size] of [[reference[bin], n], [current[bin], m]]) {
      const expected = (reference[bin] + current[bin]) * size / (n + m);
      statistic += part(observed, expected);
      squares += (observed - expected) ** 2 / expected;
    }
  }
  const degrees = reference.length - 1;
  return {
    statistic: Math.max(0, statistic),
    pValue: degrees === 0 ? 1 : chiSquaredTail(statistic, degrees),
    effect: Math.sqrt(squares / (n + m)),
  };
}

/**
 * Pearson's chi-squared test that both sides have the same shares; `effect` is Cramér's V. Equals
 * `scipy.stats.chi2_contingency(table, correction=False)`: both sides are samples, unlike a test of
 * fit, which takes the reference for the truth and finds drift too often. The p-value is a limit, good
 * from about five expected values a bin.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { testChiSquared } from "./tables.ts";
 *
 * const counts = { reference: Float64Array.of(10, 20), current: Float64Array.of(20, 10) };
 * assertAlmostEquals(testChiSquared(counts)!.statistic, 20 / 3);
 * assertAlmostEquals(testChiSquared(counts)!.effect, 1 / 3);
 * ```
 *
 * @see Pearson, "On the Criterion…", Philosophical Magazine 50, 1900
 */
export function testChiSquared(counts: Counts): TestOutcome | null {
  return testAgainstExpected(counts, (observed, expected) => (observed - expected) ** 2 / expected);
}

/**
 * The likelihood-ratio (G) test that both sides have the same shares; `effect` is Cramér's V. Equals
 * `scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")`.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { testLikelihoodRatio } from "./tables.ts";
 *
 * const counts = { reference: Float64Array.of(4, 8), current: Float64Array.of(1, 2) };
 * assertEquals(testLikelihoodRatio(counts)!.pValue, 1);
 * ```
 *
 * @see Sokal and Rohlf, "Biometry", 4th edition, 2012, chapter 17
 */
export function testLikelihoodRatio(counts: Counts): TestOutcome | null {
  return testAgainstExpected(
    counts,
    (observed, expected) => observed === 0 ? 0 : 2 * observed * Math.log(observed / expected),
  );
}

/** The two cells of one side. */
function checkTwoBins(counts: Counts): void {
  if (counts.reference.length !== 2 || counts.current.length !== 2) {
    throw new RangeError(
      `Cannot compare two proportions over "${counts.reference.length}" bins: it takes two`,
    );
  }
}

/**
 * The z test of two proportions with a pooled variance: whether the share of the second of two bins is
 * the same; `statistic` is positive when the reference's share is larger, `effect` the absolute
 * difference of the shares. Equals Evidently's `z`. The p-value is a limit, good from about ten values
 * in every cell; {@linkcode testFisher} is exact.
 *
 * @throws {RangeError} when there are not two bins.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { testProportions } from "./tables.ts";
 *
 * const counts = { reference: Float64Array.of(50, 50), current: Float64Array.of(60, 40) };
 * assertAlmostEquals(testProportions(counts)!.statistic, 0.1 / Math.sqrt(0.45 * 0.55 / 50));
 * ```
 */
export function testProportions(counts: Counts): TestOutcome | null {
  checkTwoBins(counts);
  const n = sum(counts.reference);
  const m = sum(counts.current);
  if (n === 0 || m === 0) return null;
  const difference = counts.reference[1] / n - counts.current[1] / m;
  const pooled = (counts.reference[1] + counts.current[1]) / (n + m);
  const variance = pooled * (1 - pooled) * (1 / n + 1 / m);
  if (variance === 0) return { statistic: 0, pValue: 1, effect: 0 };
  const statistic = difference / Math.sqrt(variance);
  return {
    statistic,
    pValue: Math.min(1, 2 * normalTail(Math.abs(statistic))),
    effect: Math.abs(difference),
  };
}

/**
 * Fisher's exact test of two bins: the probability, under equal shares and the same margins, of all
 * tables no likelier than this one. `statistic` is the probability of the table itself, `effect` the
 * absolute difference of the shares. The p-value equals `scipy.stats.fisher_exact`.
 *
 * @throws {RangeError} when there are not two bins or a count is not an integer ≥ 0.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { testFisher } from "./tables.ts";
 *
 * const tea = { reference: Float64Array.of(3, 1), current: Float64Array.of(1, 3) };
 * assertAlmostEquals(testFisher(tea)!.pValue, 34 / 70);
 * ```
 *
 * @see Fisher, "The Design of Experiments", 1935, chapter 2
 */
export function testFisher(counts: Counts): TestOutcome | null {
  checkTwoBins(counts);
  checkIntegers(counts);
  const [a, b] = counts.reference;
  const [c, d] = counts.current;
  if (a + b === 0 || c + d === 0) return null;
  const weight = (first: number) =>
    Math.exp(
      logTableWeight(
        { reference: [first, a + b - first], current: [a + c - first, b + d - a - b + first] },
      ),
    );
  const observed = weight(a);
  let pValue = 0;
  for (let first = Math.max(0, a - d); first <= Math.min(a + b, a + c); first++) {
    const probability = weight(first);
    if (probability <= observed * (1 + ties)) pValue += probability;
  }
  return {
    statistic: observed,
    pValue: Math.min(1, pValue),
    effect: Math.abs(b / (a + b) - d / (c + d)),
  };
}

/** Relative difference below which two tables count as equally likely. */
const ties = 1e-9;

function checkIntegers({ reference, current }: Counts): void {
  for (const count of [...reference, ...current]) {
    if (!Number.isInteger(count) || count < 0) {
      throw new RangeError(`Cannot test counts exactly with "${count}": it is not an integer ≥ 0`);
    }
  }
}

/** How a permutation test is drawn. */
export interface PermutationOptions {
  /** Number of random tables; 2000 when left out. The p-value is at least `1 / (replicates + 1)`. */
  readonly replicates?: number;
  /** 0 when left out. */
  readonly seed?: number;
}

/**
 * Tests any number of bins without a limit theorem: draws tables with the same margins, which under
 * equal shares are as likely as the real one, and counts those at least as extreme, the real one
 * included. `measure` says how extreme; its value is `statistic` and `effect`. A draw costs the number
 * of bins times the root of their counts, so millions of values are no more than thousands.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 * @throws {RangeError} when a count or `replicates` is not an integer ≥ 0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureTotalVariation } from "./divergences.ts";
 * import { testByPermutation } from "./tables.ts";
 *
 * const counts = { reference: Float64Array.of(90, 0, 10), current: Float64Array.of(0, 90, 10) };
 * const { statistic, pValue } = testByPermutation(counts, measureTotalVariation)!;
 * assertEquals([statistic, pValue], [0.9, 1 / 2001]);
 * ```
 *
 * @see Phipson and Smyth, "Permutation P-values Should Never Be Zero", Statistical Applications in
 * Genetics and Molecular Biology 9(1), 2010
 */
export function testByPermutation(
  counts: Counts,
  measure: (counts: Counts) => number | null,
  { replicates = 2000, seed = 0 }: PermutationOptions = {},
): TestOutcome | null {
  checkIntegers(counts);
  if (!Number.isInteger(replicates) || replicates < 0) {
    throw new RangeError(`Cannot draw "${replicates}" tables: it is not an integer ≥ 0`);
  }
  const table = readTable(counts);
  if (!table) return null;
  const statistic = measure(table)!;
  const random = new Random(seed);
  let extreme = 1;
  for (let r = 0; r < replicates; r++) {
    if (measure(drawTable(table, random))! >= statistic * (1 - ties)) extreme++;
  }
  return { statistic, pValue: extreme / (replicates + 1), effect: Math.min(1, statistic) };
}

/**
 * Fisher's exact test of any number of bins by Monte Carlo (Freeman and Halton): how often a random
 * table with the same margins is no likelier than this one. `statistic` is minus the logarithm of the
 * table's probability, `effect` the total variation distance.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 * @throws {RangeError} when a count or `replicates` is not an integer ≥ 0.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { testFisherByDraws } from "./tables.ts";
 *
 * const counts = { reference: Float64Array.of(6, 1, 1), current: Float64Array.of(1, 5, 2) };
 * assert(testFisherByDraws(counts)!.pValue < 0.1);
 * ```
 *
 * @see Freeman and Halton, "Note on an Exact Treatment of Contingency…", Biometrika 38, 1951
 */
export function testFisherByDraws(
  counts: Counts,
  options: PermutationOptions = {},
): TestOutcome | null {
  const outcome = testByPermutation(counts, (table) => -logTableWeight(table), options);
  const table = readTable(counts);
  if (!outcome || !table) return null;
  const { reference, current, n, m } = table;
  const distance = reference.reduce((d, r, bin) => d + Math.abs(r / n - current[bin] / m), 0) / 2;
  return { ...outcome, effect: distance };
}
