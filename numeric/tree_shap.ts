/**
 * Exact Shapley values of tree ensembles: how much each feature moves a score away from its mean
 * over the training rows.
 *
 * @module
 */

/**
 * A binary tree in arrays, one entry per node, the root first and every node before its children.
 * A leaf has feature -1.
 */
export interface ShapTree {
  readonly feature: Int32Array;
  /** A row goes left where its value is at most this. */
  readonly threshold: Float32Array;
  readonly left: Int32Array;
  readonly right: Int32Array;
  /** 1 where missing values go left. */
  readonly isMissingLeft: Uint8Array;
  /** Training rows that reached the node, > 0; those of a node are those of its two children. */
  readonly cover: Float64Array;
  /** What a leaf adds to the score. */
  readonly value: Float64Array;
}

/** A score: a constant and what the trees add to it. */
export interface TreeScore {
  readonly constant: number;
  readonly trees: readonly ShapTree[];
}

/** Terms of one tree that no row changes. */
interface Plan {
  readonly tree: ShapTree;
  /** Node from which each node is reached; the root has -1. */
  readonly parent: Int32Array;
  /** The nearest node above whose edge asks for the same feature as this node's; else the root. */
  readonly same: Int32Array;
  /** Share of the training rows that the conditions on the edge's feature let through so far. */
  readonly share: Float64Array;
  readonly nodes: Float64Array;
  readonly weights: Float64Array;
}

/**
 * Explains one score by the path-dependent Shapley values of TreeSHAP: a feature outside a coalition
 * is unknown, and a row then goes both ways at a split, in the shares of the training rows.
 *
 * The values are those of Lundberg et al., algorithm 2 (and of its definition, algorithm 1), by a
 * shorter way. A leaf of value v, whose path asks for m distinct features, adds to feature i
 * `v (o_i - z_i) ∫ Π_{j≠i} (z_j (1 - t) + o_j t) dt` over `[0, 1]`, where `z_j` is the share of the
 * training rows that passes the path's conditions on j, and `o_j` is 1 if the row does, else 0.
 * This is Owen's integral of the multilinear extension. The integrand has degree m - 1, so
 * Gauss-Legendre quadrature of `⌈m / 2⌉` points is exact. Factors are positive: unlike
 * algorithm 2, nothing is unwound and nothing cancels. The leaves of a subtree share the products of
 * their path, so a tree costs O(nodes · points) instead of O(leaves · depth²), as in Linear TreeSHAP.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals, assertEquals } from "@std/assert";
 * import { TreeExplainer } from "./tree_shap.ts";
 *
 * // 30 of 40 training rows have x0 <= 5 and score 1; the others score 5.
 * const stump = {
 *   feature: Int32Array.of(0, -1, -1),
 *   threshold: Float32Array.of(5, 0, 0),
 *   left: Int32Array.of(1, 0, 0),
 *   right: Int32Array.of(2, 0, 0),
 *   isMissingLeft: Uint8Array.of(1, 0, 0),
 *   cover: Float64Array.of(40, 30, 10),
 *   value: Float64Array.of(0, 1, 5),
 * };
 * const explainer = new TreeExplainer({ constant: 10, trees: [stump] }, 2);
 * assertEquals(explainer.baseValue, 12);
 * const [x0, x1] = explainer.explain(Float32Array.of(7, 1));
 * assertAlmostEquals(x0, 3, 1e-12);
 * assertEquals(x1, 0);
 * ```
 *
 * @see Lundberg et al., "From local explanations to global understanding with explainable AI for
 * trees", Nature Machine Intelligence 2, 2020, algorithms 1 and 2
 * @see Owen, "Multilinear extensions of games", Management Science 18(5), 1972
 * @see Yu et al., "Linear TreeShap", NeurIPS 2022
 */
export class TreeExplainer {
  /** The score's mean over the training rows, as the covers weigh the leaves. */
  readonly baseValue: number;
  readonly #score: TreeScore;
  readonly #features: number;
  readonly #plans: readonly Plan[];
  readonly #scratch: Scratch;

  /**
   * Prepares a score of `features` features.
   * @throws {RangeError} when a tree asks for another feature, a cover is not positive or a node
   * comes before its parent.
   */
  constructor(score: TreeScore, features: number) {
    this.#score = score;
    this.#features = features;
    for (const tree of score.trees) checkTree(tree, features);
    const rules = new Map<number, Rule>();
    this.#plans = score.trees.map((tree) => makePlan(tree, rules));
    this.#scratch = new Scratch(this.#plans);
    this.baseValue = score.trees.reduce((sum, tree) => sum + meanOf(tree), score.constant);
  }

  /** Gives the score of a row `[d]`; `NaN` is missing. */
  predict(row: ArrayLike<number>): number {
    return this.#score.trees.reduce(
      (sum, tree) => sum + tree.value[findLeaf(tree, row)],
      this.#score.constant,
    );
  }

  /**
   * Gives the contribution of each feature `[d]` to the score of a row `[d]`; `NaN` is missing.
   * They sum to `predict(row) - baseValue`.
   */
  explain(row: ArrayLike<number>): Float64Array {
    const contributions = new Float64Array(this.#features);
    for (const plan of this.#plans) addTree(contributions, row, plan, this.#scratch);
    return contributions;
  }
}

/** Buffers for one tree at a time, as large as the largest needs. */
class Scratch {
  /** Whether the row passes all conditions on the edge's feature up to each node. */
  readonly isPassed: Uint8Array;
  /** `1 / (z (1 - t) + o t)` of each node's edge `[nodes, points]`. */
  readonly inverse: Float64Array;
  /** Product of the factors of a path; then the sum of value times product below a node. */
  readonly product: Float64Array;

  constructor(plans: readonly Plan[]) {
    const largest = (size: (plan: Plan) => number) =>
      plans.reduce((most, plan) => Math.max(most, size(plan)), 0);
    this.isPassed = new Uint8Array(largest(({ parent }) => parent.length));
    const cells = largest(({ parent, nodes }) => parent.length * nodes.length);
    this.inverse = new Float64Array(cells);
    this.product = new Float64Array(cells);
  }
}

function checkTree({ feature, left, right, cover }: ShapTree, features: number): void {
  for (let node = 0; node < feature.length; node++) {
    if (feature[node] >= features) {
      throw new RangeError(
        `Cannot explain feature ${feature[node]} of a tree: there are ${features} features`,
      );
    }
    if (!(cover[node] > 0)) {
      throw new RangeError(`Cannot explain a tree of cover "${cover[node]}": it is not positive`);
    }
    if (feature[node] >= 0 && !(left[node] > node && right[node] > node)) {
      throw new RangeError(`Cannot explain a tree: node ${node} comes after one of its children`);
    }
  }
}

function makePlan(tree: ShapTree, rules: Map<number, Rule>): Plan {
  const { feature, left, right, cover } = tree;
  const size = feature.length;
  const parent = new Int32Array(size).fill(-1);
  const same = new Int32Array(size);
  const share = new Float64Array(size).fill(1);
  const distinct = new Int32Array(size);
  let longest = 0;
  for (let node = 0; node < size; node++) {
    if (feature[node] < 0) continue;
    const above = findSame(feature, parent, node);
    for (const child of [left[node], right[node]]) {
      parent[child] = node;
      same[child] = above;
      share[child] = share[above] * cover[child] / cover[node];
      distinct[child] = distinct[node] + (above === 0 ? 1 : 0);
      longest = Math.max(longest, distinct[child]);
    }
  }
  const points = Math.max(1, Math.ceil(longest / 2));
  if (!rules.has(points)) rules.set(points, gaussLegendre(points));
  return { tree, parent, same, share, ...rules.get(points)! };
}

/** The last node of the path to `node` whose own edge asks for the feature of `node`; else 0. */
function findSame(feature: Int32Array, parent: Int32Array, node: number): number {
  for (let at = node; at > 0; at = parent[at]) {
    if (feature[parent[at]] === feature[node]) return at;
  }
  return 0;
}

function meanOf({ feature, cover, value }: ShapTree): number {
  let sum = 0;
  for (let node = 0; node < feature.length; node++) {
    if (feature[node] < 0) sum += cover[node] * value[node];
  }
  return sum / cover[0];
}

function isLeft(tree: ShapTree, node: number, value: number): boolean {
  return value <= tree.threshold[node] || (value !== value && tree.isMissingLeft[node] === 1);
}

function findLeaf(tree: ShapTree, row: ArrayLike<number>): number {
  let node = 0;
  while (tree.feature[node] >= 0) {
    node = isLeft(tree, node, row[tree.feature[node]]) ? tree.left[node] : tree.right[node];
  }
  return node;
}

/** Adds one tree's contributions: products on the way down, sums and differences on the way up. */
function addTree(
  contributions: Float64Array,
  row: ArrayLike<number>,
  plan: Plan,
  scratch: Scratch,
): void {
  descend(row, plan, scratch);
  const { tree: { feature, value }, parent, same, share, nodes, weights } = plan;
  const { isPassed, inverse, product } = scratch;
  const points = nodes.length;
  for (let node = parent.length - 1; node > 0; node--) {
    const above = parent[node];
    const before = same[node];
    const at = node * points;
    if (feature[node] < 0) {
      for (let q = 0; q < points; q++) product[at + q] *= value[node];
    }
    // What the nearer edge of a feature adds, less what the edge before it added too much. When the
    // row had failed at that one already, both are -1 / (1 - t).
    if (isPassed[before] === 1) {
      const gain = isPassed[node] - share[node];
      const gainBefore = 1 - share[before];
      let sum = 0;
      for (let q = 0; q < points; q++) {
        const change = gain * inverse[at + q] - gainBefore * inverse[before * points + q];
        sum += weights[q] * product[at + q] * change;
      }
      contributions[feature[above]] += sum;
    }
    for (let q = 0; q < points; q++) product[above * points + q] += product[at + q];
  }
}

/** Fills the scratch: inverse factors of all nodes, products of leaves, zeros for the sums of others. */
function descend(row: ArrayLike<number>, plan: Plan, scratch: Scratch): void {
  const { tree, parent, same, share, nodes } = plan;
  const { isPassed, inverse, product } = scratch;
  const points = nodes.length;
  isPassed[0] = 1;
  for (let q = 0; q < points; q++) inverse[q] = product[q] = 1;
  for (let node = 0; node < parent.length; node++) {
    if (tree.feature[node] < 0) continue;
    const goesLeft = isLeft(tree, node, row[tree.feature[node]]);
    const left = tree.left[node];
    const right = tree.right[node];
    const before = same[left];
    isPassed[left] = goesLeft ? isPassed[before] : 0;
    isPassed[right] = goesLeft ? 0 : isPassed[before];
    for (let q = 0; q < points; q++) {
      const t = nodes[q];
      const passed = product[node * points + q] * inverse[before * points + q];
      const leftFactor = share[left] * (1 - t) + isPassed[left] * t;
      const rightFactor = share[right] * (1 - t) + isPassed[right] * t;
      inverse[left * points + q] = 1 / leftFactor;
      inverse[right * points + q] = 1 / rightFactor;
      product[left * points + q] = passed * leftFactor;
      product[right * points + q] = passed * rightFactor;
      product[node * points + q] = 0;
    }
  }
}

/** Points in `(0, 1)` and their weights. */
interface Rule {
  readonly nodes: Float64Array;
  readonly weights: Float64Array;
}

/** Newton's iteration doubles the right digits each time, from two at the start. */
const NEWTON_STEPS = 8;

/**
 * Gives the rule of n points on `[0, 1]` that integrates polynomials up to degree 2n - 1 exactly.
 * @see Press et al., "Numerical Recipes", 3rd edition, section 4.6
 */
function gaussLegendre(n: number): Rule {
  const nodes = new Float64Array(n);
  const weights = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let x = Math.cos(Math.PI * (i + 0.75) / (n + 0.5));
    let slope = 1;
    for (let step = 0; step < NEWTON_STEPS; step++) {
      let [value, before] = [1, 0];
      for (let k = 1; k <= n; k++) {
        [value, before] = [((2 * k - 1) * x * value - (k - 1) * before) / k, value];
      }
      slope = n * (x * value - before) / (x * x - 1);
      x -= value / slope;
    }
    nodes[i] = (1 - x) / 2;
    weights[i] = 1 / ((1 - x * x) * slope * slope);
  }
  return { nodes, weights };
}
