/** Which windows of the inference table are due, and their rows. */
import { matrix } from "../../numeric/matrix.ts";
import { type Look, lookAtArrivals, settleStep } from "../monitors/arrivals.ts";
import { positionSql } from "../monitors/cells.ts";
import { predictionsIn } from "../monitors/rows.ts";
import { drawnRows, type DrawPlan, everyRow, isWhole } from "../monitors/sampling.ts";
import type { Granularity, Window } from "../monitors/windows.ts";
import type { SqlValue, Step, Store } from "../store/store.ts";
import { listColumns, toMatrix } from "./held_out.ts";
import type { CauseRows, WindowRows } from "./measure.ts";

/** A window to be estimated, `[start, end)` in milliseconds since 1970. */
export interface DueWindow {
  readonly start: number;
  readonly end: number;
  readonly rows: number;
  readonly labeledRows: number;
  /** Last change of a label of its rows; `null` without labels. */
  readonly labelChange: number | null;
  /** What the estimates depend on beside rows and labels. */
  readonly definition: string;
}

/** Whose windows. */
interface Target {
  readonly model: string;
  readonly version: number;
  readonly granularity: Granularity;
}

interface State extends Record<string, unknown> {
  readonly start: number;
  readonly rows: number;
  readonly labelChange: number | null;
  readonly definition: string;
}

/**
 * Finds the closed windows with more rows, a later label or another definition than when they were
 * estimated, the oldest first. Rows that retention took away do not make a window due.
 */
export async function findDueWindows(
  store: Store,
  { closedBefore, definition, ...target }: Target & {
    readonly closedBefore: number;
    readonly definition: string;
  },
): Promise<{ readonly look: Look; readonly due: readonly DueWindow[] }> {
  const { model, version, granularity } = target;
  const windowing = { kind: "time", granularity } as const;
  const look = await lookAtArrivals(store, {
    monitor: "estimates",
    model,
    version,
    windowing,
    definition,
  });
  const closed = look.pending.filter(({ end }) => end.getTime() <= closedBefore);
  if (closed.length === 0) return { look, due: [] };
  const states = await store.query<State>(
    `select epoch_ms(window_start) as start, rows, label_change as "labelChange", definition
     from core.estimate_windows where model = ? and version = ? and granularity = ?`,
    [model, version, granularity],
  );
  const known = new Map(states.map((state) => [state.start, state]));
  const due: DueWindow[] = [];
  const steps: Step[] = [];
  const counted = await countLabeled(store, target, closed);
  for (const window of closed) {
    const now = counted.get(window.start.getTime());
    const state = known.get(window.start.getTime());
    const isDue = now !== undefined && (state === undefined || now.rows > state.rows ||
      (now.labelChange ?? 0) > (state.labelChange ?? 0) ||
      (state.definition !== definition && now.rows === state.rows));
    if (isDue) due.push({ ...now, definition });
    else steps.push(settleStep(look, window));
  }
  if (steps.length > 0) await store.transaction(steps);
  return { look, due };
}

/** Windows that are counted by one query: it has a condition for each. */
const COUNTED_AT_ONCE = 50;

/** Counts rows and labels of windows, given the earliest first, by their start; empty ones are left out. */
async function countLabeled(
  store: Store,
  { model, version }: Target,
  windows: readonly Window[],
): Promise<Map<number, Omit<DueWindow, "definition">>> {
  const counts = new Map<number, Omit<DueWindow, "definition">>();
  for (let from = 0; from < windows.length; from += COUNTED_AT_ONCE) {
    const some = windows.slice(from, from + COUNTED_AT_ONCE);
    const rows = await store.query<{
      w: number;
      rows: number;
      labeledRows: number;
      labelChange: number | null;
    }>(
      `with own as (select request_id, row, ${positionSql(some)} as w
         from ${predictionsIn({ model, version }, some)})
       select w, count(*) as rows, count(c.change) as "labeledRows", max(c.change) as "labelChange"
       from own left join (
         select request_id, row, max(change) as change from core.labels
         where request_id in (select request_id from own) group by all) c using (request_id, row)
       group by w`,
    );
    for (const { w, ...count } of rows) {
      const [start, end] = [some[w].start.getTime(), some[w].end.getTime()];
      counts.set(start, { start, end, ...count });
    }
  }
  return counts;
}

/** Most rows of a window that are read with their features. */
const MOST_FEATURE_ROWS = 20_000;

/** Reads the predictions of a window with the labels there are, of all slices or of one. */
export async function readWindow(
  store: Store,
  { model, version, start, end, classes, draw = everyRow, inputs, slice = null }:
    & Pick<Target, "model" | "version">
    & Pick<DueWindow, "start" | "end">
    & {
      readonly classes: readonly string[];
      /** The sample whose rows are read; default all. */
      readonly draw?: DrawPlan;
      /** Number of inputs to read as well, of 20,000 rows at most that have them, the same each time. */
      readonly inputs?: number;
      readonly slice?: string | null;
    },
): Promise<WindowRows & CauseRows> {
  const k = classes.length;
  const names = JSON.stringify(classes);
  const params: SqlValue[] = [names, model, version, new Date(start), new Date(end)];
  const drawn = drawnRows(
    draw,
    `(select * from core.inferences
      where model = ? and version = ? and request_time >= ? and request_time < ?)`,
  );
  const { columns, rows } = await store.readColumns(
    `with classes as (select ?::json::varchar[] as names)
     select ${
      isWhole(draw) ? "0::double" : "i._draw::double"
    } as draw, list_position(names, i.label) - 1 as predicted, i.slice,
       case when l.label is null then -1
         else coalesce(list_position(names, l.label) - 1, len(names)) end as truth,
       ${listColumns("i.probabilities", k).replaceAll(" as i.", " as ")}
       ${inputs ? `, ${listColumns("i.features", inputs).replaceAll(" as i.", " as ")}` : ""}
     from ${drawn} i left join labels l using (request_id, row), classes
     where len(i.probabilities) = ${k} and list_contains(names, i.label)
       ${inputs ? `and len(i.features) = ${inputs}` : ""} ${slice === null ? "" : "and i.slice = ?"}
     order by ${inputs ? "hash(i.request_id, i.row)," : ""} i.request_id, i.row
     ${inputs ? `limit ${MOST_FEATURE_ROWS}` : ""}`,
    slice === null ? params : [...params, slice],
  );
  return {
    P: rows === 0 ? matrix(0, k) : toMatrix(columns, "probabilities", k),
    X: inputs && rows > 0 ? toMatrix(columns, "features", inputs) : matrix(0, inputs ?? 0),
    predicted: Int32Array.from(columns.predicted as Float64Array),
    y: Int32Array.from(columns.truth as Float64Array),
    draws: columns.draw as Float64Array,
    slices: columns.slice as readonly (string | null)[],
  };
}
