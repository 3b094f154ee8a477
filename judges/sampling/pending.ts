/** What of a sample a judge has not judged yet. */
import type { Store } from "../../runtime/store/store.ts";
import type { Drawn, Subjects } from "../subjects/subjects.ts";
import { type CursorOwner, readCursor, writeCursor } from "./cursor.ts";
import type { Query } from "./plan.ts";

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
  subjects: Subjects,
): Promise<Pending> {
  const { columns, relation, maxRows } = subjects;
  const from = await readCursor(store, owner);
  const { sql, params } = queryPending(owner, from);
  const rows = await store.query<
    Record<string, unknown> & {
      readonly probability: number;
      readonly stratum: string;
      readonly total: number;
    }
  >(
    `with pending as (${sql}),
     first as (select *, count(*) over () as total from pending
       order by is_judged nulls first, request_time, request_id, row limit ?)
     select ${columns}, f.probability, f.stratum, f.total
     from first f join ${relation} i using (request_id, row)
     order by f.is_judged nulls first, f.request_time, f.request_id, f.row`,
    // Of none at all, one row still tells how many there are.
    [...params, Math.max(1, maxRows)],
  );
  const first = rows.slice(0, maxRows);
  const read = await subjects.read(first);
  return {
    chosen: first.map(({ probability, stratum }, i) => ({ ...read[i], probability, stratum })),
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

function queryPending({ judge, judgeVersion, sample }: CursorOwner, from: Date | null): Query {
  const { sql, params } = sample.drawn(from);
  return {
    sql: `select s.*, j.is_judged from (${sql}) s
      left join (
        select request_id, row, bool_or(status <> 'error') as is_judged from ${sample.verdicts}
        where judge = ? and judge_version = ? group by all
      ) j using (request_id, row)
      where j.is_judged is distinct from true`,
    params: [...params, judge, judgeVersion],
  };
}
