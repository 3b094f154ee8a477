/**
 * Who changed what: an append-only log in which each entry holds the hash of the one before, written
 * in the transaction of the change itself, and the deliveries to webhooks with it.
 *
 * The chain shows that an entry was changed, removed, put in or moved. Whoever may write the whole
 * file could compute a new chain, or cut off its end: keep the head that {@linkcode verifyAudit}
 * gives somewhere else, and ask later whether it still is on the chain.
 *
 * @module
 */
import type { SqlValue, Step, Store } from "./store/store.ts";
import { type AuditAction, outboxStep } from "./webhooks/events.ts";

/** Stands before the first entry; the head of an empty log. */
export const GENESIS_HASH = "0".repeat(64);

/** A change to record. */
export interface AuditedChange {
  readonly action: AuditAction;
  /** Who does it; `null` when nobody knows. */
  readonly by: string | null;
  /**
   * A select of the columns `subject` (varchar) and `details` (json) whose rows become entries. It
   * runs within the transaction where its steps stand, so that what changes nothing records nothing.
   */
  readonly rows: string;
  /** Values of the `?` in `rows`. */
  readonly params?: readonly SqlValue[];
}

/** Hash of an entry: sha256 of its fields and of the hash before it, as one JSON array. */
const hashSql = (time: string) =>
  `sha256(json_array(number, epoch_us(${time}), change_id, actor, action, subject, details::varchar,
    previous_hash)::varchar)`;

const NOW = "now() at time zone 'UTC'";

/**
 * Gives the steps that record a change, for the transaction that makes it: the entries of the audit
 * log, and the deliveries to the webhooks that subscribed to its event.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { recordSteps, verifyAudit } from "./audit.ts";
 * import { openStore } from "./store/store.ts";
 *
 * await using store = await openStore(":memory:");
 * await store.transaction(recordSteps({
 *   action: "model_version.deleted",
 *   by: "ada",
 *   rows: "select 'rocks/1' as subject, json_object('name', 'rocks', 'version', '1') as details",
 * }));
 * assertEquals((await verifyAudit(store)).entries, 1);
 * ```
 */
export function recordSteps({ action, by, rows, params = [] }: AuditedChange): Step[] {
  const changeId = crypto.randomUUID();
  // One statement reads the head and writes after it; transactions that write exclude each other.
  const sql = `insert into core.audit_log
    with recursive entry as materialized (
      select row_number() over (order by subject, details::varchar) as i, subject::varchar as subject,
        details::json as details, ?::varchar as change_id, ?::varchar as actor, ?::varchar as action
      from (${rows})),
    chain as (
      select 0::bigint as i, number, null::varchar as previous_hash, hash from (
        select number, hash from core.audit_log union all select 0, '${GENESIS_HASH}'
        order by number desc limit 1)
      union all
      select i, number, previous_hash, ${hashSql(NOW)}
      from (select e.*, c.number + 1 as number, c.hash as previous_hash
        from chain c join entry e on e.i = c.i + 1))
    select number, ${NOW}, change_id, actor, action, subject, details, previous_hash, hash
    from chain join entry using (i)`;
  return [
    { sql, params: [changeId, by, action, ...params] },
    outboxStep(action, changeId),
  ];
}

/** Gives the one row of a change whose subject and details are known beforehand. */
export function oneRow(
  subject: string,
  details: Readonly<Record<string, unknown>>,
): Pick<AuditedChange, "rows" | "params"> {
  return {
    rows: "select ?::varchar as subject, ?::json as details",
    params: [subject, JSON.stringify(details)],
  };
}

/** What a check of the audit log found. */
export interface AuditState {
  readonly entries: number;
  /** Hash of the last entry; {@linkcode GENESIS_HASH} when there is none. */
  readonly head: string;
  /** The first entry that is not as it was written. */
  readonly firstBroken: { readonly number: number; readonly reason: string } | null;
  /** The expected head, when it is no longer on the chain: the log was cut off or written anew. */
  readonly lostHead: string | null;
}

/**
 * Checks every entry of the audit log against its hash and against the entry before it.
 * @param expected A head that an earlier check gave: the chain alone cannot show a missing end.
 */
export async function verifyAudit(store: Store, expected?: string): Promise<AuditState> {
  const [row] = await store.query<
    { entries: number; head: string; broken: AuditState["firstBroken"]; has_head: boolean }
  >(
    `with checked as (
      select number, hash, case
        when number <> coalesce(lag(number) over chain, 0) + 1
          then 'its number does not follow the one before it'
        when previous_hash <> coalesce(lag(hash) over chain, '${GENESIS_HASH}')
          then 'it does not hold the hash of the entry before it'
        when hash <> ${hashSql("time")}
          then 'its fields do not give its hash'
        end as reason
      from core.audit_log window chain as (order by number))
    select count(*) as entries, coalesce(arg_max(hash, number), '${GENESIS_HASH}') as head,
      arg_min({'number': number, 'reason': reason}, number) filter (reason is not null) as broken,
      coalesce(bool_or(hash = ?), false) or ? = '${GENESIS_HASH}' as has_head
    from checked`,
    [expected ?? GENESIS_HASH, expected ?? GENESIS_HASH],
  );
  return {
    entries: row.entries,
    head: row.head,
    firstBroken: row.broken,
    lostHead: row.has_head ? null : expected!,
  };
}
