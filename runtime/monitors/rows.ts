/**
 * The rows that a monitor looks at, as SQL: predictions of the inference table, or those of the
 * baseline, with the same columns, so that an expression over one is an expression over the other.
 *
 * @module
 */
import { quoteIdentifier, quoteLiteral } from "../store/sql.ts";
import type { Store } from "../store/store.ts";
import { drawnRows, type DrawPlan, everyRow, isWhole } from "./sampling.ts";
import type { Window } from "./windows.ts";

/** A version, with what its rows have. */
export interface MonitoredVersion {
  readonly model: string;
  readonly version: number;
  /** Names of the inputs, in the order of `features`. */
  readonly inputs: readonly string[];
  /** Names of the classes, in the order of `probabilities`. */
  readonly classes: readonly string[];
}

/** Columns of a row besides the inputs, which have their names unless it is one of these. */
export const rowColumns = [
  "request_time",
  "request_id",
  "row",
  "slice",
  "order_value",
  "label",
  "confidence",
  "requester",
  "alias",
  "truth",
  "features",
  "probabilities",
] as const;

/** Reads what the rows of a version have; `null` when there is no such version. */
export async function readMonitored(
  store: Store,
  { model, version }: { readonly model: string; readonly version: number },
): Promise<MonitoredVersion | null> {
  const [row] = await store.query<{ inputs: string[]; classes: string[] }>(
    `select input_names as inputs, class_names as classes from core.model_versions
     where model = ? and version = ?`,
    [model, version],
  );
  return row ? { model, version, ...row } : null;
}

/** SQL that gives a time as a literal. */
export function timeLiteral(time: Date): string {
  return `timestamp '${time.toISOString().replace("T", " ").replace("Z", "")}'`;
}

/** Inputs as columns of their own names. */
function inputColumns({ inputs }: MonitoredVersion): string {
  return inputs
    .map((name, j) => [name, j + 1] as const)
    .filter(([name]) => !(rowColumns as readonly string[]).includes(name.toLowerCase()))
    .map(([name, j]) => `, features[${j}] as ${quoteIdentifier(name)}`).join("");
}

/** What follows `from` for the predictions of a version in some windows, in ascending order. */
export function predictionsIn(
  { model, version }: Pick<MonitoredVersion, "model" | "version">,
  windows: readonly Window[],
): string {
  const spans: { start: Date; end: Date }[] = [];
  for (const { start, end } of windows) {
    const last = spans.at(-1);
    if (last && last.end.getTime() === start.getTime()) last.end = end;
    else spans.push({ start, end });
  }
  const isIn = spans.map(({ start, end }) =>
    `i.request_time >= ${timeLiteral(start)} and i.request_time < ${timeLiteral(end)}`
  );
  return `core.inferences i where i.model = ${quoteLiteral(model)} and i.version = ${version}
    and (${isIn.join(" or ")})`;
}

/**
 * A relation of the predictions in some windows, in ascending order, with what is known of them since:
 * `truth` is the latest label. DuckDB reads only those columns that a query names; labels and who is
 * behind a request are joined when `expressions` ask for them. Of a sample they are the rows of some
 * cell's, with their number.
 */
export function predictionRows(
  monitored: MonitoredVersion,
  windows: readonly Window[],
  expressions: readonly string[],
  draw: DrawPlan = everyRow,
): string {
  const from = predictionsIn(monitored, windows);
  const asks = (word: string) =>
    expressions.some((text) => new RegExp(`\\b${word}\\b`, "i").test(text));
  const needsRequest = asks("requester") || asks("alias");
  const needsTruth = asks("truth");
  // A request is written with its rows, so that theirs is its time.
  const request = needsRequest
    ? `left join (select request_id, requester, alias from core.requests
        where request_time >= ${timeLiteral(windows[0].start)}
          and request_time < ${timeLiteral(windows[windows.length - 1].end)}) r using (request_id)`
    : "";
  const truth = needsTruth
    ? `left join (select request_id, row, arg_max(label, change) as truth from core.labels
        where request_id in (select request_id from ${from}) group by all) l using (request_id, row)`
    : "";
  return `(select request_time, request_id, row, slice, order_value, i.label, confidence, features,
      probabilities, ${needsRequest ? "r.requester, r.alias" : "null as requester, null as alias"},
      ${needsTruth ? "l.truth" : "null::varchar as truth"}${inputColumns(monitored)}${
    isWhole(draw) ? "" : ", _draw"
  }
    from ${drawnRows(draw, `(select * from ${from})`)} i ${request} ${truth})`;
}

/**
 * A relation of the held-out predictions that the report of a version names: its training rows, each
 * predicted by a model that never saw it.
 */
export function baselineRows(monitored: MonitoredVersion, predictions: string): string {
  const names = `([${monitored.classes.map(quoteLiteral).join(", ")}]::varchar[])`;
  const most = "list_position(h.probabilities, list_max(h.probabilities))";
  return `(select null::timestamp as request_time, null::varchar as request_id,
      position as row, group_name as slice, order_value, ${names}[${most}] as label,
      list_max(h.probabilities)::double as confidence, features, probabilities,
      null::varchar as requester, null::varchar as alias,
      ${names}[class + 1] as truth${inputColumns(monitored)}
    from core.held_out_predictions h where predictions = ${quoteLiteral(predictions)})`;
}

/** Gives what the held-out predictions of a version are stored under; `null` when there are none. */
export async function findBaseline(
  store: Store,
  { model, version }: Pick<MonitoredVersion, "model" | "version">,
): Promise<string | null> {
  const [row] = await store.query<{ predictions: string }>(
    `select h.predictions from core.held_out_predictions h
     join core.model_versions v on h.predictions = (v.report->'predictions'->>'predictions')
     where v.model = ? and v.version = ? limit 1`,
    [model, version],
  );
  return row?.predictions ?? null;
}
