/**
 * Why an alert fires: what its outcome was before and is now, and what explains the change, ranked.
 *
 * @module
 */
import type { Plugin } from "../../plugins/plugin.ts";
import { readMemories } from "../alerts/memory.ts";
import { UsageError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import { measureChange } from "./change.ts";
import { measureErrors, measureInputs, measurePredictions, Versions } from "./outcome.ts";
import type { Problem } from "./problem.ts";
import {
  explainRequests,
  readRequests,
  type RequestChange,
  type RequestSymptom,
} from "./requests.ts";
import { explainResource } from "./resources.ts";
import { readSample, readTrainingSample, type Sample, type SampleOptions } from "./sample.ts";
import { brief, percent, rankSuspects, type Suspect } from "./suspect.ts";
import { suspectFeatures, suspectSwaps } from "./suspects/features.ts";
import { suspectMix, suspectSources } from "./suspects/mix.ts";
import { readLooks } from "./suspects/resources.ts";
import { suspectVersion } from "./suspects/version.ts";
import { readSubject, type Symptom } from "./symptom.ts";

/** Whose alert it is, and what to compare. */
export interface WhyOptions {
  readonly model: string;
  readonly version: number;
  /** End of the current window in milliseconds since 1970; when the alert began to fire, else now. */
  readonly at?: number;
  /** Length of the current window; what the alert's query looks back when left out. */
  readonly windowMs?: number;
}

/** Why an alert fires. */
export interface Explanation {
  readonly alert: string;
  /** What its query is about. */
  readonly symptom: Symptom;
  /** What was compared; a symptom without a change gives way to the inputs. */
  readonly compared: Symptom;
  /** Current window `[from, to)`. */
  readonly current: { readonly from: string; readonly to: string; readonly rows: number };
  /** What it is compared with: the time before, or the training rows when there was nothing. */
  readonly reference: {
    readonly kind: "before" | "training";
    readonly from: string | null;
    readonly rows: number;
  };
  /** The change in words. */
  readonly change: string;
  /** Whether the change is beyond chance; without one there are no suspects. */
  readonly isReal: boolean;
  /** Those that explain most first. */
  readonly suspects: readonly Suspect[];
}

/** The reference is so many times as long as the current window. */
const REFERENCE_WINDOWS = 7;

/** Fewest rows of either side. */
const LEAST_ROWS = 50;

/** A source is a suspect of its own only where no feature, or swap of two, explains so much alone. */
const FEATURE_IS_ENOUGH = 0.6;

/**
 * Says why an alert fires. The window it looked at when it began to fire is compared with the time before
 * it, or with the training rows; each suspect is taken away, by asking the real model where it takes one,
 * and what is then gone of the change is what it explains. The same store gives the same answer.
 *
 * @throws {UsageError} when the alert is about no requests, predictions or resources, or there are too
 * few of them.
 */
export async function explainWhy(
  store: Store,
  alert: Plugin<"alert">,
  options: WhyOptions,
): Promise<Explanation> {
  const { symptom, windowMs: looksBack } = await readSubject(store, alert);
  const windowMs = options.windowMs ?? looksBack;
  const to = options.at ?? await findStart(store, alert, options) ?? Date.now();
  const span = { from: to - windowMs * (1 + REFERENCE_WINDOWS), start: to - windowMs, to };
  const asked = { alert: alert.name, span, ...options };
  switch (symptom) {
    case "errors":
    case "latency":
    case "volume":
      return await explainTraffic(store, { ...asked, symptom });
    case "resources":
      return await explainMachine(store, { ...asked, sql: alert.sql });
    default:
      return await explainPredictions(store, { ...asked, symptom });
  }
}

/** When the alert began to fire; `null` when it does not. */
async function findStart(
  store: Store,
  alert: Plugin<"alert">,
  { model, version }: WhyOptions,
): Promise<number | null> {
  const memory = (await readMemories(store, { model, version })).get(alert.name);
  if (memory === undefined || memory === "damaged") return null;
  const fired = memory.series.flatMap(({ state, activeAt }) =>
    state === "firing" ? [activeAt] : []
  );
  return fired.length === 0 ? null : Math.max(...fired);
}

/** Symptoms that a model can be asked about. */
type PredictionSymptom = Exclude<Symptom, RequestSymptom | "resources">;

interface Asked extends WhyOptions {
  readonly alert: string;
  /** Begin of the reference, of the current window, and its end. */
  readonly span: { readonly from: number; readonly start: number; readonly to: number };
}

async function explainTraffic(
  store: Store,
  { alert, symptom, model, span }: Asked & { readonly symptom: RequestSymptom },
): Promise<Explanation> {
  const reference = await readRequests(store, { model, from: span.from, to: span.start });
  const current = await readRequests(store, { model, from: span.start, to: span.to });
  if (reference.total === 0 || (current.total === 0 && symptom !== "volume")) {
    throw tooFew(alert, "requests", [reference.total, current.total]);
  }
  const looks = await readLooks(store, span);
  const about = { looks, start: span.start };
  const change = explainRequests(symptom, { reference, current }, about);
  return tell({ alert, symptom, span }, change, [reference.total, current.total]);
}

async function explainMachine(
  store: Store,
  { alert, model, span, sql }: Asked & { readonly sql: string },
): Promise<Explanation> {
  const looks = await readLooks(store, span);
  const about = { looks, start: span.start };
  const reference = await readRequests(store, { model, from: span.from, to: span.start });
  const current = await readRequests(store, { model, from: span.start, to: span.to });
  const traffic = reference.total === 0
    ? null
    : explainRequests("volume", { reference, current }, about);
  const change = explainResource({ alert, sql, start: span.start }, looks, traffic);
  const earlier = looks.times.filter((time) => time < span.start).length;
  return tell({ alert, symptom: "resources", span }, change, [
    earlier,
    looks.times.length - earlier,
  ]);
}

/** What changed between two spans of time, with the rows of either. */
function tell(
  { alert, symptom, span }: Pick<Asked, "alert" | "span"> & { readonly symptom: Symptom },
  { text, isReal, suspects }: RequestChange,
  [before, now]: readonly [number, number],
): Explanation {
  return {
    alert,
    symptom,
    compared: symptom,
    current: { from: iso(span.start), to: iso(span.to), rows: now },
    reference: { kind: "before", from: iso(span.from), rows: before },
    change: text,
    isReal,
    suspects: isReal ? rankSuspects(suspects) : [],
  };
}

async function explainPredictions(
  store: Store,
  asked: Asked & { readonly symptom: PredictionSymptom },
): Promise<Explanation> {
  const { alert, symptom, model, version, span } = asked;
  await using versions = new Versions(store, model);
  const { signature } = await versions.get(version);
  const { inputs, classes } = signature;
  const draw: Omit<SampleOptions, "from" | "to"> = {
    model,
    inputs: inputs.length,
    isWindowed: signature.windows.radii.length > 0,
    isLabeled: symptom === "truth",
  };
  const current = await readSample(store, { ...draw, from: span.start, to: span.to });
  const before = await readSample(store, { ...draw, from: span.from, to: span.start });
  const isTraining = sizeOf(before) < LEAST_ROWS;
  const reference = isTraining
    ? await readTrainingSample(store, { model, version, classes }) ?? before
    : before;
  if (sizeOf(current) < LEAST_ROWS || sizeOf(reference) < LEAST_ROWS) {
    throw tooFew(alert, "predictions", [sizeOf(reference), sizeOf(current)]);
  }
  const measures = {
    inputs: () => measureInputs(reference.X),
    truth: () => measureErrors(versions, classes),
    predictions: () => measurePredictions(versions, classes.length),
  };
  const pose = async (compared: keyof typeof measures): Promise<Problem> => {
    const measure = measures[compared]();
    const outcomes = {
      reference: await measure.of(reference),
      current: await measure.of(current),
    };
    const change = measureChange(outcomes.reference, outcomes.current);
    const { from, to } = span;
    const sides = { reference, current, isTraining, from, to };
    return { store, model, inputs, ...sides, measure, outcomes, change };
  };
  let compared: keyof typeof measures = symptom;
  let problem = await pose(symptom);
  if (!problem.change.isReal && symptom !== "inputs") {
    const other = await pose("inputs");
    if (other.change.isReal) [compared, problem] = ["inputs", other];
  }
  return {
    alert,
    symptom,
    compared,
    current: { from: iso(span.start), to: iso(span.to), rows: sizeOf(current) },
    reference: {
      kind: isTraining ? "training" : "before",
      from: isTraining ? null : iso(span.from),
      rows: sizeOf(reference),
    },
    change: describeChange(compared, problem, classes),
    isReal: problem.change.isReal,
    suspects: problem.change.isReal ? rankSuspects(await findSuspects(problem)) : [],
  };
}

async function findSuspects(problem: Problem): Promise<Suspect[]> {
  const columns = [...await suspectFeatures(problem), ...await suspectSwaps(problem)];
  const isEnough = columns.some(({ contribution }) => contribution >= FEATURE_IS_ENOUGH);
  return [
    ...columns,
    ...suspectMix(problem),
    ...await suspectVersion(problem),
    ...(isEnough ? [] : suspectSources(problem)),
  ];
}

function describeChange(
  compared: PredictionSymptom,
  { change: { reference, current }, inputs }: Problem,
  classes: readonly string[],
): string {
  if (compared === "truth") {
    return `${percent(current[0])} of the labeled predictions are wrong, before ${
      percent(reference[0])
    }`;
  }
  if (compared === "inputs") {
    const moved = inputs.map(({ name }, j) => ({
      name,
      by: Math.hypot(...[0, 1, 2].map((part) => current[3 * j + part] - reference[3 * j + part])),
    })).sort((a, b) => b.by - a.by);
    return `the inputs changed, ${moved[0].name} most`;
  }
  const moved = classes.map((name, c) => ({ name, by: current[c] - reference[c], c }))
    .sort((a, b) => Math.abs(b.by) - Math.abs(a.by));
  const { name, c } = moved[0];
  return `the mean probability of ${name} is ${brief(current[c])}, before ${
    brief(reference[c])
  }; mean confidence ${brief(current[classes.length])}, before ${brief(reference[classes.length])}`;
}

function sizeOf({ version }: Sample): number {
  return version.length;
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

function tooFew(alert: string, what: string, [before, now]: readonly [number, number]): UsageError {
  return new UsageError(
    `Cannot say why "${alert}" fires: there are ${before} ${what} before and ${now} in its window, ` +
      `it takes ${
        what === "requests" ? 1 : LEAST_ROWS
      } each; give a longer --window or another --at`,
  );
}
