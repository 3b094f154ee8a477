/**
 * What came since a monitor last looked: windows of which rows or labels arrived, and all of them when
 * what is computed of them changed. A cursor says how far a monitor has looked, and the windows that it
 * found wait beside it until they are computed: both are written in one transaction, so that whoever is
 * killed in between skips nothing.
 *
 * Rows of DuckDB's tables have numbers in the order in which they were committed, whatever times they
 * carry. Taking rows away may move the numbers of those behind them; the cursor therefore holds the row
 * that it stands on as well. While that row has its number, none before it has moved, and all that came
 * since is behind it; otherwise everything is looked at once more.
 *
 * @module
 */
import { quoteLiteral } from "../store/sql.ts";
import type { Step, Store } from "../store/store.ts";
import {
  findComputed,
  findLabeled,
  findTouched,
  type Found,
  ownerOf,
  type PendingWindow,
  toPending,
  type Watched,
} from "./touched.ts";
import type { Window } from "./windows.ts";

/** What a look found. */
export interface Look {
  readonly watched: Watched;
  /** Those that wait, the earliest first, whether they are closed or not. */
  readonly pending: readonly PendingWindow[];
  readonly cursor: Cursor;
}

/** How far a monitor has looked. */
interface Cursor {
  /** Number of the last row, -1 before the first one, and the row that has it. */
  readonly rowId: number;
  readonly requestId: string | null;
  readonly row: number | null;
  readonly labelChange: number;
}

const isOwn = "monitor = ? and model = ? and version = ? and granularity = ?";

const start: Cursor = { rowId: -1, requestId: null, row: null, labelChange: 0 };

/** SQL of what came after a cursor; it reads the cursor's row and what is behind it. */
function arrivedSql({ rowId, requestId, row, labelChange }: Cursor): string {
  return `select
      ${
    rowId < 0 ? "true" : `exists (from core.inferences where rowid = ${rowId}
        and request_id = ${quoteLiteral(requestId!)} and row = ${row})`
  } as "isThere",
      last.*, (select max(change) from core.labels where change > ${labelChange}) as "lastLabel"
    from (select max(rowid) as "rowId", arg_max(request_id, rowid) as "requestId",
      arg_max(row, rowid) as row from core.inferences where rowid > ${rowId}) last`;
}

/** Looks at what came since the last look; gives the windows that wait. */
export async function lookAtArrivals(store: Store, watched: Watched): Promise<Look> {
  const owner = ownerOf(watched);
  const [known] = await store.query<{ [k in keyof Cursor]: Cursor[k] } & { definition: string }>(
    `select row_id as "rowId", request_id as "requestId", row, label_change as "labelChange",
       definition from core.monitor_cursors where ${isOwn}`,
    owner,
  );
  const pending = await readPending(store, owner);
  const arrived = await readArrived(store, known ?? start);
  const hasMoved = !arrived.isThere;
  const isChanged = known !== undefined && known.definition !== watched.definition;
  if (known && !hasMoved && !isChanged && arrived.rowId === null && arrived.lastLabel === null) {
    return { watched, pending, cursor: known };
  }
  // Labels have numbers of their own, which never move.
  const from = known !== undefined && hasMoved
    ? { ...start, labelChange: known.labelChange }
    : known ?? start;
  const { lastLabel, ...last } = from === known ? arrived : await readArrived(store, from);
  const { rowId: lastRow, requestId, row } = last;
  const cursor = {
    ...(lastRow === null ? from : { rowId: lastRow, requestId, row }),
    labelChange: Math.max(from.labelChange, lastLabel ?? 0),
  };
  const found = new Map(pending.map((window) => [window.start.getTime(), window]));
  const add = (window: PendingWindow) => {
    const before = found.get(window.start.getTime());
    found.set(window.start.getTime(), {
      ...window,
      labelChange: Math.max(window.labelChange, before?.labelChange ?? 0),
      isForced: before?.isForced ?? false,
    });
  };
  if (isChanged) (await findComputed(store, watched)).forEach(add);
  if (lastRow !== null) {
    await findTouched(store, watched, { fromRow: from.rowId, lastRow, found, add });
  }
  if (lastLabel !== null) {
    const labels = { fromLabel: from.labelChange, lastLabel };
    (await findLabeled(store, watched, labels)).forEach(add);
  }
  const windows = [...found.values()].sort((a, b) => a.start.getTime() - b.start.getTime());
  await store.transaction(writeSteps(watched, cursor, windows));
  return { watched, pending: windows, cursor };
}

async function readPending(
  store: Store,
  owner: ReturnType<typeof ownerOf>,
): Promise<PendingWindow[]> {
  const rows = await store.query<Found & { isForced: boolean }>(
    `select window_start as start, max(window_end) as "end", max(label_change) as "labelChange",
       bool_or(is_forced) as "isForced"
     from core.monitor_pending where ${isOwn} group by window_start order by window_start`,
    owner,
  );
  return rows.map((row) => ({ ...toPending(row), isForced: row.isForced }));
}

interface Arrived extends Record<string, unknown> {
  readonly isThere: boolean;
  /** The last row that came, with its number; `null` when none did. */
  readonly rowId: number | null;
  readonly requestId: string | null;
  readonly row: number | null;
  readonly lastLabel: number | null;
}

async function readArrived(store: Store, cursor: Cursor): Promise<Arrived> {
  const [row] = await store.query<Arrived>(arrivedSql(cursor));
  return row;
}

function writeSteps(
  watched: Watched,
  { rowId, requestId, row, labelChange }: Cursor,
  windows: readonly PendingWindow[],
): Step[] {
  const owner = ownerOf(watched);
  const [monitor, model, version, granularity] = owner;
  const each = <T>(read: (window: PendingWindow) => T) => windows.map(read);
  return [
    { sql: `delete from core.monitor_cursors where ${isOwn}`, params: owner },
    {
      sql: `insert into core.monitor_cursors by name select ? as monitor, ? as model,
        ?::integer as version, ? as granularity, ? as definition, ?::bigint as row_id,
        ?::varchar as request_id, ?::integer as row, ?::bigint as label_change,
        ?::timestamp as looked_at`,
      params: [...owner, watched.definition, rowId, requestId, row, labelChange, new Date()],
    },
    { sql: `delete from core.monitor_pending where ${isOwn}`, params: owner },
    ...(windows.length === 0 ? [] : [{
      append: "core.monitor_pending",
      columns: {
        monitor: each(() => monitor),
        model: each(() => model),
        version: each(() => version),
        granularity: each(() => granularity),
        window_start: each(({ start }) => start),
        window_end: each(({ end }) => end),
        label_change: each((window) => window.labelChange),
        is_forced: each(({ isForced }) => isForced),
      },
    }]),
  ];
}

/**
 * Gives the step by which a window waits no longer. It does nothing when another look was taken since,
 * which may have found more of the window: that one is settled by whoever computes what it found.
 */
export function settleStep({ watched, cursor }: Look, { start }: Pick<Window, "start">): Step {
  const owner = ownerOf(watched);
  return {
    sql: `delete from core.monitor_pending where ${isOwn} and window_start = ?
      and exists (from core.monitor_cursors where ${isOwn} and row_id = ? and label_change = ?)`,
    params: [...owner, start, ...owner, cursor.rowId, cursor.labelChange],
  };
}

/** Gives the step by which a window waits to be computed whatever arrives. */
export function forceStep({ watched }: Look, { start, end }: Window): Step {
  return {
    sql: `insert into core.monitor_pending by name select ? as monitor, ? as model,
      ?::integer as version, ? as granularity, ?::timestamp as window_start,
      ?::timestamp as window_end, 0 as label_change, true as is_forced`,
    params: [...ownerOf(watched), start, end],
  };
}
