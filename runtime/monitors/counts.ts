/** The test of counts that decides: one that keeps its level where categories are rare. Pure. */
import type { Counts } from "../../numeric/drift/divergences.ts";
import { testChiSquared, testFisher, testProportions } from "../../numeric/drift/tables.ts";

/** Fewest values that a bin must have in the mean for the limit of a test of counts to be good. */
const LEAST_EXPECTED = 5;

/**
 * Gives the p-value of equal shares. Where a bin has few values, the limits find drift that is not
 * there: then each bin is tested against all others, exactly where it is rare, and the least p-value is
 * taken times the number of bins (Bonferroni).
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { testChiSquared } from "../../numeric/drift/tables.ts";
 * import { testCounts } from "./counts.ts";
 *
 * const counts = { reference: Float64Array.of(768, 24, 8), current: Float64Array.of(57, 0, 3) };
 * assert(testChiSquared(counts)!.pValue < 0.05);
 * assert(testCounts(counts) > 0.05);
 * ```
 *
 * @see Cochran, "Some Methods for Strengthening the Common χ² Tests", Biometrics 10, 1954
 */
export function testCounts({ reference, current }: Counts): number {
  const sides = [reference, current].map((counts) => counts.reduce((sum, count) => sum + count, 0));
  const bins = [...reference.keys()].filter((bin) => reference[bin] + current[bin] > 0);
  const isRare = (bin: number) =>
    (reference[bin] + current[bin]) * Math.min(...sides) / (sides[0] + sides[1]) < LEAST_EXPECTED;
  const againstOthers = (bin: number) => ({
    reference: Float64Array.of(reference[bin], sides[0] - reference[bin]),
    current: Float64Array.of(current[bin], sides[1] - current[bin]),
  });
  if (bins.length < 2) return 1;
  if (!bins.some(isRare)) {
    return bins.length === 2
      ? testProportions(againstOthers(bins[0]))!.pValue
      : testChiSquared({ reference, current })!.pValue;
  }
  // Of two bins both tests are the same one.
  if (bins.length === 2) return testFisher(againstOthers(bins[0]))!.pValue;
  // One by one: a column of texts may have more of them than a call takes arguments.
  const least = bins.reduce((least, bin) => {
    const counts = againstOthers(bin);
    return Math.min(least, (isRare(bin) ? testFisher(counts) : testProportions(counts))!.pValue);
  }, 1);
  return Math.min(1, bins.length * least);
}
