/**
 * An outbox: deliveries that were put into it by the transaction of what they tell, and wait, were
 * delivered, are dead letters (`dead`) or were dropped with their receiver. What is due is claimed
 * before it is sent, and settled after it. Webhooks and sinks have one each, of the same form.
 *
 * @module
 */
import type { Row, Step, Store } from "../store/store.ts";

/** Where an outbox is. */
export interface Outbox {
  /** Table of the deliveries, such as `core.sink_outbox`. */
  readonly table: string;
  /** Table of the attempts, of the same columns in the same order for every outbox. */
  readonly attempts: string;
  /** Column of the first that says who receives. */
  readonly receiver: string;
  /** Condition on the deliveries that may be sent now. */
  readonly isOpen: string;
}

/** What can be the state of a delivery. */
export const deliveryStates = ["pending", "delivered", "dead", "dropped"] as const;

/** A delivery that is due. */
export interface DueDelivery extends Row {
  readonly delivery_id: string;
  readonly receiver: string;
}

/** A delivery that one process sends. */
export interface ClaimedDelivery extends DueDelivery {
  readonly payload: string;
  /** 0, and one more with each replay. */
  readonly series: number;
  /** Attempts of this series so far. */
  readonly attempts: number;
}

/** How one attempt ended. */
export interface AttemptResult {
  readonly isDelivered: boolean;
  /** HTTP status or the like, `null` when no answer came. */
  readonly status: number | null;
  /** Why it was not delivered. */
  readonly error: string | null;
  /** The beginning of what the receiver answered; empty when it says nothing. */
  readonly body: string;
  /** Milliseconds it took. */
  readonly ms: number;
  /** Milliseconds the receiver asks to wait. */
  readonly retryAfterMs: number | null;
}

/** Gives what is due, the longest due first: at most `perReceiver` of each. */
export function readDue(
  store: Store,
  { table, receiver, isOpen }: Outbox,
  { now, perReceiver }: { readonly now: Date; readonly perReceiver: number },
): Promise<DueDelivery[]> {
  return store.query<DueDelivery>(
    `select delivery_id, ${receiver} as receiver from ${table}
     where state = 'pending' and next_at <= ? and ${isOpen}
     qualify row_number() over (partition by ${receiver} order by next_at) <= ?
     order by next_at`,
    [now, perReceiver],
  );
}

/** Takes deliveries until a time; gives those that nobody else has taken meanwhile. */
export function claimDue(
  store: Store,
  { table, receiver }: Outbox,
  { ids, now, until }: {
    readonly ids: readonly string[];
    readonly now: Date;
    readonly until: Date;
  },
): Promise<ClaimedDelivery[]> {
  return store.query<ClaimedDelivery>(
    `update ${table} set next_at = ?
     where state = 'pending' and next_at <= ? and delivery_id in (select unnest(?::json::varchar[]))
     returning delivery_id, ${receiver} as receiver, payload, series, attempts`,
    [until, now, JSON.stringify(ids)],
  );
}

/** Gives up a claim, so that the next process need not wait for its end. */
export async function releaseClaim(
  store: Store,
  { table }: Outbox,
  { delivery, now }: { readonly delivery: ClaimedDelivery; readonly now: Date },
): Promise<void> {
  await store.query(
    `update ${table} set next_at = ?
     where delivery_id = ? and series = ? and attempts = ? and state = 'pending'`,
    [now, delivery.delivery_id, delivery.series, delivery.attempts],
  );
}

/** How a claim ended. */
export interface Settlement {
  readonly delivery: ClaimedDelivery;
  readonly result: AttemptResult;
  readonly at: Date;
  readonly state: "delivered" | "pending" | "dead";
  readonly nextAt: Date | null;
}

/** Records an attempt and what is next; what a replay or a deletion made of it meanwhile stands. */
export async function settleClaim(
  store: Store,
  { table, attempts }: Outbox,
  { delivery, result, at, state, nextAt }: Settlement,
): Promise<void> {
  const { delivery_id: id, series } = delivery;
  const attempt = delivery.attempts + 1;
  await store.transaction([
    {
      sql: `insert into ${attempts} values (?, ?, ?, ?::integer, ?, ?, ?)`,
      params: [id, series, attempt, result.status, result.error, result.ms, at],
    },
    {
      sql: `update ${table} set state = ?, attempts = ?, next_at = ?::timestamp
        where delivery_id = ? and series = ? and state = 'pending'`,
      params: [state, attempt, nextAt, id, series],
    },
  ]);
}

/**
 * Gives the step that sends deliveries anew, with all their attempts and under their old ids, where
 * `condition` with its one `?`, the id, holds.
 */
export function renewStep(
  { table }: Outbox,
  { condition, id }: { readonly condition: string; readonly id: string },
): Step {
  return {
    sql: `update ${table} set state = 'pending', series = series + 1, attempts = 0, next_at = ?
      where ${condition}`,
    params: [new Date(), id],
  };
}
