/**
 * Which predictions are judged: each with a probability of its own, which is known before anything is
 * drawn and kept on the row.
 *
 * Probabilities come from what a UTC day holds: how many rows of a stratum, of a requester, of all.
 *
 * @module
 */
import { z } from "zod";
import { drawSql } from "../../runtime/draw.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { SqlValue } from "../../runtime/store/store.ts";

/** Section `judging.sampling` of a config. */
export const SamplingParams = z.strictObject({
  mode: z.enum(["uniform", "stratified", "uncertainty"]).default("uniform").describe(
    "uniform; stratified shares the rows of a day equally among class × confidence × drift; " +
      "uncertainty draws the less confident ones more often",
  ),
  rates: z.record(z.string(), z.number().min(0).max(1)).default({})
    .describe("share by judge, where it is not samplingRate; a lower one lies within a higher one"),
  where: z.string().nullable().default(null)
    .describe("a condition over the view inferences, such as requester = 'app'"),
  minPerStratum: z.int().min(0).default(0)
    .describe("rows of a class × confidence × drift and day that are expected in the sample"),
  maxPerRequester: z.int().min(1).nullable().default(null)
    .describe("rows of one requester and day that are expected in the sample, at most"),
  confidenceBins: z.int().min(1).max(20).default(4).describe("bins of equal width of the strata"),
});

/** How one judge's sample is drawn. */
export interface SamplingPlan extends z.infer<typeof SamplingParams> {
  readonly model: string;
  readonly version: number;
  /** Share of the rows to draw, in `[0, 1]`. */
  readonly rate: number;
  readonly seed: number;
}

/** Even the surest prediction is drawn with this share of the rate. */
const LEAST_UNCERTAIN = 0.25;

/** A `SELECT` and the values of its parameters. */
export interface Query {
  readonly sql: string;
  readonly params: readonly SqlValue[];
}

/**
 * Refuses a filter that is no condition over a view.
 * @throws {UsageError} when it is none, or reads outside the store.
 */
export async function checkFilter(
  store: Store,
  where: string | null,
  view = "inferences",
): Promise<void> {
  if (where === null) return;
  await store.queryReadOnly(`select 1 from ${filtered(view, where)} limit 0`);
}

/** The rows of a view that a filter lets pass. The line end closes a comment at the end of the condition. */
export function filtered(view: string, where: string | null): string {
  return where === null ? view : `(select * from ${view} where (${where}\n))`;
}

/**
 * Gives the query of the drawn rows: `request_id`, `row`, `request_time`, `probability` and `stratum`,
 * of the days from `from` on. The filter must have been checked.
 */
export function querySample(plan: SamplingPlan, from: Date | null): Query {
  const { model, version, mode, rate, minPerStratum, maxPerRequester, confidenceBins, seed } = plan;
  const wanted = {
    uniform: "?::double",
    stratified: "least(1, ?::double * total / strata / size)",
    uncertainty:
      `least(1, ?::double * greatest(${LEAST_UNCERTAIN}, coalesce((1 - confidence) / nullif(doubt, 0), 1)))`,
  }[mode];
  const capped = maxPerRequester === null ? "wanted" : `case when requester is null then wanted
      else wanted * least(1, ${maxPerRequester} / nullif(sum(round(wanted * 1e9)::bigint) over (partition by day, requester) / 1e9, 0))
      end`;
  // Sums are of integers: those of fractions depend on the order in which threads add them up.
  // Parameters stand in the order of the text.
  return {
    sql: `with drifted as (
        select distinct window_start, window_end, slice_value from drift_metrics
        where model = ? and version = ? and is_drifted and window_start is not null),
      eligible as (
        select request_id, row, request_time, request_time::date as day, confidence, requester,
          concat_ws(' / ', label,
            'confidence ' || least(${
      confidenceBins - 1
    }, floor(confidence * ${confidenceBins}))::integer,
            case when exists (select 1 from drifted d
              where i.request_time >= d.window_start and i.request_time < d.window_end
                and (d.slice_value is null or d.slice_value = i.slice)) then 'drift' end) as stratum
        from ${filtered("inferences", plan.where)} i
        where model = ? and version = ? ${from === null ? "" : "and request_time >= ?"}),
      sized as (
        select *, count(*) over (partition by day, stratum) as size,
          count(*) over (partition by day) as total,
          count(distinct stratum) over (partition by day) as strata,
          sum(round((1 - confidence) * 1e9)::bigint) over (partition by day) / 1e9 / total as doubt
        from eligible),
      aimed as (
        select *, greatest(${wanted}, least(1, ${minPerStratum} / size)) as wanted from sized),
      given as (select *, ${capped} as probability from aimed)
      select request_id, row, request_time, probability, stratum from given
      where ${drawSql(seed)} < probability`,
    params: [
      ...[model, version, model, version],
      ...(from === null ? [] : [from]),
      rate,
    ],
  };
}
