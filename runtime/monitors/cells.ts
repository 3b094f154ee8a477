/**
 * Cells: the rows of one window, or of one slice of a window. Which there are, and what is counted of
 * their classes, comes from one query over all of them.
 *
 * @module
 */
import type { Store } from "../store/store.ts";
import type { Window } from "./windows.ts";
import { timeLiteral } from "./rows.ts";
import { type DrawPlan, everyRow, isDrawnSql, isWhole, rateOf } from "./sampling.ts";

/** Rows that something is said of. */
export interface Cell {
  /** Position of the window; 0 for a baseline. */
  readonly window: number;
  /** The slicing expression and its value; `null` for all rows of the window. */
  readonly sliceKey: string | null;
  readonly sliceValue: string | null;
  /** What {@linkcode hashSql} gives for the slice value. */
  readonly hash: number;
  /** Rows of it that were drawn, … */
  readonly rows: number;
  /** … each with this probability. */
  readonly fraction: number;
  /** Rows of each predicted class. */
  readonly predictions: ReadonlyMap<string, number>;
  /** Rows of each true class, of those that have a label. */
  readonly truths: ReadonlyMap<string, number>;
  /** Labeled rows of each predicted and true class. */
  readonly confusion: readonly Confused[];
}

/** How often a class was predicted for a true one. */
export interface Confused {
  readonly prediction: string;
  readonly label: string;
  readonly count: number;
}

/** A slicing expression that can be evaluated. */
export interface Slicing {
  readonly key: string;
  /** SQL of the slice's value as text; null is none, and a row outside the sample. */
  readonly sql: string;
}

/** Makes slicing expressions null for rows outside the sample of their cell. */
export function drawSlicings(plan: DrawPlan, slicings: readonly Slicing[]): Slicing[] {
  if (isWhole(plan)) return [...slicings];
  return slicings.map(({ key, sql }) => ({
    key,
    sql: `case when ${isDrawnSql(plan, key)} then ${sql} end`,
  }));
}

/** SQL of the position of a row's window, null for one outside the sample of all its rows. */
export function wholeSql(plan: DrawPlan, windows: readonly Window[]): string {
  const position = positionSql(windows);
  return isWhole(plan) ? position : `case when ${isDrawnSql(plan, null)} then ${position} end`;
}

/** Most slices of an expression in a window, the most frequent ones. */
export const MOST_SLICES = 100;

/** SQL of a number that stands for a text: 53 bits of its hash. */
export function hashSql(sql: string): string {
  return `(hash(${sql}) >> 11)::double`;
}

/** SQL of the position of a row's window among these, in ascending order, by bisection. */
export function positionSql(windows: readonly Window[], first = 0): string {
  if (windows.length <= 1) return String(first);
  const middle = windows.length >> 1;
  return `case when request_time < ${timeLiteral(windows[middle].start)}
    then ${positionSql(windows.slice(0, middle), first)}
    else ${positionSql(windows.slice(middle), first + middle)} end`;
}

/**
 * Makes slicing expressions texts: predicates `True` and `False`. One that the rows do not allow is told
 * to `onError` and left out.
 */
export async function prepareSlicings(
  store: Store,
  { relation, slices, onError }: {
    /** What an expression is evaluated over, as {@linkcode predictionRows} gives it. */
    readonly relation: string;
    readonly slices: readonly string[];
    readonly onError: (slice: string, error: unknown) => void;
  },
): Promise<Slicing[]> {
  const slicings: Slicing[] = [];
  for (const key of slices) {
    try {
      // Beside a column, so that an aggregate, which no row has, fails here and alone.
      const [{ type }] = await store.query<{ type: string }>(
        `select column_type as type from (describe
           select slice from (select (${key}) as slice, request_time from ${relation}))`,
      );
      const sql = type === "BOOLEAN"
        ? `case when (${key}) then 'True' when not (${key}) then 'False' end`
        : `(${key})::varchar`;
      slicings.push({ key, sql });
    } catch (error) {
      onError(key, error);
    }
  }
  return slicings;
}

/** Lists the cells of a relation: per window all rows first, then the slices, the largest first. */
export async function listCells(
  store: Store,
  { relation, windows, slicings, draw = everyRow }: {
    readonly relation: string;
    readonly windows: readonly Window[];
    readonly slicings: readonly Slicing[];
    readonly draw?: DrawPlan;
  },
): Promise<Cell[]> {
  const keys = slicings.map((_, s) => `s${s}`);
  const sets = ["(w0, label, truth)", ...keys.map((key) => `(w, label, truth, ${key})`)];
  const rows = await store.query<Counted>(
    `select coalesce(w, w0) as w, label, truth, count(*) as rows,
       ${keys.map((key) => `${key}, grouping(${key}) as g${key},`).join(" ")}
       ${keys.map((key) => `${hashSql(key)} as h${key}`).join(", ")}
     from (select ${wholeSql(draw, windows)} as w0, ${positionSql(windows)} as w, label, truth
       ${slicings.map(({ sql }, s) => `, ${sql} as s${s}`).join("")} from ${relation})
     group by grouping sets (${sets.join(", ")})`,
  );
  const drafts = new Map<string, Draft>();
  for (const row of rows) {
    const s = keys.findIndex((key) => row[`g${key}`] === 0);
    const value = s < 0 ? null : row[`s${s}`] as string | null;
    if (s >= 0 ? value === null : row.w === null) continue;
    const id = JSON.stringify([row.w, s, value]);
    const draft = drafts.get(id) ?? {
      window: row.w!,
      slicing: s,
      sliceKey: s < 0 ? null : slicings[s].key,
      sliceValue: value,
      hash: s < 0 ? 0 : row[`hs${s}`] as number,
      rows: 0,
      fraction: rateOf(draw, s < 0 ? null : slicings[s].key, value),
      predictions: new Map(),
      truths: new Map(),
      confusion: [],
    };
    drafts.set(id, draft);
    addCounted(draft, row);
  }
  return keepLargest([...drafts.values()]);
}

interface Counted extends Record<string, unknown> {
  readonly w: number | null;
  readonly label: string;
  readonly truth: string | null;
  readonly rows: number;
}

interface Draft extends Cell {
  rows: number;
  readonly slicing: number;
  readonly predictions: Map<string, number>;
  readonly truths: Map<string, number>;
  readonly confusion: Confused[];
}

function addCounted(draft: Draft, { label, truth, rows }: Counted): void {
  draft.rows += rows;
  draft.predictions.set(label, (draft.predictions.get(label) ?? 0) + rows);
  if (truth === null) return;
  draft.truths.set(truth, (draft.truths.get(truth) ?? 0) + rows);
  draft.confusion.push({ prediction: label, label: truth, count: rows });
}

function keepLargest(drafts: Draft[]): Cell[] {
  drafts.sort((a, b) =>
    a.window - b.window || a.slicing - b.slicing || b.rows - a.rows ||
    (a.sliceValue! < b.sliceValue! ? -1 : 1)
  );
  const kept = new Map<string, number>();
  return drafts.filter(({ window, slicing }) => {
    const id = `${window} ${slicing}`;
    kept.set(id, (kept.get(id) ?? 0) + 1);
    return kept.get(id)! <= MOST_SLICES;
  });
}
