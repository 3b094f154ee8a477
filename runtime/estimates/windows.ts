/** Which windows of the inference table are due, and their rows. */
import { matrix } from "../../numeric/matrix.ts";
import { type Granularity, windowSql } from "../monitors/windows.ts";
import type { SqlValue, Store } from "../store/store.ts";
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

/**
 * Finds the closed windows with more rows, a later label or another definition than when they were
 * estimated, the oldest first. Rows that retention took away do not make a window due.
 */
export async function findDueWindows(
  store: Store,
  { model, version, granularity, closedBefore, definition }: Target & {
    readonly closedBefore: number;
    readonly definition: string;
  },
): Promise<DueWindow[]> {
  const start = windowSql({ kind: "time", granularity }, "i.request_time");
  const length = `interval '${granularity}'`;
  return await store.query<DueWindow & Record<string, unknown>>(
    `with changes as (
       select request_id, row, max(change) as change from core.labels group by all),
     windows as (
       select ${start} as start, count(*) as rows,
         count(c.change) as labeled_rows, max(c.change) as label_change
       from core.inferences i left join changes c using (request_id, row)
       where i.model = $1 and i.version = $2::integer
       group by start having start + ${length} <= $4::timestamp)
     select epoch_ms(w.start) as start, epoch_ms(w.start + ${length}) as end, w.rows,
       w.labeled_rows as "labeledRows", w.label_change as "labelChange", $5::varchar as definition
     from windows w
     left join core.estimate_windows e on e.model = $1 and e.version = $2::integer
       and e.granularity = $3::varchar and e.window_start = w.start
     where e.rows is null or w.rows > e.rows
       or coalesce(w.label_change, 0) > coalesce(e.label_change, 0)
       or (e.definition <> $5::varchar and w.rows = e.rows)
     order by w.start`,
    [model, version, granularity, new Date(closedBefore), definition],
  );
}

/** Most rows that causes are looked for in. */
const MOST_CAUSE_ROWS = 20_000;

/** Reads the predictions of a window with the labels there are, or with inputs those of one slice. */
export async function readWindow(
  store: Store,
  { model, version, start, end, classes, inputs, slice = null }:
    & Pick<Target, "model" | "version">
    & Pick<DueWindow, "start" | "end">
    & {
      readonly classes: readonly string[];
      /** Number of inputs to read as well, of a sample of the rows. */
      readonly inputs?: number;
      readonly slice?: string | null;
    },
): Promise<WindowRows & CauseRows> {
  const k = classes.length;
  const names = JSON.stringify(classes);
  const params: SqlValue[] = [names, model, version, new Date(start), new Date(end)];
  const { columns, rows } = await store.readColumns(
    `with classes as (select ?::json::varchar[] as names)
     select list_position(names, i.label) - 1 as predicted, i.slice,
       case when l.label is null then -1
         else coalesce(list_position(names, l.label) - 1, len(names)) end as truth,
       ${listColumns("i.probabilities", k).replaceAll(" as i.", " as ")}
       ${inputs ? `, ${listColumns("i.features", inputs).replaceAll(" as i.", " as ")}` : ""}
     from core.inferences i left join labels l using (request_id, row), classes
     where i.model = ? and i.version = ? and i.request_time >= ? and i.request_time < ?
       and len(i.probabilities) = ${k} and list_contains(names, i.label)
       ${slice === null ? "" : "and i.slice = ?"}
     order by ${inputs ? "hash(i.request_id, i.row)," : ""} i.request_id, i.row
     ${inputs ? `limit ${MOST_CAUSE_ROWS}` : ""}`,
    slice === null ? params : [...params, slice],
  );
  return {
    P: rows === 0 ? matrix(0, k) : toMatrix(columns, "probabilities", k),
    X: inputs && rows > 0 ? toMatrix(columns, "features", inputs) : matrix(0, inputs ?? 0),
    predicted: Int32Array.from(columns.predicted as Float64Array),
    y: Int32Array.from(columns.truth as Float64Array),
    slices: columns.slice as readonly (string | null)[],
  };
}
