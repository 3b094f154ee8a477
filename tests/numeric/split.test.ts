import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { Random } from "../../numeric/random.ts";
import {
  blockedFolds,
  groupFolds,
  heldOutRows,
  stratifiedFolds,
  trainRows,
} from "../../numeric/split.ts";
import golden from "../oracles/golden.json" with { type: "json" };

function countIn(fold: Int32Array, k: number, keep: (row: number) => boolean): number[] {
  const counts = new Array<number>(k).fill(0);
  fold.forEach((f, row) => counts[f] += keep(row) ? 1 : 0);
  return counts;
}

function spread(counts: number[]): number {
  return Math.max(...counts) - Math.min(...counts);
}

Deno.test("stratifiedFolds() spreads every class and all rows within one row when classes are unequal", () => {
  const random = new Random(1);
  const y = Int32Array.from({ length: 503 }, () => Math.min(random.below(10), 4));
  const fold = stratifiedFolds(y, 5, 7);
  for (let c = 0; c < 5; c++) assert(spread(countIn(fold, 5, (row) => y[row] === c)) <= 1);
  assert(spread(countIn(fold, 5, () => true)) <= 1);
});

Deno.test("stratifiedFolds() repeats itself when the seed is the same and differs when it is not", () => {
  const y = Int32Array.from({ length: 60 }, (_, i) => i % 3);
  assertEquals(stratifiedFolds(y, 4, 1), stratifiedFolds(y, 4, 1));
  assertNotEquals(stratifiedFolds(y, 4, 1), stratifiedFolds(y, 4, 2));
});

Deno.test("stratifiedFolds() leaves a class out of some folds when it has fewer rows than folds", () => {
  const y = Int32Array.of(0, 0, 0, 0, 0, 0, 1, 1);
  const counts = countIn(stratifiedFolds(y, 3, 0), 3, (row) => y[row] === 1);
  assertEquals(counts.toSorted(), [0, 1, 1]);
});

Deno.test("groupFolds() equals scikit-learn's GroupKFold when group sizes differ", () => {
  const { groups, k, fold } = golden.groupKFold;
  assertEquals(groupFolds(Int32Array.from(groups), k), Int32Array.from(fold));
});

Deno.test("groupFolds() never splits a group and balances sizes when groups are many", () => {
  const random = new Random(2);
  const groups = Int32Array.from({ length: 1000 }, () => random.below(40) - 20);
  const fold = groupFolds(groups, 5);
  const seen = new Map<number, number>();
  groups.forEach((group, row) => {
    assertEquals(seen.get(group) ?? fold[row], fold[row]);
    seen.set(group, fold[row]);
  });
  assert(spread(countIn(fold, 5, () => true)) < 40);
});

Deno.test("blockedFolds() cuts contiguous, equal, interleaved blocks when rows run downwards", () => {
  const n = 240;
  const order = Float64Array.from({ length: n }, (_, i) => 3000 - i * 0.5);
  const { fold, block } = blockedFolds(order, 3);
  // 24 blocks of 10 rows; the last rows have the smallest order.
  assertEquals(block, Int32Array.from({ length: n }, (_, i) => Math.floor((n - 1 - i) / 10)));
  assertEquals(fold, block.map((b) => b % 3));
});

Deno.test("blockedFolds() keeps groups apart and rows of one position together when both occur", () => {
  const random = new Random(3);
  const order = Float64Array.from({ length: 400 }, () => random.below(60));
  const groups = Int32Array.from({ length: 400 }, () => random.below(3));
  const { block } = blockedFolds(order, 4, { blocks: 10, groups });
  assertEquals(new Set(block).size, 30);
  const ranges = new Map<number, { group: number; low: number; high: number }>();
  block.forEach((b, row) => {
    const range = ranges.get(b) ?? { group: groups[row], low: Infinity, high: -Infinity };
    assertEquals(groups[row], range.group);
    range.low = Math.min(range.low, order[row]);
    range.high = Math.max(range.high, order[row]);
    ranges.set(b, range);
  });
  for (const [a, left] of ranges) {
    for (const [b, right] of ranges) {
      if (a < b && left.group === right.group) assert(left.high < right.low);
    }
  }
});

Deno.test("blockedFolds() makes fewer blocks when a group has fewer positions than blocks", () => {
  const order = Float64Array.of(0, 0, 1, 2, NaN, NaN);
  const { block } = blockedFolds(order, 2, { blocks: 100 });
  assertEquals(block, Int32Array.of(0, 0, 1, 2, 3, 4));
});

Deno.test("trainRows() keeps every window of radius r free of held-out rows when the embargo is r", () => {
  const random = new Random(4);
  const n = 300;
  const radius = 1;
  const order = Float64Array.from({ length: n }, () => 0.1 * random.below(1500));
  const groups = Int32Array.from({ length: n }, () => random.below(2));
  const assignment = blockedFolds(order, 3, { blocks: 6, groups });
  for (let fold = 0; fold < 3; fold++) {
    const held = heldOutRows(assignment, fold);
    const train = trainRows(assignment, fold, { order, groups, embargo: radius });
    const isTrain = new Set(train);
    for (let row = 0; row < n; row++) {
      if (assignment.fold[row] === fold) {
        assert(!isTrain.has(row));
        continue;
      }
      const isClose = held.some((h) =>
        groups[h] === groups[row] && Math.abs(order[h] - order[row]) <= radius
      );
      assertEquals(isTrain.has(row), !isClose, `row ${row}`);
    }
    assert(train.length < n - held.length, "the embargo leaves some rows out");
  }
});

Deno.test("trainRows() gives all other rows when there is no order, and keeps rows of NaN order", () => {
  const assignment = { fold: Int32Array.of(0, 1, 0, 2) };
  assertEquals(trainRows(assignment, 0), Int32Array.of(1, 3));
  const order = Float64Array.of(0, NaN, 1, 1.5);
  assertEquals(trainRows(assignment, 0, { order, embargo: 1 }), Int32Array.of(1));
});

Deno.test("stratifiedFolds(), groupFolds(), blockedFolds() and trainRows() throw when there are too few rows, groups or blocks, or shapes disagree", () => {
  const three = Int32Array.of(1, 2, 3);
  const order = Float64Array.of(1, 2, 3);
  assertThrows(() => stratifiedFolds(three, 4, 0), RangeError, "there are 3 rows");
  assertThrows(() => stratifiedFolds(three, 1, 0), RangeError, "not an integer ≥ 2");
  assertThrows(() => groupFolds(Int32Array.of(1, 1, 1), 2), RangeError, "there are 1 groups");
  assertThrows(() => blockedFolds(order, 2, { blocks: 1 }), RangeError, "there are 1 blocks");
  assertThrows(() => blockedFolds(order, 2, { blocks: 0 }), RangeError, "blocks");
  assertThrows(() => blockedFolds(order, 2, { groups: Int32Array.of(1) }), TypeError, "groups");
  const assignment = { fold: Int32Array.of(0, 1, 0) };
  assertThrows(() => trainRows(assignment, 5), RangeError, `fold "5"`);
  assertThrows(() => trainRows(assignment, 0, { order, embargo: 1 }), RangeError, "leaves no rows");
  assertThrows(() => trainRows(assignment, 0, { order, embargo: -1 }), RangeError, "embargo");
  assertThrows(() => trainRows(assignment, 0, { order: order.slice(1) }), TypeError, "order");
});
