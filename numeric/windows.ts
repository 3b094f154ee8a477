/**
 * Features of a row's neighborhood along an order such as depth or time. Training and serving call
 * this one function, so they cannot differ.
 *
 * @module
 */
import { type Matrix, matrix } from "./matrix.ts";

/** What a window can be summarized by, in the order of the documentation. */
export const windowStatistics = ["mean", "std", "gradient", "before", "after"] as const;

/** One of {@linkcode windowStatistics}. */
export type WindowStatistic = typeof windowStatistics[number];

/** Which windows to make. */
export interface WindowSpec {
  /** Half widths ≥ 0, in the unit of the order column; both ends belong to the window. */
  readonly radii: readonly number[];
  readonly statistics: readonly WindowStatistic[];
  /** Indexes of columns whose windows summarize `ln(max(x, logFloor))` instead of x. */
  readonly log?: readonly number[];
}

/** Where each row lies. */
export interface WindowRows {
  /** Position of each row `[n]`, in any order; not needed when there are no radii. */
  readonly order?: Float64Array;
  /** Group of each row `[n]`; windows never cross groups. Left out: all rows are one group. */
  readonly groups?: Int32Array;
}

/** The smallest value a logarithm is taken of; smaller and negative values count as this one. */
export const logFloor = 1e-6;

/** The rows `from … to-1` of a window, of which `equalFrom … equalTo-1` share its position. */
interface Window {
  readonly from: number;
  readonly equalFrom: number;
  readonly equalTo: number;
  readonly to: number;
}

/** One statistic of one column (sorted by position) within one window. */
type Summary = (values: Float64Array, positions: Float64Array, window: Window) => number;

const summaries: Readonly<Record<WindowStatistic, Summary>> = {
  mean: (values, _, { from, to }) => meanBetween(values, from, to),
  std: (values, _, { from, to }) => stdBetween(values, from, to),
  gradient: slopeWithin,
  before: (values, _, { from, equalFrom }) => meanBetween(values, from, equalFrom),
  after: (values, _, { equalTo, to }) => meanBetween(values, equalTo, to),
};

/**
 * Gives the raw columns followed by their window features, `[n, d * (1 + radii * statistics)]`,
 * row i of the result for row i of `X` `[n, d]`. The columns run as {@linkcode windowNames} says.
 *
 * A window holds the rows of the same group with `|order[j] - order[i]| <= radius`, row i included.
 * Missing values (`NaN`) are skipped; a statistic of no value is `NaN`.
 *
 * - `mean`: arithmetic mean.
 * - `std`: population standard deviation; 0 for one value.
 * - `gradient`: least-squares slope per unit of order; `NaN` below two distinct positions.
 * - `before`, `after`: mean over the rows of strictly smaller, strictly larger order.
 *
 * Rows that share a position are all in each other's window, but neither before nor after one
 * another. A row whose order is `NaN` or infinite keeps its raw values, gets `NaN` for window
 * features and is in no window. No radii or no statistics give `X` itself.
 *
 * Each window is summed afresh in float64, by ascending order and, among equals, by row. So a row's
 * result depends on nothing but the rows in its own window: it is bit-identical in any batch that
 * holds them.
 *
 * @throws {TypeError} when `order` is missing though there are radii, or `order` or `groups` does
 * not have n entries.
 * @throws {RangeError} when a radius is negative or not finite, a statistic is unknown or a log
 * column does not exist.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "./matrix.ts";
 * import { computeWindows, windowNames } from "./windows.ts";
 *
 * const spec = { radii: [1], statistics: ["mean", "gradient"] } as const;
 * const X = matrix(3, 1, Float32Array.of(10, 30, 20));
 * const order = Float64Array.of(100, 102, 101);
 *
 * assertEquals(windowNames(["gr"], spec), ["gr", "gr_mean_1", "gr_gradient_1"]);
 * assertEquals(
 *   computeWindows(X, spec, { order }).data,
 *   Float32Array.of(10, 15, 10, 30, 25, 10, 20, 20, 10),
 * );
 * ```
 */
export function computeWindows(X: Matrix, spec: WindowSpec, rows: WindowRows = {}): Matrix {
  checkSpec(spec, X.cols);
  if (spec.radii.length === 0 || spec.statistics.length === 0) return X;
  const { order, groups } = rows;
  if (order === undefined) {
    throw new TypeError(`Cannot compute windows of ${X.rows} rows: there is no order column`);
  }
  checkLength("order", order, X.rows);
  if (groups) checkLength("groups", groups, X.rows);

  const out = matrix(X.rows, X.cols * (1 + spec.radii.length * spec.statistics.length));
  copyRaw(X, out);
  for (const members of sortedGroups(order, groups)) {
    const positions = Float64Array.from(members, (row) => order[row]);
    const columns = gatherColumns(X, members, spec);
    spec.radii.forEach((radius, r) => {
      const windows = findWindows(positions, radius);
      spec.statistics.forEach((statistic, s) => {
        const offset = X.cols * (1 + r * spec.statistics.length + s);
        fillStatistic(out, offset, { members, positions, columns, windows, statistic });
      });
    });
  }
  return out;
}

/**
 * Gives the column names of {@linkcode computeWindows}: the raw names, then for each radius, for
 * each statistic, one name per column, such as `gr_mean_2.5`, or `log_rt_mean_2.5` for a log
 * column.
 *
 * @throws {RangeError} as `computeWindows`.
 */
export function windowNames(columnNames: readonly string[], spec: WindowSpec): string[] {
  checkSpec(spec, columnNames.length);
  const log = new Set(spec.log);
  const bases = columnNames.map((name, column) => log.has(column) ? `log_${name}` : name);
  const derived = spec.radii.flatMap((radius) =>
    spec.statistics.flatMap((statistic) => bases.map((name) => `${name}_${statistic}_${radius}`))
  );
  return [...columnNames, ...derived];
}

function checkSpec(spec: WindowSpec, cols: number): void {
  for (const radius of spec.radii) {
    if (!Number.isFinite(radius) || radius < 0) {
      throw new RangeError(`Cannot make windows of radius "${radius}": it is not finite and ≥ 0`);
    }
  }
  for (const statistic of spec.statistics) {
    if (!windowStatistics.includes(statistic)) {
      throw new RangeError(
        `Cannot make window statistic "${statistic}": there are ${windowStatistics.join(", ")}`,
      );
    }
  }
  for (const column of spec.log ?? []) {
    if (!Number.isInteger(column) || column < 0 || column >= cols) {
      throw new RangeError(`Cannot take the logarithm of column "${column}": there are ${cols}`);
    }
  }
}

function checkLength(name: string, values: ArrayLike<number>, rows: number): void {
  if (values.length !== rows) {
    throw new TypeError(`Cannot use "${name}": it has ${values.length} entries for ${rows} rows`);
  }
}

function copyRaw(X: Matrix, out: Matrix): void {
  for (let i = 0; i < X.rows; i++) {
    out.data.set(X.data.subarray(i * X.cols, (i + 1) * X.cols), i * out.cols);
    out.data.fill(NaN, i * out.cols + X.cols, (i + 1) * out.cols);
  }
}

/** Rows of finite order, one array per group, each by ascending order and then by row. */
function sortedGroups(order: Float64Array, groups?: Int32Array): Int32Array[] {
  const members = new Map<number, number[]>();
  for (let row = 0; row < order.length; row++) {
    if (!Number.isFinite(order[row])) continue;
    const group = groups ? groups[row] : 0;
    const list = members.get(group);
    if (list) list.push(row);
    else members.set(group, [row]);
  }
  return Array.from(
    members.values(),
    (rows) => Int32Array.from(rows.sort((a, b) => order[a] - order[b] || a - b)),
  );
}

/** Copies the columns of some rows, so that a window is one contiguous run. */
function gatherColumns(X: Matrix, members: Int32Array, spec: WindowSpec): Float64Array[] {
  const log = new Set(spec.log);
  return Array.from({ length: X.cols }, (_, column) => {
    const values = Float64Array.from(members, (row) => X.data[row * X.cols + column]);
    return log.has(column) ? values.map((value) => Math.log(Math.max(value, logFloor))) : values;
  });
}

/** Gives the window of each position; `positions` ascend, so both ends only move forward. */
function findWindows(positions: Float64Array, radius: number): Window[] {
  const windows: Window[] = [];
  let from = 0;
  let equalFrom = 0;
  let to = 0;
  for (let i = 0; i < positions.length; i++) {
    const center = positions[i];
    while (center - positions[from] > radius) from++;
    while (positions[equalFrom] < center) equalFrom++;
    while (to < positions.length && positions[to] - center <= radius) to++;
    let equalTo = i + 1;
    while (equalTo < to && positions[equalTo] === center) equalTo++;
    windows.push({ from, equalFrom, equalTo, to });
  }
  return windows;
}

/** One group's rows, sorted, and what to compute of them. */
interface GroupTask {
  readonly members: Int32Array;
  readonly positions: Float64Array;
  readonly columns: readonly Float64Array[];
  readonly windows: readonly Window[];
  readonly statistic: WindowStatistic;
}

function fillStatistic(out: Matrix, offset: number, task: GroupTask): void {
  const summarize = summaries[task.statistic];
  task.columns.forEach((values, column) => {
    for (let i = 0; i < task.members.length; i++) {
      const value = summarize(values, task.positions, task.windows[i]);
      out.data[task.members[i] * out.cols + offset + column] = value;
    }
  });
}

function meanBetween(values: Float64Array, from: number, to: number): number {
  let sum = 0;
  let count = 0;
  for (let i = from; i < to; i++) {
    const value = values[i];
    if (value !== value) continue;
    sum += value;
    count++;
  }
  return sum / count;
}

function stdBetween(values: Float64Array, from: number, to: number): number {
  const mean = meanBetween(values, from, to);
  let sum = 0;
  let count = 0;
  for (let i = from; i < to; i++) {
    const value = values[i];
    if (value !== value) continue;
    sum += (value - mean) * (value - mean);
    count++;
  }
  return Math.sqrt(sum / count);
}

function slopeWithin(values: Float64Array, positions: Float64Array, window: Window): number {
  const { from, to, equalFrom } = window;
  // Offsets from the center keep all digits where positions are large and windows are short.
  const center = positions[equalFrom];
  let offsetSum = 0;
  let valueSum = 0;
  let count = 0;
  for (let i = from; i < to; i++) {
    const value = values[i];
    if (value !== value) continue;
    offsetSum += positions[i] - center;
    valueSum += value;
    count++;
  }
  const meanOffset = offsetSum / count;
  const meanValue = valueSum / count;
  let covariance = 0;
  let variance = 0;
  let first = NaN;
  let hasTwoPositions = false;
  for (let i = from; i < to; i++) {
    const value = values[i];
    if (value !== value) continue;
    if (first !== first) first = positions[i];
    else if (positions[i] > first) hasTwoPositions = true;
    const offset = positions[i] - center - meanOffset;
    covariance += offset * (value - meanValue);
    variance += offset * offset;
  }
  return hasTwoPositions ? covariance / variance : NaN;
}
