/** Histogram gradient boosting of classification trees, grown leaf by leaf. */
import { z } from "zod";
import {
  absentLogit,
  addLabel,
  applySoftmax,
  checkColumns,
  countClasses,
  Pacer,
} from "../../numeric/fitting.ts";
import type { Matrix } from "../../numeric/matrix.ts";
import { Random } from "../../numeric/random.ts";
import { type Dataset, definePlugin, type FitContext, type Model } from "../plugin.ts";
import { lowerBound } from "../../numeric/sorting.ts";

const params = z.strictObject({
  rounds: z.int().positive().default(100).describe(
    "Boosting rounds; the most there are when early stopping is on",
  ),
  learningRate: z.number().positive().max(1).default(0.1).describe("Share of each tree's step"),
  leaves: z.int().min(2).max(4096).default(31).describe("Most leaves of a tree"),
  minRows: z.int().positive().default(20).describe("Fewest training rows of a leaf"),
  l2: z.number().nonnegative().default(0).describe("L2 penalty on leaf values"),
  bins: z.int().min(2).max(255).default(255).describe(
    "Most bins of a feature, one more for missing values",
  ),
  featureShare: z.number().positive().max(1).default(1).describe(
    "Share of the features, drawn anew for each tree",
  ),
  patience: z.int().positive().nullable().default(20).describe(
    "Rounds without a smaller validation log-loss before the fit stops; null fits all rounds",
  ),
});

/** Parameters of {@linkcode boosting}. */
export type BoostingParams = z.infer<typeof params>;

/**
 * Fits trees to the gradient of the softmax log-loss, one per class and round (one per round for
 * two classes). Missing values take the side of a split on which they lower the loss; where the
 * training rows of a node had none, the side of more rows.
 *
 * With `context.validation` and `patience`, the fit stops when the validation log-loss no longer
 * falls and keeps the rounds up to its smallest value. `fit` throws a RangeError when fewer than
 * two classes occur. A class that the training rows lack gets probability 0. `importances` are
 * shares of the total gain.
 *
 * @example
 * ```ts
 * import { assert, assertEquals } from "@std/assert";
 * import { matrix } from "../../numeric/matrix.ts";
 * import { boosting } from "./boosting.ts";
 *
 * const train = {
 *   X: matrix(6, 1, Float32Array.of(1, 2, 3, NaN, 5, 6)),
 *   y: Int32Array.of(0, 0, 0, 1, 1, 1),
 *   featureNames: ["gr"],
 *   classNames: ["sand", "shale"],
 * };
 * const params = boosting.params.parse({ minRows: 1, rounds: 50 });
 * const model = await boosting.fit(train, params, {
 *   seed: 0,
 *   signal: new AbortController().signal,
 * });
 * assertEquals(model.iterations, 50);
 * const P = model.predict(matrix(2, 1, Float32Array.of(2.5, NaN)));
 * assert(P.data[0] > 0.9 && P.data[3] > 0.9);
 * ```
 *
 * @see Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics
 * 29(5), 2001
 * @see Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS 2017
 */
export const boosting = definePlugin({
  kind: "trainer",
  name: "boosting",
  summary: "histogram gradient boosting of trees; takes missing values",
  params,
  handlesMissing: true,
  async fit(train, params: BoostingParams, context): Promise<Model> {
    const pacer = new Pacer(context.signal);
    const { counts, present } = countClasses("boosting", train);
    const bins = await binFeatures(train.X, params.bins, pacer);
    const ensemble = makeEnsemble(counts, present);
    const rounds = await boost(ensemble, { train, params, context, pacer, bins });
    return makeModel(ensemble, rounds, train.X.cols);
  },
  refit(params: BoostingParams, model: Model): BoostingParams {
    return { ...params, rounds: model.iterations ?? params.rounds, patience: null };
  },
});

/** Features as small integers: the bin of each value, in the order of the values. */
interface Bins {
  readonly rows: number;
  readonly cols: number;
  /** `[n, d]`, row-major. */
  readonly data: Uint8Array;
  /** Per feature: `x <= edges[b]` in float32 holds exactly for the bins `0 … b`. */
  readonly edges: readonly Float32Array[];
  /** Per feature: bin of missing values; the bins below it hold values. */
  readonly missing: Uint8Array;
}

/** Histogram entries per feature: every value of a byte, so that no address has to be looked up. */
const binStride = 256;

/** Rows that are worked on between two looks at the clock. */
const rowsPerTurn = 4096;

/** Quantiles are taken of at most this many rows, evenly spread. */
const maxSampledRows = 200_000;

async function binFeatures(X: Matrix, maxBins: number, pacer: Pacer): Promise<Bins> {
  const { rows, cols } = X;
  const data = new Uint8Array(rows * cols);
  const values = new Float32Array(rows);
  const edges: Float32Array[] = [];
  for (let f = 0; f < cols; f++) {
    if (pacer.isDue()) await pacer.rest();
    for (let i = 0; i < rows; i++) values[i] = X.data[i * cols + f];
    edges.push(findEdges(values, maxBins));
    const missing = edges[f].length + 1;
    for (let i = 0; i < rows; i++) data[i * cols + f] = findBin(values[i], edges[f], missing);
  }
  return { rows, cols, data, edges, missing: Uint8Array.from(edges, ({ length }) => length + 1) };
}

/** Upper edges of all bins but the last: between all distinct values, or by equal row counts. */
function findEdges(values: Float32Array, maxBins: number): Float32Array {
  const step = Math.ceil(values.length / maxSampledRows);
  const sorted = values.filter((value, i) => i % step === 0 && !Number.isNaN(value)).sort();
  const starts = findRuns(sorted);
  const edges: number[] = [];
  let taken = 0;
  for (let run = 1; run < starts.length; run++) {
    const binsLeft = maxBins - edges.length;
    if (binsLeft === 1) break;
    const runsLeft = starts.length - run;
    const isFull = starts[run] - taken >= (sorted.length - taken) / binsLeft;
    if (isFull || runsLeft < binsLeft) {
      edges.push(edgeBetween(sorted[starts[run] - 1], sorted[starts[run]]));
      taken = starts[run];
    }
  }
  return Float32Array.from(edges);
}

/** Where each run of equal values starts. */
function findRuns(sorted: Float32Array): number[] {
  const starts: number[] = [];
  for (let i = 0; i < sorted.length; i++) {
    if (i === 0 || sorted[i] !== sorted[i - 1]) starts.push(i);
  }
  return starts;
}

/** A float32 threshold t with `low <= t < high`, the midpoint where that is one. */
function edgeBetween(low: number, high: number): number {
  const middle = Math.fround(low / 2 + high / 2);
  return middle >= low && middle < high ? middle : low;
}

function findBin(value: number, edges: Float32Array, missing: number): number {
  return Number.isNaN(value) ? missing : lowerBound(edges, value);
}

/**
 * A binary tree in arrays. The children of node i are `left[i]` for `x <= threshold[i]` and
 * `left[i] + 1`; a leaf has feature -1.
 */
interface Tree {
  readonly classId: number;
  readonly feature: Int32Array;
  readonly threshold: Float32Array;
  readonly left: Int32Array;
  readonly isMissingLeft: Uint8Array;
  readonly value: Float32Array;
  readonly gain: Float64Array;
  /** Training rows that reach each node. */
  readonly rows: Int32Array;
}

interface Ensemble {
  readonly k: number;
  /** Classes that get trees; of two present classes only the second. */
  readonly boosted: readonly number[];
  /** Logits before the first round `[k]`. */
  readonly base: Float32Array;
  /** Round by round, within a round as `boosted`. */
  readonly trees: Tree[];
}

function makeEnsemble(counts: Float64Array, present: readonly number[]): Ensemble {
  const isBinary = present.length === 2;
  const unit = isBinary ? counts[present[0]] : counts.reduce((sum, count) => sum + count, 0);
  const base = Float32Array.from(
    counts,
    (count) => count > 0 ? Math.log(count / unit) : absentLogit,
  );
  return { k: counts.length, boosted: isBinary ? present.slice(1) : present, base, trees: [] };
}

interface BoostTask {
  readonly train: Dataset;
  readonly params: BoostingParams;
  readonly context: FitContext;
  readonly pacer: Pacer;
  readonly bins: Bins;
}

/** Adds the trees to `ensemble` and gives the number of rounds kept. */
async function boost(ensemble: Ensemble, task: BoostTask): Promise<number> {
  const { train, params, context, pacer, bins } = task;
  const { rows } = bins;
  const { boosted, trees } = ensemble;
  const random = new Random(context.seed);
  const grower = new TreeGrower(bins, params, pacer);
  const scores = boosted.map((c) => new Float64Array(rows).fill(ensemble.base[c]));
  const gradients = boosted.map(() => new Float32Array(rows));
  const hessians = boosted.map(() => new Float32Array(rows));
  const stopper = params.patience !== null && context.validation && context.validation.X.rows > 0
    ? new EarlyStopper(ensemble, context.validation, params.patience)
    : null;

  for (let round = 0; round < params.rounds; round++) {
    await computeDerivatives({ y: train.y, boosted, scores, gradients, hessians }, pacer);
    for (let b = 0; b < boosted.length; b++) {
      const features = drawFeatures(bins.cols, params.featureShare, random);
      const tree = await grower.grow(gradients[b], hessians[b], { classId: boosted[b], features });
      grower.addTo(scores[b]);
      trees.push(tree);
    }
    context.onProgress?.((round + 1) / params.rounds);
    if (stopper?.isOver(trees.slice(-boosted.length))) break;
  }
  const rounds = stopper ? stopper.bestRounds : trees.length / boosted.length;
  trees.length = rounds * boosted.length;
  return rounds;
}

/** Features of one tree, ascending. */
function drawFeatures(count: number, share: number, random: Random): Int32Array {
  const all = Int32Array.from({ length: count }, (_, f) => f);
  if (share === 1) return all;
  return random.shuffle(all).slice(0, Math.max(1, Math.round(share * count))).sort();
}

interface Derivatives {
  readonly y: Int32Array;
  readonly boosted: readonly number[];
  readonly scores: readonly Float64Array[];
  readonly gradients: readonly Float32Array[];
  readonly hessians: readonly Float32Array[];
}

/** First and second derivatives of the log-loss by the scores of each boosted class. */
async function computeDerivatives(derivatives: Derivatives, pacer: Pacer): Promise<void> {
  const { length } = derivatives.y;
  for (let start = 0; start < length; start += rowsPerTurn) {
    if (pacer.isDue()) await pacer.rest();
    differentiateRows(derivatives, start, Math.min(start + rowsPerTurn, length));
  }
}

function differentiateRows(derivatives: Derivatives, start: number, end: number): void {
  const { y, boosted, scores, gradients, hessians } = derivatives;
  const exponentials = new Float64Array(boosted.length);
  // Of two classes, the one without trees keeps the score 0.
  const fixedScore = boosted.length === 1 ? 0 : -Infinity;
  for (let i = start; i < end; i++) {
    let largest = fixedScore;
    for (let b = 0; b < boosted.length; b++) largest = Math.max(largest, scores[b][i]);
    let sum = Math.exp(fixedScore - largest);
    for (let b = 0; b < boosted.length; b++) {
      sum += exponentials[b] = Math.exp(scores[b][i] - largest);
    }
    for (let b = 0; b < boosted.length; b++) {
      const probability = exponentials[b] / sum;
      gradients[b][i] = probability - (y[i] === boosted[b] ? 1 : 0);
      hessians[b][i] = probability * (1 - probability);
    }
  }
}

/** Watches the log-loss of held-out rows while trees are added. */
class EarlyStopper {
  bestRounds = 0;
  #rounds = 0;
  #bestLoss = Infinity;
  readonly #validation: Dataset;
  readonly #patience: number;
  readonly #logits: Float64Array;
  readonly #k: number;

  constructor(ensemble: Ensemble, validation: Dataset, patience: number) {
    this.#validation = validation;
    this.#patience = patience;
    this.#k = ensemble.k;
    this.#logits = makeLogits(ensemble.base, validation.X.rows);
  }

  /** Takes the trees of the next round and says whether patience has run out. */
  isOver(trees: readonly Tree[]): boolean {
    this.#rounds++;
    addTrees(trees, this.#validation.X, { logits: this.#logits, k: this.#k });
    const loss = meanLogLoss(this.#logits, this.#validation.y, this.#k);
    if (loss < this.#bestLoss || this.bestRounds === 0) {
      this.#bestLoss = loss;
      this.bestRounds = this.#rounds;
    }
    return this.#rounds - this.bestRounds >= this.#patience;
  }
}

function meanLogLoss(logits: Float64Array, y: Int32Array, k: number): number {
  const { data } = applySoftmax(logits, y.length, k);
  const smallest = 2 ** -23; // As the metrics clip; a class without training rows has 0.
  let sum = 0;
  for (let i = 0; i < y.length; i++) sum -= Math.log(Math.max(data[i * k + y[i]], smallest));
  return sum / y.length;
}

/** A node while its tree grows. Its rows are `start … end-1` of the grower's row list. */
interface Node {
  readonly id: number;
  readonly start: number;
  readonly end: number;
  readonly gradient: number;
  readonly hessian: number;
  histogram: Histogram | null;
  split: Split | null;
}

/** Sums per bin of all features. */
interface Histogram {
  /** Gradient and hessian, interleaved. */
  readonly sums: Float64Array;
  readonly counts: Int32Array;
}

interface Split {
  readonly gain: number;
  readonly feature: number;
  /** Last bin of values that goes left. */
  readonly bin: number;
  readonly isMissingLeft: boolean;
  readonly leftGradient: number;
  readonly leftHessian: number;
}

/** As in LightGBM and scikit-learn: a leaf of less curvature has no reliable value. */
const minHessian = 1e-3;

/** Gains below it are rounding. */
const minGain = 1e-9;

/** Grows one tree after the other in the same buffers. */
class TreeGrower {
  readonly #bins: Bins;
  readonly #params: BoostingParams;
  readonly #pacer: Pacer;
  /** Training rows, those of one node contiguous and ascending. */
  readonly #rows: Int32Array;
  readonly #rightRows: Int32Array;
  readonly #free: Histogram[] = [];
  #features: Int32Array = new Int32Array(0);
  #leaves: Node[] = [];
  #value: Float32Array = new Float32Array(0);

  constructor(bins: Bins, params: BoostingParams, pacer: Pacer) {
    this.#bins = bins;
    this.#params = params;
    this.#pacer = pacer;
    this.#rows = new Int32Array(bins.rows);
    this.#rightRows = new Int32Array(bins.rows);
  }

  /** Grows a tree on the gradients and hessians `[n]`, always splitting the leaf of most gain. */
  async grow(
    gradients: Float32Array,
    hessians: Float32Array,
    { classId, features }: { classId: number; features: Int32Array },
  ): Promise<Tree> {
    const tree = makeTree(classId, 2 * this.#params.leaves - 1);
    this.#features = features;
    const root = this.#makeRoot(gradients, hessians);
    if (this.#isSplittable(root)) {
      root.histogram = await this.#fillHistogram(root, gradients, hessians);
      this.#findSplit(root);
    }
    this.#leaves = [root];
    tree.rows[0] = gradients.length;
    let nodeCount = 1;
    for (let best = this.#popBest(); best !== null; best = this.#popBest()) {
      const children = this.#divide(best, nodeCount);
      writeSplit(tree, best, { left: nodeCount, edges: this.#bins.edges });
      nodeCount += 2;
      for (const { id, start, end } of children) tree.rows[id] = end - start;
      this.#leaves.push(...children);
      const isFinished = this.#leaves.length === this.#params.leaves;
      if (isFinished) break;
      await this.#prepare(best, children, { gradients, hessians });
    }
    this.#finish(tree);
    return trimTree(tree, nodeCount);
  }

  /** Adds the values of the tree grown last to the scores `[n]` of the training rows. */
  addTo(scores: Float64Array): void {
    for (const { id, start, end } of this.#leaves) {
      for (let i = start; i < end; i++) scores[this.#rows[i]] += this.#value[id];
    }
  }

  #makeRoot(gradients: Float32Array, hessians: Float32Array): Node {
    let gradient = 0;
    let hessian = 0;
    for (let i = 0; i < gradients.length; i++) {
      this.#rows[i] = i;
      gradient += gradients[i];
      hessian += hessians[i];
    }
    const end = gradients.length;
    return { id: 0, start: 0, end, gradient, hessian, histogram: null, split: null };
  }

  #isSplittable({ start, end, hessian }: Node): boolean {
    return end - start >= 2 * this.#params.minRows && hessian >= 2 * minHessian;
  }

  /** Takes the leaf of the largest gain out of the leaves; the first of equals. */
  #popBest(): Node | null {
    let best = -1;
    this.#leaves.forEach(({ split }, i) => {
      if (split && (best < 0 || split.gain > this.#leaves[best].split!.gain)) best = i;
    });
    return best < 0 ? null : this.#leaves.splice(best, 1)[0];
  }

  /** Parts the rows of a node by its split, keeping their order. */
  #divide(node: Node, leftId: number): [Node, Node] {
    const { feature, bin, isMissingLeft, leftGradient, leftHessian } = node.split!;
    const { data, cols } = this.#bins;
    const missing = this.#bins.missing[feature];
    const rows = this.#rows;
    let middle = node.start;
    let rightCount = 0;
    for (let i = node.start; i < node.end; i++) {
      const row = rows[i];
      const rowBin = data[row * cols + feature];
      const isLeft = rowBin === missing ? isMissingLeft : rowBin <= bin;
      if (isLeft) rows[middle++] = row;
      else this.#rightRows[rightCount++] = row;
    }
    rows.set(this.#rightRows.subarray(0, rightCount), middle);
    const open = { histogram: null, split: null };
    return [
      {
        ...open,
        id: leftId,
        start: node.start,
        end: middle,
        gradient: leftGradient,
        hessian: leftHessian,
      },
      {
        ...open,
        id: leftId + 1,
        start: middle,
        end: node.end,
        gradient: node.gradient - leftGradient,
        hessian: node.hessian - leftHessian,
      },
    ];
  }

  /** Finds the splits of two new leaves; the larger one's histogram is parent minus sibling. */
  async #prepare(
    parent: Node,
    children: [Node, Node],
    { gradients, hessians }: { gradients: Float32Array; hessians: Float32Array },
  ): Promise<void> {
    const isLeftSmaller =
      children[0].end - children[0].start <= children[1].end - children[1].start;
    const [smaller, larger] = isLeftSmaller ? children : [children[1], children[0]];
    const histogram = parent.histogram!;
    parent.histogram = null;
    if (!this.#isSplittable(smaller) && !this.#isSplittable(larger)) {
      this.#free.push(histogram);
      return;
    }
    smaller.histogram = await this.#fillHistogram(smaller, gradients, hessians);
    larger.histogram = histogram;
    this.#subtract(histogram, smaller.histogram);
    for (const child of children) {
      if (this.#isSplittable(child)) this.#findSplit(child);
      if (child.split !== null) continue;
      this.#free.push(child.histogram!);
      child.histogram = null;
    }
  }

  async #fillHistogram(
    node: Node,
    gradients: Float32Array,
    hessians: Float32Array,
  ): Promise<Histogram> {
    const histogram = this.#takeHistogram();
    for (let start = node.start; start < node.end; start += rowsPerTurn) {
      if (this.#pacer.isDue()) await this.#pacer.rest();
      const rows = this.#rows.subarray(start, Math.min(start + rowsPerTurn, node.end));
      sumRows(histogram, rows, { bins: this.#bins, features: this.#features, gradients, hessians });
    }
    return histogram;
  }

  #takeHistogram(): Histogram {
    const size = binStride * this.#bins.cols;
    const histogram = this.#free.pop();
    if (!histogram) return { sums: new Float64Array(2 * size), counts: new Int32Array(size) };
    histogram.sums.fill(0);
    histogram.counts.fill(0);
    return histogram;
  }

  #subtract(from: Histogram, what: Histogram): void {
    for (let i = 0; i < from.sums.length; i++) from.sums[i] -= what.sums[i];
    for (let i = 0; i < from.counts.length; i++) from.counts[i] -= what.counts[i];
  }

  #findSplit(node: Node): void {
    let best: Split | null = null;
    for (const feature of this.#features) {
      const missingAt = binStride * feature + this.#bins.missing[feature];
      const hasMissing = node.histogram!.counts[missingAt] > 0;
      best = this.#scan(node, { feature, isMissingLeft: false, best });
      if (hasMissing) best = this.#scan(node, { feature, isMissingLeft: true, best });
    }
    node.split = best;
  }

  /** Tries every split of one feature; gives `best` or a better one. */
  #scan(
    node: Node,
    { feature, isMissingLeft, best }: {
      feature: number;
      isMissingLeft: boolean;
      best: Split | null;
    },
  ): Split | null {
    const { sums, counts } = node.histogram!;
    const { l2, minRows } = this.#params;
    const { gradient, hessian } = node;
    const first = binStride * feature;
    const missingAt = first + this.#bins.missing[feature];
    const missingCount = counts[missingAt];
    const total = node.end - node.start;
    const parentScore = gradient * gradient / (hessian + l2);
    let leftGradient = isMissingLeft ? sums[2 * missingAt] : 0;
    let leftHessian = isMissingLeft ? sums[2 * missingAt + 1] : 0;
    let leftCount = isMissingLeft ? missingCount : 0;
    let bestScore = parentScore + (best ? best.gain : minGain);
    let bestAt = -1;
    let bestLeftCount = 0;
    let bestGradient = 0;
    let bestHessian = 0;
    for (let at = first; at < missingAt; at++) {
      const count = counts[at];
      leftGradient += sums[2 * at];
      leftHessian += sums[2 * at + 1];
      leftCount += count;
      if (leftCount < minRows || leftHessian < minHessian) continue;
      const rightHessian = hessian - leftHessian;
      if (total - leftCount < minRows || rightHessian < minHessian) break;
      const rightGradient = gradient - leftGradient;
      // Both terms of the score over one denominator, so that most bins need no division.
      const left = leftHessian + l2;
      const right = rightHessian + l2;
      const score = leftGradient * leftGradient * right + rightGradient * rightGradient * left;
      // An empty bin repeats the split before it. It is told apart here, where the branch is rare.
      if (score > bestScore * (left * right) && count > 0) {
        bestScore = score / (left * right);
        bestAt = at;
        bestLeftCount = leftCount;
        bestGradient = leftGradient;
        bestHessian = leftHessian;
      }
    }
    if (bestAt < 0) return best;
    return {
      gain: bestScore - parentScore,
      feature,
      bin: bestAt - first,
      isMissingLeft: missingCount > 0 ? isMissingLeft : 2 * bestLeftCount > total,
      leftGradient: bestGradient,
      leftHessian: bestHessian,
    };
  }

  /** Writes the leaf values and gives all histograms back. */
  #finish(tree: Tree): void {
    const { learningRate, l2 } = this.#params;
    for (const leaf of this.#leaves) {
      const denominator = Math.max(leaf.hessian + l2, Number.MIN_VALUE);
      tree.value[leaf.id] = this.#leaves.length === 1
        ? 0
        : -learningRate * leaf.gradient / denominator;
      if (leaf.histogram) this.#free.push(leaf.histogram);
      leaf.histogram = null;
    }
    this.#value = tree.value;
  }
}

/** Adds the gradients and hessians of some rows to the bins of the features. */
function sumRows(
  { sums, counts }: Histogram,
  rows: Int32Array,
  { bins, features, gradients, hessians }: {
    bins: Bins;
    features: Int32Array;
    gradients: Float32Array;
    hessians: Float32Array;
  },
): void {
  const { data, cols } = bins;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i];
    const start = row * cols;
    const gradient = gradients[row];
    const hessian = hessians[row];
    for (let j = 0; j < features.length; j++) {
      const feature = features[j];
      const at = binStride * feature + data[start + feature];
      sums[2 * at] += gradient;
      sums[2 * at + 1] += hessian;
      counts[at]++;
    }
  }
}

function makeTree(classId: number, size: number): Tree {
  return {
    classId,
    feature: new Int32Array(size).fill(-1),
    threshold: new Float32Array(size),
    left: new Int32Array(size),
    isMissingLeft: new Uint8Array(size),
    value: new Float32Array(size),
    gain: new Float64Array(size),
    rows: new Int32Array(size),
  };
}

function writeSplit(
  tree: Tree,
  { id, split }: Node,
  { left, edges }: { left: number; edges: readonly Float32Array[] },
): void {
  const { feature, bin, isMissingLeft, gain } = split!;
  tree.feature[id] = feature;
  // After the last bin of values, only missing values are left for the other side.
  tree.threshold[id] = bin < edges[feature].length ? edges[feature][bin] : Infinity;
  tree.left[id] = left;
  tree.isMissingLeft[id] = isMissingLeft ? 1 : 0;
  tree.gain[id] = gain;
}

function trimTree(tree: Tree, size: number): Tree {
  return {
    classId: tree.classId,
    feature: tree.feature.slice(0, size),
    threshold: tree.threshold.slice(0, size),
    left: tree.left.slice(0, size),
    isMissingLeft: tree.isMissingLeft.slice(0, size),
    value: tree.value.slice(0, size),
    gain: tree.gain.slice(0, size),
    rows: tree.rows.slice(0, size),
  };
}

function makeLogits(base: Float32Array, rows: number): Float64Array {
  const logits = new Float64Array(rows * base.length);
  for (let i = 0; i < rows; i++) logits.set(base, i * base.length);
  return logits;
}

/** Rows that pass through one tree after the other before the next rows; they stay in the cache. */
const rowsPerBatch = 64;

/** Adds the trees' values to the logits `[n, k]` of the rows `[n, d]`. */
function addTrees(
  trees: readonly Tree[],
  X: Matrix,
  { logits, k }: { logits: Float64Array; k: number },
): void {
  for (let start = 0; start < X.rows; start += rowsPerBatch) {
    const end = Math.min(start + rowsPerBatch, X.rows);
    for (const tree of trees) {
      for (let i = start; i < end; i++) {
        logits[i * k + tree.classId] += tree.value[findLeaf(tree, X.data, i * X.cols)];
      }
    }
  }
}

function findLeaf(tree: Tree, data: Float32Array, start: number): number {
  const { feature, threshold, left, isMissingLeft } = tree;
  let node = 0;
  while (feature[node] >= 0) {
    const value = data[start + feature[node]];
    const isLeft = value <= threshold[node] || (value !== value && isMissingLeft[node] === 1);
    node = isLeft ? left[node] : left[node] + 1;
  }
  return node;
}

function makeModel(ensemble: Ensemble, rounds: number, d: number): Model {
  const { k, base, trees } = ensemble;
  return {
    iterations: rounds,
    importances: shareGain(trees, d),
    predict(X) {
      checkColumns(X, d);
      const logits = makeLogits(base, X.rows);
      addTrees(trees, X, { logits, k });
      return applySoftmax(logits, X.rows, k);
    },
    toGraph(graph, input) {
      graph.node(
        "TreeEnsembleClassifier",
        [input],
        [graph.freshName("tree_label"), "probabilities"],
        treeAttributes(ensemble),
        "ai.onnx.ml",
      );
      addLabel(graph);
    },
  };
}

/** Share of the total gain per feature; equal shares when no tree has a split. */
function shareGain(trees: readonly Tree[], d: number): Float64Array {
  const gains = new Float64Array(d);
  for (const { feature, gain } of trees) {
    feature.forEach((f, node) => {
      if (f >= 0) gains[f] += gain[node];
    });
  }
  const total = gains.reduce((sum, gain) => sum + gain, 0);
  return gains.map((gain) => total > 0 ? gain / total : 1 / d);
}

/** Attributes of the ONNX node, one entry per node of each tree. */
function treeAttributes(ensemble: Ensemble) {
  const nodes = ensemble.trees.flatMap((tree, t) =>
    Array.from(tree.feature, (feature, node) => ({ tree, t, node, isLeaf: feature < 0 }))
  );
  const weights = nodes.filter(({ isLeaf }) => isLeaf).flatMap(({ tree, t, node }) =>
    leafWeights(ensemble, tree, node).map((weight) => ({ t, node, ...weight }))
  );
  return {
    nodes_treeids: { ints: nodes.map(({ t }) => t) },
    nodes_nodeids: { ints: nodes.map(({ node }) => node) },
    nodes_featureids: {
      ints: nodes.map(({ tree, node, isLeaf }) => isLeaf ? 0 : tree.feature[node]),
    },
    nodes_values: { floats: nodes.map(({ tree, node }) => tree.threshold[node]) },
    nodes_modes: { strings: nodes.map(({ isLeaf }) => isLeaf ? "LEAF" : "BRANCH_LEQ") },
    nodes_truenodeids: { ints: nodes.map(({ tree, node }) => tree.left[node]) },
    nodes_falsenodeids: {
      ints: nodes.map(({ tree, node, isLeaf }) => isLeaf ? 0 : tree.left[node] + 1),
    },
    nodes_missing_value_tracks_true: {
      ints: nodes.map(({ tree, node }) => tree.isMissingLeft[node]),
    },
    // For explanations alone; onnxruntime has no use for them.
    nodes_hitrates: { floats: nodes.map(({ tree, node }) => tree.rows[node]) },
    class_treeids: { ints: weights.map(({ t }) => t) },
    class_nodeids: { ints: weights.map(({ node }) => node) },
    class_ids: { ints: weights.map(({ classId }) => classId) },
    class_weights: { floats: weights.map(({ weight }) => weight) },
    classlabels_int64s: { ints: ensemble.base.map((_, c) => c) },
    post_transform: { string: "SOFTMAX" },
  };
}

/**
 * What a leaf adds to which class. The first tree's leaves carry the base logits of all classes:
 * onnxruntime reads `base_values`, and weights of one class only, in its own way when there are two
 * classes.
 */
function leafWeights({ base, trees }: Ensemble, tree: Tree, node: number) {
  const value = tree.value[node];
  if (tree !== trees[0]) return [{ classId: tree.classId, weight: value }];
  return Array.from(base, (logit, classId) => ({
    classId,
    weight: classId === tree.classId ? logit + value : logit,
  }));
}
