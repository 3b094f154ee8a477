/**
 * What alerts remember, in the store: read back after a restart, so that what was waited is not waited
 * again.
 *
 * @module
 */
import { z } from "zod";
import type { Plugin } from "../../plugins/plugin.ts";
import type { Database, Step } from "../store/store.ts";
import type { AlertMemory, Transition } from "./state.ts";

/** Whose rows an alert looks at. */
export interface Target {
  readonly model: string;
  readonly version: number;
}

const states = ["ok", "pending", "firing", "no_data", "error", "snoozed"] as const;

const Memory: z.ZodType<AlertMemory> = z.strictObject({
  state: z.enum(states),
  since: z.number(),
  from: z.enum(states).nullable(),
  reason: z.string().nullable(),
  evaluatedAt: z.number(),
  series: z.array(z.strictObject({
    series: z.string(),
    labels: z.record(z.string(), z.string()),
    value: z.union([z.number(), z.string()]).nullable(),
    message: z.string(),
    state: z.enum(["pending", "firing"]),
    activeAt: z.number(),
    firedAt: z.number().nullable(),
    keptSince: z.number().nullable(),
  })),
  history: z.string(),
  isFlapping: z.boolean(),
});

/** Memory of each alert by name; `"damaged"` where the row cannot be read. */
export async function readMemories(
  database: Pick<Database, "query">,
  { model, version }: Target,
): Promise<Map<string, AlertMemory | "damaged">> {
  const rows = await database.query<{ alert: string; memory: string }>(
    "select alert, memory from core.alert_states where model = ? and version = ? order by alert",
    [model, version],
  );
  return new Map(rows.map(({ alert, memory }) => [alert, parseMemory(memory)]));
}

function parseMemory(text: string): AlertMemory | "damaged" {
  try {
    return Memory.parse(JSON.parse(text));
  } catch {
    return "damaged";
  }
}

/** Steps that keep an alert's memory and append its transitions. */
export function rememberSteps(
  alert: Plugin<"alert">,
  { model, version }: Target,
  { memory, transitions }: {
    readonly memory: AlertMemory;
    readonly transitions: readonly Transition[];
  },
): Step[] {
  const count = (state: string) => memory.series.filter((each) => each.state === state).length;
  return [
    {
      sql: `insert or replace into core.alert_states
          (alert, model, version, state, since, firing, pending, is_flapping, memory, evaluated_at)
        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      params: [
        alert.name,
        model,
        version,
        memory.state,
        new Date(memory.since),
        count("firing"),
        count("pending"),
        memory.isFlapping,
        JSON.stringify(memory),
        new Date(memory.evaluatedAt),
      ],
    },
    ...transitions.map(({ series, from, to, at, value, reason }) => ({
      sql: `insert into core.alert_transitions
          (alert, model, version, series, from_state, to_state, changed_at, value, reason)
        values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      params: [
        alert.name,
        model,
        version,
        series,
        from,
        to,
        new Date(at),
        value === null ? null : String(value),
        reason,
      ],
    })),
  ];
}
