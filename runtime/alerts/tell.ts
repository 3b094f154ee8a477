/**
 * Tells of alerts and waits for it: what a process does that evaluates them once and ends.
 *
 * @module
 */
import type { Plugin } from "../../plugins/plugin.ts";
import type { NotificationParams } from "../notifications/params.ts";
import { SinkDispatcher } from "../notifications/sinks.ts";
import type { Store } from "../store/store.ts";
import { dispatchAlerts, type DispatchOptions } from "./dispatch.ts";

/** Whom to tell, and how. */
export interface TellOptions extends Omit<DispatchOptions, "isHurried"> {
  /** Sinks that alerts and `defaultSinks` may name. */
  readonly sinks: readonly Plugin<"sink">[];
  /** Their parameters, as section `notifications` of a config. */
  readonly notifications?: NotificationParams;
}

/**
 * Tells at once what the last evaluation of these alerts left to tell, groups do not wait, and makes
 * one attempt at each delivery that is due. Gives why a sink did not take what it was sent, by name;
 * that stays in the outbox, for a server or the next of these calls.
 *
 * @throws {UsageError} when a parameter of a sink is wrong.
 * @throws the signal's reason when it is aborted.
 */
export async function tellAlerts(
  store: Store,
  alerts: readonly Plugin<"alert">[],
  options: TellOptions,
): Promise<ReadonlyMap<string, string>> {
  const { sinks, notifications, signal } = options;
  const now = options.now ?? Date.now;
  await using dispatcher = new SinkDispatcher(store, {
    sinks,
    now,
    ...(notifications === undefined ? {} : { params: notifications }),
  });
  await dispatchAlerts(store, alerts, { ...options, isHurried: true });
  const since = new Date(now());
  const stop = () => void dispatcher.close();
  signal.addEventListener("abort", stop, { once: true });
  try {
    await dispatcher.drain();
  } finally {
    signal.removeEventListener("abort", stop);
  }
  signal.throwIfAborted();
  return new Map([...dispatcher.obstacles, ...await readFailures(store, since)]);
}

/** Why deliveries that were tried since then failed, by sink. */
async function readFailures(store: Store, since: Date): Promise<ReadonlyMap<string, string>> {
  const rows = await store.query<{ sink: string; error: string }>(
    `select sink, arg_max(error, attempted_at) as error from sink_deliveries
     where attempted_at >= ? and state <> 'delivered' and error is not null group by sink`,
    [since],
  );
  return new Map(rows.map(({ sink, error }) => [sink, error]));
}
