/** What monitors last said of a version. */
import type { Store } from "../store/store.ts";
import { TABLE } from "./columns.ts";

/** What is said of a column in the latest window, for people. */
export interface LatestColumn {
  readonly column: string;
  readonly kind: string;
  readonly count: number;
  readonly percentNull: number;
  readonly avg: number | null;
  readonly median: number | null;
  readonly stddev: number | null;
  readonly distinctCount: number;
  /** Against the baseline; `null` before there is one. */
  readonly method: string | null;
  readonly effectSize: number | null;
  readonly adjustedPValue: number | null;
  readonly isDrifted: boolean | null;
  /** Why it is not known whether it drifted. */
  readonly reason: string | null;
}

/** The latest window of a granularity. */
export interface LatestProfile {
  readonly granularity: string;
  readonly start: string;
  readonly end: string;
  readonly rows: number;
  /** Share of the rows that was looked at, in `(0, 1]`; below 1 counts are estimates. */
  readonly samplingFraction: number;
  readonly labeledRows: number;
  readonly accuracy: number | null;
  readonly columns: readonly LatestColumn[];
}

/** Reads the latest window of each granularity over all slices, those that end last first. */
export async function readLatestProfiles(
  store: Store,
  { model, version }: { readonly model: string; readonly version: number },
): Promise<LatestProfile[]> {
  const windows = await store.query<Omit<LatestProfile, "columns"> & Record<string, unknown>>(
    `select granularity, window_start as start, window_end as "end", count as rows,
       sampling_fraction as "samplingFraction", labeled_rows as "labeledRows", accuracy
     from profile
     where model = ? and version = ? and log_type = 'INPUT' and column_name = '${TABLE}'
       and slice_key is null
     qualify row_number() over (partition by granularity order by window_start desc) = 1
     order by window_end desc, granularity`,
    [model, version],
  );
  const profiles: LatestProfile[] = [];
  for (const window of windows) {
    const columns = await store.query<LatestColumn & Record<string, unknown>>(
      `select p.column_name as "column", p.column_kind as kind, p.count,
         p.percent_null as "percentNull", p.avg, p.median, p.stddev,
         p.distinct_count as "distinctCount", d.method, d.effect_size as "effectSize",
         d.adjusted_p_value as "adjustedPValue", d.is_drifted as "isDrifted", d.reason
       from profile p
       left join drift_metrics d on d.model = p.model and d.version = p.version
         and d.granularity = p.granularity and d.window_start = p.window_start
         and d.column_name = p.column_name and d.slice_key is null and d.drift_type = 'BASELINE'
       where p.model = ? and p.version = ? and p.granularity = ? and p.window_start = ?
         and p.slice_key is null and p.log_type = 'INPUT' and p.column_name <> '${TABLE}'
       order by coalesce(d.is_drifted, false) desc,
         list_position(['feature', 'prediction', 'confidence', 'probability', 'label'], kind),
         p.column_name`,
      [model, version, window.granularity, new Date(window.start)],
    );
    profiles.push({ ...window, columns });
  }
  return profiles;
}

/** What a monitor's last refresh cost, and what a lower rate makes of its precision. */
export interface LatestCost {
  /** `profile`, `estimates` or `judge:NAME`. */
  readonly monitor: string;
  readonly granularity: string | null;
  readonly windows: number;
  readonly rowsRead: number;
  readonly rowsUsed: number;
  readonly ms: number;
  /** Of a judge. */
  readonly tokens: number | null;
  /** Share of the rows of a window, in `(0, 1]`; `null` when a judge gave errors alone. */
  readonly rate: number | null;
  readonly nextRate: number | null;
  /** Per window. */
  readonly budgetMs: number | null;
  readonly budgetRows: number | null;
  /** Standard errors over those that all rows would give. */
  readonly standardErrorRatio: number | null;
}

/** Reads what the last refresh of each monitor of a version cost, and the last day of each judge. */
export function readLatestCosts(
  store: Store,
  { model, version }: { readonly model: string; readonly version: number },
): Promise<LatestCost[]> {
  return store.query<LatestCost & Record<string, unknown>>(
    `select monitor, granularity, windows, rows_read as "rowsRead", rows_used as "rowsUsed", ms,
       tokens, rate, next_rate as "nextRate", budget_ms as "budgetMs", budget_rows as "budgetRows",
       standard_error_ratio as "standardErrorRatio"
     from monitor_costs where model = ? and version = ?
     qualify row_number() over (partition by monitor, granularity order by created_at desc) = 1
     order by monitor like 'judge:%', monitor desc, granularity`,
    [model, version],
  );
}
