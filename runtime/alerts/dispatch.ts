/**
 * Tells people about alerts: what is active goes through silences, inhibition and groups to
 * {@linkcode notify}, and each telling is a row.
 *
 * @module
 */
import type { AlertEvent, Plugin } from "../../plugins/plugin.ts";
import type { Step, Store } from "../store/store.ts";
import { type ActiveEvent, listActive } from "./active.ts";
import { flush, type GroupMemory } from "./grouping.ts";
import { withLease } from "./lease.ts";
import { readMemories, type Target } from "./memory.ts";
import { notify } from "./notify.ts";
import type { AlertingParams } from "./params.ts";
import { readMarks } from "./silences.ts";

/** Whom to tell, and how. */
export interface DispatchOptions extends Target {
  readonly params: AlertingParams;
  /** Sinks by name that alerts may ask for. */
  readonly sinks: readonly Plugin<"sink">[];
  /** Names of those that hear of every alert that asks for none. */
  readonly defaultSinks: readonly string[];
  readonly signal: AbortSignal;
  readonly now?: () => number;
  /** Groups do not wait: for a process that ends after it. Default false. */
  readonly isHurried?: boolean;
}

/** What was told. */
export interface Dispatched {
  readonly events: readonly AlertEvent[];
  /** Why a sink took nothing, by name. */
  readonly failures: ReadonlyMap<string, string>;
  /** When a group that waits is to be told, in milliseconds since 1970. */
  readonly nextAt: number | null;
}

interface Group {
  readonly key: string;
  readonly memory: GroupMemory | null;
  readonly active: ActiveEvent[];
}

/**
 * Tells what the last evaluation of these alerts left to tell. What no sink took is told at the next
 * occasion; what one of several took counts as told.
 */
export async function dispatchAlerts(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  options: DispatchOptions,
): Promise<Dispatched> {
  const { now = Date.now, signal, isHurried = false } = options;
  // Two who tell at once would tell twice.
  const lease = { name: "alert_dispatch", now, signal, waitMs: isHurried ? 30_000 : 0 };
  return await withLease(store, lease, () => dispatch(store, alerts, options)) ??
    { events: [], failures: new Map(), nextAt: now() + RETRY_MS };
}

/** When to try again while another process tells. */
const RETRY_MS = 5_000;

async function dispatch(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  options: DispatchOptions,
): Promise<Dispatched> {
  const { params, now = Date.now, isHurried = false } = options;
  const at = now();
  const memories = await readMemories(store, options);
  const active = listActive(alerts, memories, { marks: await readMarks(store, at), params });
  const known = new Map(alerts.map((alert) => [alert.name, alert]));
  const events: AlertEvent[] = [];
  const failures = new Map<string, string>();
  const nexts: number[] = [];
  for (const group of await formGroups(store, active, options)) {
    const flushed = flush(group.memory, group.active, {
      now: at,
      clocks: params,
      isHurried,
      tellingOf: (name) => {
        const alert = known.get(name);
        return alert && { retrigger: alert.retrigger, onOk: alert.notify?.onOk ?? true };
      },
    });
    if (flushed.nextAt !== null) nexts.push(flushed.nextAt);
    const steps: Step[] = [];
    const failed = new Set<string>();
    for (const [names, batch] of bySinks(flushed.events, known, options.defaultSinks)) {
      const sinks = options.sinks.filter(({ name }) => names.includes(name));
      const delivery = await notify(batch.map(({ event }) => event), {
        sinks,
        signal: options.signal,
      });
      for (const [name, reason] of delivery.failures) failures.set(name, reason);
      if (sinks.length > 0 && delivery.delivered.length === 0) {
        batch.forEach(({ id }) => failed.add(id));
      } else events.push(...batch.map(({ event }) => event));
      steps.push(...batch.map(({ event }) =>
        notificationStep(event, options, {
          key: group.key,
          at,
          sinks: delivery.delivered.length,
          failures: Object.fromEntries(delivery.failures),
        })
      ));
    }
    if (failed.size > 0) nexts.push(at + params.groupInterval);
    steps.push(groupStep(group, takeBack(flushed.memory, group.memory, failed, at), options));
    await store.transaction(steps);
  }
  return { events, failures, nextAt: nexts.length > 0 ? Math.min(...nexts) : null };
}

/** What no sink took is remembered as it was before. */
function takeBack(
  memory: GroupMemory | null,
  before: GroupMemory | null,
  failed: ReadonlySet<string>,
  now: number,
): GroupMemory | null {
  if (failed.size === 0) return memory;
  const told = { ...memory?.told };
  for (const id of failed) {
    const old = before?.told[id];
    if (old) told[id] = old;
    else delete told[id];
  }
  return { ...memory ?? before ?? { createdAt: now, flushedAt: now }, told };
}

async function formGroups(
  store: Store,
  active: readonly ActiveEvent[],
  { model, version, params }: DispatchOptions,
): Promise<Group[]> {
  const rows = await store.query<{ group_key: string; memory: string }>(
    "select group_key, memory from core.alert_groups where model = ? and version = ?",
    [model, version],
  );
  const groups = new Map<string, Group>(
    rows.map(({ group_key: key, memory }) => [key, { key, memory: parse(memory), active: [] }]),
  );
  // What a group has told stays in it, also when the config groups otherwise by now.
  const owners = new Map(
    [...groups.values()].flatMap(({ key, memory }) =>
      Object.keys(memory?.told ?? {}).map((id) => [id, key] as const)
    ),
  );
  for (const each of active) {
    const labels = params.groupBy.map((name) => [name, each.event.labels[name] ?? ""]);
    const key = owners.get(each.id) ?? JSON.stringify(Object.fromEntries(labels));
    if (!groups.has(key)) groups.set(key, { key, memory: null, active: [] });
    groups.get(key)!.active.push(each);
  }
  return [...groups.values()];
}

/** A memory that cannot be read is none: then people hear of what is active once more. */
function parse(text: string): GroupMemory | null {
  try {
    const memory = JSON.parse(text);
    return typeof memory?.told === "object" && memory.told !== null &&
        typeof memory.createdAt === "number"
      ? memory
      : null;
  } catch {
    return null;
  }
}

type Batch = readonly { readonly id: string; readonly event: AlertEvent }[];

/** Events that go to the same sinks, together. */
function bySinks(
  events: Batch,
  alerts: ReadonlyMap<string, Plugin<"alert">>,
  defaultSinks: readonly string[],
): [names: readonly string[], batch: Batch][] {
  const batches = Map.groupBy(
    events,
    ({ event }) =>
      JSON.stringify([...alerts.get(event.alert)?.notify?.sinks ?? defaultSinks].sort()),
  );
  return [...batches].map(([names, batch]) => [JSON.parse(names), batch]);
}

function notificationStep(
  { alert, kind, series }: AlertEvent,
  { model, version }: Target,
  { key, at, sinks, failures }: {
    readonly key: string;
    readonly at: number;
    readonly sinks: number;
    readonly failures: Readonly<Record<string, string>>;
  },
): Step {
  return {
    sql: `insert into core.alert_notifications
        (alert, model, version, kind, series, group_key, sinks, failures, told_at)
      values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    params: [
      alert,
      model,
      version,
      kind,
      series,
      key,
      sinks,
      JSON.stringify(failures),
      new Date(at),
    ],
  };
}

function groupStep(
  { key }: Group,
  memory: GroupMemory | null,
  { model, version }: Target,
): Step {
  return memory === null
    ? {
      sql: "delete from core.alert_groups where model = ? and version = ? and group_key = ?",
      params: [model, version, key],
    }
    : {
      sql: `insert or replace into core.alert_groups (model, version, group_key, memory)
        values (?, ?, ?, ?)`,
      params: [model, version, key, JSON.stringify(memory)],
    };
}
