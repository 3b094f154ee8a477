/** The rows that are about all columns of a cell together, with the metrics of one's own. */
import type { Store } from "../store/store.ts";
import type { BaselineCell } from "./baseline.ts";
import type { Cell } from "./cells.ts";
import { TABLE } from "./columns.ts";
import { compareMetrics, computeMetrics, type Metrics, type OnMetricError } from "./custom.ts";
import type { CustomMetric } from "./definition.ts";
import type { Measured } from "./measure.ts";
import { type Quality, scoreCell } from "./quality.ts";
import { weigh } from "./sampling.ts";
import type { DriftRow, ProfileRow } from "./write.ts";

/** The column of such a row. */
export const tableColumn = { name: TABLE, kind: "table", dataType: null } as const;

/** What metrics of one's own may be derived from, besides each other. */
export function knownMetrics({ rows, fraction }: Cell, quality: Quality | null): Metrics {
  return {
    count: weigh(rows, fraction),
    labeled_rows: weigh(quality?.labeledRows ?? 0, fraction),
    accuracy: quality?.accuracy ?? null,
    precision: quality?.precision.macro ?? null,
    recall: quality?.recall.macro ?? null,
    f1_score: quality?.f1.macro ?? null,
  };
}

/** Columns that one side has values of and the other has not. */
export function compareNames(
  current: readonly string[],
  reference: readonly string[],
): { readonly added: string[]; readonly missing: string[] } {
  const [now, before] = [new Set(current), new Set(reference)];
  return {
    added: current.filter((name) => !before.has(name)),
    missing: reference.filter((name) => !now.has(name)),
  };
}

/** A cell and what it is compared with. */
export interface Pair {
  readonly cell: number;
  readonly type: DriftRow["type"];
  /** Position of the cell before, or the slice of the baseline. */
  readonly reference: number | string;
}

/** What a row of drift says of its pair. */
export function aboutPair({ cell, type, reference }: Pair, { cells, windows }: Measured) {
  return {
    cell: cells[cell],
    window: windows[cells[cell].window],
    type,
    referenceFraction: typeof reference === "number" ? cells[reference].fraction : 1,
    compared: typeof reference === "number" ? windows[cells[reference].window] : null,
    comparedSlice: typeof reference === "number"
      ? cells[reference].sliceValue
      : JSON.parse(reference)[1] as string | null,
  };
}

/** Gives the rows about all columns together. */
export async function tableRows(
  store: Store,
  { metrics, baseline, onError }: {
    readonly metrics: readonly CustomMetric[];
    readonly baseline: ReadonlyMap<string, BaselineCell>;
    readonly onError: OnMetricError;
  },
  { measured, isDue, pairs, present }: {
    readonly measured: Measured & { readonly full: string };
    readonly isDue: readonly boolean[];
    readonly pairs: readonly Pair[];
    readonly present: readonly (readonly string[])[];
  },
): Promise<{ readonly profiles: ProfileRow[]; readonly drifts: DriftRow[] }> {
  const { cells, windows } = measured;
  const qualities = cells.map(scoreCell);
  const known = cells.map((cell, i) => knownMetrics(cell, qualities[i]));
  const custom = await computeMetrics(store, {
    measured: { ...measured, relation: measured.full },
    metrics,
    known,
    onError,
  });
  const all = known.map((row, i): Metrics => ({ ...row, ...custom[i] }));
  const base = ({ reference }: Pair) =>
    typeof reference === "number"
      ? { rows: cells[reference].rows, names: present[reference], metrics: all[reference] }
      : readBase(baseline.get(reference)!);
  const compared = await compareMetrics(store, {
    metrics,
    pairs: pairs.map((pair) => ({ current: all[pair.cell], base: base(pair).metrics })),
    onError,
  });
  const hasCustom = (row: Metrics) => Object.keys(row).length > 0;
  return {
    profiles: cells.flatMap((cell, i) =>
      !isDue[cell.window] ? [] : [{
        cell,
        window: windows[cell.window],
        column: tableColumn,
        profile: null,
        nonNullColumns: present[i],
        quality: qualities[i],
        ...(hasCustom(custom[i]) ? { custom: custom[i] } : {}),
      }]
    ),
    drifts: pairs.map((pair, p): DriftRow => ({
      ...aboutPair(pair, measured),
      column: tableColumn,
      reference: { count: base(pair).rows },
      current: { count: cells[pair.cell].rows },
      difference: null,
      decision: null,
      nonNullColumns: compareNames(present[pair.cell], base(pair).names),
      ...(hasCustom(compared[p]) ? { custom: compared[p] } : {}),
    })),
  };
}

function readBase({ rows, nonNullColumns, metrics }: BaselineCell) {
  return { rows, names: nonNullColumns, metrics };
}
