/** What of the detectors is kept in the store: their snapshots, their alarms, and the rows since. */
import { z } from "zod";
import type { Row, Step, Store } from "../store/store.ts";
import type { WatchParams } from "./params.ts";
import type { Series } from "./series.ts";
import type { Change, Origin, SeriesWatch, WatchState } from "./series_watch.ts";

/** A model version. */
export interface WatchedVersion {
  readonly model: string;
  readonly version: number;
}

/** The last row that a snapshot knows of; `null` when there was none before it. */
export interface Position {
  readonly requestId: string;
  readonly row: number;
  readonly time: Date;
}

/** A snapshot of one watch. */
export interface Snapshot {
  readonly state: WatchState;
  readonly position: Position | null;
}

/** More rows than these are not read again: detectors that were away for so long begin anew. */
export const MOST_REPLAYED = 500_000;

const Count = z.int().min(0);

/** Parses what a watch kept. */
const State = z.strictObject({
  rows: Count,
  missing: Count,
  alarms: Count,
  learned: z.array(z.number()),
  reference: z.strictObject({
    source: z.enum(["held_out", "rows"]),
    rows: Count,
    mean: z.number(),
    std: z.number().positive(),
    threshold: z.number().positive(),
  }).nullable(),
  detector: z.array(z.number()).nullable(),
});

/** What a snapshot must have been made for to be gone on with. */
function defineWatch(params: WatchParams, referenceRows: number): string {
  return JSON.stringify({ ...params, referenceRows });
}

/** Gives the step that keeps a watch's snapshot in place of its last one. */
export function snapshotStep(
  { model, version }: WatchedVersion,
  { series, params }: SeriesWatch,
  { state, position, referenceRows }: Snapshot & { readonly referenceRows: number },
): Step {
  return {
    sql: `insert or replace into core.online_detectors by name
      select ?::varchar as model, ?::integer as version, ?::varchar as series,
        ?::varchar as detector, ?::varchar as definition, ?::varchar as memory,
        ?::varchar as position_request, ?::integer as position_row,
        ?::timestamp as position_time, ?::timestamp as saved_at`,
    params: [
      model,
      version,
      series.name,
      params.detector,
      defineWatch(params, referenceRows),
      JSON.stringify(state),
      position?.requestId ?? null,
      position?.row ?? null,
      position?.time ?? null,
      new Date(),
    ],
  };
}

/**
 * Reads the snapshot of a watch; `null` when there is none for what is configured now.
 * @throws {z.ZodError | SyntaxError} when it is not what was written.
 */
export async function readSnapshot(
  store: Store,
  { model, version }: WatchedVersion,
  { series, params, referenceRows }: {
    readonly series: Series;
    readonly params: WatchParams;
    readonly referenceRows: number;
  },
): Promise<Snapshot | null> {
  const [found] = await store.query<Row & { memory: string; position_request: string | null }>(
    `select memory, position_request, position_row, position_time from core.online_detectors
     where model = ? and version = ? and series = ? and detector = ? and definition = ?`,
    [model, version, series.name, params.detector, defineWatch(params, referenceRows)],
  );
  if (!found) return null;
  const { memory, position_request: requestId, position_row: row, position_time: time } = found;
  return {
    state: State.parse(JSON.parse(memory)),
    position: requestId === null
      ? null
      : { requestId, row: row as number, time: new Date(time as string) },
  };
}

/** Gives the last row of a version that is in the table, or the last one before a request. */
export async function readLastPosition(
  store: Store,
  { model, version }: WatchedVersion,
  before: string | undefined,
): Promise<Position | null> {
  const [last] = await store.query<{ request_id: string; row: number; request_time: string }>(
    `with request as (select min(rowid) as id from core.inferences where request_id = ?)
     select i.request_id, i.row, i.request_time from core.inferences i, request
     where i.model = ? and i.version = ? and (request.id is null or i.rowid < request.id)
     order by i.rowid desc limit 1`,
    [before ?? "", model, version],
  );
  return last
    ? { requestId: last.request_id, row: last.row, time: new Date(last.request_time) }
    : null;
}

/** Values of several series, row by row in the order of the table. */
export interface Replayed {
  readonly rows: number;
  readonly values: readonly Float64Array[];
  readonly origin: Origin;
}

/**
 * Reads what came after a position: by the order of the table, or by time when its row has gone.
 * `null` when that is more than {@linkcode MOST_REPLAYED} rows.
 */
export async function readSince(
  store: Store,
  { model, version }: WatchedVersion,
  { position, series }: { readonly position: Position | null; readonly series: readonly Series[] },
): Promise<Replayed | null> {
  const { rows, columns } = await store.readColumns(
    `with last as (
       select max(rowid) as id from core.inferences where request_id = ? and row = ?)
     select i.request_id, i.row::double as row, epoch_ms(i.request_time)::double as time,
       ${series.map(({ sql }, j) => `${sql} as value_${j}`).join(", ")}
     from core.inferences i, last
     where i.model = ? and i.version = ?
       and case when last.id is null then i.request_time > ? else i.rowid > last.id end
     order by i.rowid limit ${MOST_REPLAYED + 1}`,
    [
      position?.requestId ?? "",
      position?.row ?? 0,
      model,
      version,
      position?.time ?? new Date(0),
    ],
  );
  if (rows > MOST_REPLAYED) return null;
  const requestIds = columns.request_id as readonly string[];
  const places = columns.row as Float64Array;
  const times = columns.time as Float64Array;
  const originFrom = (start: number): Origin => ({
    requestId: (i) => requestIds[start + i],
    row: (i) => places[start + i],
    time: (i) => new Date(times[start + i]),
    from: (i) => originFrom(start + i),
  });
  return {
    rows,
    values: series.map((_, j) => columns[`value_${j}`] as Float64Array),
    origin: originFrom(0),
  };
}

/** Gives the step that puts an alarm on record; one that is there already stays as it is. */
export function alarmStep(
  { model, version }: WatchedVersion,
  { series, params }: SeriesWatch,
  change: Change,
): Step {
  const { requestId, row, at, value, statistic, reference, sinceChange } = change;
  return {
    sql: `insert into core.online_alarms by name
      select ?::varchar as model, ?::integer as version, ?::varchar as series,
        ?::varchar as detector, ?::varchar as request_id, ?::integer as row,
        ?::timestamp as alarmed_at, ?::double as value, ?::double as statistic,
        ?::double as threshold, ?::double as rate, ?::integer as period,
        ?::varchar as reference_source, ?::double as reference_mean, ?::double as reference_std,
        ?::bigint as rows_since_change, changed_at, mean_since, ?::timestamp as created_at
      from (
        select arg_min(request_time, id) as changed_at, avg(value) as mean_since
        from (
          select rowid as id, request_time, ${series.sql} as value from core.inferences
          where model = ? and version = ? and isfinite(${series.sql}) and rowid <= (
            select max(rowid) from core.inferences where request_id = ? and row = ?)
          order by id desc limit ${sinceChange}))
      on conflict do nothing`,
    params: [
      model,
      version,
      series.name,
      params.detector,
      requestId,
      row,
      at,
      value,
      statistic,
      reference?.threshold ?? null,
      params.rate,
      params.period,
      reference?.source ?? null,
      reference?.mean ?? null,
      reference?.std ?? null,
      sinceChange,
      new Date(),
      model,
      version,
      requestId,
      row,
    ],
  };
}
