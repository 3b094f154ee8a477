/**
 * Distances between two distributions over the same bins, from counts that {@linkcode countBins} or
 * {@linkcode countCategories} give. Counts become shares first. All are 0 for equal shares; an
 * empty side (all counts 0) gives `null`.
 *
 * @module
 */
import type { BinCounts } from "./bins.ts";

/** The two sides of a comparison. */
export type Counts = Pick<BinCounts, "reference" | "current">;

/** Calls back with the shares of each bin, unless a side is empty. */
function sumOverBins(
  { reference, current }: Counts,
  part: (r: number, c: number) => number,
): number | null {
  const shares = toShares({ reference, current });
  return shares && shares.reference.reduce((sum, r, bin) => sum + part(r, shares.current[bin]), 0);
}

function toShares({ reference, current }: Counts): Counts | null {
  if (reference.length !== current.length) {
    throw new TypeError(
      `Cannot compare ${reference.length} bins with ${current.length}: they are not the same bins`,
    );
  }
  const n = reference.reduce((sum, count) => sum + count, 0);
  const m = current.reduce((sum, count) => sum + count, 0);
  if (n === 0 || m === 0) return null;
  return { reference: reference.map((c) => c / n), current: current.map((c) => c / m) };
}

/**
 * Gives the Jensen–Shannon distance in `[0, sqrt(ln 2)]`: the root of the mean Kullback–Leibler
 * divergence, in nats, of the two distributions from their midpoint. Equals
 * `scipy.spatial.distance.jensenshannon`.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { measureJensenShannon } from "./divergences.ts";
 *
 * const apart = { reference: Float64Array.of(3, 0), current: Float64Array.of(0, 9) };
 * assertAlmostEquals(measureJensenShannon(apart)!, Math.sqrt(Math.LN2));
 * ```
 *
 * @see Endres and Schindelin, "A New Metric for Probability Distributions", IEEE Transactions on
 * Information Theory 49(7), 2003
 */
export function measureJensenShannon(counts: Counts): number | null {
  const sum = sumOverBins(counts, (r, c) => {
    const middle = (r + c) / 2;
    return entropyPart(r, middle) + entropyPart(c, middle);
  });
  return sum === null ? null : Math.sqrt(Math.max(0, sum / 2));
}

function entropyPart(p: number, q: number): number {
  return p === 0 ? 0 : p * Math.log(p / q);
}

/**
 * Gives the Kullback–Leibler divergence ≥ 0 of the reference from the current distribution, in nats:
 * the sum of `r * ln(r / c)`. An empty bin gets the share 1e-4, or a millionth of the side's smallest
 * share where that is 1e-4 or less, and the shares are normalized again; equals Evidently's `kl_div`.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { measureKullbackLeibler } from "./divergences.ts";
 *
 * const counts = { reference: Float64Array.of(1, 1), current: Float64Array.of(1, 3) };
 * assertAlmostEquals(measureKullbackLeibler(counts)!, 0.5 * Math.log(2) + 0.5 * Math.log(2 / 3));
 * ```
 *
 * @see Kullback and Leibler, "On Information and Sufficiency", Annals of Mathematical Statistics
 * 22(1), 1951
 */
export function measureKullbackLeibler(counts: Counts): number | null {
  const shares = toShares(counts);
  if (!shares) return null;
  const filled = { reference: fillEmpty(shares.reference), current: fillEmpty(shares.current) };
  return sumOverBins(filled, entropyPart);
}

function fillEmpty(shares: Float64Array): Float64Array {
  const smallest = shares.reduce((least, s) => s > 0 && s < least ? s : least, 1);
  const fill = smallest <= 1e-4 ? smallest / 1e6 : 1e-4;
  return shares.map((share) => share === 0 ? fill : share);
}

/**
 * Gives the Hellinger distance in `[0, 1]`: `sqrt(1 - sum(sqrt(r * c)))`.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureHellinger } from "./divergences.ts";
 *
 * const apart = { reference: Float64Array.of(2, 0), current: Float64Array.of(0, 1) };
 * assertEquals(measureHellinger(apart), 1);
 * ```
 *
 * @see Le Cam and Yang, "Asymptotics in Statistics", Springer 2000, section 3.1
 */
export function measureHellinger(counts: Counts): number | null {
  const affinity = sumOverBins(counts, (r, c) => Math.sqrt(r * c));
  return affinity === null ? null : Math.sqrt(Math.max(0, 1 - affinity));
}

/**
 * Gives the total variation distance in `[0, 1]`: half the sum of `|r - c|`, the share of values that
 * would have to move to another bin.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureTotalVariation } from "./divergences.ts";
 *
 * const counts = { reference: Float64Array.of(1, 1), current: Float64Array.of(1, 3) };
 * assertEquals(measureTotalVariation(counts), 0.25);
 * ```
 */
export function measureTotalVariation(counts: Counts): number | null {
  const sum = sumOverBins(counts, (r, c) => Math.abs(r - c));
  return sum === null ? null : sum / 2;
}

/**
 * Gives the L-infinity distance in `[0, 1]`: the largest `|r - c|` of any bin.
 *
 * @throws {TypeError} when the sides have different numbers of bins.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureLInfinity } from "./divergences.ts";
 *
 * const counts = { reference: Float64Array.of(2, 1, 1), current: Float64Array.of(1, 1, 2) };
 * assertEquals(measureLInfinity(counts), 0.25);
 * ```
 */
export function measureLInfinity(counts: Counts): number | null {
  const shares = toShares(counts);
  return shares &&
    shares.reference.reduce((most, r, bin) => Math.max(most, Math.abs(r - shares.current[bin])), 0);
}
