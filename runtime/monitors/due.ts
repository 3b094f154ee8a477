/**
 * Which windows are due. Late rows are found by counting: a window with more rows than when it was
 * computed. Late labels are found by their number: those that came after the last refresh that
 * succeeded are joined with the rows they are of. A window of which retention has taken rows is left
 * as it was.
 *
 * @module
 */
import { quoteLiteral } from "../store/sql.ts";
import type { Store } from "../store/store.ts";
import { timeLiteral } from "./rows.ts";
import { formatWindowing, isClosed, type Window, type Windowing, windowsSql } from "./windows.ts";

/** A window with rows. */
export interface FilledWindow extends Window {
  readonly rows: number;
}

/** Windows of one granularity. */
export interface DueWindows {
  /** All closed windows with rows that are still there, the earliest first. */
  readonly windows: readonly FilledWindow[];
  /** Positions in `windows` of those to compute. */
  readonly due: readonly number[];
}

/** What to look at. */
export interface DueOptions {
  readonly model: string;
  readonly version: number;
  readonly monitorVersion: number;
  readonly windowing: Windowing;
  readonly latenessMs: number;
  readonly now: Date;
}

interface State extends Record<string, unknown> {
  readonly start: string;
  readonly end: string;
  readonly monitor_version: number;
  readonly rows: number;
  readonly state: string;
  readonly rows_now: number;
}

/** Finds the windows that closed, or whose rows or labels arrived, since they were computed. */
export async function findDue(store: Store, options: DueOptions): Promise<DueWindows> {
  const { model, version, windowing, monitorVersion } = options;
  const from = `core.inferences where model = ${quoteLiteral(model)} and version = ${version}`;
  const states = await readStates(store, options);
  const last = states.at(-1);
  // Windows by count go on where the last one ended, so that late rows do not move those behind them.
  const rest = windowing.kind === "time" || last === undefined
    ? from
    : `${from} and request_time >= ${timeLiteral(new Date(last.end))}`;
  const found = await store.query<{ window_start: string; window_end: string; rows: number }>(
    windowsSql(windowing, "request_time", rest),
  );
  const windows = [
    ...(rest === from ? [] : states.filter(({ rows_now }) => rows_now > 0).map(
      ({ start, end, rows_now }) => ({
        start: new Date(start),
        end: new Date(end),
        rows: rows_now,
      }),
    )),
    ...found.filter(({ window_end }) => window_end !== null).map((row) => ({
      start: new Date(row.window_start),
      end: new Date(row.window_end),
      rows: row.rows,
    })),
  ].filter((window) => isClosed(window, options));
  const known = new Map(states.map((state) => [Date.parse(state.start), state]));
  const labeled = await findLabeled(store, options);
  const due = new Set<number>();
  windows.forEach(({ start, rows }, i) => {
    const state = known.get(start.getTime());
    if (state === undefined) return due.add(i);
    if (rows < state.rows) return;
    const isLate = rows > state.rows || labeled.has(start.getTime());
    if (!isLate && state.state === "done" && state.monitor_version === monitorVersion) return;
    due.add(i);
    // The window behind it was compared with it.
    const next = windows[i + 1];
    const after = next && known.get(next.start.getTime());
    if (after && next.rows >= after.rows) due.add(i + 1);
  });
  return { windows, due: [...due].sort((a, b) => a - b) };
}

function readStates(
  store: Store,
  { model, version, windowing }: DueOptions,
): Promise<State[]> {
  const needsRows = windowing.kind !== "time";
  return store.query<State>(
    `select window_start as start, window_end as "end", monitor_version, rows, state,
       ${
      needsRows
        ? `(select count(*) from core.inferences i where i.model = w.model
             and i.version = w.version and i.request_time >= w.window_start
             and i.request_time < w.window_end)`
        : "0"
    } as rows_now
     from core.monitor_windows w where model = ? and version = ? and granularity = ?
     order by window_start`,
    [model, version, formatWindowing(windowing)],
  );
}

/** Starts of windows with labels that they have not seen. */
async function findLabeled(
  store: Store,
  { model, version, windowing }: DueOptions,
): Promise<Set<number>> {
  const rows = await store.query<{ start: string }>(
    `with seen as (
       select coalesce(max(label_change), 0) as change from core.monitor_refreshes
       where model = $1 and version = $2::integer and state = 'SUCCESS')
     select w.window_start as start
     from core.labels l
     join core.inferences i on i.request_id = l.request_id and i.row = l.row
     join core.monitor_windows w on w.model = i.model and w.version = i.version
       and i.request_time >= w.window_start and i.request_time < w.window_end
     where l.change > (select change from seen)
       and i.model = $1 and i.version = $2::integer and w.granularity = $3
     group by w.window_start having max(l.change) > max(w.label_change)`,
    [model, version, formatWindowing(windowing)],
  );
  return new Set(rows.map(({ start }) => Date.parse(start)));
}
