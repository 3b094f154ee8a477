/**
 * Which windows are due. Of those that something arrived of, rows are counted: a window with more rows
 * than when it was computed, or a later label, is due. A window of which retention has taken rows is
 * left as it was.
 *
 * @module
 */
import { quoteLiteral } from "../store/sql.ts";
import type { Step, Store } from "../store/store.ts";
import { forceStep, type Look, lookAtArrivals, settleStep } from "./arrivals.ts";
import { positionSql } from "./cells.ts";
import { predictionsIn } from "./rows.ts";
import { formatWindowing, isClosed, type Window, type Windowing, windowsSql } from "./windows.ts";

/** A window with rows. */
export interface FilledWindow extends Window {
  readonly rows: number;
}

/** A window to compute, with the one before it when there is one. */
export interface DueWindow {
  readonly window: FilledWindow;
  readonly before: FilledWindow | null;
}

/** What is due of the windows of one granularity. */
export interface DueWindows {
  readonly look: Look;
  /** The earliest first. */
  readonly due: readonly DueWindow[];
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
  readonly label_change: number;
  readonly state: string;
}

/** Finds the windows that closed, or whose rows or labels arrived, since they were computed. */
export async function findDue(store: Store, options: DueOptions): Promise<DueWindows> {
  const { model, version, windowing, monitorVersion } = options;
  const look = await lookAtArrivals(store, {
    monitor: "profile",
    model,
    version,
    windowing,
    definition: String(monitorVersion),
  });
  const closed = look.pending.filter((window) => isClosed(window, options));
  if (closed.length === 0) return { look, due: [] };
  const states = await readStates(store, options);
  const known = new Map(states.map((state) => [Date.parse(state.start), state]));
  const windows = mergeWindows(closed, states);
  const pending = new Map(closed.map((window) => [window.start.getTime(), window]));
  // Neighbors: the one before is compared with, the one behind was.
  const positions = windows.flatMap(({ start }, i) => pending.has(start.getTime()) ? [i] : []);
  const near = new Set(positions.flatMap((i) => [i - 1, i, i + 1]));
  const counts = await countWindows(store, options, windows.filter((_, i) => near.has(i)));
  const rowsOf = (i: number) => counts.get(windows[i]?.start.getTime()) ?? 0;
  const due = new Set<number>();
  const steps: Step[] = [];
  for (const i of positions) {
    const window = pending.get(windows[i].start.getTime())!;
    const state = known.get(window.start.getTime());
    const rows = rowsOf(i);
    const isLate = state !== undefined && rows >= state.rows &&
      (rows > state.rows || window.labelChange > state.label_change);
    const isNew = state === undefined
      ? rows > 0
      : rows >= state.rows && (state.state !== "done" || state.monitor_version !== monitorVersion);
    if (!isLate && !isNew && !(window.isForced && rows > 0)) {
      steps.push(settleStep(look, window));
      continue;
    }
    due.add(i);
    // The window behind it was compared with it; it waits in the store, too, should this one end here.
    const after = state && windows[i + 1] && known.get(windows[i + 1].start.getTime());
    if (!after || rowsOf(i + 1) < after.rows || due.has(i + 1) || window.isForced && !isLate) {
      continue;
    }
    due.add(i + 1);
    if (!pending.has(windows[i + 1].start.getTime())) steps.push(forceStep(look, windows[i + 1]));
  }
  if (steps.length > 0) await store.transaction(steps);
  const fill = (i: number) => ({ ...windows[i], rows: rowsOf(i) });
  // Before a window that is due behind another one lies that one, which was counted.
  const before = (i: number) => {
    for (let at = i - 1; at >= 0; at--) if (rowsOf(at) > 0) return fill(at);
    return null;
  };
  const sorted = [...due].sort((a, b) => a - b);
  return { look, due: sorted.map((i) => ({ window: fill(i), before: before(i) })) };
}

/** Windows that wait and those that were computed, the earliest first. */
function mergeWindows(closed: readonly Window[], states: readonly State[]): Window[] {
  const windows = new Map(closed.map(({ start, end }) => [start.getTime(), { start, end }]));
  for (const { start, end } of states) {
    windows.set(Date.parse(start), { start: new Date(start), end: new Date(end) });
  }
  return [...windows.values()].sort((a, b) => a.start.getTime() - b.start.getTime());
}

function readStates(
  store: Store,
  { model, version, windowing }: DueOptions,
): Promise<State[]> {
  return store.query<State>(
    `select window_start as start, window_end as "end", monitor_version, rows, label_change, state
     from core.monitor_windows where model = ? and version = ? and granularity = ?`,
    [model, version, formatWindowing(windowing)],
  );
}

/** Windows that are counted by one query: it has a condition for each. */
const COUNTED_AT_ONCE = 50;

/** Counts the rows of windows, given the earliest first, by their start; one without rows is left out. */
export async function countWindows(
  store: Store,
  of: { readonly model: string; readonly version: number },
  windows: readonly Window[],
): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (let from = 0; from < windows.length; from += COUNTED_AT_ONCE) {
    const some = windows.slice(from, from + COUNTED_AT_ONCE);
    const rows = await store.query<{ w: number; rows: number }>(
      `select ${positionSql(some)} as w, count(*) as rows from ${
        predictionsIn(of, some)
      } group by w`,
    );
    for (const { w, rows: count } of rows) counts.set(some[w].start.getTime(), count);
  }
  return counts;
}

/** Gives the first closed window of enough rows, of all that are there; `null` when there is none. */
export async function findFirstFilled(
  store: Store,
  { model, version, windowing, minRows, ...options }:
    & Pick<DueOptions, "model" | "version" | "windowing" | "latenessMs" | "now">
    & { readonly minRows: number },
): Promise<FilledWindow | null> {
  const found = await store.query<{ window_start: string; window_end: string; rows: number }>(
    windowsSql(
      windowing,
      "request_time",
      `core.inferences where model = ${quoteLiteral(model)} and version = ${version}`,
    ),
  );
  return found.filter(({ window_end, rows }) => window_end !== null && rows >= minRows)
    .map((row) => ({
      start: new Date(row.window_start),
      end: new Date(row.window_end),
      rows: row.rows,
    }))
    .find((window) => isClosed(window, options)) ?? null;
}
