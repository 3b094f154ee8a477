/**
 * Scores of classifiers, with block-bootstrap intervals.
 *
 * @module
 */
import type { Matrix } from "./matrix.ts";
import { Random } from "./random.ts";
import { computeQuantiles } from "./statistics.ts";

/** One metric with its 95 % percentile interval. */
export interface Interval {
  readonly value: number;
  /**
   * Ends of the interval; `null` with fewer than two blocks, without replicates, or when the
   * metric is undefined in more than half of the replicates.
   */
  readonly low: number | null;
  readonly high: number | null;
}

/** Scores of one class against the rest; `null` where undefined. */
export interface ClassScore {
  readonly name: string;
  /** Rows of this class. */
  readonly support: number;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f1: number | null;
  readonly rocAuc: number | null;
}

/** Outcome of {@linkcode scoreClassifier}. A metric is `null` when it is undefined. */
export interface ClassifierScore {
  readonly rows: number;
  readonly blocks: number;
  readonly accuracy: Interval | null;
  readonly balancedAccuracy: Interval | null;
  readonly macroF1: Interval | null;
  readonly weightedF1: Interval | null;
  readonly rocAuc: Interval | null;
  readonly logLoss: Interval | null;
  readonly brier: Interval | null;
  readonly calibrationError: Interval | null;
  readonly classes: readonly ClassScore[];
  /** Classes without both positives and negatives, which `rocAuc` leaves out. */
  readonly rocAucLeftOut: readonly string[];
  /** `confusion[truth][predicted]` counts rows, `[k][k]`. */
  readonly confusion: readonly (readonly number[])[];
}

/** How the intervals are drawn. */
export interface BootstrapOptions {
  /**
   * Block of each row `[n]`, such as a stretch of a well: whole blocks are drawn, since neighbors
   * are not independent. Left out: each row is its own block.
   */
  readonly blocks?: Int32Array;
  /** Number of replicates; 1000 when left out. ROC-AUC uses at most {@linkcode aucReplicates}. */
  readonly replicates?: number;
  /** 0 when left out. */
  readonly seed?: number;
}

/** Difference of one metric between two models with its 95 % percentile interval. */
export interface Difference {
  readonly difference: number;
  readonly low: number | null;
  readonly high: number | null;
}

/** Outcome of {@linkcode compareClassifiers}: metric of A minus metric of B. */
export interface ClassifierComparison {
  readonly accuracy: Difference | null;
  readonly macroF1: Difference | null;
  readonly logLoss: Difference | null;
}

/** Most replicates ROC-AUC is computed on; it costs a pass over the rows for every class. */
export const aucReplicates = 200;

const calibrationBins = 15;
const intervalProbabilities = [0.025, 0.975];

/** scikit-learn clips float32 probabilities to `[eps, 1 - eps]` of their type. */
const smallestProbability = 2 ** -23;

/** What each row contributes to the metrics, computed once. */
interface RowScores {
  readonly classCount: number;
  /** `truth * k + predicted` of each row. */
  readonly cell: Int32Array;
  readonly logLoss: Float64Array;
  readonly brier: Float64Array;
  /** Largest probability of each row. */
  readonly confidence: Float64Array;
  readonly bin: Int32Array;
}

/** Weighted sums over rows, from which every metric but ROC-AUC follows. */
interface Tally {
  rows: number;
  logLoss: number;
  brier: number;
  readonly confusion: Float64Array;
  /** Per bin: rows predicted correctly minus the sum of confidences. */
  readonly calibrationGap: Float64Array;
}

/**
 * Scores predicted probabilities `P` `[n, k]` against classes `y` `[n]` in `0 … k-1`. The predicted
 * class is the first of the largest probability. Values equal scikit-learn 1.9 where it has the
 * metric:
 *
 * - `accuracy`, in `[0, 1]`.
 * - `balancedAccuracy`: mean recall of the classes present in `y`.
 * - `macroF1`: mean over classes present in `y` or predicted (a class absent from both does not
 *   count); `weightedF1`: mean weighted by support. A class without a correct prediction counts as
 *   0 (`zero_division=0`).
 * - `rocAuc`: mean of one class against the rest, over classes with positives and negatives.
 * - `logLoss`: natural logarithm, probabilities clipped to `[2**-23, 1 - 2**-23]`.
 * - `brier`: squared distance to the one-hot truth, in `[0, 2]` (`scale_by_half=False`).
 * - `calibrationError` (ECE): 15 bins of equal width on confidence, each closed on the right.
 *
 * Undefined metrics are `null`: all of them for no rows, `rocAuc` for a single class, a class's
 * precision, recall and F1 when it is neither in `y` nor predicted. Intervals are 95 % percentile
 * intervals over replicates that draw as many blocks as there are, with replacement. That of
 * `calibrationError` lies high and need not hold the value, since drawing widens every bin's gap.
 *
 * @throws {TypeError} when the lengths of `y`, `P`, `classNames` or `blocks` disagree.
 * @throws {RangeError} when a class is not in `0 … k-1`, a probability is `NaN` or `replicates` is
 * not an integer ≥ 0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "./matrix.ts";
 * import { scoreClassifier } from "./metrics.ts";
 *
 * const P = matrix(3, 2, Float32Array.of(0.75, 0.25, 0.25, 0.75, 0.5, 0.5));
 * const score = scoreClassifier(Int32Array.of(0, 1, 1), P, ["sand", "shale"]);
 * assertEquals(score.accuracy?.value, 2 / 3);
 * assertEquals(score.confusion, [[1, 0], [1, 1]]);
 * assertEquals(score.rocAuc?.value, 1);
 * ```
 *
 * @see Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3
 * @see Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", Annals of
 * Statistics 17(3), 1989
 */
export function scoreClassifier(
  y: Int32Array,
  P: Matrix,
  classNames: readonly string[],
  options: BootstrapOptions = {},
): ClassifierScore {
  if (classNames.length !== P.cols) {
    throw new TypeError(
      `Cannot score a classifier: ${P.cols} columns for ${classNames.length} class names`,
    );
  }
  const scores = scoreRows(y, P);
  const sampler = new BlockSampler(y.length, options);
  const whole = tallyRows(scores);
  const curves = classNames.map((_, c) => new RocCurve(y, P, c));
  const isInCurve = curves.map((curve) => curve.area() !== null);

  const additive = drawAdditive(scores, sampler);
  const areas = drawAreas(curves, isInCurve, sampler);
  const interval = (measure: (tally: Tally) => number | null) =>
    makeInterval(measure(whole), additive.map(measure));

  return {
    rows: y.length,
    blocks: sampler.blockCount,
    accuracy: interval(measureAccuracy),
    balancedAccuracy: interval(measureBalancedAccuracy),
    macroF1: interval(measureMacroF1),
    weightedF1: interval(measureWeightedF1),
    rocAuc: makeInterval(meanArea(curves, isInCurve), areas),
    logLoss: interval(measureLogLoss),
    brier: interval(measureBrier),
    calibrationError: interval(measureCalibrationError),
    classes: classNames.map((name, c) => ({
      name,
      ...scoreClass(whole.confusion, c),
      rocAuc: curves[c].area(),
    })),
    rocAucLeftOut: classNames.filter((_, c) => !isInCurve[c]),
    confusion: classNames.map((_, c) => [
      ...whole.confusion.subarray(c * P.cols, (c + 1) * P.cols),
    ]),
  };
}

/**
 * Compares two models on the same rows: metric of `A` minus metric of `B`, both `[n, k]`, with the
 * interval of that difference over replicates in which both models see the same blocks. An
 * interval without 0 is a difference that chance does not explain at 5 %. Metrics are those of
 * {@linkcode scoreClassifier}; no rows give `null`.
 *
 * @throws {TypeError} when the shapes of `y`, `A`, `B` or `blocks` disagree.
 * @throws {RangeError} as `scoreClassifier`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "./matrix.ts";
 * import { compareClassifiers } from "./metrics.ts";
 *
 * const right = matrix(2, 2, Float32Array.of(1, 0, 0, 1));
 * const wrong = matrix(2, 2, Float32Array.of(0, 1, 1, 0));
 * const { accuracy } = compareClassifiers(Int32Array.of(0, 1), right, wrong);
 * assertEquals(accuracy, { difference: 1, low: 1, high: 1 });
 * ```
 */
export function compareClassifiers(
  y: Int32Array,
  A: Matrix,
  B: Matrix,
  options: BootstrapOptions = {},
): ClassifierComparison {
  if (A.cols !== B.cols) {
    throw new TypeError(`Cannot compare classifiers: ${A.cols} and ${B.cols} columns`);
  }
  const first = scoreRows(y, A);
  const second = scoreRows(y, B);
  const wholes = [tallyRows(first), tallyRows(second)];
  const sampler = new BlockSampler(y.length, options);
  const pairs: Tally[][] = [];
  sampler.draw((weights) => pairs.push([tallyRows(first, weights), tallyRows(second, weights)]));

  function compare(measure: (tally: Tally) => number | null): Difference | null {
    const differ = ([a, b]: Tally[]) => subtract(measure(a), measure(b));
    const interval = makeInterval(differ(wholes), pairs.map(differ));
    return interval && { difference: interval.value, low: interval.low, high: interval.high };
  }
  return {
    accuracy: compare(measureAccuracy),
    macroF1: compare(measureMacroF1),
    logLoss: compare(measureLogLoss),
  };
}

function subtract(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a - b;
}

function scoreRows(y: Int32Array, P: Matrix): RowScores {
  if (y.length !== P.rows) {
    throw new TypeError(`Cannot score a classifier: ${P.rows} predictions for ${y.length} rows`);
  }
  const k = P.cols;
  const scores: RowScores = {
    classCount: k,
    cell: new Int32Array(P.rows),
    logLoss: new Float64Array(P.rows),
    brier: new Float64Array(P.rows),
    confidence: new Float64Array(P.rows),
    bin: new Int32Array(P.rows),
  };
  for (let i = 0; i < P.rows; i++) {
    const probabilities = P.data.subarray(i * k, (i + 1) * k);
    if (!(y[i] >= 0 && y[i] < k)) {
      throw new RangeError(`Cannot score row "${i}": class ${y[i]} is not in 0 … ${k - 1}`);
    }
    const predicted = findLargest(probabilities);
    const confidence = probabilities[predicted];
    scores.cell[i] = y[i] * k + predicted;
    scores.logLoss[i] = -Math.log(clip(probabilities[y[i]]));
    scores.brier[i] = squaredDistance(probabilities, y[i]);
    scores.confidence[i] = confidence;
    scores.bin[i] = Math.max(0, Math.ceil(confidence * calibrationBins) - 1);
    if (Number.isNaN(scores.brier[i])) {
      throw new RangeError(`Cannot score row "${i}": a probability is NaN`);
    }
  }
  return scores;
}

function findLargest(values: Float32Array): number {
  let largest = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[largest]) largest = i;
  return largest;
}

function clip(probability: number): number {
  return Math.min(Math.max(probability, smallestProbability), 1 - smallestProbability);
}

function squaredDistance(probabilities: Float32Array, truth: number): number {
  let sum = 0;
  for (let c = 0; c < probabilities.length; c++) {
    sum += (probabilities[c] - (c === truth ? 1 : 0)) ** 2;
  }
  return sum;
}

/** Sums the rows, each counted `weights[i]` times, or once. */
function tallyRows(scores: RowScores, weights?: Int32Array): Tally {
  const { cell, logLoss, brier, confidence, bin, classCount: k } = scores;
  const tally: Tally = {
    rows: 0,
    logLoss: 0,
    brier: 0,
    confusion: new Float64Array(k * k),
    calibrationGap: new Float64Array(calibrationBins),
  };
  for (let i = 0; i < cell.length; i++) {
    const weight = weights ? weights[i] : 1;
    if (weight === 0) continue;
    const isCorrect = cell[i] % (k + 1) === 0; // Cells of the diagonal are c * k + c.
    tally.rows += weight;
    tally.confusion[cell[i]] += weight;
    tally.logLoss += weight * logLoss[i];
    tally.brier += weight * brier[i];
    tally.calibrationGap[bin[i]] += weight * ((isCorrect ? 1 : 0) - confidence[i]);
  }
  return tally;
}

/** Draws blocks with replacement. The same options always give the same draws. */
class BlockSampler {
  readonly blockCount: number;
  readonly #block: Int32Array;
  readonly #replicates: number;
  readonly #seed: number;

  constructor(rows: number, { blocks, replicates = 1000, seed = 0 }: BootstrapOptions) {
    if (!Number.isInteger(replicates) || replicates < 0) {
      throw new RangeError(`Cannot draw "${replicates}" replicates: it is not an integer ≥ 0`);
    }
    if (blocks && blocks.length !== rows) {
      throw new TypeError(`Cannot use blocks: ${blocks.length} entries for ${rows} rows`);
    }
    const numbers = new Map<number, number>();
    this.#block = Int32Array.from({ length: rows }, (_, row) => {
      const id = blocks ? blocks[row] : row;
      if (!numbers.has(id)) numbers.set(id, numbers.size);
      return numbers.get(id)!;
    });
    this.blockCount = numbers.size;
    this.#replicates = replicates;
    this.#seed = seed;
  }

  /**
   * Calls `use` for each replicate with the number of times each row was drawn. The array is used
   * again for the next replicate.
   */
  draw(use: (weights: Int32Array) => void, limit = Infinity): void {
    if (this.blockCount < 2) return;
    const random = new Random(this.#seed);
    const counts = new Int32Array(this.blockCount);
    const weights = new Int32Array(this.#block.length);
    for (let r = 0; r < Math.min(this.#replicates, limit); r++) {
      counts.fill(0);
      for (let b = 0; b < counts.length; b++) counts[random.below(counts.length)]++;
      for (let i = 0; i < weights.length; i++) weights[i] = counts[this.#block[i]];
      use(weights);
    }
  }
}

function drawAdditive(scores: RowScores, sampler: BlockSampler): Tally[] {
  const tallies: Tally[] = [];
  sampler.draw((weights) => tallies.push(tallyRows(scores, weights)));
  return tallies;
}

function drawAreas(
  curves: readonly RocCurve[],
  isInCurve: readonly boolean[],
  sampler: BlockSampler,
): (number | null)[] {
  const areas: (number | null)[] = [];
  if (!isInCurve.includes(true)) return areas;
  sampler.draw((weights) => areas.push(meanArea(curves, isInCurve, weights)), aucReplicates);
  return areas;
}

/** Mean area of the classes that the data define; `null` when a replicate lacks one of them. */
function meanArea(
  curves: readonly RocCurve[],
  isInCurve: readonly boolean[],
  weights?: Int32Array,
): number | null {
  const areas = curves.filter((_, c) => isInCurve[c]).map((curve) => curve.area(weights));
  return meanDefined(areas.length > 0 && !areas.includes(null) ? areas : []);
}

function makeInterval(value: number | null, replicates: (number | null)[]): Interval | null {
  if (value === null) return null;
  const defined = replicates.filter((replicate) => replicate !== null);
  const isEnough = defined.length > 0 && 2 * defined.length >= replicates.length;
  const ends = isEnough ? computeQuantiles(defined, intervalProbabilities) : null;
  return { value, low: ends ? ends[0] : null, high: ends ? ends[1] : null };
}

/** One class against the rest, rows sorted by score once for any number of weightings. */
class RocCurve {
  readonly #rows: Int32Array;
  readonly #isPositive: Uint8Array;
  /** Whether the row at this place has the score of the row before it. */
  readonly #isTied: Uint8Array;

  constructor(y: Int32Array, P: Matrix, c: number) {
    const score = Float32Array.from({ length: P.rows }, (_, i) => P.data[i * P.cols + c]);
    this.#rows = Int32Array.from(y.keys()).sort((a, b) => score[a] - score[b]);
    this.#isPositive = Uint8Array.from(this.#rows, (row) => y[row] === c ? 1 : 0);
    this.#isTied = Uint8Array.from(
      this.#rows,
      (row, place) => place > 0 && score[row] === score[this.#rows[place - 1]] ? 1 : 0,
    );
  }

  /**
   * Area under the curve: the share of pairs of a positive and a negative row in which the
   * positive scores higher, ties counting half. `null` without positives or negatives.
   */
  area(weights?: Int32Array): number | null {
    let positives = 0;
    let negatives = 0;
    let pairs = 0;
    let tiedPositives = 0;
    let tiedNegatives = 0;
    for (let place = 0; place < this.#rows.length; place++) {
      if (this.#isTied[place] === 0) {
        pairs += tiedPositives * (negatives + tiedNegatives / 2);
        positives += tiedPositives;
        negatives += tiedNegatives;
        tiedPositives = tiedNegatives = 0;
      }
      const weight = weights ? weights[this.#rows[place]] : 1;
      if (this.#isPositive[place] === 1) tiedPositives += weight;
      else tiedNegatives += weight;
    }
    pairs += tiedPositives * (negatives + tiedNegatives / 2);
    positives += tiedPositives;
    negatives += tiedNegatives;
    return positives === 0 || negatives === 0 ? null : pairs / (positives * negatives);
  }
}

/** Support, precision, recall and F1 of class `c`. */
function scoreClass(confusion: Float64Array, c: number) {
  const k = Math.sqrt(confusion.length);
  const correct = confusion[c * k + c];
  let support = 0;
  let predicted = 0;
  for (let other = 0; other < k; other++) {
    support += confusion[c * k + other];
    predicted += confusion[other * k + c];
  }
  if (support + predicted === 0) return { support, precision: null, recall: null, f1: null };
  return {
    support,
    precision: predicted > 0 ? correct / predicted : 0,
    recall: support > 0 ? correct / support : 0,
    f1: 2 * correct / (support + predicted),
  };
}

function scoreClasses({ confusion }: Tally) {
  const k = Math.sqrt(confusion.length);
  return Array.from({ length: k }, (_, c) => scoreClass(confusion, c));
}

function meanDefined(values: readonly (number | null)[]): number | null {
  const defined = values.filter((value) => value !== null);
  return defined.length === 0 ? null : defined.reduce((sum, v) => sum + v, 0) / defined.length;
}

/** Turns a sum over rows into a mean; no rows have none. */
function perRow(sum: number, { rows }: Tally): number | null {
  return rows === 0 ? null : sum / rows;
}

function measureAccuracy(tally: Tally): number | null {
  const k = Math.sqrt(tally.confusion.length);
  let correct = 0;
  for (let c = 0; c < k; c++) correct += tally.confusion[c * k + c];
  return perRow(correct, tally);
}

function measureBalancedAccuracy(tally: Tally): number | null {
  return meanDefined(scoreClasses(tally).map(({ support, recall }) => support > 0 ? recall : null));
}

function measureMacroF1(tally: Tally): number | null {
  return meanDefined(scoreClasses(tally).map(({ f1 }) => f1));
}

function measureWeightedF1(tally: Tally): number | null {
  const sum = scoreClasses(tally).reduce((sum, { f1, support }) => sum + (f1 ?? 0) * support, 0);
  return perRow(sum, tally);
}

function measureLogLoss(tally: Tally): number | null {
  return perRow(tally.logLoss, tally);
}

function measureBrier(tally: Tally): number | null {
  return perRow(tally.brier, tally);
}

function measureCalibrationError(tally: Tally): number | null {
  return perRow(tally.calibrationGap.reduce((sum, gap) => sum + Math.abs(gap), 0), tally);
}
