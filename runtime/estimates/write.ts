/** Writes what is said of a window, in place of what was said of it before. */
import { type Look, settleStep } from "../monitors/arrivals.ts";
import { weigh } from "../monitors/sampling.ts";
import type { ColumnValues, Step, Store } from "../store/store.ts";
import type { Cause, MeasuredSlice } from "./measure.ts";
import type { DueWindow } from "./windows.ts";

/** What is written of one window. */
export interface WindowReport {
  readonly target: {
    readonly model: string;
    readonly version: number;
    readonly granularity: string;
  };
  readonly window: DueWindow;
  /** What made it due. */
  readonly look: Look;
  readonly slices: readonly MeasuredSlice[];
  readonly causes: readonly (Cause & { readonly slice: string | null })[];
  readonly classes: readonly string[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

const tables = ["estimate_windows", "estimates", "estimate_confusion", "estimate_causes"] as const;

/** Replaces all rows of a window in one transaction. */
export async function replaceWindow(store: Store, report: WindowReport): Promise<void> {
  const { target: { model, version, granularity }, window } = report;
  const steps: Step[] = tables.map((table) => ({
    sql: `delete from core.${table}
      where model = ? and version = ? and granularity = ? and window_start = ?`,
    params: [model, version, granularity, new Date(window.start)],
  }));
  const { rows, labeledRows, labelChange, definition } = window;
  const contents: Readonly<Record<typeof tables[number], readonly Cells[]>> = {
    estimate_windows: [{
      definition,
      rows,
      labeled_rows: labeledRows,
      label_change: labelChange,
      estimated_at: new Date(report.now),
    }],
    estimates: report.slices.flatMap(toEstimates),
    estimate_confusion: report.slices.flatMap((slice) => toConfusion(slice, report.classes)),
    estimate_causes: report.causes.map((cause) => ({ ...cause })),
  };
  const about = {
    model,
    version,
    granularity,
    window_start: new Date(window.start),
    window_end: new Date(window.end),
  };
  for (const table of tables) {
    const cells = contents[table].map((each) => ({ ...about, ...each }));
    if (cells.length > 0) steps.push({ append: `core.${table}`, columns: toColumns(cells) });
  }
  steps.push(settleStep(report.look, { start: new Date(window.start) }));
  await store.transaction(steps);
}

type Cells = Readonly<Record<string, string | number | boolean | Date | null>>;

function toColumns(rows: readonly Cells[]): Record<string, ColumnValues> {
  return Object.fromEntries(
    Object.keys(rows[0]).map((name) => [name, rows.map((row) => row[name])]),
  );
}

/** Counts are those of all rows, drawn or not. */
function toEstimates({ slice, rows, fraction, labeledRows, metrics }: MeasuredSlice): Cells[] {
  return metrics.map((each) => ({
    slice,
    metric: each.metric,
    rows: weigh(rows, fraction),
    labeled_rows: weigh(labeledRows, fraction),
    estimate: each.estimate,
    low: each.low,
    high: each.high,
    lower_threshold: each.lowerThreshold,
    upper_threshold: each.upperThreshold,
    is_calibrated: each.isCalibrated,
    realized: each.realized?.value ?? null,
    realized_low: each.realized?.low ?? null,
    realized_high: each.realized?.high ?? null,
    floor: each.floor,
    reason: each.reason,
    sampling_fraction: fraction,
    method: each.method,
    outside_share: each.outsideShare,
  }));
}

/**
 * Cells of all rows, drawn or not. What the draw makes uncertain is in the error: rows with a share of a
 * cell of at most 1 vary by (1 - p) / p² times what is expected at most.
 */
function toConfusion(
  { slice, fraction, confusion: { expected, errors, realized } }: MeasuredSlice,
  classes: readonly string[],
): Cells[] {
  if (expected === null && realized === null) return [];
  return classes.flatMap((truth, c) =>
    classes.map((predicted, p) => ({
      slice,
      true_class: truth,
      predicted_class: predicted,
      expected: expected ? expected[c][p] / fraction : null,
      standard_error: errors && expected
        ? Math.sqrt(errors[c][p] ** 2 + (1 - fraction) * expected[c][p]) / fraction
        : null,
      realized: realized ? weigh(realized[c][p], fraction) : null,
    }))
  );
}
