/**
 * One batch of windows: what is said of each, and how each differs from the window before it and from
 * the baseline, written in one transaction.
 *
 * @module
 */
import type { Plugin } from "../../plugins/plugin.ts";
import type { Store } from "../store/store.ts";
import { type BaselineCell, readBaselineSides, sliceId } from "./baseline.ts";
import { type Cell, listCells, type Slicing } from "./cells.ts";
import { type Column, numberColumns, type Side } from "./columns.ts";
import { compareSides, type Comparing, decideTogether, type Difference } from "./compare.ts";
import type { OnMetricError } from "./custom.ts";
import type { ProfileDefinition } from "./definition.ts";
import { type Look, settleStep } from "./arrivals.ts";
import type { DueWindow, FilledWindow } from "./due.ts";
import { countDrawn, measureColumns, type Measured } from "./measure.ts";
import type { Pace } from "./pace.ts";
import { type MonitoredVersion, predictionRows } from "./rows.ts";
import { type DrawPlan, isWhole } from "./sampling.ts";
import { clearSteps, stateStep } from "./states.ts";
import { aboutPair, type Pair, tableRows } from "./table_rows.ts";
import { type DriftRow, driftSteps, type Owner, type ProfileRow, profileSteps } from "./write.ts";

/** What every batch of a refresh shares. */
export interface BatchContext {
  readonly monitored: MonitoredVersion;
  readonly definition: ProfileDefinition;
  readonly methods: readonly Plugin<"drift">[];
  readonly slicings: readonly Slicing[];
  readonly baseline: ReadonlyMap<string, BaselineCell>;
  readonly owner: Owner & { readonly granularity: string };
  readonly onError: OnMetricError;
  /** Which rows are looked at. */
  readonly draw: DrawPlan;
  readonly pace: Pace;
  /** What made the windows due. */
  readonly look: Look;
}

/** Rows of a batch, those of the windows before included. */
export interface BatchRows {
  /** Rows of the windows, … */
  readonly read: number;
  /** … and those of them that were drawn. */
  readonly used: number;
}

/** Computes the windows of a batch and replaces what was known of them. */
export async function refreshBatch(
  store: Store,
  context: BatchContext,
  batch: readonly DueWindow[],
): Promise<BatchRows> {
  const measured = await listMeasured(store, context, batch);
  const { windows, cells } = measured;
  const isDue = windows.map(({ start }) =>
    batch.some(({ window }) => window.start.getTime() === start.getTime())
  );
  const pairs = pairCells(context, { measured, isDue });
  const profiles: ProfileRow[] = [];
  const drifts: (DriftRow & { readonly family: Pair })[] = [];
  const present = cells.map((): string[] => []);
  await measureColumns(store, measured, async (column, sides) => {
    sides.forEach(({ profile }, i) => {
      if (profile.count > profile.numNulls) present[i].push(column.name);
      if (!isDue[cells[i].window]) return;
      profiles.push({ cell: cells[i], window: windows[cells[i].window], column, profile });
    });
    const baseline = await readBaselineSides(store, context.monitored, column.name);
    for (const pair of pairs) {
      const row = compareColumn(pair, { column, sides, baseline, measured, context });
      if (row !== null) drifts.push({ ...row, family: pair });
      await context.pace.rest();
    }
  }, context.pace);
  const table = await tableRows(store, { ...context, metrics: context.definition.metrics }, {
    measured,
    isDue,
    pairs,
    present,
  });
  const decided = decide(drifts);
  await context.pace.rest();
  const { owner } = context;
  await store.transaction([
    ...batch.flatMap(({ window }) => clearSteps(owner, window)),
    ...profileSteps(owner, [...profiles, ...table.profiles]),
    ...driftSteps(owner, [...decided, ...table.drifts]),
    ...batch.flatMap(({ window }) => [
      // Of a sample nobody counted the others; rows that came since are found by the next look.
      stateStep(owner, window, {
        rows: isWhole(context.draw) ? countRows(measured, window) : window.rows,
      }),
      settleStep(context.look, window),
    ]),
  ]);
  return {
    read: measured.filled.reduce((sum, { rows }) => sum + rows, 0),
    used: countDrawn(measured),
  };
}

async function listMeasured(
  store: Store,
  { monitored, slicings, definition, draw }: BatchContext,
  batch: readonly DueWindow[],
): Promise<Measured & { readonly full: string; readonly filled: readonly FilledWindow[] }> {
  const byStart = new Map<number, FilledWindow>();
  for (const { window, before } of batch) {
    if (before) byStart.set(before.start.getTime(), before);
    byStart.set(window.start.getTime(), window);
  }
  const windows = [...byStart.values()].sort((a, b) => a.start.getTime() - b.start.getTime());
  const slices = slicings.map(({ key }) => key);
  const aggregates = definition.metrics.map(({ sql }) => sql);
  const full = predictionRows(monitored, windows, ["truth", ...slices, ...aggregates], draw);
  const cells = await listCells(store, { relation: full, windows, slicings, draw });
  // Columns of numbers need no labels: that join is for the counts alone.
  const relation = predictionRows(monitored, windows, slices, draw);
  const numbers = numberColumns(monitored);
  return { relation, full, windows, filled: windows, slicings, cells, numbers, draw };
}

function pairCells(
  { baseline, definition }: BatchContext,
  { measured: { cells }, isDue }: {
    readonly measured: Measured;
    readonly isDue: readonly boolean[];
  },
): Pair[] {
  const positions = new Map(cells.map((cell, i) => [`${cell.window} ${idOf(cell)}`, i]));
  const whole = sliceId(null, null);
  return cells.flatMap((cell, i) => {
    if (!isDue[cell.window]) return [];
    const before = positions.get(`${cell.window - 1} ${idOf(cell)}`);
    const own = baseline.get(idOf(cell));
    // A slice that training had too few rows of is compared with all of them.
    const reference = own && own.rows >= definition.minRows ? idOf(cell) : whole;
    return [
      ...(before === undefined
        ? []
        : [{ cell: i, type: "CONSECUTIVE" as const, reference: before }]),
      ...(baseline.has(whole) ? [{ cell: i, type: "BASELINE" as const, reference }] : []),
    ];
  });
}

function idOf({ sliceKey, sliceValue }: Cell): string {
  return sliceId(sliceKey, sliceValue);
}

function compareColumn(
  pair: Pair,
  { column, sides, baseline, measured, context }: {
    readonly column: Column;
    readonly sides: readonly Side[];
    readonly baseline: ReadonlyMap<string, Side>;
    readonly measured: Measured;
    readonly context: BatchContext;
  },
): DriftRow | null {
  const reference = typeof pair.reference === "number"
    ? sides[pair.reference]
    : baseline.get(pair.reference);
  if (!reference) return null;
  const current = sides[pair.cell];
  const comparing: Comparing = { minRows: context.definition.minRows, methods: context.methods };
  return {
    ...aboutPair(pair, measured),
    column,
    reference: reference.profile,
    current: current.profile,
    difference: compareSides({ reference, current }, comparing),
    decision: null,
  };
}

function decide(rows: readonly (DriftRow & { readonly family: Pair })[]): DriftRow[] {
  const families = Map.groupBy(rows, ({ family }) => family);
  return [...families.values()].flatMap((family) => {
    const decisions = decideTogether(family.map(({ difference }) => difference as Difference));
    return family.map(({ family: _, ...row }, i) => ({ ...row, decision: decisions[i] }));
  });
}

function countRows({ windows, cells }: Measured, { start }: FilledWindow): number {
  return cells.find(({ window, sliceKey }) =>
    sliceKey === null && windows[window].start.getTime() === start.getTime()
  )?.rows ?? 0;
}
