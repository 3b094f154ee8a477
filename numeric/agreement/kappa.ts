/** Agreement of two who sort the same rows, beyond what chance gives. */
import type { Interval } from "../metrics.ts";
import { Random } from "../random.ts";
import { normalPoint, normalTail } from "../special.ts";
import { computeQuantiles } from "../statistics.ts";

/** How the interval is drawn. */
export interface KappaOptions {
  /** Number of replicates; 2000 when left out. */
  readonly replicates?: number;
  /** 0 when left out. */
  readonly seed?: number;
}

/**
 * Gives Cohen's κ in `[-1, 1]` of two sortings of the same rows, both `[n]`, categories being integers
 * ≥ 0. `null` without rows, and when both give every row the same category: κ is undefined then.
 * Equals scikit-learn's `cohen_kappa_score`.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a category is not an integer ≥ 0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { measureKappa } from "./kappa.ts";
 *
 * assertEquals(measureKappa([0, 0, 1, 1], [0, 1, 1, 1]), 0.5);
 * assertEquals(measureKappa([1, 1], [1, 1]), null);
 * ```
 *
 * @see Cohen, "A Coefficient of Agreement for Nominal Scales", Educational and Psychological Measurement 20(1), 1960
 */
export function measureKappa(a: ArrayLike<number>, b: ArrayLike<number>): number | null {
  return computeKappa(countCells(a, b));
}

/**
 * Gives Cohen's κ with its 95 % interval: BCa bootstrap over rows, which corrects a percentile interval
 * for bias and skew. The ends are `null` when κ is undefined in more than half of the replicates. A
 * table without disagreement gives an interval without width: look at the number of rows, too.
 *
 * @throws {TypeError} when the lengths differ.
 * @throws {RangeError} when a category is not an integer ≥ 0.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { estimateKappa } from "./kappa.ts";
 *
 * const a = Array.from({ length: 100 }, (_, i) => i % 2);
 * const b = a.map((value, i) => (i % 10 === 0 ? 1 - value : value));
 * const { value, low, high } = estimateKappa(a, b)!;
 * assert(value > 0.79 && value < 0.81 && low! > 0.5 && high! < 0.95);
 * ```
 *
 * @see Efron and Tibshirani, "An Introduction to the Bootstrap", Chapman and Hall 1993, section 14.3
 */
export function estimateKappa(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { replicates = 2000, seed = 0 }: KappaOptions = {},
): Interval | null {
  const table = countCells(a, b);
  const value = computeKappa(table);
  if (value === null) return null;
  const drawn = drawKappas(table, replicates, new Random(seed));
  if (2 * drawn.length < replicates || drawn.length === 0) return { value, low: null, high: null };
  const [low, high] = computeQuantiles(drawn, correctLevels(table, value, drawn))!;
  return { value, low, high };
}

interface Table {
  /** Categories. */
  readonly k: number;
  readonly rows: number;
  /** `counts[a * k + b]`. */
  readonly counts: Float64Array;
}

function countCells(a: ArrayLike<number>, b: ArrayLike<number>): Table {
  if (a.length !== b.length) {
    throw new TypeError(`Cannot measure agreement: ${a.length} rows against ${b.length}`);
  }
  let k = 0;
  for (const values of [a, b]) {
    for (let i = 0; i < values.length; i++) {
      if (!Number.isInteger(values[i]) || values[i] < 0) {
        throw new RangeError(`Cannot read row "${i}": ${values[i]} is not an integer ≥ 0`);
      }
      k = Math.max(k, values[i] + 1);
    }
  }
  const counts = new Float64Array(k * k);
  for (let i = 0; i < a.length; i++) counts[a[i] * k + b[i]]++;
  return { k, rows: a.length, counts };
}

function computeKappa({ k, counts, rows }: Table): number | null {
  let observed = 0;
  let expected = 0;
  for (let c = 0; c < k; c++) {
    let first = 0;
    let second = 0;
    for (let other = 0; other < k; other++) {
      first += counts[c * k + other];
      second += counts[other * k + c];
    }
    observed += counts[c * k + c] * rows;
    expected += first * second;
  }
  const room = rows * rows - expected;
  return room === 0 ? null : (observed - expected) / room;
}

/** κ of tables drawn with replacement, without those where it is undefined. */
function drawKappas(table: Table, replicates: number, random: Random): Float64Array {
  const cells = new Int32Array(table.rows);
  let start = 0;
  table.counts.forEach((count, cell) => cells.fill(cell, start, start += count));
  const drawn: number[] = [];
  const counts = new Float64Array(table.counts.length);
  for (let replicate = 0; replicate < replicates; replicate++) {
    counts.fill(0);
    for (let i = 0; i < cells.length; i++) counts[cells[random.below(cells.length)]]++;
    const value = computeKappa({ ...table, counts });
    if (value !== null) drawn.push(value);
  }
  return Float64Array.from(drawn);
}

/** The levels of BCa in place of 2.5 and 97.5 %. */
function correctLevels(table: Table, value: number, drawn: Float64Array): [number, number] {
  const plain: [number, number] = [0.025, 0.975];
  let below = 0;
  for (const replicate of drawn) below += replicate < value ? 1 : replicate === value ? 0.5 : 0;
  const share = below / drawn.length;
  if (share === 0 || share === 1) return plain;
  const bias = -normalPoint(share);
  const acceleration = accelerate(table);
  return plain.map((level) => {
    const z = bias - normalPoint(level);
    return normalTail(-(bias + z / (1 - acceleration * z)));
  }) as [number, number];
}

/** Skewness of the jackknife; rows of a cell leave the same table when left out. */
function accelerate(table: Table): number {
  const left: { readonly value: number; readonly count: number }[] = [];
  table.counts.forEach((count, cell) => {
    if (count === 0) return;
    const counts = table.counts.slice();
    counts[cell]--;
    const value = computeKappa({ ...table, counts, rows: table.rows - 1 });
    if (value !== null) left.push({ value, count });
  });
  const total = left.reduce((sum, { count }) => sum + count, 0);
  const mean = left.reduce((sum, { value, count }) => sum + value * count, 0) / total;
  const moment = (power: number) =>
    left.reduce((sum, { value, count }) => sum + count * (mean - value) ** power, 0);
  const squares = moment(2);
  return squares === 0 ? 0 : moment(3) / (6 * squares ** 1.5);
}
