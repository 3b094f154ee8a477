import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../numeric/random.ts";
import { type ShapTree, TreeExplainer } from "../../numeric/tree_shap.ts";
import golden from "../oracles/tree_shap.json" with { type: "json" };

interface PlainTree {
  readonly feature: number[];
  readonly threshold: number[];
  readonly left: number[];
  readonly right: number[];
  readonly missing: number[];
  readonly cover: number[];
  readonly value: number[];
}

function toTree(plain: PlainTree): ShapTree {
  return {
    feature: Int32Array.from(plain.feature),
    threshold: Float32Array.from(plain.threshold),
    left: Int32Array.from(plain.left),
    right: Int32Array.from(plain.right),
    isMissingLeft: Uint8Array.from(plain.missing),
    cover: Float64Array.from(plain.cover),
    value: Float64Array.from(plain.value),
  };
}

/** A tree grown at random leaves: deep, and with features that come again on a path. */
function growTree(random: Random, features: number, leaves: number): ShapTree {
  const tree: PlainTree = {
    feature: [-1],
    threshold: [0],
    left: [0],
    right: [0],
    missing: [0],
    cover: [1e6],
    value: [0],
  };
  while (tree.feature.length < 2 * leaves - 1) {
    const open = tree.feature.flatMap((f, i) => f < 0 && tree.cover[i] > 1 ? [i] : []);
    // Preferring the youngest leaves makes deep trees.
    const node = random.below(2) === 0 ? open.at(-1)! : open[random.below(open.length)];
    const part = 1 + random.below(tree.cover[node] - 1);
    tree.feature[node] = random.below(features);
    tree.threshold[node] = random.uniform();
    tree.missing[node] = random.below(2);
    tree.left[node] = tree.feature.length;
    tree.right[node] = tree.feature.length + 1;
    for (const cover of [part, tree.cover[node] - part]) {
      tree.feature.push(-1);
      tree.threshold.push(0);
      tree.left.push(0);
      tree.right.push(0);
      tree.missing.push(0);
      tree.cover.push(cover);
      tree.value.push(0);
    }
  }
  tree.value.forEach((_, i) => tree.value[i] = tree.feature[i] < 0 ? random.uniform() - 0.5 : 0);
  return toTree(tree);
}

function drawRow(random: Random, features: number): Float32Array {
  return Float32Array.from(
    { length: features },
    () => random.uniform() < 0.2 ? NaN : random.uniform(),
  );
}

/** Value of a coalition, by the recursion of Lundberg et al., algorithm 1. */
function expectTree(tree: ShapTree, row: Float32Array, isKnown: boolean[], node = 0): number {
  const feature = tree.feature[node];
  if (feature < 0) return tree.value[node];
  const left = expectTree(tree, row, isKnown, tree.left[node]);
  const right = expectTree(tree, row, isKnown, tree.right[node]);
  if (!isKnown[feature]) {
    const share = tree.cover[tree.left[node]] / tree.cover[node];
    return share * left + (1 - share) * right;
  }
  const isMissing = Number.isNaN(row[feature]);
  const goesLeft = isMissing
    ? tree.isMissingLeft[node] === 1
    : row[feature] <= tree.threshold[node];
  return goesLeft ? left : right;
}

/** Shapley values by their definition, over all coalitions. */
function shapley(trees: readonly ShapTree[], row: Float32Array): number[] {
  const d = row.length;
  const values = Array.from({ length: 2 ** d }, (_, bits) => {
    const isKnown = Array.from(row, (_, j) => (bits >> j & 1) === 1);
    return trees.reduce((sum, tree) => sum + expectTree(tree, row, isKnown), 0);
  });
  const factorial = (n: number): number => n < 2 ? 1 : n * factorial(n - 1);
  return Array.from(row, (_, j) => {
    let sum = 0;
    for (let bits = 0; bits < 2 ** d; bits++) {
      if (bits >> j & 1) continue;
      const size = bits.toString(2).replaceAll("0", "").length;
      const weight = factorial(size) * factorial(d - 1 - size) / factorial(d);
      sum += weight * (values[bits | 1 << j] - values[bits]);
    }
    return sum;
  });
}

Deno.test("TreeExplainer.explain() gives the Shapley values of the definition when trees are random", () => {
  const random = new Random(1);
  for (const [features, leaves] of [[1, 5], [2, 2], [3, 12], [5, 20], [8, 40], [9, 60]]) {
    const trees = Array.from({ length: 3 }, () => growTree(random, features, leaves));
    const explainer = new TreeExplainer({ constant: 0.25, trees }, features);
    for (let i = 0; i < 4; i++) {
      const row = drawRow(random, features);
      const wanted = shapley(trees, row);
      explainer.explain(row).forEach((value, j) => assertAlmostEquals(value, wanted[j], 1e-12));
    }
  }
});

Deno.test("TreeExplainer.explain() gives what the shap package gives", () => {
  const trees = golden.trees.map(toTree);
  const explainer = new TreeExplainer({ constant: 0, trees }, golden.rows[0].length);
  assertAlmostEquals(explainer.baseValue, golden.base_value, 1e-9);
  golden.rows.forEach((cells, i) => {
    const values = explainer.explain(Float64Array.from(cells, (cell) => cell ?? NaN));
    values.forEach((value, j) => assertAlmostEquals(value, golden.contributions[i][j], 1e-9));
  });
});

Deno.test("TreeExplainer.explain() sums to the score less the base value when trees are deep and wide", () => {
  const random = new Random(2);
  const trees = Array.from({ length: 5 }, () => growTree(random, 200, 1500));
  const explainer = new TreeExplainer({ constant: -3, trees }, 200);
  for (let i = 0; i < 5; i++) {
    const row = drawRow(random, 200);
    const sum = explainer.explain(row).reduce((a, b) => a + b, explainer.baseValue);
    assertAlmostEquals(sum, explainer.predict(row), 1e-9);
  }
});

Deno.test("TreeExplainer.explain() gives zero to a feature that no tree asks for, and equal shares to twins", () => {
  // An AND of two features, each true for half of the training rows.
  const tree = toTree({
    feature: [0, -1, 2, -1, -1],
    threshold: [0, 0, 0, 0, 0],
    left: [1, 0, 3, 0, 0],
    right: [2, 0, 4, 0, 0],
    missing: [0, 0, 0, 0, 0],
    cover: [8, 4, 4, 2, 2],
    value: [0, 0, 0, 0, 1],
  });
  const explainer = new TreeExplainer({ constant: 0, trees: [tree] }, 3);
  const [first, unused, second] = explainer.explain(Float32Array.of(1, 1, 1));
  assertAlmostEquals(first, 0.375, 1e-15);
  assertAlmostEquals(second, first, 1e-15);
  assertEquals(unused, 0);
});

Deno.test("TreeExplainer gives the constant alone when a tree is a single leaf or there is none", () => {
  const leaf = toTree({
    feature: [-1],
    threshold: [0],
    left: [0],
    right: [0],
    missing: [0],
    cover: [3],
    value: [0.5],
  });
  for (const [trees, wanted] of [[[leaf], 1.5], [[], 1]] as const) {
    const explainer = new TreeExplainer({ constant: 1, trees }, 2);
    assertEquals(explainer.baseValue, wanted);
    assertEquals(explainer.predict(Float32Array.of(1, 2)), wanted);
    assertEquals(explainer.explain(Float32Array.of(1, 2)), Float64Array.of(0, 0));
  }
});

Deno.test("TreeExplainer throws RangeError when a tree asks for what is not there", () => {
  const tree = growTree(new Random(3), 4, 6);
  const refuse = (change: Partial<ShapTree>, features = 4) =>
    assertThrows(
      () => new TreeExplainer({ constant: 0, trees: [{ ...tree, ...change }] }, features),
      RangeError,
      "Cannot explain",
    );
  assert(tree.feature.some((feature) => feature > 0));
  refuse({}, 1);
  refuse({ cover: new Float64Array(tree.cover.length) });
  refuse({ left: new Int32Array(tree.left.length) });
});
