/**
 * When what is told: groups of alerts wait, are told when they changed, and are told again while they
 * fire, as in Alertmanager. {@linkcode flush} reads no clock and no store.
 *
 * @see https://prometheus.io/docs/alerting/latest/configuration/#route
 *
 * @module
 */
import type { AlertEvent } from "../../plugins/plugin.ts";
import type { ActiveEvent } from "./active.ts";

/** What a group remembers, as JSON. Times are milliseconds since 1970. */
export interface GroupMemory {
  readonly createdAt: number;
  readonly flushedAt: number | null;
  /** What was told and has not ended, by id, and when last. */
  readonly told: Readonly<Record<string, { readonly event: AlertEvent; readonly at: number }>>;
}

/** How one alert wants to be told. */
export interface Telling {
  /** Seconds until it is told again: 0 never, 1 at every evaluation; `undefined` as the config says. */
  readonly retrigger: number | undefined;
  readonly onOk: boolean;
}

/** The clocks of groups, in milliseconds. */
export interface GroupClocks {
  readonly groupWait: number;
  readonly groupInterval: number;
  readonly repeatInterval: number;
}

/** What is to be told now. */
export interface Flushed {
  /** The group's memory when all of it was told; `null` when nothing is left of the group. */
  readonly memory: GroupMemory | null;
  /** Events with the ids they are remembered by. */
  readonly events: readonly { readonly id: string; readonly event: AlertEvent }[];
  /** When to look again, `null` when nothing waits. */
  readonly nextAt: number | null;
}

/**
 * Looks at one group: what is active in it, what it remembers, and gives what to tell.
 *
 * `isHurried` is for whoever cannot come back: the group does not wait.
 */
export function flush(
  group: GroupMemory | null,
  active: readonly ActiveEvent[],
  { now, clocks, tellingOf, isHurried = false }: {
    readonly now: number;
    readonly clocks: GroupClocks;
    /** How an alert wants to be told; `undefined` when nobody looked at it, so that it stays as it is. */
    readonly tellingOf: (alert: string) => Telling | undefined;
    readonly isHurried?: boolean;
  },
): Flushed {
  const heard = active.filter(({ isMuted }) => !isMuted);
  if (group === null && heard.length === 0) return { memory: null, events: [], nextAt: null };
  const memory = group ?? { createdAt: now, flushedAt: null, told: {} };
  const told = { ...memory.told };
  const present = new Map(active.map((each) => [each.id, each]));

  const started = heard.filter(({ id, isAcknowledged }) => !(id in told) && !isAcknowledged);
  const ended = Object.keys(told).filter((id) =>
    !present.has(id) && tellingOf(told[id].event.alert) !== undefined
  );
  const hasChanged = started.length + ended.length > 0;
  const waitsUntil = memory.flushedAt === null
    ? memory.createdAt + clocks.groupWait
    : memory.flushedAt + clocks.groupInterval;
  // A clock that jumped back must not make a group wait for longer than it does anyway.
  const isDue = isHurried || now >= waitsUntil ||
    now < (memory.flushedAt ?? memory.createdAt);
  const events: { id: string; event: AlertEvent }[] = [];
  if (hasChanged && isDue) {
    for (const { id, event } of started) {
      told[id] = { event, at: now };
      events.push({ id, event });
    }
    for (const id of ended) {
      const { event } = told[id];
      delete told[id];
      if (event.kind === "firing" && tellingOf(event.alert)!.onOk) {
        events.push({ id, event: { ...event, kind: "resolved", endsAt: now } });
      }
    }
  }
  for (const { id, event, isAcknowledged, evaluatedAt } of heard) {
    if (!(id in memory.told) || isAcknowledged) continue;
    const { retrigger } = tellingOf(event.alert) ?? { retrigger: 0 };
    if (!isRepeated(memory.told[id].at, { now, evaluatedAt, retrigger, clocks })) continue;
    told[id] = { event, at: now };
    events.push({ id, event });
  }
  const isTold = hasChanged && isDue;
  const next = { ...memory, told, flushedAt: isTold ? now : memory.flushedAt };
  const isOver = Object.keys(told).length === 0 && heard.length === 0;
  return {
    memory: isOver ? null : next,
    events,
    nextAt: hasChanged && !isDue ? waitsUntil : null,
  };
}

function isRepeated(
  toldAt: number,
  { now, evaluatedAt, retrigger, clocks }: {
    readonly now: number;
    readonly evaluatedAt: number;
    readonly retrigger: number | undefined;
    readonly clocks: GroupClocks;
  },
): boolean {
  if (retrigger === 0) return false;
  if (retrigger === 1) return evaluatedAt > toldAt;
  return now - toldAt >= (retrigger === undefined ? clocks.repeatInterval : 1000 * retrigger);
}
