/**
 * Tells people about alerts: what is active goes through silences, inhibition and groups into the
 * outbox of notifications, in one transaction with what is remembered of it: nothing is told twice or
 * forgotten by a process that dies. A `SinkDispatcher` sends it.
 *
 * @module
 */
import type { AlertEvent, Plugin } from "../../plugins/plugin.ts";
import { notificationSteps } from "../notifications/sinks.ts";
import type { Step, Store } from "../store/store.ts";
import { type ActiveEvent, listActive } from "./active.ts";
import { flush, type GroupMemory } from "./grouping.ts";
import { withLease } from "./lease.ts";
import { readMemories, type Target } from "./memory.ts";
import type { AlertingParams } from "./params.ts";
import { readMarks } from "./silences.ts";

/** Whom to tell, and how. */
export interface DispatchOptions extends Target {
  readonly params: AlertingParams;
  /** Names of the sinks that hear of every alert that asks for none. */
  readonly defaultSinks: readonly string[];
  readonly signal: AbortSignal;
  readonly now?: () => number;
  /** Groups do not wait: for a process that ends after it. Default false. */
  readonly isHurried?: boolean;
}

/** What was told. */
export interface Dispatched {
  readonly events: readonly AlertEvent[];
  /** When a group that waits is to be told, in milliseconds since 1970. */
  readonly nextAt: number | null;
}

interface Group {
  readonly key: string;
  readonly memory: GroupMemory | null;
  readonly active: ActiveEvent[];
}

/** Puts into the outbox what the last evaluation of these alerts left to tell. */
export async function dispatchAlerts(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  options: DispatchOptions,
): Promise<Dispatched> {
  const { now = Date.now, signal, isHurried = false } = options;
  // Two who tell at once would tell twice.
  const lease = { name: "alert_dispatch", now, signal, waitMs: isHurried ? 30_000 : 0 };
  return await withLease(store, lease, () => dispatch(store, alerts, options)) ??
    { events: [], nextAt: now() + RETRY_MS };
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
    const steps: Step[] = [groupStep(group, flushed.memory, options)];
    for (const [sinks, batch] of bySinks(flushed.events, known, options.defaultSinks)) {
      const told = batch.map(({ event }) => event);
      events.push(...told);
      steps.push(
        ...notificationSteps(told, { sinks, now: new Date(at) }),
        ...told.map((event) =>
          noticeStep(event, options, { key: group.key, at, sinks: sinks.length })
        ),
      );
    }
    await store.transaction(steps);
  }
  return { events, nextAt: nexts.length > 0 ? Math.min(...nexts) : null };
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

function noticeStep(
  { alert, kind, series }: AlertEvent,
  { model, version }: Target,
  { key, at, sinks }: { readonly key: string; readonly at: number; readonly sinks: number },
): Step {
  return {
    sql: `insert into core.alert_notifications
        (alert, model, version, kind, series, group_key, sinks, failures, told_at)
      values (?, ?, ?, ?, ?, ?, ?, '{}', ?)`,
    params: [alert, model, version, kind, series, key, sinks, new Date(at)],
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
