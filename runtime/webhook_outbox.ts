/**
 * The outbox: deliveries that wait, were delivered, are dead letters (`dead`) or were dropped with
 * their webhook. What is due is claimed before it is sent, and settled after it.
 *
 * @module
 */
import { recordSteps } from "./audit.ts";
import { UsageError } from "./errors.ts";
import type { Row, Store } from "./store.ts";
import type { AttemptResult } from "./webhook_sender.ts";
import type { WebhookActor } from "./webhooks.ts";

/** What can be the state of a delivery. */
export const deliveryStates = ["pending", "delivered", "dead", "dropped"] as const;

/** A delivery that is due. */
export interface DueDelivery extends Row {
  readonly delivery_id: string;
  readonly webhook_id: string;
}

/** A delivery that one process sends. */
export interface ClaimedDelivery extends DueDelivery {
  readonly payload: string;
  /** 0, and one more with each replay. */
  readonly series: number;
  /** Attempts of this series so far. */
  readonly attempts: number;
}

/** Gives what is due of active webhooks, the longest due first: at most `perWebhook` of each. */
export function readDue(
  store: Store,
  { now, perWebhook }: { readonly now: Date; readonly perWebhook: number },
): Promise<DueDelivery[]> {
  return store.query<DueDelivery>(
    `select delivery_id, webhook_id from core.webhook_outbox
     where state = 'pending' and next_at <= ?
       and webhook_id in (select webhook_id from webhooks where status = 'ACTIVE')
     qualify row_number() over (partition by webhook_id order by next_at) <= ?
     order by next_at`,
    [now, perWebhook],
  );
}

/** Takes deliveries until a time; gives those that nobody else has taken meanwhile. */
export function claimDeliveries(
  store: Store,
  ids: readonly string[],
  { now, until }: { readonly now: Date; readonly until: Date },
): Promise<ClaimedDelivery[]> {
  return store.query<ClaimedDelivery>(
    `update core.webhook_outbox set next_at = ?
     where state = 'pending' and next_at <= ? and delivery_id in (select unnest(?::json::varchar[]))
     returning delivery_id, webhook_id, payload, series, attempts`,
    [until, now, JSON.stringify(ids)],
  );
}

/** Gives up a claim, so that the next process need not wait for its end. */
export async function releaseDelivery(
  store: Store,
  { delivery_id: id, series, attempts }: ClaimedDelivery,
  now: Date,
): Promise<void> {
  await store.query(
    `update core.webhook_outbox set next_at = ?
     where delivery_id = ? and series = ? and attempts = ? and state = 'pending'`,
    [now, id, series, attempts],
  );
}

/** Records an attempt and what is next; what a replay or a deletion made of it meanwhile stands. */
export async function settleDelivery(
  store: Store,
  { delivery_id: id, series, attempts }: ClaimedDelivery,
  { result, at, state, nextAt }: {
    readonly result: AttemptResult;
    readonly at: Date;
    readonly state: "delivered" | "pending" | "dead";
    readonly nextAt: Date | null;
  },
): Promise<void> {
  const attempt = attempts + 1;
  await store.transaction([
    {
      sql: "insert into core.webhook_attempts values (?, ?, ?, ?::integer, ?, ?, ?)",
      params: [id, series, attempt, result.status, result.error, result.ms, at],
    },
    {
      sql: `update core.webhook_outbox set state = ?, attempts = ?, next_at = ?::timestamp
        where delivery_id = ? and series = ? and state = 'pending'`,
      params: [state, attempt, nextAt, id, series],
    },
  ]);
}

/** What can be sent anew. */
const isSettled =
  "delivery_id = ? and state <> 'pending' and webhook_id in (select webhook_id from webhooks)";

/**
 * Sends a delivery anew, with all its attempts and under its old id, whatever became of it: a receiver
 * that has it already knows it by the id.
 * @throws {UsageError} when there is no such delivery, it still waits, or its webhook was deleted.
 */
export async function replayDelivery(
  store: Store,
  id: string,
  { by }: WebhookActor,
): Promise<void> {
  const [found] = await store.query<{ state: string; has_webhook: boolean }>(
    `select state, webhook_id in (select webhook_id from webhooks) as has_webhook
     from core.webhook_outbox where delivery_id = ?`,
    [id],
  );
  const obstacle = found === undefined
    ? 'there is none of this id; "deno task webhooks deliveries" lists them'
    : !found.has_webhook
    ? "its webhook was deleted"
    : found.state === "pending"
    ? 'it still waits; "deno task webhooks deliver" sends what is due'
    : null;
  if (obstacle !== null) throw new UsageError(`Cannot replay delivery "${id}": ${obstacle}`);
  await store.transaction([
    ...recordSteps({
      action: "webhook.replayed",
      by,
      rows: `select delivery_id as subject, json_object('delivery_id', delivery_id, 'webhook_id',
          webhook_id, 'event', event, 'state', state, 'series', series + 1) as details
        from core.webhook_outbox where ${isSettled}`,
      params: [id],
    }),
    {
      sql: `update core.webhook_outbox set state = 'pending', series = series + 1, attempts = 0,
        next_at = ? where ${isSettled}`,
      params: [new Date(), id],
    },
  ]);
}
