/** Thresholds with a stated rate of false alarms, from what a reference looks like. */
import { Random } from "../random.ts";
import { regularizedBeta } from "../special.ts";
import type { ThresholdDetector } from "./detector.ts";

/** What is promised, and on which data. */
export interface CalibrationOptions {
  /**
   * Gives a detector that never alarms (`threshold: Infinity`), fitted to this reference where it has
   * something to fit.
   */
  readonly create: (reference: Float64Array) => ThresholdDetector;
  /** Values of the stream while nothing has changed, in order; at least 30. */
  readonly reference: ArrayLike<number>;
  /** Length of the period that the promise is about, in values. */
  readonly rows: number;
  /** Largest probability in `(0, 1)` of any false alarm in a period; 0.05 when left out. */
  readonly rate?: number;
  /** Simulated periods; 1000 when left out. */
  readonly replicates?: number;
  /**
   * Values that are drawn together, because neighbors are alike; 1, for independent values, when left
   * out.
   */
  readonly block?: number;
  /** 0 when left out. */
  readonly seed?: number;
}

/** A threshold and what it promises. */
export interface Calibration {
  readonly threshold: number;
  /** Probability of a false alarm in a period of `rows` values, at most. */
  readonly rate: number;
  readonly rows: number;
  readonly replicates: number;
  /** Probability that the simulation was long enough for the promise to hold. */
  readonly confidence: number;
}

const confidence = 0.95;

/** Below this a reference says too little about its own tails. */
const fewestValues = 30;

/**
 * Gives the threshold that a detector exceeds in a period of `rows` values with a probability of at
 * most `rate` while nothing changes. It simulates periods: each draws a reference of the same size
 * from the reference, fits a detector to it and lets it read values drawn from the reference, so that
 * what the fit does not know counts, too. The threshold is the order statistic of the largest values
 * that bounds the `1 - rate` quantile with 95 % confidence (Wilks).
 *
 * It can promise only what the reference shows: what is more extreme than all of it is never drawn, so
 * that with heavy tails there are more false alarms than promised (8 % for 5 % on squares of
 * exponential values, a reference of 1,000).
 *
 * `NaN` does not count. The same options give the same threshold.
 *
 * @throws {RangeError} when an option is out of its range, the reference has fewer than 30 values, or
 * there are too few replicates for the rate.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { Random } from "../random.ts";
 * import { calibrateThreshold } from "./calibration.ts";
 * import { Cusum } from "./cusum.ts";
 *
 * const random = new Random(1);
 * const reference = Float64Array.from({ length: 500 }, () => random.uniform());
 * const { threshold } = calibrateThreshold({
 *   create: (drawn) => Cusum.of(drawn, { threshold: Infinity }),
 *   reference,
 *   rows: 168,
 *   rate: 0.1,
 *   replicates: 200,
 * });
 * assert(threshold > 4 && threshold < 12);
 * ```
 *
 * @see Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", Annals of
 * Statistics 17(3), 1989
 * @see Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", Annals of Mathematical
 * Statistics 12(1), 1941
 */
export function calibrateThreshold(options: CalibrationOptions): Calibration {
  const simulation = simulate(options);
  let step = simulation.next();
  while (!step.done) step = simulation.next();
  return step.value;
}

/**
 * As {@linkcode calibrateThreshold}, with a pause after each simulated period, in which others may use
 * the thread.
 *
 * @throws {RangeError} as {@linkcode calibrateThreshold}, and whatever `pause` rejects with.
 */
export async function calibrateThresholdBeside(
  options: CalibrationOptions,
  pause: () => Promise<void> | void,
): Promise<Calibration> {
  const simulation = simulate(options);
  let step = simulation.next();
  while (!step.done) {
    const pausing = pause();
    if (pausing) await pausing;
    step = simulation.next();
  }
  return step.value;
}

function* simulate(options: CalibrationOptions): Generator<void, Calibration> {
  const { create, rows, rate = 0.05, replicates = 1000, block = 1, seed = 0 } = options;
  const reference = Float64Array.from(options.reference).filter((value) => !Number.isNaN(value));
  if (reference.length < fewestValues) {
    throw new RangeError(
      `Cannot calibrate on ${reference.length} values: it takes at least ${fewestValues}`,
    );
  }
  for (const [name, value] of Object.entries({ rows, replicates, block })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`Cannot calibrate with ${name} "${value}": it is not an integer ≥ 1`);
    }
  }
  if (block > reference.length) {
    throw new RangeError(
      `Cannot draw blocks of "${block}" values: the reference has ${reference.length}`,
    );
  }
  const place = findPlace(replicates, rate);
  const random = new Random(seed);
  const peaks = new Float64Array(replicates);
  for (let i = 0; i < replicates; i++) {
    const detector = create(drawBlocks(reference, { length: reference.length, block, random }));
    let peak = 0;
    for (const value of drawBlocks(reference, { length: rows, block, random })) {
      detector.update(value);
      peak = Math.max(peak, detector.statistic);
    }
    peaks[i] = peak;
    yield;
  }
  peaks.sort();
  return { threshold: peaks[place - 1], rate, rows, replicates, confidence };
}

/** Place, from 1, of the smallest order statistic that bounds the quantile with confidence. */
function findPlace(replicates: number, rate: number): number {
  if (!(rate > 0 && rate < 1)) {
    throw new RangeError(`Cannot calibrate for rate "${rate}": it is not in (0, 1)`);
  }
  for (let place = 1; place <= replicates; place++) {
    // The share of values above the order statistic is beta distributed.
    if (regularizedBeta(replicates - place + 1, place, rate) >= confidence) return place;
  }
  const needed = Math.ceil(Math.log(1 - confidence) / Math.log(1 - rate));
  throw new RangeError(
    `Cannot calibrate for rate "${rate}" with ${replicates} replicates: it takes ${needed}`,
  );
}

function drawBlocks(
  values: Float64Array,
  { length, block, random }: { length: number; block: number; random: Random },
): Float64Array {
  const drawn = new Float64Array(length);
  for (let i = 0; i < length; i += block) {
    const start = random.below(values.length - block + 1);
    drawn.set(values.subarray(start, start + Math.min(block, length - i)), i);
  }
  return drawn;
}
