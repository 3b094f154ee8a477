/** What a version promises: the floor that each metric must not fall below. */
import type { MetricName } from "../../numeric/estimation/soft_metrics.ts";
import { type RecordedReport } from "../registry/recorded_report.ts";
import type { Store } from "../store/store.ts";

/** Floors by metric; one that is left out promises nothing. */
export type Floors = Readonly<Partial<Record<MetricName, number>>>;

/** How far below its evaluation a version may be: the gate's own tolerance of a regression. */
export const TOLERANCE = 0.02;

/** The score of the report that measures the same; for two classes, F1 is of one class and macro-F1 is not. */
const scoreOf: Readonly<Partial<Record<MetricName, keyof Scores>>> = {
  accuracy: "accuracy",
  recall: "balancedAccuracy",
  f1: "macroF1",
  rocAuc: "rocAuc",
};

type Scores = Pick<
  NonNullable<Required<RecordedReport>["scores"]>,
  "accuracy" | "balancedAccuracy" | "macroF1" | "rocAuc"
>;

/**
 * Gives the floors of a version: of each metric the larger of what the gate demanded when it decided on
 * the version last, and the lower end of the evaluation's interval minus the tolerance. A metric without
 * either has none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { findFloors } from "./contract.ts";
 *
 * const scores = { accuracy: { value: 0.85, low: 0.8, high: 0.9 } };
 * const floors = findFloors({ scores }, { classes: 3, minimums: { accuracy: 0.7, macroF1: 0.6 } });
 * assertEquals(floors, { accuracy: 0.78, f1: 0.6 });
 * ```
 */
export function findFloors(
  { scores }: Pick<RecordedReport, "scores">,
  { classes, minimums = {}, tolerance = TOLERANCE }: {
    /** Number of classes. */
    readonly classes: number;
    /** Minimums of the gate, by the report's name of a metric. */
    readonly minimums?: Readonly<Partial<Record<string, number>>>;
    readonly tolerance?: number;
  },
): Floors {
  const floors: Partial<Record<MetricName, number>> = {};
  for (const [metric, score] of Object.entries(scoreOf) as [MetricName, keyof Scores][]) {
    if (classes === 2 && (metric === "recall" || metric === "f1")) continue;
    const low = scores?.[score]?.low;
    const candidates = [
      ...(typeof low === "number" ? [low - tolerance] : []),
      // A minimum of 0 demands nothing.
      ...(minimums[score] ? [minimums[score]] : []),
    ];
    if (candidates.length > 0) floors[metric] = Math.max(0, ...candidates);
  }
  return floors;
}

interface RecordedCheck {
  readonly check: string;
  readonly limit?: number;
}

/** Reads the minimums that the gate demanded when it decided on a version last. */
export async function readMinimums(
  store: Store,
  { model, version }: { readonly model: string; readonly version: number },
): Promise<Readonly<Partial<Record<string, number>>>> {
  const [row] = await store.query<{ checks: string }>(
    `select checks::varchar as checks from core.promotions where model = ? and version = ?
     order by promotion desc limit 1`,
    [model, version],
  );
  const checks: readonly RecordedCheck[] = row ? JSON.parse(row.checks) : [];
  return Object.fromEntries(
    checks.filter(({ check, limit }) => /^score(_|$)/.test(check) && limit !== undefined)
      .map(({ check, limit }) => [check === "score" ? "macroF1" : check.slice(6), limit]),
  );
}
