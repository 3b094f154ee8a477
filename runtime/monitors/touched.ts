/**
 * Windows that something arrived of: rows, labels, or another definition of what is computed of them.
 *
 * @module
 */
import { quoteLiteral } from "../store/sql.ts";
import type { Store } from "../store/store.ts";
import { timeLiteral } from "./rows.ts";
import { formatWindowing, type Window, type Windowing, windowSql, windowsSql } from "./windows.ts";

/** A monitor of the windows of one version and granularity. */
export interface Watched {
  readonly monitor: "profile" | "estimates";
  readonly model: string;
  readonly version: number;
  readonly windowing: Windowing;
  /** What the result depends on beside rows and labels; another one makes every window wait. */
  readonly definition: string;
}

/** A window that waits to be computed. */
export interface PendingWindow extends Window {
  /** Last change of a label that was seen to arrive; 0 is none. */
  readonly labelChange: number;
  /** Whether it is to be computed whatever arrived. */
  readonly isForced: boolean;
}

/** Table of the windows that a monitor has computed. */
const stateTables = {
  profile: "core.monitor_windows",
  estimates: "core.estimate_windows",
} as const;

/** Values of the columns that say whose a row of a cursor is. */
export function ownerOf({ monitor, model, version, windowing }: Watched) {
  return [monitor, model, version, formatWindowing(windowing)] as const;
}

/** A window as a query gives it. */
export interface Found extends Record<string, unknown> {
  readonly start: string;
  readonly end: string;
  readonly labelChange?: number;
}

/** Gives a window that waits. */
export function toPending({ start, end, labelChange = 0 }: Found): PendingWindow {
  return { start: new Date(start), end: new Date(end), labelChange, isForced: false };
}

/** Windows that were computed, so that a change of the definition reaches all of them. */
export async function findComputed(store: Store, watched: Watched): Promise<PendingWindow[]> {
  const [, model, version, granularity] = ownerOf(watched);
  const rows = await store.query<Found>(
    `select window_start as start, window_end as "end" from ${stateTables[watched.monitor]}
     where model = ? and version = ? and granularity = ?`,
    [model, version, granularity],
  );
  return rows.map(toPending);
}

/** Adds the windows of rows that came. */
export async function findTouched(
  store: Store,
  watched: Watched,
  { fromRow, lastRow, found, add }: {
    /** Number of the last row before those that came, … */
    readonly fromRow: number;
    /** … and of the last one of them. */
    readonly lastRow: number;
    readonly found: Map<number, PendingWindow>;
    readonly add: (window: PendingWindow) => void;
  },
): Promise<void> {
  const { model, version, windowing, monitor } = watched;
  const own = `core.inferences where model = ${quoteLiteral(model)} and version = ${version}`;
  const came = `${own} and rowid > ${fromRow} and rowid <= ${lastRow}`;
  if (windowing.kind === "time") {
    const rows = await store.query<{ window_start: string; window_end: string }>(
      windowsSql(windowing, "request_time", came),
    );
    return rows.forEach((row) => add(toPending({ start: row.window_start, end: row.window_end })));
  }
  // Windows by count go on where the last one ended, so that late rows do not move those behind them.
  const granularity = formatWindowing(windowing);
  const states = `${stateTables[monitor]} w where w.model = ${quoteLiteral(model)}
    and w.version = ${version} and w.granularity = ${quoteLiteral(granularity)}`;
  const late = await store.query<Found>(
    `select distinct w.window_start as start, w.window_end as "end"
     from (select request_time from ${came}) i join (select * from ${states}) w
       on i.request_time >= w.window_start and i.request_time < w.window_end`,
  );
  late.forEach((row) => add(toPending(row)));
  const [{ last }] = await store.query<{ last: string | null }>(
    `select max(w.window_end) as last from ${states}`,
  );
  const ended = last === null ? -Infinity : Date.parse(last);
  for (const key of [...found.keys()]) if (key >= ended) found.delete(key);
  const tail = await store.query<{ window_start: string; window_end: string | null }>(
    windowsSql(
      windowing,
      "request_time",
      last === null ? own : `${own} and request_time >= ${timeLiteral(new Date(last))}`,
    ),
  );
  for (const { window_start, window_end } of tail) {
    if (window_end !== null) add(toPending({ start: window_start, end: window_end }));
  }
}

/** Windows of labels that came, whenever their rows did. */
export async function findLabeled(
  store: Store,
  { monitor, model, version, windowing }: Watched,
  { fromLabel, lastLabel }: { readonly fromLabel: number; readonly lastLabel: number },
): Promise<PendingWindow[]> {
  const came = `(select request_id, row, max(change) as change from core.labels
    where change > ${fromLabel} and change <= ${lastLabel} group by all) l`;
  const labeled = `${came} join core.inferences i on i.request_id = l.request_id and i.row = l.row`;
  const granularity = formatWindowing(windowing);
  if (windowing.kind === "time") {
    const rows = await store.query<Found>(
      `select ${windowSql(windowing, "i.request_time")} as start,
         start + interval '${granularity}' as "end", max(l.change) as "labelChange"
       from ${labeled} where i.model = ? and i.version = ? group by start`,
      [model, version],
    );
    return rows.map(toPending);
  }
  const rows = await store.query<Found>(
    `select w.window_start as start, w.window_end as "end", max(l.change) as "labelChange"
     from ${labeled}
     join ${stateTables[monitor]} w on w.model = i.model and w.version = i.version
       and i.request_time >= w.window_start and i.request_time < w.window_end
     where i.model = ? and i.version = ? and w.granularity = ? group by all`,
    [model, version, granularity],
  );
  return rows.map(toPending);
}
