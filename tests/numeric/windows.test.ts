import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { type Matrix, matrix, takeRows } from "../../numeric/matrix.ts";
import { Random } from "../../numeric/random.ts";
import {
  computeWindows,
  logFloor,
  windowNames,
  type WindowSpec,
  windowStatistics,
} from "../../numeric/windows.ts";

const allStatistics: WindowSpec = { radii: [0.5, 2], statistics: windowStatistics, log: [1] };

/** Unsorted, with gaps, ties, NaN values and NaN positions in three groups. */
function makeSequence(rows: number, seed: number) {
  const random = new Random(seed);
  const X = matrix(rows, 3);
  for (let i = 0; i < X.data.length; i++) {
    X.data[i] = random.uniform() < 0.15 ? NaN : 100 * random.uniform() - 10;
  }
  const order = Float64Array.from(
    { length: rows },
    () => random.uniform() < 0.05 ? NaN : 2000 + random.below(rows) * 0.1524,
  );
  const groups = Int32Array.from({ length: rows }, () => random.below(3) - 1);
  return { X, order, groups };
}

Deno.test("computeWindows() gives the statistics of a hand-worked case when values are missing", () => {
  const X = matrix(4, 1, Float32Array.of(1, NaN, 4, 9));
  const order = Float64Array.of(0, 1, 2, 4);
  const spec: WindowSpec = { radii: [2], statistics: windowStatistics };
  const { data, cols } = computeWindows(X, spec, { order });
  // Row 2 sees values 1, NaN, 4, 9 at 0, 1, 2, 4.
  const slope = ((0 - 2) * (1 - 14 / 3) + 0 + (4 - 2) * (9 - 14 / 3)) / 8;
  const std = Math.sqrt(((1 - 14 / 3) ** 2 + (4 - 14 / 3) ** 2 + (9 - 14 / 3) ** 2) / 3);
  const expected = [4, 14 / 3, std, slope, 1, 9];
  assertEquals(data.slice(2 * cols, 3 * cols), Float32Array.from(expected));
  // Row 1 sees 1, NaN, 4: its own value is missing, its windows are not.
  assertEquals(data.slice(cols, 2 * cols), Float32Array.of(NaN, 2.5, 1.5, 1.5, 1, 4));
});

Deno.test("computeWindows() gives a bit-identical row when computed from its own window alone", () => {
  const { X, order, groups } = makeSequence(300, 1);
  const whole = computeWindows(X, allStatistics, { order, groups });
  const radius = Math.max(...allStatistics.radii);
  let compared = 0;
  for (let i = 0; i < X.rows; i++) {
    const inside = [...order.keys()].filter((j) =>
      j === i || (groups[j] === groups[i] && Math.abs(order[j] - order[i]) <= radius)
    );
    const part = computeWindows(takeRows(X, inside), allStatistics, {
      order: Float64Array.from(inside, (j) => order[j]),
      groups: Int32Array.from(inside, (j) => groups[j]),
    });
    assertEquals(rowOf(part, inside.indexOf(i)), rowOf(whole, i), `row ${i}`);
    compared += inside.length > 1 ? 1 : 0;
  }
  assert(compared > 200);
});

Deno.test("computeWindows() gives the same rows when a batch is turned around", () => {
  const { X, groups } = makeSequence(200, 2);
  // Distinct positions: ties are summed by row, which a reversal changes.
  const order = Float64Array.from({ length: 200 }, (_, i) => 3000 - i * 0.1524);
  const forward = computeWindows(X, allStatistics, { order, groups });
  const turn = [...order.keys()].reverse();
  const backward = computeWindows(takeRows(X, turn), allStatistics, {
    order: order.toReversed(),
    groups: groups.toReversed(),
  });
  assertEquals(takeRows(backward, turn).data, forward.data);
});

Deno.test("computeWindows() equals a direct definition when rows are unsorted, tied and missing", () => {
  const { X, order, groups } = makeSequence(120, 3);
  const out = computeWindows(X, allStatistics, { order, groups });
  const names = windowNames(["a", "b", "c"], allStatistics);
  assertEquals(names.length, out.cols);
  for (let i = 0; i < X.rows; i++) {
    for (const [r, radius] of allStatistics.radii.entries()) {
      for (let c = 0; c < 3; c++) {
        const inWindow = [...order.keys()].filter((j) =>
          groups[j] === groups[i] && Math.abs(order[j] - order[i]) <= radius &&
          !Number.isNaN(X.data[j * 3 + c])
        );
        const at = (j: number) =>
          c === 1 ? Math.log(Math.max(X.data[j * 3 + c], logFloor)) : X.data[j * 3 + c];
        const expected = {
          mean: mean(inWindow.map(at)),
          std: Math.sqrt(mean(inWindow.map((j) => (at(j) - mean(inWindow.map(at))) ** 2))),
          gradient: slope(inWindow.map((j) => order[j]), inWindow.map(at)),
          before: mean(inWindow.filter((j) => order[j] < order[i]).map(at)),
          after: mean(inWindow.filter((j) => order[j] > order[i]).map(at)),
        };
        windowStatistics.forEach((statistic, s) => {
          const column = 3 * (1 + r * windowStatistics.length + s) + c;
          const where = `row ${i}, ${names[column]}`;
          const wanted = expected[statistic];
          assertAlmostEquals(
            out.data[i * out.cols + column],
            wanted,
            1e-5 * Math.max(1, Math.abs(wanted)),
            where,
          );
        });
      }
    }
  }
});

Deno.test("computeWindows() never mixes groups when their positions overlap", () => {
  const X = matrix(4, 1, Float32Array.of(1, 100, 3, 300));
  const rows = { order: Float64Array.of(0, 0, 1, 1), groups: Int32Array.of(7, 8, 7, 8) };
  const { data } = computeWindows(X, { radii: [5], statistics: ["mean"] }, rows);
  assertEquals(data, Float32Array.of(1, 2, 100, 200, 3, 2, 300, 200));
});

Deno.test("computeWindows() keeps the raw value alone when a row's position is NaN or infinite", () => {
  const X = matrix(3, 1, Float32Array.of(1, 2, 3));
  const spec: WindowSpec = { radii: [10], statistics: ["mean", "std"] };
  const { data } = computeWindows(X, spec, { order: Float64Array.of(0, NaN, Infinity) });
  assertEquals(data, Float32Array.of(1, 1, 0, 2, NaN, NaN, 3, NaN, NaN));
});

Deno.test("computeWindows() gives X itself when there are no radii, and no rows when X is empty", () => {
  const X = matrix(2, 2);
  assertEquals(computeWindows(X, { radii: [], statistics: ["mean"] }) === X, true);
  const empty = computeWindows(matrix(0, 2), allStatistics, { order: new Float64Array(0) });
  assertEquals([empty.rows, empty.cols], [0, 22]);
});

Deno.test("computeWindows() throws when shapes disagree or the spec is unknown", () => {
  const X = matrix(2, 1);
  const spec: WindowSpec = { radii: [1], statistics: ["mean"] };
  const order = new Float64Array(2);
  assertThrows(() => computeWindows(X, spec), TypeError, "no order column");
  assertThrows(() => computeWindows(X, spec, { order: new Float64Array(3) }), TypeError, "order");
  assertThrows(
    () => computeWindows(X, spec, { order, groups: new Int32Array(1) }),
    TypeError,
    "groups",
  );
  const unknown = { radii: [1], statistics: ["median"] } as unknown as WindowSpec;
  assertThrows(() => computeWindows(X, unknown, { order }), RangeError, `"median"`);
  for (const radius of [-1, NaN, Infinity]) {
    const bad: WindowSpec = { radii: [radius], statistics: ["mean"] };
    assertThrows(() => computeWindows(X, bad, { order }), RangeError, "radius");
  }
  assertThrows(() => windowNames(["a"], { ...spec, log: [1] }), RangeError, `column "1"`);
});

Deno.test("computeWindows() takes well under a second when given 26,000 rows, 12 columns and 2 radii", () => {
  const rows = 26_000;
  const X = matrix(rows, 12);
  const random = new Random(0);
  for (let i = 0; i < X.data.length; i++) X.data[i] = random.uniform();
  const order = Float64Array.from({ length: rows }, (_, i) => 4000 - i * 0.1524);
  const start = performance.now();
  computeWindows(X, { radii: [1, 3], statistics: windowStatistics }, { order });
  // Measured 250 ms on a quiet core; the limit leaves room for a busy one.
  assert(performance.now() - start < 3000, `${performance.now() - start} ms`);
});

function rowOf(X: Matrix, row: number): Float32Array {
  return X.data.slice(row * X.cols, (row + 1) * X.cols);
}

function mean(values: number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function slope(x: number[], y: number[]): number {
  if (new Set(x).size < 2) return NaN;
  const covariance = x.reduce((sum, v, i) => sum + (v - mean(x)) * (y[i] - mean(y)), 0);
  return covariance / x.reduce((sum, v) => sum + (v - mean(x)) ** 2, 0);
}
