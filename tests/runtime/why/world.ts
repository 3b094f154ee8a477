/** A store with two versions of a small boosted model, and traffic that faults can be put into. */
import { type Matrix, matrix } from "../../../numeric/matrix.ts";
import { Random } from "../../../numeric/random.ts";
import { boosting } from "../../../plugins/trainers/boosting.ts";
import { fitClassifier } from "../../../runtime/fit.ts";
import { registerVersion } from "../../../runtime/registry/model_registry.ts";
import { type Signature, SIGNATURE_KEY } from "../../../runtime/registry/signature.ts";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { makeReport } from "../../report_fixture.ts";

export const inputs = [
  { name: "GR", unit: "gAPI" },
  { name: "RHOB", unit: "g/cm3" },
  { name: "NPHI", unit: "v/v" },
  { name: "DT", unit: "us/ft" },
  { name: "DEPTH", unit: "m" },
];
const classes = ["sand", "shale", "lime"];

/** Means of each input in each class, and the deviation within. */
const means = [
  [40, 2.35, 0.18, 85, 1500],
  [110, 2.5, 0.32, 105, 1700],
  [25, 2.68, 0.04, 52, 1900],
];
const deviations = [18, 0.09, 0.05, 11, 180];

/** End of the current window. */
export const AT = Date.parse("2026-05-20T12:00:00Z");
const HOUR = 3_600_000;

export const slices = ["north", "south", "west"];
export const requesters = ["ann", "bob", "cy", "dee"];

/** One predicted row before it is logged. */
export interface RowDraft {
  x: number[];
  slice: string;
  requester: string;
  version: number;
}

/** Shares of the classes in each slice. */
const mixes = [[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.15, 0.75]];

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

/** Draws one of so many by weights. */
function pick(weights: readonly number[], random: Random): number {
  let left = random.uniform() * weights.reduce((a, b) => a + b, 0);
  let at = 0;
  while (at < weights.length - 1 && (left -= weights[at]) > 0) at++;
  return at;
}

/** Draws rows as they usually come. */
export function drawRows(
  count: number,
  random: Random,
  weights: { readonly slices?: readonly number[]; readonly requesters?: readonly number[] } = {},
): RowDraft[] {
  return Array.from({ length: count }, () => {
    const slice = pick(weights.slices ?? [1, 1, 1], random);
    const c = pick(mixes[slice], random);
    return {
      x: means[c].map((mean, j) => mean + deviations[j] * normal(random)),
      slice: slices[slice],
      requester: requesters[pick(weights.requesters ?? [1, 1, 1, 1], random)],
      version: 1,
    };
  });
}

async function trainVersion(
  store: Store,
  { seed, turn, report }: { seed: number; turn: number; report: Record<string, unknown> },
): Promise<void> {
  const random = new Random(seed);
  const rows = 900;
  const X = matrix(rows, inputs.length);
  const y = new Int32Array(rows);
  for (let i = 0; i < rows; i++) {
    const c = i % 3;
    // The second version learned from classes in disorder: a bad retraining.
    y[i] = turn > 0 && random.uniform() < 0.5 ? (c + turn) % 3 : c;
    X.data.set(means[c].map((mean, j) => mean + deviations[j] * normal(random)), i * X.cols);
  }
  const featureNames = inputs.map(({ name }) => name);
  const fitted = await fitClassifier({
    train: { X, y },
    featureNames,
    classNames: classes,
    steps: { standardize: false, pca: null, log: [] },
    trainer: boosting,
    params: boosting.params.parse({ rounds: 20, leaves: 6 }),
    seed,
    signal: new AbortController().signal,
  });
  const signature: Signature = {
    model: "rocks",
    inputs,
    order: null,
    windows: { radii: [], statistics: [] },
    outliers: "keep",
    features: featureNames,
    classes,
    target: "lithology",
    trainer: "boosting",
    dataHash: String(turn).repeat(64),
    codeHash: "1".repeat(64),
    seed,
  };
  await registerVersion(store, {
    bytes: fitted.toOnnx({ [SIGNATURE_KEY]: JSON.stringify(signature) }),
    report: makeReport(report),
    runId: `run-${seed}`,
  });
  await fitted.close();
}

/** Opens a store with versions 1 and 2; `report` has parts of the report of the first. */
export async function openWorld(report: Record<string, unknown> = {}): Promise<Store> {
  const store = await openStore(":memory:");
  await trainVersion(store, { seed: 1, turn: 0, report });
  await trainVersion(store, { seed: 2, turn: 1, report: {} });
  return store;
}

/** Replaces all traffic: rows of the week before, and of the last day. */
export async function logRows(
  store: Store,
  { before, now }: { readonly before: readonly RowDraft[]; readonly now: readonly RowDraft[] },
): Promise<void> {
  const rows = [...before, ...now];
  const X: Matrix = matrix(
    rows.length,
    inputs.length,
    Float32Array.from(rows.flatMap(({ x }) => x)),
  );
  const ids = rows.map((_, i) => `request-${i}`);
  const times = rows.map((_, i) =>
    new Date(
      i < before.length
        ? AT - 24 * HOUR - (1 + i / before.length * 100) * HOUR
        : AT - (i - before.length + 1) / (now.length + 1) * 23 * HOUR,
    )
  );
  const versions = Float64Array.from(rows, ({ version }) => version);
  await store.transaction([
    { sql: "delete from core.inferences" },
    { sql: "delete from core.requests" },
    {
      append: "core.inferences",
      columns: {
        request_id: ids,
        row: new Float64Array(rows.length),
        request_time: times,
        model: rows.map(() => "rocks"),
        version: versions,
        features: { values: X.data, lengths: new Uint32Array(rows.length).fill(X.cols) },
        label: rows.map(() => classes[0]),
        confidence: new Float64Array(rows.length).fill(0.5),
        probabilities: {
          values: new Float32Array(3 * rows.length).fill(1 / 3),
          lengths: new Uint32Array(rows.length).fill(3),
        },
        slice: rows.map(({ slice }) => slice),
      },
    },
    appendRequests(rows.map(({ requester, version }, i) => ({
      id: ids[i],
      time: times[i],
      requester,
      version,
    }))),
  ]);
}

/** One request before it is logged. */
export interface RequestDraft {
  readonly id: string;
  readonly time: Date;
  readonly requester: string;
  readonly version?: number;
  readonly endpoint?: string;
  readonly status?: number;
  readonly rows?: number;
  readonly modelMs?: number;
  readonly queueMs?: number;
  readonly otherMs?: number;
}

/** The step that logs requests. */
export function appendRequests(requests: readonly RequestDraft[]) {
  const numbers = (read: (request: RequestDraft) => number) => Float64Array.from(requests, read);
  return {
    append: "core.requests",
    columns: {
      request_id: requests.map(({ id }) => id),
      request_time: requests.map(({ time }) => time),
      method: requests.map(() => "POST"),
      endpoint: requests.map(({ endpoint = "/predict" }) => endpoint),
      status_code: numbers(({ status = 200 }) => status),
      model: requests.map(() => "rocks"),
      version: numbers(({ version = 1 }) => version),
      requester: requests.map(({ requester }) => requester),
      row_count: numbers(({ rows = 1 }) => rows),
      duration_ms: numbers(({ modelMs = 2, queueMs = 0.5, otherMs = 1 }) =>
        modelMs + queueMs + otherMs
      ),
      queue_ms: numbers(({ queueMs = 0.5 }) => queueMs),
      model_ms: numbers(({ modelMs = 2 }) => modelMs),
    },
  };
}

/** Replaces all traffic by requests alone; `draft` is asked for each, with its age in hours. */
export async function logRequests(
  store: Store,
  { count, random, draft }: {
    readonly count: number;
    readonly random: Random;
    /** What is special about a request of the last hour, or of before. */
    readonly draft: (isNow: boolean, requester: string) => Partial<RequestDraft>;
  },
): Promise<void> {
  const requests = Array.from({ length: count }, (_, i) => {
    const age = random.uniform() * 8 * HOUR;
    const requester = requesters[random.below(requesters.length)];
    return {
      id: `request-${i}`,
      time: new Date(AT - age - 1),
      requester,
      endpoint: random.uniform() < 0.7 ? "/predict" : "/v2/models/rocks/infer",
      modelMs: 2 + random.uniform(),
      queueMs: random.uniform(),
      ...draft(age < HOUR, requester),
    };
  });
  await store.transaction([
    { sql: "delete from core.inferences" },
    { sql: "delete from core.requests" },
    appendRequests(requests),
  ]);
}
