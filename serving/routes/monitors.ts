/** `GET /monitors`: what the monitors say of columns, and how well the model is expected to do. */
import type { Target } from "../../runtime/alerts/memory.ts";
import { TABLE } from "../../runtime/monitors/columns.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { Access } from "../access.ts";
import { jsonAnswer } from "../answers.ts";
import { encodeReply } from "../compression.ts";
import type { AddRoute, Handler } from "../exchange.ts";
import { readQuery, text, time, upTo } from "../query.ts";

/** What the route needs. */
export interface MonitorRouteDeps {
  readonly store: Store;
  readonly access: Access;
  /** The version that is monitored, `null` while there is none. */
  target(): Promise<Target | null>;
}

/** Columns of windows, and estimates, of one answer. */
const DEFAULT_ROWS = 500;
/** The most of them. */
export const MAX_MONITOR_ROWS = 5_000;

/** Adds the route. */
export function addMonitorRoute(add: AddRoute, deps: MonitorRouteDeps): void {
  add("GET", "/monitors", monitors(deps), { role: "viewer" });
}

const readers = { column: text, since: time, limit: upTo(MAX_MONITOR_ROWS) };

function monitors({ store, access, target }: MonitorRouteDeps): Handler {
  return async (exchange) => {
    access.checkStore(exchange);
    const { request, requestId } = exchange;
    const { column, since, limit = DEFAULT_ROWS } = readQuery(request, readers);
    const about = await target();
    const wanted: Wanted | null = about && {
      ...about,
      column: column ?? null,
      since: since ?? null,
      limit,
    };
    const columns = wanted === null ? none : await readColumns(store, wanted);
    const estimates = wanted === null ? none : await readEstimates(store, wanted);
    return await encodeReply(
      jsonAnswer({
        request_id: requestId,
        model: about?.model ?? null,
        version: about?.version ?? null,
        columns: columns.rows,
        estimates: estimates.rows,
        is_truncated: columns.isTruncated || estimates.isTruncated,
      }),
      request,
    );
  };
}

interface Wanted extends Target {
  /** All of them when `null`. */
  readonly column: string | null;
  /** Windows that end later; when `null` the latest one of each granularity. */
  readonly since: Date | null;
  readonly limit: number;
}

interface Rows {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly isTruncated: boolean;
}

const none: Rows = { rows: [], isTruncated: false };

/** Gives the rows up to the limit, of which one more was asked for. */
function cut(rows: readonly Readonly<Record<string, unknown>>[], { limit }: Wanted): Rows {
  return { rows: rows.slice(0, limit), isTruncated: rows.length > limit };
}

/** The profile of each column and its drift from the baseline, over all slices, the newest first. */
async function readColumns(store: Store, wanted: Wanted): Promise<Rows> {
  const { model, version, column, since, limit } = wanted;
  const latest = `rank() over (partition by p.granularity order by p.window_start desc)`;
  const rows = await store.query(
    `select p.column_name as "column", p.column_kind as kind, p.data_type, p.granularity,
       p.window_start, p.window_end, p.count, p.percent_null, p.percent_nan, p.percent_zeros,
       p.distinct_count, p.avg, p.median, p.stddev, p.min, p.max, p.labeled_rows, p.accuracy,
       case when d.drift_type is not null then {'method': d.method,
         'effect_size': d.effect_size, 'p_value': d.p_value, 'adjusted_p_value': d.adjusted_p_value,
         'threshold': d.threshold, 'is_drifted': d.is_drifted, 'js_distance': d.js_distance,
         'wasserstein_distance': d.wasserstein_distance,
         'population_stability_index': d.population_stability_index,
         'reference_count': d.reference_count, 'current_count': d.current_count,
         'reason': d.reason} end as drift
     from (select * from profile p
       where model = $1 and version = $2 and log_type = 'INPUT' and slice_key is null
         and ($3::timestamp is null or window_end > $3::timestamp)
       qualify $3::timestamp is not null or ${latest} = 1) p
     left join drift_metrics d on d.model = p.model and d.version = p.version
       and d.granularity = p.granularity and d.window_start = p.window_start
       and d.column_name = p.column_name and d.slice_key is null and d.drift_type = 'BASELINE'
     where $4::varchar is null or p.column_name = $4::varchar
     order by p.window_end desc, p.granularity, p.column_name <> '${TABLE}',
       list_position(['feature', 'prediction', 'confidence', 'probability', 'label'], kind),
       p.column_name
     limit ${limit + 1}`,
    [model, version, since, column],
  );
  return cut(rows, wanted);
}

/** What is expected of the model over all slices, the newest first; nothing when one column is asked for. */
async function readEstimates(store: Store, wanted: Wanted): Promise<Rows> {
  const { model, version, column, since, limit } = wanted;
  if (column !== null) return none;
  const rows = await store.query(
    `select granularity, window_start, window_end, metric, method, estimate, low, high,
       lower_threshold, upper_threshold, is_beyond_threshold, is_calibrated, realized, realized_low,
       realized_high, rows, labeled_rows, outside_share, floor, is_below_contract,
       is_realized_below_contract, reason
     from estimates
     where model = $1 and version = $2 and slice is null
       and ($3::timestamp is null or window_end > $3::timestamp)
     qualify $3::timestamp is not null
       or rank() over (partition by granularity order by window_start desc) = 1
     order by window_end desc, granularity, metric limit ${limit + 1}`,
    [model, version, since],
  );
  return cut(rows, wanted);
}
