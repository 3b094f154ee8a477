/**
 * Everything about one alert at once: what it is, what it was, and what it sees.
 *
 * @module
 */
import type { Plugin } from "../../plugins/plugin.ts";
import type { Store } from "../store/store.ts";
import { AsOf } from "./as_of.ts";
import { nextTick } from "./cron.ts";
import { TIMEOUT_MS } from "./engine.ts";
import { readMemories, type Target } from "./memory.ts";
import { observe, type Seen } from "./observe.ts";
import type { AlertMemory } from "./state.ts";

/** What {@linkcode explainAlert} gives. */
export interface Explained extends Seen {
  readonly alert: Plugin<"alert">;
  readonly nextAt: number | null;
  /** `null` before the first evaluation. */
  readonly memory: AlertMemory | "damaged" | null;
  /** The last transitions, the newest first. */
  readonly transitions: readonly Readonly<Record<string, unknown>>[];
  /** DuckDB's plan, `null` when the query fails. */
  readonly plan: string | null;
}

/** Transitions that are shown. */
const SHOWN = 10;

/** Looks at an alert; changes nothing. */
export async function explainAlert(
  store: Store,
  alert: Plugin<"alert">,
  { model, version, now = Date.now() }: Target & { readonly now?: number },
): Promise<Explained> {
  const seen = await observe(store, alert, { timeoutMs: TIMEOUT_MS, scope: { model, version } });
  const transitions = await store.query(
    `select changed_at, series, from_state, to_state, reason from alert_transitions
     where alert = ? and model = ? and version = ? order by transition desc limit ?`,
    [alert.name, model, version, SHOWN],
  );
  return {
    ...seen,
    alert,
    nextAt: alert.schedule?.isPaused ? null : nextTick(alert.schedule, now),
    memory: (await readMemories(store, { model, version })).get(alert.name) ?? null,
    transitions,
    plan: seen.observation.kind === "error" ? null : await readPlan(store, alert.sql),
  };
}

async function readPlan(store: Store, sql: string): Promise<string> {
  // As DuckDB writes it, it is one SELECT for certain.
  const query = await new AsOf(store, { time: 0 }).normalize(sql);
  const rows = await store.query<{ explain_value: string }>(`explain ${query}`);
  return rows.map(({ explain_value }) => explain_value).join("\n");
}
