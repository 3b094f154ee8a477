/**
 * How noisy alerts were: what fired, what was told, and what somebody took up.
 *
 * @module
 */
import type { Store } from "../store/store.ts";
import { type Episode, toEpisodes } from "./backtest.ts";
import { matches, parseMatcher } from "./matchers.ts";
import type { AlertState, Transition } from "./state.ts";

/** One alert over a span of time. */
export interface NoiseRow {
  readonly alert: string;
  /** Times that a series began to fire. */
  readonly fired: number;
  /** Events that a sink took, resolved ones apart. */
  readonly notified: number;
  /** Acknowledgements of people. */
  readonly acknowledged: number;
  /** Whether it flaps now, on the version evaluated last. */
  readonly isFlapping: boolean;
  /** Mean seconds of the episodes that began in the time, `null` when none did. */
  readonly meanFiringSeconds: number | null;
  /** Evaluations that failed. */
  readonly errors: number;
}

/** Reports on every alert of a model that was evaluated from `from` to `to`, the noisiest first. */
export async function reportNoise(
  store: Store,
  { model, from, to }: { readonly model: string; readonly from: number; readonly to: number },
): Promise<NoiseRow[]> {
  const span = [model, new Date(from), new Date(to)];
  const rows = await store.query(
    `select e.alert, e.errors, coalesce(n.notified, 0) as notified, coalesce(s.is_flapping, false) as flaps
     from (select alert, count(*) filter (state = 'error') as errors from core.alert_log
       where model = ? and created_at between ? and ? group by alert) e
     left join (select alert, count(*) as notified from core.alert_notifications
       where model = ? and told_at between ? and ? and sinks > 0 and kind <> 'resolved'
       group by alert) n using (alert)
     left join (select alert, arg_max(is_flapping, evaluated_at) as is_flapping
       from core.alert_states where model = ? group by alert) s using (alert)`,
    [...span, ...span, model],
  );
  const acknowledgements = await store.query<{ matchers: string }>(
    "select matchers from core.silences where kind = 'ack' and created_at between ? and ?",
    [new Date(from), new Date(to)],
  );
  const episodes = await readEpisodes(store, { model, from, to });
  return rows.map((row) => {
    const alert = row.alert as string;
    const own = episodes.get(alert) ?? [];
    const seconds = own.map((each) => ((each.to ?? to) - each.from) / 1000);
    return {
      alert,
      fired: own.length,
      notified: row.notified as number,
      acknowledged: acknowledgements.filter(({ matchers }) => isOf(matchers, alert)).length,
      isFlapping: row.flaps as boolean,
      meanFiringSeconds: seconds.length === 0
        ? null
        : seconds.reduce((a, b) => a + b, 0) / seconds.length,
      errors: row.errors as number,
    };
  }).toSorted((a, b) =>
    b.notified - a.notified || b.fired - a.fired || (a.alert < b.alert ? -1 : 1)
  );
}

/** Whether an acknowledgement names the alert; it may name a series of it, too. */
function isOf(matchers: string, alert: string): boolean {
  const [first] = matchers.split(/, (?=\w+[=!])/);
  const matcher = parseMatcher(first);
  return matcher.name === "alert" && matches([matcher], { alert });
}

async function readEpisodes(
  store: Store,
  { model, from, to }: { readonly model: string; readonly from: number; readonly to: number },
): Promise<Map<string, Episode[]>> {
  const rows = await store.query(
    `select alert, version, series, from_state, to_state, changed_at, reason
     from core.alert_transitions
     where model = ? and series is not null and changed_at between ? and ? order by transition`,
    [model, new Date(from), new Date(to)],
  );
  const episodes = new Map<string, Episode[]>();
  // Versions are evaluated on their own: an episode of one does not end with that of another.
  const perVersion = Map.groupBy(rows, (row) => JSON.stringify([row.alert, row.version]));
  for (const own of perVersion.values()) {
    const alert = own[0].alert as string;
    const transitions = own.map((row): Transition => ({
      series: row.series as string,
      from: row.from_state as AlertState | null,
      to: row.to_state as AlertState,
      at: Date.parse(row.changed_at as string),
      value: null,
      reason: row.reason as string,
    }));
    episodes.set(alert, [...episodes.get(alert) ?? [], ...toEpisodes(transitions)]);
  }
  return episodes;
}
