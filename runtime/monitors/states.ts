/** How far windows are: what was there when each was computed. */
import type { Step, Store } from "../store/store.ts";
import type { Window } from "./windows.ts";
import type { Owner } from "./write.ts";

function clearState({ model, version, granularity }: Owner, { start }: Window): Step {
  return {
    sql: `delete from core.monitor_windows
      where model = ? and version = ? and granularity = ? and window_start = ?`,
    params: [model, version, granularity, start],
  };
}

/** Gives the steps that forget a window, and what was said of it. */
export function clearSteps(owner: Owner, window: Window): Step[] {
  const { model, version, granularity } = owner;
  return [
    clearState(owner, window),
    ...["core.profile_metrics", "core.drift_metrics"].map((table) => ({
      sql: `delete from ${table}
        where model = ? and version = ? and granularity = ? and window_start = ?`,
      params: [model, version, granularity, window.start],
    })),
  ];
}

/** Gives the step that writes down how far a window is. */
export function stateStep(
  { model, version, monitorVersion, granularity, labelChange, now }: Owner,
  { start, end }: Window,
  { rows, error = null }: { readonly rows: number; readonly error?: string | null },
): Step {
  return {
    sql: `insert into core.monitor_windows by name select ? as model, ?::integer as version,
      ?::integer as monitor_version, ? as granularity, ?::timestamp as window_start,
      ?::timestamp as window_end, ?::bigint as rows, ?::bigint as label_change, ? as state,
      ?::varchar as error, ?::timestamp as refreshed_at`,
    params: [
      model,
      version,
      monitorVersion,
      granularity,
      start,
      end,
      rows,
      labelChange,
      error === null ? "done" : "failed",
      error,
      now,
    ],
  };
}

/** Writes down that a window could not be computed; what was said of it before stays. */
export async function recordFailure(
  store: Store,
  owner: Owner,
  window: Window & { readonly rows: number },
  error: string,
): Promise<void> {
  await store.transaction([
    clearState(owner, window),
    stateStep(owner, window, { rows: window.rows, error }),
  ]);
}
