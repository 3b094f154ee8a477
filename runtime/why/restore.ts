/** Values as they would be had one feature not changed: each cell gets back its reference's values. */
import { type Matrix, matrix } from "../../numeric/matrix.ts";
import { Random } from "../../numeric/random.ts";
import { computeStd, sortPresent } from "../../numeric/statistics.ts";
import { columnOf, FEWEST, groupRows, type Problem } from "./problem.ts";

type Sides = Pick<Problem, "reference" | "current">;

/** A value that this share of a cell's rows have is no measurement: a neighbor's takes its place. */
const COMMON = 0.2;

/** Most reference rows that neighbors are looked for in. */
const MOST_NEIGHBORS = 400;

/**
 * Gives the current inputs `[n, d]` with feature `j` brought back: within each slice of a requester, a
 * value gets the reference's value of the same rank, so that a shift or a scale is undone and the order
 * of the rows stays. A missing value and one that many rows share get that of the reference row which is
 * nearest in the other features. Where the reference has too few rows of a cell, the slice stands for
 * it, then all rows.
 */
export function restoreFeature({ reference, current }: Sides, j: number): Matrix {
  const { X } = current;
  const data = X.data.slice();
  const random = new Random(j + 1);
  const pools = makePools(reference);
  const findNearest = makeNeighbors({ reference, current }, j);
  for (const [, rows] of groupRows(cellsOf(current))) {
    const pool = pools(current.slice[rows[0]], current.requester[rows[0]]);
    const values = columnOf(X, j, rows);
    const wanted = columnOf(reference.X, j, pool);
    const restored = restoreValues(values, wanted, {
      random,
      borrow: (i) => findNearest(rows[i], pool),
    });
    rows.forEach((row, i) => data[row * X.cols + j] = restored[i]);
  }
  return matrix(X.rows, X.cols, data);
}

function cellsOf({ slice, requester }: Problem["current"]): string[] {
  return slice.map((name, i) => JSON.stringify([name, requester[i]]));
}

function makePools(reference: Problem["reference"]) {
  const cells = groupRows(cellsOf(reference));
  const slices = groupRows(reference.slice);
  const all = [...reference.slice.keys()];
  return (slice: string, requester: string): readonly number[] =>
    [cells.get(JSON.stringify([slice, requester])), slices.get(slice)]
      .find((rows) => rows !== undefined && rows.length >= FEWEST) ?? all;
}

/** Gives the value of feature `j` of the reference row that is nearest in the other features. */
function makeNeighbors({ reference, current }: Sides, j: number) {
  const { cols, data } = reference.X;
  const all = [...reference.slice.keys()];
  const scales = Array.from(
    { length: cols },
    (_, c) => computeStd(sortPresent(columnOf(reference.X, c, all))) || 1,
  );
  return (row: number, pool: readonly number[]): number => {
    const step = Math.max(1, pool.length / MOST_NEIGHBORS);
    let nearest = pool[0];
    let least = Infinity;
    for (let at = 0; at < pool.length; at += step) {
      const other = pool[Math.floor(at)];
      let distance = 0;
      for (let c = 0; c < cols; c++) {
        if (c === j) continue;
        const gap = Math.abs(current.X.data[row * cols + c] - data[other * cols + c]) / scales[c];
        distance += Number.isNaN(gap) ? 1 : Math.min(gap, 3);
      }
      if (distance < least) [least, nearest] = [distance, other];
    }
    return data[nearest * cols + j];
  };
}

function restoreValues(
  values: Float64Array,
  wanted: Float64Array,
  { random, borrow }: { readonly random: Random; readonly borrow: (row: number) => number },
): Float64Array {
  const sorted = sortPresent(wanted);
  const present = Int32Array.from(values.keys()).filter((i) => !Number.isNaN(values[i]))
    .sort((a, b) => values[a] - values[b]);
  const missing = values.length - present.length;
  const usual = (1 - sorted.length / wanted.length) * values.length;
  // So many of the missing values would be missing anyway, and so many of the others as well.
  const kept = missing === 0 ? 0 : Math.min(1, usual / missing);
  const lost = present.length === 0 ? 0 : Math.max(0, usual - missing) / present.length;
  const out = values.map((value, i) =>
    !Number.isNaN(value) || random.uniform() < kept ? NaN : borrow(i)
  );
  for (let start = 0; start < present.length;) {
    let end = start;
    while (end < present.length && values[present[end]] === values[present[start]]) end++;
    const isCommon = end - start > 1 && end - start >= COMMON * values.length;
    for (let at = start; at < end; at++) {
      const row = present[at];
      const place = end - start === 1 ? at + 0.5 : start + random.uniform() * (end - start);
      out[row] = random.uniform() < lost
        ? NaN
        : isCommon
        ? borrow(row)
        : draw(sorted, place / present.length);
    }
    start = end;
  }
  return out;
}

function draw(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) return NaN;
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
