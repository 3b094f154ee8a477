/** Suspects of the machine: resources that left their earlier range while the outcome changed. */
import type { Store } from "../../store/store.ts";
import { brief, percent, type Suspect } from "../suspect.ts";
import { lowerBound } from "../../../numeric/sorting.ts";

/** A resource of the view `resources`. */
interface Resource {
  /** On which side of its range it is scarce. */
  readonly worse: "high" | "low";
  /** In its own unit: a step beyond the range that is smaller says nothing. */
  readonly leastStep: number;
  readonly unit: "cores" | "bytes" | "seconds" | "rows" | "files";
}

const MIB = 2 ** 20;

/** Those that can be to blame; bodies that came and went are traffic. */
const resources: Readonly<Record<string, Resource>> = {
  cpu_cores: { worse: "high", leastStep: 0.1, unit: "cores" },
  memory_bytes: { worse: "high", leastStep: 64 * MIB, unit: "bytes" },
  disk_free_bytes: { worse: "low", leastStep: 256 * MIB, unit: "bytes" },
  event_loop_lag_seconds: { worse: "high", leastStep: 0.05, unit: "seconds" },
  queue_rows: { worse: "high", leastStep: 10, unit: "rows" },
  log_backlog_rows: { worse: "high", leastStep: 100, unit: "rows" },
  journal_bytes: { worse: "high", leastStep: 16 * MIB, unit: "bytes" },
  open_files: { worse: "high", leastStep: 50, unit: "files" },
};

/** Names of the resources that can be to blame. */
export const resourceNames: readonly string[] = Object.keys(resources);

/** What a server saw of its machine, in ascending order of time. */
export interface Looks {
  /** Milliseconds since 1970; the values are of the time since the look before. */
  readonly times: Float64Array;
  /** By name; NaN where the system did not tell. */
  readonly values: Readonly<Record<string, Float64Array>>;
}

/** Reads the looks of a span of time. */
export async function readLooks(
  store: Store,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<Looks> {
  const { columns } = await store.readColumns(
    `select epoch_ms(created_at)::double as "time", ${resourceNames.join(", ")}
     from core.resources where created_at >= ? and created_at < ? order by created_at`,
    [new Date(from), new Date(to)],
  );
  const { time, ...values } = columns as Record<string, Float64Array>;
  return { times: time, values };
}

/** Where a resource was before, and where it is. */
export interface Level {
  /** Its worst value before the window. */
  readonly edge: number;
  /** Its worst value in the window, and the one in the middle. */
  readonly worst: number;
  readonly median: number;
  /** Whether a value is so far beyond the edge that it counts. */
  isBeyond(value: number): boolean;
  readonly unit: Resource["unit"];
}

/** Fewest looks that make an earlier range. */
const FEWEST_LOOKS = 20;

/** A value counts when it is a tenth of the edge beyond it, or the least step of the resource. */
const CLEARLY = 0.1;

/** Gives a resource's levels before and after `start`; `null` when too little is known of it. */
export function measureLevel({ times, values }: Looks, name: string, start: number): Level | null {
  const { worse, leastStep, unit } = resources[name];
  const known = [...values[name].keys()].filter((i) => !Number.isNaN(values[name][i]));
  const earlier = known.filter((i) => times[i] < start).map((i) => values[name][i]);
  const now = known.filter((i) => times[i] >= start).map((i) => values[name][i]);
  if (earlier.length < FEWEST_LOOKS || now.length === 0) return null;
  const sign = worse === "high" ? 1 : -1;
  const worstOf = (all: readonly number[]) => all.reduce((a, b) => sign * b > sign * a ? b : a);
  const edge = worstOf(earlier);
  const step = Math.max(leastStep, CLEARLY * Math.abs(edge));
  const median = now.toSorted((a, b) => a - b)[now.length >> 1];
  const isBeyond = (value: number) => sign * (value - edge) >= step;
  return { edge, worst: worstOf(now), median, isBeyond, unit };
}

/** What happened in the window, one value per event; both arrays have the same length. */
export interface Happened {
  readonly times: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  /** Mean before the window, and what the mean in it is beyond that. */
  readonly before: number;
  readonly change: number;
  /** What the events are, such as `requests`. */
  readonly what: string;
}

/** An event belongs to the first look after it, unless that is later than this. */
const LATEST_LOOK_MS = 120_000;

/** A resource that was beyond its range in this share of the events or more was so all the time. */
const ALWAYS = 0.95;

/** What goes on all the time explains at most this share: nothing tells a cause from a companion. */
export const COINCIDENT = 0.5;

/**
 * Gives the resources that left their earlier range. What counts is the part of the change that falls
 * into the moments in which they had, beyond the share of the events that these moments have.
 */
export function suspectResources(
  looks: Looks,
  { start, except = null }: { readonly start: number; readonly except?: string | null },
  happened: Happened,
): Suspect[] {
  const { times, values, before, change, what } = happened;
  const count = times.length;
  if (count === 0 || change === 0) return [];
  const lookOf = Array.from(times, (time) => findLook(looks.times, time));
  return resourceNames.flatMap((name): Suspect[] => {
    const level = name === except ? null : measureLevel(looks, name, start);
    if (level === null || !level.isBeyond(level.worst)) return [];
    let during = 0;
    let excess = 0;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      if (lookOf[i] < 0 || !level.isBeyond(looks.values[name][lookOf[i]])) continue;
      during++;
      sum += values[i];
      excess += values[i] - before;
    }
    if (during === 0) return [];
    const share = during / count;
    const part = Math.min(1, Math.max(0, excess / count / change));
    const rest = Array.from(values).reduce((total, value) => total + value, 0) - sum;
    return [{
      kind: "resource",
      subject: name,
      where: null,
      contribution: share >= ALWAYS ? COINCIDENT * part : Math.max(0, (part - share) / (1 - share)),
      text: `${name} reached ${format(level.worst, level)}, before ${format(level.edge, level)} ` +
        `was the worst`,
      evidence: [
        `${percent(share)} of the ${what} came while it was beyond that`,
        `mean ${brief(sum / during)} then, ${
          during === count ? "always" : `${brief(rest / (count - during))} otherwise`
        }`,
        `in the middle of the window ${format(level.median, level)}`,
      ],
    }];
  });
}

/** Position of the first look at or after a time; -1 when there is none soon. */
function findLook(times: Float64Array, time: number): number {
  const place = lowerBound(times, time);
  return place < times.length && times[place] - time <= LATEST_LOOK_MS ? place : -1;
}

/** Gives a value with its unit. */
export function format(value: number, { unit }: Pick<Level, "unit">): string {
  return unit === "bytes" ? `${brief(value / MIB)} MiB` : `${brief(value)} ${unit}`;
}
