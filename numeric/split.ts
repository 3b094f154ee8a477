/**
 * Divides rows into folds for cross-validation, so that what is held out is truly unseen.
 *
 * @module
 */
import { Random } from "./random.ts";
import { lowerBound } from "./sorting.ts";

/** Fold of each row `[n]`, in `0 … k-1`. */
export interface Assignment {
  readonly fold: Int32Array;
}

/** Fold and contiguous block of each row `[n]`; blocks count through all groups from 0. */
export interface BlockAssignment extends Assignment {
  readonly block: Int32Array;
}

/**
 * Gives the fold of each row `[n]` such that every class is spread evenly: per class, and over all
 * rows, fold sizes differ by at most one. A class with fewer rows than folds is absent from some
 * folds.
 *
 * @throws {RangeError} when `k` is not an integer ≥ 2 or there are fewer rows than folds.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { stratifiedFolds } from "./split.ts";
 *
 * const fold = stratifiedFolds(Int32Array.of(0, 0, 1, 1), 2, 42);
 * assertEquals(fold[0] + fold[1], 1);
 * assertEquals(fold[2] + fold[3], 1);
 * ```
 */
export function stratifiedFolds(y: Int32Array, k: number, seed: number): Int32Array {
  checkFolds(k, y.length, "rows");
  const random = new Random(seed);
  const fold = new Int32Array(y.length);
  let dealt = 0;
  for (const rows of rowsByValue(y)) {
    // Dealing goes on where the class before stopped, which evens out the sizes of the folds.
    for (const row of random.shuffle(rows)) fold[row] = dealt++ % k;
  }
  return fold;
}

/**
 * Gives the fold of each row `[n]` such that no group is split: the largest group first, each into
 * the fold that holds the fewest rows so far. Among groups of equal size the larger id comes first.
 *
 * @throws {RangeError} when `k` is not an integer ≥ 2 or there are fewer groups than folds.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { groupFolds } from "./split.ts";
 *
 * assertEquals(groupFolds(Int32Array.of(7, 7, 7, 8, 9), 2), Int32Array.of(0, 0, 0, 1, 1));
 * ```
 *
 * @see scikit-learn 1.9, `GroupKFold`
 */
export function groupFolds(groups: Int32Array, k: number): Int32Array {
  const members = rowsByValue(groups);
  checkFolds(k, members.length, "groups");
  const fold = new Int32Array(groups.length);
  const sizes = new Float64Array(k);
  for (const rows of members.reverse().sort((a, b) => b.length - a.length)) {
    const lightest = sizes.indexOf(Math.min(...sizes));
    sizes[lightest] += rows.length;
    for (const row of rows) fold[row] = lightest;
  }
  return fold;
}

/** Options of {@linkcode blockedFolds}. */
export interface BlockOptions {
  /** Blocks per group, `8 * k` when left out. */
  readonly blocks?: number;
  /** Group of each row `[n]`; blocks never cross groups. Left out: all rows are one group. */
  readonly groups?: Int32Array;
}

/**
 * Gives fold and block of each row `[n]`: every group is cut along `order` into contiguous blocks
 * of almost equal row counts, and block b goes to fold `b mod k`. So each fold samples the whole
 * length of every group, while neighbors mostly stay together.
 *
 * Rows that share a position share a block, and a group of fewer positions than blocks gets fewer
 * blocks. Rows whose order is `NaN` come last, in row order.
 *
 * @throws {TypeError} when `groups` does not have n entries.
 * @throws {RangeError} when `k` is not an integer ≥ 2, `blocks` is not an integer ≥ 1, or the data
 * make fewer blocks than folds.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { blockedFolds } from "./split.ts";
 *
 * const { fold, block } = blockedFolds(Float64Array.of(50, 10, 20, 30, 40, 0), 2, { blocks: 3 });
 * assertEquals(block, Int32Array.of(2, 0, 1, 1, 2, 0));
 * assertEquals(fold, Int32Array.of(0, 0, 1, 1, 0, 0));
 * ```
 *
 * @see Roberts et al., "Cross-validation strategies for data with temporal, spatial, hierarchical,
 * or phylogenetic structure", Ecography 40(8), 2017
 */
export function blockedFolds(
  order: Float64Array,
  k: number,
  { blocks = 8 * k, groups }: BlockOptions = {},
): BlockAssignment {
  if (!Number.isInteger(blocks) || blocks < 1) {
    throw new RangeError(`Cannot cut rows into "${blocks}" blocks: it is not an integer ≥ 1`);
  }
  if (groups) checkGroups(groups, order.length);
  const block = new Int32Array(order.length);
  let blockCount = 0;
  for (const rows of rowsByValue(groups ?? new Int32Array(order.length))) {
    blockCount = cutGroup(rows.sort(byOrder(order)), { order, blocks, block, first: blockCount });
  }
  checkFolds(k, blockCount, "blocks");
  return { fold: block.map((b) => b % k), block };
}

/** Numbers the blocks of one group's sorted rows from `first` and gives the next free number. */
function cutGroup(
  rows: Int32Array,
  { order, blocks, block, first }: {
    order: Float64Array;
    blocks: number;
    block: Int32Array;
    first: number;
  },
): number {
  const count = Math.min(blocks, rows.length);
  let current = first - 1;
  let planned = -1;
  rows.forEach((row, rank) => {
    const isTied = rank > 0 && order[row] === order[rows[rank - 1]];
    const target = Math.floor(rank * count / rows.length);
    if (!isTied && target !== planned) {
      planned = target;
      current++;
    }
    block[row] = current;
  });
  return current + 1;
}

/** What {@linkcode trainRows} needs to keep a distance from the held-out rows. */
export interface EmbargoOptions {
  /** Position of each row `[n]`; left out: no embargo. */
  readonly order?: Float64Array;
  /** Group of each row `[n]`; the embargo works within groups. Left out: all rows are one group. */
  readonly groups?: Int32Array;
  /**
   * Distance ≥ 0 in the unit of `order`. The window radius keeps held-out rows out of the windows
   * of training rows; twice the radius keeps any row from being in windows of both.
   */
  readonly embargo?: number;
}

/**
 * Gives the rows, ascending, that may train while fold `fold` is held out: all rows of other folds
 * but those within `embargo` (inclusive, as windows are) of a held-out row of their group. Rows
 * whose order is `NaN` have no window, so the embargo passes over them.
 *
 * @throws {TypeError} when `order` or `groups` does not have n entries.
 * @throws {RangeError} when no row is in `fold`, the embargo is negative or not finite, or no row
 * is left.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { trainRows } from "./split.ts";
 *
 * const assignment = { fold: Int32Array.of(0, 1, 1, 1) };
 * const order = Float64Array.of(0, 1, 2, 3);
 * assertEquals(trainRows(assignment, 0, { order, embargo: 1 }), Int32Array.of(2, 3));
 * ```
 */
export function trainRows(
  { fold: folds }: Assignment,
  fold: number,
  { order, groups, embargo = 0 }: EmbargoOptions = {},
): Int32Array {
  if (!folds.includes(fold)) throw new RangeError(`Cannot hold out fold "${fold}": it has no rows`);
  if (!Number.isFinite(embargo) || embargo < 0) {
    throw new RangeError(`Cannot keep an embargo of "${embargo}": it is not finite and ≥ 0`);
  }
  if (order && order.length !== folds.length) {
    throw new TypeError(`Cannot use order: ${order.length} entries for ${folds.length} rows`);
  }
  if (groups) checkGroups(groups, folds.length);
  const isClose = order
    ? makeProximity({ folds, fold, order, groups: groups ?? new Int32Array(folds.length), embargo })
    : () => false;
  const rows = Int32Array.from(folds.keys()).filter((row) => folds[row] !== fold && !isClose(row));
  if (rows.length === 0) {
    throw new RangeError(`Cannot train without fold "${fold}": the embargo leaves no rows`);
  }
  return rows;
}

/** Gives the folds `[n]` with those of `held` counted as its first, so that an embargo surrounds all. */
export function uniteFolds({ fold }: Assignment, held: readonly number[]): Assignment {
  return { fold: fold.map((value) => held.includes(value) ? held[0] : value) };
}

/** Gives the rows of one fold, ascending. */
export function heldOutRows({ fold: folds }: Assignment, fold: number): Int32Array {
  return Int32Array.from(folds.keys()).filter((row) => folds[row] === fold);
}

/** Gives a test for lying within the embargo of a held-out row. */
function makeProximity({ folds, fold, order, groups, embargo }: {
  folds: Int32Array;
  fold: number;
  order: Float64Array;
  groups: Int32Array;
  embargo: number;
}): (row: number) => boolean {
  const heldOut = new Map<number, Float64Array>();
  for (const rows of rowsByValue(groups)) {
    const positions = Float64Array.from(rows.filter((row) => folds[row] === fold), (r) => order[r]);
    heldOut.set(groups[rows[0]], positions.filter((position) => !Number.isNaN(position)).sort());
  }
  return (row) => {
    const positions = heldOut.get(groups[row])!;
    const next = lowerBound(positions, order[row]);
    return positions[next] - order[row] <= embargo ||
      order[row] - positions[next - 1] <= embargo;
  };
}

function byOrder(order: Float64Array): (a: number, b: number) => number {
  return (a, b) => {
    const isLastA = Number.isNaN(order[a]);
    const isLastB = Number.isNaN(order[b]);
    if (isLastA || isLastB) return Number(isLastA) - Number(isLastB) || a - b;
    return order[a] - order[b] || a - b;
  };
}

/** Rows of each distinct value, by ascending value and then by row. */
function rowsByValue(values: Int32Array): Int32Array[] {
  const members = new Map<number, number[]>();
  values.forEach((value, row) => {
    const rows = members.get(value);
    if (rows) rows.push(row);
    else members.set(value, [row]);
  });
  return [...members].sort(([a], [b]) => a - b).map(([, rows]) => Int32Array.from(rows));
}

function checkFolds(k: number, available: number, unit: string): void {
  if (!Number.isInteger(k) || k < 2) {
    throw new RangeError(`Cannot split rows into "${k}" folds: it is not an integer ≥ 2`);
  }
  if (available < k) {
    throw new RangeError(`Cannot split rows into "${k}" folds: there are ${available} ${unit}`);
  }
}

function checkGroups(groups: Int32Array, rows: number): void {
  if (groups.length !== rows) {
    throw new TypeError(`Cannot use groups: ${groups.length} entries for ${rows} rows`);
  }
}
