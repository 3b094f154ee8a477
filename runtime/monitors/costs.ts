/**
 * What refreshes of monitors cost, and the rate that follows from a budget.
 *
 * @module
 */
import type { Step, Store } from "../store/store.ts";
import {
  type DrawPlan,
  type MonitorSampling,
  MonitorSamplingParams,
  type MonitorsSampling,
  planDraw,
} from "./sampling.ts";

/** What a refresh cost. */
export interface Cost {
  /** Windows that were computed, at least 1. */
  readonly windows: number;
  /** Rows of the windows, … */
  readonly rowsRead: number;
  /** … and those of them that were drawn. */
  readonly rowsUsed: number;
  readonly ms: number;
}

/** Share of a budget that a rate aims at, and the one below which there is room for more. */
const AIM = 0.9;
const ROOM = 0.8;

/** Least and largest change of a rate from one refresh to the next. */
const LEAST_CHANGE = 0.25;
const LARGEST_CHANGE = 2;

/**
 * Gives the factor of the rates of the next refresh. The load is the larger share of the two budgets
 * that a window took on average. Above 1, and below 0.8, the factor is set for a load of 0.9 as if what
 * a window takes grew with its rate: to a quarter at least, to twice as much at most, and within
 * `[minRate / rate, 1]`. In between it stays. Without a budget it is 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { adaptFactor } from "./costs.ts";
 *
 * const sampling = { rate: 1, minRate: 0.01, budget: { ms: null, rows: 1000 } };
 * const cost = { windows: 2, rowsRead: 4000, rowsUsed: 4000, ms: 5 };
 * assertEquals(adaptFactor(sampling, 1, cost), 0.45);
 * ```
 */
export function adaptFactor(
  { rate, minRate, budget: { ms, rows } }: Pick<MonitorSampling, "rate" | "minRate" | "budget">,
  factor: number,
  cost: Cost,
): number {
  if (ms === null && rows === null) return 1;
  const load = Math.max(
    ms === null ? 0 : cost.ms / cost.windows / ms,
    rows === null ? 0 : cost.rowsUsed / cost.windows / rows,
  );
  const change = load > 1 || load < ROOM
    ? Math.min(LARGEST_CHANGE, Math.max(LEAST_CHANGE, AIM / load))
    : 1;
  return Math.min(1, Math.max(minRate / rate, factor * change));
}

/** Whose costs: a monitor of a model; profiles of all granularities are refreshed together. */
export interface CostOwner {
  readonly monitor: "profile" | "estimates";
  readonly model: string;
  readonly granularity: string | null;
}

/** Reads the factor that the last refresh left; 1 before the first one, and without a budget. */
async function readFactor(
  store: Store,
  { monitor, model, granularity }: CostOwner,
  { budget }: MonitorSampling,
): Promise<number> {
  if (budget.ms === null && budget.rows === null) return 1;
  const [row] = await store.query<{ factor: number }>(
    `select next_factor as factor from core.monitor_costs
     where monitor = ? and model = ? and granularity is not distinct from ?::varchar
     order by created_at desc, rowid desc limit 1`,
    [monitor, model, granularity],
  );
  return row?.factor ?? 1;
}

/** How a refresh samples. */
export interface Sampled {
  readonly draw: DrawPlan;
  /** Factor of the rates that the config gives. */
  readonly factor: number;
  readonly sampling: MonitorSampling;
}

const whole = MonitorSamplingParams.parse({});

/** Gives the sample that a refresh looks at, at the rates that the last one left; default every row. */
export async function openSampling(
  store: Store,
  owner: CostOwner,
  sampling: MonitorsSampling = { ...whole, seed: 0 },
): Promise<Sampled> {
  const own = sampling[owner.monitor];
  const factor = await readFactor(store, owner, own);
  return { draw: planDraw(own, { seed: sampling.seed, factor }), factor, sampling: own };
}

/** Gives the step that writes down what a refresh cost. */
export function costStep(
  { monitor, model, version, granularity, refreshId }: CostOwner & {
    readonly version: number;
    readonly refreshId: string | null;
  },
  { draw, factor, sampling }: Sampled,
  cost: Cost & { readonly now: Date },
): Step {
  const { budget } = sampling;
  const nextFactor = adaptFactor(sampling, factor, cost);
  return {
    append: "core.monitor_costs",
    columns: {
      monitor: [monitor],
      model: [model],
      version: [version],
      granularity: [granularity],
      refresh_id: [refreshId],
      windows: [cost.windows],
      rows_read: [cost.rowsRead],
      rows_used: [cost.rowsUsed],
      ms: [cost.ms],
      rate: [draw.rate],
      next_factor: [nextFactor],
      next_rate: [planDraw(sampling, { seed: 0, factor: nextFactor }).rate],
      budget_ms: [budget.ms],
      budget_rows: [budget.rows],
      created_at: [cost.now],
    },
  };
}
