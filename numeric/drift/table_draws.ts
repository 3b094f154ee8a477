/** Random tables of two rows with given margins, and their probability. */
import type { Random } from "../random.ts";
import { logGamma } from "../special.ts";
import type { Counts } from "./divergences.ts";

/** Logarithm of the number of ways to choose k of n. */
function logChoose(n: number, k: number): number {
  return logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1);
}

/**
 * Gives the logarithm of the probability of a table of two rows among all with its margins (the
 * multivariate hypergeometric law).
 */
export function logTableWeight(
  { reference, current }: Record<keyof Counts, ArrayLike<number>>,
): number {
  let n = 0;
  let m = 0;
  let weight = 0;
  for (let bin = 0; bin < reference.length; bin++) {
    n += reference[bin];
    m += current[bin];
    weight += logChoose(reference[bin] + current[bin], reference[bin]);
  }
  return weight - logChoose(n + m, n);
}

/** Draws a table with the margins of `counts`: bin after bin, each given those before it. */
export function drawTable({ reference, current }: Counts, random: Random): Counts {
  const drawn = { reference: reference.slice(), current: current.slice() };
  let open = 0;
  let left = 0;
  for (let bin = 0; bin < reference.length; bin++) {
    open += reference[bin] + current[bin];
    left += reference[bin];
  }
  for (let bin = 0; bin < reference.length; bin++) {
    const size = reference[bin] + current[bin];
    drawn.reference[bin] = drawHypergeometric({ size, open, left }, random);
    drawn.current[bin] = size - drawn.reference[bin];
    open -= size;
    left -= drawn.reference[bin];
  }
  return drawn;
}

/**
 * Draws how many of `size` marked values are among `left` that are taken out of `open`, by inversion
 * that begins at the mode and walks outward, so that it takes about one standard deviation of steps.
 */
function drawHypergeometric(
  { size, open, left }: { size: number; open: number; left: number },
  random: Random,
): number {
  const lowest = Math.max(0, size + left - open);
  const highest = Math.min(size, left);
  if (lowest === highest) return lowest;
  const mode = Math.min(
    highest,
    Math.max(lowest, Math.floor((size + 1) * (left + 1) / (open + 2))),
  );
  const peak = Math.exp(
    logChoose(size, mode) + logChoose(open - size, left - mode) - logChoose(open, left),
  );
  // Two draws of 32 bits, so that the far ends of a long law can be reached.
  let rest = random.uniform() + random.uniform() / 2 ** 32 - peak;
  let down = peak;
  let up = peak;
  let lower = mode;
  let upper = mode;
  while (rest >= 0 && (lower > lowest || upper < highest)) {
    if (upper < highest) {
      up *= (size - upper) * (left - upper) / ((upper + 1) * (open - size - left + upper + 1));
      upper++;
      rest -= up;
      if (rest < 0) return upper;
    }
    if (lower > lowest) {
      down *= lower * (open - size - left + lower) / ((size - lower + 1) * (left - lower + 1));
      lower--;
      rest -= down;
      if (rest < 0) return lower;
    }
  }
  return mode; // What rounding left over, less than 1e-9 of the draws.
}
