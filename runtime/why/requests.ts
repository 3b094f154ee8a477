/**
 * Suspects of a change in requests: whose failures, whose time, whose traffic, and where the time went.
 *
 * @module
 */
import type { Store } from "../store/store.ts";
import { FEWEST, groupRows } from "./problem.ts";
import { brief, type Kind, percent, type Suspect } from "./suspect.ts";
import { type Looks, suspectResources } from "./suspects/resources.ts";
import type { Symptom } from "./symptom.ts";

/** Most requests of either side. */
const MOST_REQUESTS = 20_000;

/** Requests of a span of time; arrays have n entries. */
export interface Requests {
  /** Length of the span in hours. */
  readonly hours: number;
  /** Requests of the span, of which those in the arrays are a sample. */
  readonly total: number;
  /** When they came, in milliseconds since 1970. */
  readonly times: Float64Array;
  readonly status: Float64Array;
  readonly durationMs: Float64Array;
  /** `NaN` where nobody measured it. */
  readonly modelMs: Float64Array;
  readonly queueMs: Float64Array;
  readonly dimensions: Readonly<Record<Dimension, readonly string[]>>;
}

type Dimension = "requester" | "version" | "endpoint" | "rows per request";

/** The request outcomes. */
export type RequestSymptom = Extract<Symptom, "errors" | "latency" | "volume">;

/** Reads a sample of the requests to a model, and of those to none. */
export async function readRequests(
  store: Store,
  { model, from, to }: { readonly model: string; readonly from: number; readonly to: number },
): Promise<Requests> {
  const where = `(model = ? or model is null) and request_time >= ? and request_time < ?
     and endpoint <> '/sql' and not starts_with(endpoint, '/api/')`;
  const params = [model, new Date(from), new Date(to)];
  const [{ total }] = await store.query<{ total: number }>(
    `select count(*) as total from core.requests where ${where}`,
    params,
  );
  const { columns } = await store.readColumns(
    `select epoch_ms(request_time)::double as at, status_code, duration_ms, model_ms, queue_ms, endpoint,
       coalesce(requester, '(none)') as requester, coalesce(version::varchar, '(none)') as version,
       (2 ** floor(log2(greatest(row_count, 1))))::bigint::varchar as least_rows
     from core.requests where ${where}
     order by hash(request_id), request_id limit ${MOST_REQUESTS}`,
    params,
  );
  const numbers = (name: string) => columns[name] as Float64Array;
  const texts = (name: string) => columns[name] as readonly string[];
  return {
    hours: (to - from) / 3_600_000,
    total,
    times: numbers("at"),
    status: numbers("status_code"),
    durationMs: numbers("duration_ms"),
    modelMs: numbers("model_ms"),
    queueMs: numbers("queue_ms"),
    dimensions: {
      requester: texts("requester"),
      version: texts("version"),
      endpoint: texts("endpoint"),
      "rows per request": texts("least_rows").map((least) =>
        least === "1" ? "1" : `${least} to ${2 * Number(least) - 1}`
      ),
    },
  };
}

/** How requests changed. */
export interface RequestChange {
  /** The change in words. */
  readonly text: string;
  readonly isReal: boolean;
  readonly suspects: readonly Suspect[];
}

/** Compares two spans, both with requests; `start` is where the second one begins. */
export function explainRequests(
  symptom: RequestSymptom,
  { reference, current }: { readonly reference: Requests; readonly current: Requests },
  { looks, start }: { readonly looks: Looks; readonly start: number },
): RequestChange {
  if (symptom === "volume") return explainVolume(reference, current);
  const [before, now] = symptom === "latency"
    ? [reference.durationMs, current.durationMs]
    : measureFailures(reference, current);
  const change = meanOf(now) - meanOf(before);
  const error = Math.sqrt(varianceOf(before) / before.length + varianceOf(now) / now.length);
  const values = { before, now, change };
  return {
    text: symptom === "latency"
      ? `requests take ${brief(meanOf(now))} ms in the mean, before ${brief(meanOf(before))} ms`
      : `${percent(meanOf(now))} of the requests failed, before ${percent(meanOf(before))}`,
    isReal: Math.abs(change) > 3 * error,
    suspects: [
      ...dimensionNames.flatMap((name) => suspectValues(name, { reference, current, ...values })),
      ...(symptom === "latency" ? suspectParts(reference, current, change) : []),
      ...suspectResources(looks, { start }, {
        times: current.times,
        values: now,
        before: meanOf(before),
        change,
        what: "requests",
      }),
    ],
  };
}

const dimensionNames: readonly Dimension[] = [
  "requester",
  "version",
  "endpoint",
  "rows per request",
];

/** Failures in the server or refusals, whichever changed more. */
function measureFailures(reference: Requests, current: Requests): [Float64Array, Float64Array] {
  const [failed, refused] = ([[500, 600], [400, 500]] as const).map(([low, high]) =>
    [reference, current].map(({ status }) =>
      status.map((code) => code >= low && code < high ? 1 : 0)
    ) as [Float64Array, Float64Array]
  );
  const moved = ([before, now]: [Float64Array, Float64Array]) =>
    Math.abs(meanOf(now) - meanOf(before));
  return moved(refused) > moved(failed) ? refused : failed;
}

interface Compared {
  readonly reference: Requests;
  readonly current: Requests;
  readonly before: Float64Array;
  readonly now: Float64Array;
  readonly change: number;
}

/**
 * Each value's part of the change of the mean, above or below the mean of before; a value that has a
 * share of the requests in both spans is expected to have that share of the change, and what it has
 * beyond counts.
 */
function suspectValues(
  name: Dimension,
  { reference, current, before, now, change }: Compared,
): Suspect[] {
  const mean = meanOf(before);
  const groups = {
    before: groupRows(reference.dimensions[name]),
    now: groupRows(current.dimensions[name]),
  };
  return [...groups.now].flatMap(([value, rows]): Suspect[] => {
    const earlier = groups.before.get(value) ?? [];
    const excess = (values: Float64Array, index: readonly number[]) =>
      index.reduce((sum, i) => sum + values[i] - mean, 0) / values.length;
    const part = (excess(now, rows) - excess(before, earlier)) / change;
    const share = Math.min(rows.length / now.length, earlier.length / before.length);
    if (change === 0 || share >= 0.95) return [];
    const shareNow = percent(rows.length / now.length);
    return [{
      kind: name,
      subject: value,
      where: null,
      contribution: Math.min(1, Math.max(0, (part - share) / (1 - share))),
      text: earlier.length === 0
        ? `${describe(name, value)}, which is new, has ${percent(Math.max(0, part))} of the change`
        : `${describe(name, value)} has ${percent(Math.max(0, part))} of the change`,
      evidence: [
        `${shareNow} of the requests, before ${percent(earlier.length / before.length)}`,
        `mean ${brief(meanAt(now, rows))}, before ${
          earlier.length === 0 ? "none" : brief(meanAt(before, earlier))
        }`,
        ...listStatuses(current.status, rows),
      ],
    }];
  });
}

function describe(name: Dimension, value: string): string {
  return name === "rows per request" ? `requests of ${value} rows` : `${name} ${value}`;
}

/** The commonest status codes of errors. */
function listStatuses(status: Float64Array, rows: readonly number[]): string[] {
  const codes = groupRows(rows.map((i) => status[i]).filter((code) => code >= 400));
  const counts = [...codes].map(([code, at]) => [code, at.length] as const)
    .sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 3);
  return counts.length === 0
    ? []
    : [`statuses ${counts.map(([code, count]) => `${code} (${count})`).join(", ")}`];
}

const parts: readonly (readonly [Kind, (requests: Requests) => Float64Array])[] = [
  ["time in the model", ({ modelMs }) => modelMs.map((ms) => Number.isNaN(ms) ? 0 : ms)],
  ["time in the queue", ({ queueMs }) => queueMs.map((ms) => Number.isNaN(ms) ? 0 : ms)],
  [
    "time elsewhere",
    ({ durationMs, modelMs, queueMs }) =>
      durationMs.map((ms, i) => ms - (modelMs[i] || 0) - (queueMs[i] || 0)),
  ],
];

/**
 * Where the time of equal requests went: the change of each part of the duration between requests of the
 * same requester, version, route and number of rows.
 */
function suspectParts(reference: Requests, current: Requests, change: number): Suspect[] {
  const cellsOf = ({ dimensions }: Requests) =>
    dimensions.requester.map((_, i) =>
      JSON.stringify(dimensionNames.map((name) => dimensions[name][i]))
    );
  const before = groupRows(cellsOf(reference));
  const now = groupRows(cellsOf(current));
  const count = current.status.length;
  return parts.map(([kind, read]) => {
    const values = { before: read(reference), now: read(current) };
    let explained = 0;
    for (const [cell, rows] of now) {
      const earlier = before.get(cell);
      if (!earlier || earlier.length < FEWEST) continue;
      explained += rows.length / count *
        (meanAt(values.now, rows) - meanAt(values.before, earlier));
    }
    return {
      kind,
      subject: kind,
      where: null,
      contribution: change === 0 ? 0 : Math.min(1, Math.max(0, explained / change)),
      text: `equal requests spend ${brief(Math.abs(explained))} ms ${
        explained < 0 ? "less" : "more"
      } ${kind.replace("time ", "")}`,
      evidence: [
        `${brief(meanOf(values.now))} ms in the mean, before ${brief(meanOf(values.before))} ms`,
      ],
    };
  });
}

/** Whose requests came or stayed away, an hour. */
function explainVolume(reference: Requests, current: Requests): RequestChange {
  const before = reference.total / reference.hours;
  const now = current.total / current.hours;
  const change = now - before;
  const ofPoisson = Math.sqrt(before / reference.hours + now / current.hours);
  const suspects = dimensionNames.flatMap((name) => {
    const groups = {
      before: groupRows(reference.dimensions[name]),
      now: groupRows(current.dimensions[name]),
    };
    const values = [...new Set([...groups.before.keys(), ...groups.now.keys()])].sort();
    return values.flatMap((value): Suspect[] => {
      const share = {
        before: (groups.before.get(value)?.length ?? 0) / Math.max(1, reference.status.length),
        now: (groups.now.get(value)?.length ?? 0) / Math.max(1, current.status.length),
      };
      if (change === 0 || Math.min(share.before, share.now) >= 0.95) return [];
      const part = (now * share.now - before * share.before) / change;
      return [{
        kind: name,
        subject: value,
        where: null,
        contribution: Math.min(1, Math.max(0, (part - share.before) / (1 - share.before || 1))),
        text: `${describe(name, value)} has ${percent(Math.max(0, part))} of the change`,
        evidence: [
          `${brief(now * share.now)} requests an hour, before ${brief(before * share.before)}`,
        ],
      }];
    });
  });
  return {
    text: `${brief(now)} requests an hour, before ${brief(before)}`,
    isReal: Math.abs(change) > 3 * ofPoisson,
    suspects,
  };
}

function meanOf(values: Float64Array): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => a + b, 0) / values.length;
}

function meanAt(values: Float64Array, rows: readonly number[]): number {
  return rows.reduce((sum, i) => sum + values[i], 0) / rows.length;
}

function varianceOf(values: Float64Array): number {
  const mean = meanOf(values);
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length);
}
