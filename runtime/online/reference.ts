/** What a detector is measured against: the look of a series while nothing changes. */
import { Adwin } from "../../numeric/online/adwin.ts";
import { calibrateThresholdBeside } from "../../numeric/online/calibration.ts";
import { Cusum } from "../../numeric/online/cusum.ts";
import type { ResumableDetector, ThresholdDetector } from "../../numeric/online/detector.ts";
import { PageHinkley } from "../../numeric/online/page_hinkley.ts";
import { computeMean, computeStd } from "../../numeric/statistics.ts";
import type { DetectorKind, WatchParams } from "./params.ts";

/** Where a reference comes from: `held_out` predictions of the version, or `rows` of the stream. */
export type ReferenceSource = "held_out" | "rows";

/** Mean and deviation of a series while nothing changes, and the threshold that they led to. */
export interface Reference {
  readonly source: ReferenceSource;
  readonly rows: number;
  readonly mean: number;
  /** > 0. */
  readonly std: number;
  readonly threshold: number;
}

/** Fewest values that a reference of held-out predictions is made of. */
const FEWEST_HELD_OUT = 100;

/** Periods to simulate, and no fewer than five times as many as a rare alarm is rare. */
const REPLICATES = 1_000;

/** Change of the mean that does not matter to Page and Hinkley's test, in standard deviations. */
const TOLERANCE = 0.25;

type Moments = Pick<Reference, "mean" | "std">;

/** Whether detectors of a kind are measured against a reference. */
export function needsReference(kind: DetectorKind): boolean {
  return kind !== "adwin";
}

/**
 * Gives the reference of values without missing ones, with a threshold that is simulated beside other
 * work; `null` when no two of them differ, which says nothing about the changes to expect.
 *
 * @throws what `pause` rejects with.
 */
export async function fitReference(
  values: Float64Array,
  { params: { detector, rate, period, block }, source, pause }: {
    readonly params: WatchParams;
    readonly source: ReferenceSource;
    /** Called after each simulated period. */
    readonly pause: () => Promise<void> | void;
  },
): Promise<Reference | null> {
  const moments = measure(values);
  if (moments === null) return null;
  const { threshold } = await calibrateThresholdBeside({
    // A draw of a rare class may hold none of it: then it has the deviation of them all.
    create: (drawn) => make(detector, measure(drawn) ?? moments, Infinity),
    reference: values,
    rows: period,
    rate,
    block: Math.min(block, values.length),
    replicates: Math.max(REPLICATES, Math.ceil(5 / rate)),
  }, pause);
  // No period had any evidence: the least of it is more than promised.
  return { source, rows: values.length, ...moments, threshold: threshold || Number.EPSILON };
}

/** Gives a detector that has read nothing yet; `reference` is for kinds that need one. */
export function makeDetector(
  { detector, rate, period }: WatchParams,
  reference: Reference | null,
): ResumableDetector & Partial<Pick<ThresholdDetector, "statistic">> {
  if (reference !== null) return make(detector, reference, reference.threshold);
  // Its bound is for one look: a period has so many of them, and their probabilities add up at most.
  return new Adwin({ delta: rate * CLOCK / period, clock: CLOCK });
}

/** Values between two looks of ADWIN. */
const CLOCK = 32;

function make(
  kind: DetectorKind,
  { mean, std }: Moments,
  threshold: number,
): ThresholdDetector & ResumableDetector {
  return kind === "cusum"
    ? new Cusum({ mean, std, threshold })
    // One that forgets is another detector after many periods than in the one that is simulated.
    : new PageHinkley({ threshold, tolerance: TOLERANCE * std, memory: 1 });
}

function measure(values: Float64Array): Moments | null {
  // Equal values are recognized by themselves: their computed deviation need not be exactly 0.
  const first = values[0];
  if (values.every((value) => value === first)) return null;
  const [mean, std] = [computeMean(values)!, computeStd(values)!];
  // Values may differ by less than their squares can tell.
  return Number.isFinite(mean) && std > 0 && std < Infinity ? { mean, std } : null;
}

/**
 * Gives about `rows` of held-out values, spread evenly over all of them in stretches of `block`
 * neighbors; `null` when there are too few to be a reference.
 */
export function thinHeldOut(
  all: Float64Array,
  { rows, block }: { readonly rows: number; readonly block: number },
): Float64Array | null {
  const values = all.filter(Number.isFinite);
  if (values.length < FEWEST_HELD_OUT) return null;
  if (values.length <= rows) return values;
  const wanted = Math.ceil(rows / block);
  const stretches = Math.floor(values.length / block);
  if (stretches <= wanted) return values.subarray(0, stretches * block);
  const thinned = new Float64Array(wanted * block);
  for (let i = 0; i < wanted; i++) {
    const start = Math.floor(i * stretches / wanted) * block;
    thinned.set(values.subarray(start, start + block), i * block);
  }
  return thinned;
}
