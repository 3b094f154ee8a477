/**
 * Performance without labels as rows: each closed window of a version is estimated once, and again when
 * more of its rows or labels have arrived.
 *
 * @module
 */
import { defaultChunks } from "../../numeric/estimation/bands.ts";
import {
  type ClassifierEstimator,
  fitClassifierEstimator,
} from "../../numeric/estimation/classifier.ts";
import { parseDuration } from "../../numeric/durations.ts";
import type { ProfileDefinition } from "../monitors/definition.ts";
import type { Look } from "../monitors/arrivals.ts";
import { costStep, openSampling } from "../monitors/costs.ts";
import type { MonitorsSampling } from "../monitors/sampling.ts";
import { type Granularity, parseWindowing } from "../monitors/windows.ts";
import { canonicalJson, readEvidence } from "../registry/evidence.ts";
import { resolveVersion } from "../registry/model_registry.ts";
import { Pace } from "../monitors/pace.ts";
import { reportOf } from "../registry/recorded_report.ts";
import type { Store } from "../store/store.ts";
import { findFloors, readMinimums } from "./contract.ts";
import { type HeldOut, readHeldOut } from "./held_out.ts";
import { expectLosses, type LossFit, openLossFit } from "./losses.ts";
import { findCauses, measureWindow, type Measuring, predictClasses } from "./measure.ts";
import { type DueWindow, findDueWindows, readWindow } from "./windows.ts";
import { replaceWindow } from "./write.ts";

/** How metrics are estimated: from probabilities, and from features with known losses. */
const METHODS = ["cbpe", "dle"];

/** What to estimate. */
export interface EstimateOptions {
  readonly model: string;
  readonly version: number;
  /** Length of the windows; default `1 day`. */
  readonly granularity?: Granularity;
  /** Milliseconds after its end that a window is closed; default 0. */
  readonly latenessMs?: number;
  /** Fewest rows of an estimate; default 50. */
  readonly minRows?: number;
  /** Fewest labeled rows of a realized value; default 30. */
  readonly minLabels?: number;
  /** How far below its evaluation a version may be; default 0.02, the gate's `maxRegression`. */
  readonly tolerance?: number;
  /** Milliseconds since 1970; default now. */
  readonly now?: number;
  readonly signal?: AbortSignal;
  /** How it gives way to others; default not at all. */
  readonly pace?: Pace;
  /** Which share of the rows is looked at; default all. */
  readonly sampling?: MonitorsSampling;
}

/** What a refresh did. */
export interface EstimateRefresh {
  /** Windows that were estimated, or estimated anew. */
  readonly windows: number;
  /** Of these, those where some slice is estimated below its contract. */
  readonly belowContract: number;
  /** Why nothing could be estimated of these windows; `null` when it could, or there were none. */
  readonly reason: string | null;
}

/**
 * Estimates the closed windows of a version that are due: those not estimated yet, those that got rows or
 * labels since, and all when the contract or another setting changed. Each window is one transaction, so
 * that a kill leaves whole windows only. Without held-out predictions there are rows without an estimate,
 * with the reason, and the realized values all the same.
 *
 * @throws {UsageError} when there is no such version.
 */
export async function refreshEstimates(
  store: Store,
  options: EstimateOptions,
): Promise<EstimateRefresh> {
  const { granularity = "1 day", latenessMs = 0, now = Date.now(), signal } = options;
  const { minRows = 50, minLabels = 30, pace = new Pace(1) } = options;
  const version = await resolveVersion(store, options.model, String(options.version));
  const { evidence } = await readEvidence(store, version);
  const { signature } = evidence;
  if (signature === null) {
    return { windows: 0, belowContract: 0, reason: "nobody here can serve the version" };
  }
  const { classes } = signature;
  const report = reportOf(evidence);
  const floors = findFloors(report, {
    classes: classes.length,
    minimums: await readMinimums(store, version),
    ...(options.tolerance === undefined ? {} : { tolerance: options.tolerance }),
  });
  const target = { model: version.model, version: version.version, granularity };
  const { look, due } = await findDueWindows(store, {
    ...target,
    closedBefore: now - latenessMs,
    definition: canonicalJson({ floors, minRows, minLabels, methods: METHODS }),
  });
  if (due.length === 0) return { windows: 0, belowContract: 0, reason: null };
  const heldOut = await readHeldOut(store, version);
  const { estimator, reason } = fitEstimator(heldOut);
  const owner = { monitor: "estimates", model: version.model, granularity } as const;
  const sampled = await openSampling(store, owner, options.sampling);
  const { draw } = sampled;
  const measuring: Measuring = { estimator, reason, floors, minRows, minLabels, draw };
  const start = performance.now();
  const { restedMs } = pace;
  const lossFit = await openLossFit(store, {
    ...target,
    inputs: signature.inputs.length,
    heldOut,
    reason,
    pace,
    ...(signal === undefined ? {} : { signal }),
  });
  let belowContract = 0;
  let [rowsRead, rowsUsed] = [0, 0];
  for (const window of due) {
    signal?.throwIfAborted();
    const { isBelow, rows } = await refreshWindow(store, {
      window,
      look,
      target,
      signature,
      heldOut,
      measuring,
      lossFit,
      now,
    });
    await pace.rest();
    if (isBelow) belowContract++;
    rowsRead += window.rows;
    rowsUsed += rows;
  }
  const ms = performance.now() - start - (pace.restedMs - restedMs);
  const cost = { windows: due.length, rowsRead, rowsUsed, ms, now: new Date(now) };
  await store.transaction([
    costStep({ ...owner, version: version.version, refreshId: null }, sampled, cost),
  ]);
  return { windows: due.length, belowContract, reason };
}

/** Learns from the held-out predictions, or says why there is nothing to learn. */
function fitEstimator(
  heldOut: HeldOut | null,
): { readonly estimator: ClassifierEstimator | null; readonly reason: string | null } {
  if (heldOut === null) {
    return {
      estimator: null,
      reason: "no held-out predictions of the version are kept; train it anew to have them",
    };
  }
  const { P, y } = heldOut;
  const least = 10 * defaultChunks;
  if (P.rows < least) {
    return { estimator: null, reason: `${P.rows} held-out predictions, it takes ${least}` };
  }
  return { estimator: fitClassifierEstimator({ P, y }), reason: null };
}

async function refreshWindow(
  store: Store,
  { window, look, target, signature, heldOut, measuring, lossFit, now }: {
    readonly window: DueWindow;
    readonly look: Look;
    readonly target: {
      readonly model: string;
      readonly version: number;
      readonly granularity: Granularity;
    };
    readonly signature: {
      readonly classes: readonly string[];
      readonly inputs: readonly { name: string }[];
    };
    readonly heldOut: HeldOut | null;
    readonly measuring: Measuring;
    readonly lossFit: LossFit;
    readonly now: number;
  },
): Promise<{ readonly isBelow: boolean; readonly rows: number }> {
  const { classes } = signature;
  const features = signature.inputs.map(({ name }) => name);
  const of = { ...target, ...window, classes };
  const rows = await readWindow(store, { ...of, draw: measuring.draw });
  const losses = await expectLosses(
    lossFit,
    features,
    () => readWindow(store, { ...of, draw: measuring.draw, inputs: features.length }),
  );
  const slices = measureWindow(rows, measuring, losses);
  const causes = [];
  const { estimator } = measuring;
  if (estimator && heldOut && slices.some(({ isSuspicious }) => isSuspicious)) {
    const reference = { X: heldOut.X, P: heldOut.P, predicted: predictClasses(heldOut.P) };
    for (const { slice } of slices.filter(({ isSuspicious }) => isSuspicious)) {
      const current = await readWindow(store, { ...of, inputs: features.length, slice });
      const found = findCauses(reference, current, { estimator, features });
      causes.push(...found.map((cause) => ({ slice, ...cause })));
    }
  }
  await replaceWindow(store, { target, window, look, slices, causes, classes, now });
  const isBelow = slices.some(({ metrics }) =>
    metrics.some(({ high, floor }) => high !== null && floor !== null && high < floor)
  );
  return { isBelow, rows: rows.P.rows };
}

/**
 * The same for every granularity that a monitor's definition names; windows by rows are not estimated.
 * Gives the sum over them.
 */
export async function refreshEstimatesOf(
  store: Store,
  { definition, ...options }:
    & Omit<EstimateOptions, "granularity" | "latenessMs">
    & { readonly definition: Pick<ProfileDefinition, "granularities" | "lateness"> },
): Promise<EstimateRefresh> {
  const sum = { windows: 0, belowContract: 0, reason: null as string | null };
  for (const text of definition.granularities) {
    const windowing = parseWindowing(text);
    if (windowing.kind !== "time") continue;
    const { granularity } = windowing;
    const latenessMs = parseDuration(definition.lateness);
    const done = await refreshEstimates(store, { ...options, granularity, latenessMs });
    sum.windows += done.windows;
    sum.belowContract += done.belowContract;
    sum.reason ??= done.reason;
  }
  return sum;
}
