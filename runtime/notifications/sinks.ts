/**
 * Notifications: what became of alerts, on its way to sinks. {@linkcode notificationSteps} puts it into
 * an outbox in the transaction of the alert's own change, so that none is lost; {@linkcode
 * SinkDispatcher} sends it, and again when that failed. Each sink has its own deliveries: one that hangs
 * or fails holds up no other.
 *
 * @module
 */
import { type AlertEvent, DeliveryError, type Plugin } from "../../plugins/plugin.ts";
import { recordSteps } from "../audit.ts";
import { describeError, UsageError } from "../errors.ts";
import type { Step, Store } from "../store/store.ts";
import { makeAttempt, parseRetryAfter } from "./attempt.ts";
import {
  type DispatchOptions,
  type Obstacle,
  OutboxDispatcher,
  type Recipient,
} from "./dispatcher.ts";
import { type AttemptResult, type ClaimedDelivery, type Outbox, renewStep } from "./outbox.ts";
import { type ConfiguredSink, configureSinks, type NotificationParams } from "./params.ts";

const MINUTE_MS = 60_000;

/** Deliveries to sinks, and the attempts at them. */
export const sinkOutbox: Outbox = {
  table: "core.sink_outbox",
  attempts: "core.sink_attempts",
  receiver: "sink",
  isOpen: "true",
};

/**
 * Gives the steps that put events into the outbox, for the transaction of what they tell: one delivery
 * of them all for each sink. Without events there is none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { openStore } from "../store/store.ts";
 * import { notificationSteps } from "./sinks.ts";
 *
 * await using store = await openStore(":memory:");
 * await store.transaction(notificationSteps([{
 *   kind: "firing",
 *   alert: "error_rate",
 *   series: null,
 *   severity: "critical",
 *   labels: {},
 *   value: 0.05,
 *   message: "5 % failed",
 *   startsAt: 0,
 *   runbook: null,
 * }], { sinks: ["log", "slack"] }));
 * assertEquals(await store.query("select sink, state from sink_deliveries order by sink"), [
 *   { sink: "log", state: "pending" },
 *   { sink: "slack", state: "pending" },
 * ]);
 * ```
 */
export function notificationSteps(
  events: readonly AlertEvent[],
  { sinks, now = new Date() }: { readonly sinks: readonly string[]; readonly now?: Date },
): Step[] {
  if (events.length === 0) return [];
  const payload = JSON.stringify(events);
  return [...new Set(sinks)].map((sink) => ({
    sql: "insert into core.sink_outbox values (?, ?, ?, ?, 'pending', 0, 0, ?)",
    params: [crypto.randomUUID(), sink, payload, now, now],
  }));
}

/** The sinks that a dispatcher serves. */
export interface SinkDispatchOptions extends DispatchOptions {
  readonly sinks: readonly Plugin<"sink">[];
  /** As the config has them; default none. */
  readonly params?: NotificationParams;
}

/** Sends the deliveries of a store to its sinks until it is closed. */
export class SinkDispatcher extends OutboxDispatcher {
  /** @throws {UsageError} when a parameter is wrong or of a sink that is none. */
  constructor(store: Store, options: SinkDispatchOptions) {
    const configured = configureSinks(options.sinks, options.params);
    const sinks = new Map(configured.map((each) => [each.sink.name, each]));
    super(store, {
      outbox: sinkOutbox,
      noun: "sink",
      open: (names) => openSinks(store, { names, sinks, options }),
    }, options);
  }

  /** Sends from now on whatever is due: soon after a commit of this process, else every two seconds. */
  static start(store: Store, options: SinkDispatchOptions): SinkDispatcher {
    return new SinkDispatcher(store, options).start();
  }
}

async function openSinks(
  store: Store,
  { names, sinks, options }: {
    readonly names: readonly string[];
    readonly sinks: ReadonlyMap<string, ConfiguredSink>;
    readonly options: DispatchOptions;
  },
): Promise<Map<string, Recipient | Obstacle>> {
  const recent = await countRecent(store, options.now?.() ?? Date.now());
  const opened = names.map(async (name): Promise<[string, Recipient | Obstacle]> => {
    const configured = sinks.get(name);
    if (configured === undefined) {
      const reason = `there is none of this name; there are ${[...sinks.keys()].join(", ")}`;
      return [name, { name, reason }];
    }
    const { sink, params, perMinute } = configured;
    const reason = await findObstacle(configured);
    if (reason !== null) return [name, { name, reason }];
    return [name, {
      room: Math.max(0, perMinute - (recent.get(name) ?? 0)),
      send: (delivery, signal) => send(sink, { delivery, params, signal, options }),
    }];
  });
  return new Map(await Promise.all(opened));
}

/** A sink that cannot even say what is in its way is one. */
async function findObstacle({ sink, params }: ConfiguredSink): Promise<string | null> {
  try {
    return await sink.findObstacle?.(params) ?? null;
  } catch (error) {
    return describeError(error);
  }
}

/** Attempts of the last minute by sink: rows, so that a restart and a second process count, too. */
async function countRecent(store: Store, now: number): Promise<Map<string, number>> {
  const rows = await store.query<{ sink: string; attempts: number }>(
    `select sink, count(*) as attempts from core.sink_attempts join core.sink_outbox using (delivery_id)
     where core.sink_attempts.created_at > ? group by sink`,
    [new Date(now - MINUTE_MS)],
  );
  return new Map(rows.map(({ sink, attempts }) => [sink, attempts]));
}

function send(
  sink: Plugin<"sink">,
  { delivery, params, signal, options }: {
    readonly delivery: ClaimedDelivery;
    readonly params: unknown;
    readonly signal: AbortSignal;
    readonly options: DispatchOptions;
  },
): Promise<AttemptResult> {
  return makeAttempt(
    async (abort) => {
      const events: AlertEvent[] = JSON.parse(delivery.payload);
      await sink.deliver(events, abort, { id: delivery.delivery_id, params });
      return { isDelivered: true };
    },
    (error) => ({
      error: describeError(error),
      ...(error instanceof DeliveryError
        ? {
          status: error.status,
          retryAfterMs: parseRetryAfter(error.retryAfter, options.now?.() ?? Date.now()),
        }
        : {}),
    }),
    { ...options, signal },
  );
}

/** What can be sent anew. */
const isSettled = "delivery_id = ? and state <> 'pending'";

/**
 * Sends a delivery anew, with all its attempts and under its old id, whatever became of it.
 * @throws {UsageError} when there is no such delivery, or it still waits.
 */
export async function replayNotification(
  store: Store,
  id: string,
  { by }: { readonly by: string | null },
): Promise<void> {
  const [found] = await store.query<{ state: string }>(
    "select state from core.sink_outbox where delivery_id = ?",
    [id],
  );
  if (found === undefined || found.state === "pending") {
    throw new UsageError(
      `Cannot replay delivery "${id}": ${
        found === undefined
          ? "there is none of this id; the view sink_deliveries has them"
          : "it still waits; a server sends what is due"
      }`,
    );
  }
  await store.transaction([
    ...recordSteps({
      action: "notification.replayed",
      by,
      rows: `select delivery_id as subject, json_object('delivery_id', delivery_id, 'sink', sink,
          'state', state, 'series', series + 1) as details
        from core.sink_outbox where ${isSettled}`,
      params: [id],
    }),
    renewStep(sinkOutbox, { condition: isSettled, id }),
  ]);
}

/** A delivery to a sink as a person wants to see it. */
export interface SinkDeliveryRow extends Record<string, unknown> {
  readonly created_at: string;
  readonly sink: string;
  readonly alerts: string;
  readonly state: string;
  readonly attempts: number;
  readonly status_code: number | null;
  readonly error: string | null;
  readonly next_at: string | null;
  readonly delivery_id: string;
}

/** Gives deliveries to sinks, the newest first: of one state, or of all when it is `null`. */
export function listNotifications(
  store: Store,
  { state = null, limit = 50 }: { readonly state?: string | null; readonly limit?: number } = {},
): Promise<SinkDeliveryRow[]> {
  return store.query<SinkDeliveryRow>(
    `select created_at, sink, array_to_string(list_sort(list_distinct(
         from_json(events, '[{"alert":"VARCHAR"}]').list_transform(lambda e: e.alert))), ', ') as alerts,
       state, attempts, status_code, error, next_at, delivery_id
     from sink_deliveries where state = coalesce(?::varchar, state)
     order by created_at desc, delivery_id limit ?`,
    [state, limit],
  );
}
