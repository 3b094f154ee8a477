/**
 * Which share of the predictions a monitor looks at. Every row has a number in `[0, 1)` that judges draw
 * by, too, and is in a sample of rate p when its number is below p. All rows of a cell (a window, or one
 * slice of it) have the same probability: what is said of them needs no weights, and counts are divided
 * by the rate. A slice with a rate of its own has its own sample, which holds that of a lower rate.
 *
 * @module
 */
import { z } from "zod";
import { drawSql } from "../draw.ts";
import { quoteLiteral } from "../store/sql.ts";

const rate = z.number().gt(0).max(1);

/** Slicing expression whose values rates may be given by. */
const SLICE = "slice";

const MonitorSampling = z.strictObject({
  rate: rate.default(1).describe("share of the predictions that are looked at"),
  slices: z.record(z.string(), rate).default({})
    .describe("share by value of slice, where it is not rate"),
  minRate: rate.default(0.01).describe("least share that a budget may lower a rate to"),
  budget: z.strictObject({
    ms: z.number().positive().nullable().default(null).describe("milliseconds per window"),
    rows: z.int().min(1).nullable().default(null).describe("rows looked at per window"),
  }).prefault({}).describe("what a refresh may cost on average; over it, the next rate is lower"),
});

/** Section `monitoring.sampling`: which share of the predictions is profiled, and estimated from. */
export const MonitorSamplingParams = z.strictObject({
  profile: MonitorSampling.prefault({}).describe("of profiles and drift"),
  estimates: MonitorSampling.prefault({}).describe("of estimated and realized performance"),
});

/** How one monitor samples; parsed. */
export type MonitorSampling = z.infer<typeof MonitorSampling>;

/** How all monitors of a model sample. */
export interface MonitorsSampling extends z.infer<typeof MonitorSamplingParams> {
  readonly seed: number;
}

/** A sample of rows. */
export interface DrawPlan {
  /** Share of all rows, in `(0, 1]`. */
  readonly rate: number;
  /** Share by value of `slice`. */
  readonly slices: Readonly<Record<string, number>>;
  readonly seed: number;
}

/** Every row. */
export const everyRow: DrawPlan = { rate: 1, slices: {}, seed: 0 };

/** Gives the sample at a factor in `(0, 1]` of the rates, none of which falls below the least. */
export function planDraw(
  { rate, slices, minRate }: Pick<MonitorSampling, "rate" | "slices" | "minRate">,
  { seed, factor }: { readonly seed: number; readonly factor: number },
): DrawPlan {
  const lower = (rate: number) => Math.max(Math.min(minRate, rate), rate * factor);
  return {
    rate: lower(rate),
    slices: Object.fromEntries(Object.entries(slices).map(([key, rate]) => [key, lower(rate)])),
    seed,
  };
}

/** Whether a plan draws every row of every cell. */
export function isWhole({ rate, slices }: DrawPlan): boolean {
  return rate === 1 && Object.values(slices).every((rate) => rate === 1);
}

/** Gives the probability with which a row is in the sample of a cell; null is all rows of a window. */
export function rateOf(
  { rate, slices }: DrawPlan,
  sliceKey: string | null,
  sliceValue: string | null,
): number {
  return sliceKey === SLICE && sliceValue !== null && Object.hasOwn(slices, sliceValue)
    ? slices[sliceValue]
    : rate;
}

/** SQL of the rate of a row in the sample of its value of `slice`. */
function sliceRateSql({ rate, slices }: DrawPlan): string {
  const cases = Object.entries(slices).map(([value, own]) =>
    `when slice = ${quoteLiteral(value)} then ${own}::double`
  );
  return cases.length === 0
    ? `${rate}::double`
    : `case ${cases.join(" ")} else ${rate}::double end`;
}

/** Gives the same for a value of `slice`; null is all rows of a window. */
export function rateOfSlice(plan: DrawPlan, slice: string | null): number {
  return rateOf(plan, slice === null ? null : SLICE, slice);
}

/** Whether a row's number puts it in the sample of a value of `slice`; null is all rows of a window. */
export function isDrawn(plan: DrawPlan, draw: number, slice: string | null): boolean {
  return draw < rateOfSlice(plan, slice);
}

/** SQL of the rows that some sample of a plan holds, with their number as `_draw`. */
export function drawnRows(plan: DrawPlan, relation: string): string {
  return isWhole(plan)
    ? relation
    : `(select * from (select *, ${drawSql(plan.seed)} as _draw from ${relation})
        where _draw < greatest(${plan.rate}::double, ${sliceRateSql(plan)}))`;
}

/**
 * SQL of whether a row of {@linkcode drawnRows} is in the sample of its cell: of a slicing expression, or
 * of all rows of a window.
 */
export function isDrawnSql(plan: DrawPlan, sliceKey: string | null): string {
  if (isWhole(plan)) return "true";
  return `_draw < ${sliceKey === SLICE ? sliceRateSql(plan) : `${plan.rate}::double`}`;
}

/**
 * Gives how many rows some rows of a sample stand for, as Horvitz and Thompson do, to the nearest one.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { weigh } from "./sampling.ts";
 *
 * assertEquals(weigh(30, 0.1), 300);
 * assertEquals(weigh(30, 1), 30);
 * ```
 */
export function weigh(count: number, rate: number): number {
  return rate === 1 ? count : Math.round(count / rate);
}
