/** What of a sample a judge has not judged yet. */
import type { Inference } from "../../plugins/plugin.ts";
import type { Store } from "../../runtime/store/store.ts";
import { inferenceColumns, type InferenceRow, toInference } from "../rows.ts";
import { type CursorOwner, readCursor, writeCursor } from "./cursor.ts";
import { type Query, querySample } from "./plan.ts";

/** A prediction that was drawn. */
export interface Drawn {
  readonly inference: Inference;
  /** Probability in `(0, 1]` with which it was. */
  readonly probability: number;
  readonly stratum: string;
}

/** What is left to do. */
export interface Pending {
  /** The first of it, those that ended in an error last. */
  readonly chosen: readonly Drawn[];
  readonly total: number;
  /** Time before which nothing was looked for: all of it is known to be judged; `null` is none. */
  readonly from: Date | null;
}

/** Gives at most `maxRows` of the rows that are drawn and have no verdict but an error. */
export async function readPending(
  store: Store,
  owner: CursorOwner,
  maxRows: number,
): Promise<Pending> {
  const from = await readCursor(store, owner);
  const { sql, params } = queryPending(owner, from);
  const rows = await store.query<
    InferenceRow & {
      readonly probability: number;
      readonly stratum: string;
      readonly total: number;
    }
  >(
    `with pending as (${sql}),
     first as (select *, count(*) over () as total from pending
       order by is_judged nulls first, request_time, request_id, row limit ?)
     select ${inferenceColumns}, f.probability, f.stratum, f.total
     from first f join inferences i using (request_id, row)
     order by f.is_judged nulls first, f.request_time, f.request_id, f.row`,
    // Of none at all, one row still tells how many there are.
    [...params, Math.max(1, maxRows)],
  );
  return {
    chosen: rows.slice(0, maxRows).map((row) => ({
      inference: toInference(row, owner.plan),
      probability: row.probability,
      stratum: row.stratum,
    })),
    total: rows[0]?.total ?? 0,
    from,
  };
}

/** Moves the cursor to the day of the first row that is left. */
export async function settleCursor(
  store: Store,
  owner: CursorOwner,
  from: Date | null,
): Promise<void> {
  const { sql, params } = queryPending(owner, from);
  const [{ first }] = await store.query<{ first: string | null }>(
    `select epoch_ms(min(request_time))::varchar as first from (${sql})`,
    params,
  );
  await writeCursor(store, owner, first === null ? null : new Date(Number(first)));
}

function queryPending({ judge, judgeVersion, plan }: CursorOwner, from: Date | null): Query {
  const { sql, params } = querySample(plan, from);
  return {
    sql: `select s.*, j.is_judged from (${sql}) s
      left join (
        select request_id, row, bool_or(status <> 'error') as is_judged from core.judgements
        where judge = ? and judge_version = ? group by all
      ) j using (request_id, row)
      where j.is_judged is distinct from true`,
    params: [...params, judge, judgeVersion],
  };
}
