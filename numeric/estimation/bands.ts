/** Chunks of a reference, the thresholds they give, and the band of an estimate. */

/** Ends of a range; `null` is open. */
export interface Limits {
  readonly low: number | null;
  readonly high: number | null;
}

/** An estimate with what is known about its error. */
export interface Estimate {
  readonly value: number;
  /** Standard error by sampling: how far the realized value lies from a true expectation. */
  readonly standardError: number;
  /** Ends of the band of three standard errors, within the metric's range. */
  readonly low: number;
  readonly high: number;
  /** Mean ± three standard deviations of the values that the chunks of the reference realized. */
  readonly threshold: Limits;
  /** Whether the value lies outside the threshold. */
  readonly isAlert: boolean;
}

/** Standard errors to either side of a band, and deviations to a threshold (NannyML's). */
export const bandWidth = 3;

/** Chunks a reference is cut into when left out (NannyML's). */
export const defaultChunks = 10;

/**
 * Cuts `rows` rows into `count` chunks of as equal sizes as can be, in order: `[start, end]` each.
 *
 * @throws {RangeError} when there are not two chunks at least, or fewer rows than chunks.
 */
export function cutChunks(rows: number, count = defaultChunks): [start: number, end: number][] {
  if (!Number.isInteger(count) || count < 2) {
    throw new RangeError(`Cannot cut a reference into "${count}" chunks: it is not an integer ≥ 2`);
  }
  if (rows < count) {
    throw new RangeError(`Cannot cut a reference of ${rows} rows into "${count}" chunks`);
  }
  const edge = (chunk: number) => Math.floor(chunk * rows / count);
  return Array.from({ length: count }, (_, chunk) => [edge(chunk), edge(chunk + 1)]);
}

/** Gives mean ± three standard deviations (population) of the values of chunks, within a range. */
export function thresholdOf(
  values: readonly (number | null)[],
  { low, high }: Limits,
): Limits {
  const present = values.filter((value) => value !== null);
  if (present.length === 0) return { low: null, high: null };
  const mean = present.reduce((a, b) => a + b, 0) / present.length;
  const variance = present.reduce((sum, v) => sum + (v - mean) ** 2, 0) / present.length;
  const reach = bandWidth * Math.sqrt(variance);
  return {
    low: Math.max(low ?? -Infinity, mean - reach),
    high: Math.min(high ?? Infinity, mean + reach),
  };
}

/** Gives an estimate with its band, within the metric's range. */
export function withBand(
  value: number,
  standardError: number,
  { threshold, range }: { readonly threshold: Limits; readonly range: Limits },
): Estimate {
  return {
    value,
    standardError,
    low: Math.max(range.low ?? -Infinity, value - bandWidth * standardError),
    high: Math.min(range.high ?? Infinity, value + bandWidth * standardError),
    threshold,
    isAlert: (threshold.low !== null && value < threshold.low) ||
      (threshold.high !== null && value > threshold.high),
  };
}
