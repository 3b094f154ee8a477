/** What all trainers need while they fit. */
import { setImmediate } from "node:timers/promises";
import type { Matrix } from "./matrix.ts";
import type { Graph } from "./onnx.ts";

/** Logit of a class that the training rows lack: its softmax is 0 in float32 and in float64. */
export const absentLogit = -1e30;

/** Classes of the training rows. */
export interface ClassCounts {
  /** Rows of each class `[k]`. */
  readonly counts: Float64Array;
  /** Ids of the classes that occur, ascending; at least two. */
  readonly present: readonly number[];
}

/** The part of a data set that is counted. */
export interface Labelled {
  /** `[n, d]` */
  readonly X: Matrix;
  /** `[n]`, in `0 … k-1`. */
  readonly y: Int32Array;
  readonly classNames: readonly string[];
}

/**
 * Counts the rows of each class for the trainer of this name.
 *
 * @throws {TypeError} when `X` and `y` have different numbers of rows.
 * @throws {RangeError} when a class id is not in `0 … k-1` or fewer than two classes occur; the
 * message names the one there is.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { countClasses } from "./fitting.ts";
 * import { matrix } from "./matrix.ts";
 *
 * const classNames = ["sand", "shale", "coal"];
 * const train = { X: matrix(3, 1), y: Int32Array.of(0, 1, 1), classNames };
 * const { counts, present } = countClasses("logistic", train);
 * assertEquals(counts, Float64Array.of(1, 2, 0));
 * assertEquals(present, [0, 1]);
 *
 * const coal = { ...train, y: Int32Array.of(2, 2, 2) };
 * assertThrows(() => countClasses("logistic", coal), RangeError, "coal");
 * ```
 */
export function countClasses(trainer: string, { X, y, classNames }: Labelled): ClassCounts {
  if (X.rows !== y.length) {
    throw new TypeError(`Cannot fit "${trainer}": ${X.rows} rows for ${y.length} classes`);
  }
  const counts = new Float64Array(classNames.length);
  for (const c of y) {
    if (!(c >= 0 && c < counts.length)) {
      throw new RangeError(
        `Cannot fit "${trainer}": class ${c} is not in 0 … ${counts.length - 1}`,
      );
    }
    counts[c]++;
  }
  const present = [...counts.keys()].filter((c) => counts[c] > 0);
  if (present.length === 0) throw new RangeError(`Cannot fit "${trainer}": there are no rows`);
  if (present.length === 1) {
    throw new RangeError(
      `Cannot fit "${trainer}": all rows are of class "${classNames[present[0]]}"`,
    );
  }
  return { counts, present };
}

/**
 * Checks that rows to predict have the `d` columns of the training rows.
 *
 * @throws {TypeError} when they have not.
 */
export function checkColumns(X: Matrix, d: number): void {
  if (X.cols !== d) {
    throw new TypeError(`Cannot predict rows of ${X.cols} columns: the model has ${d}`);
  }
}

/**
 * Turns finite logits `[n, k]`, row-major, into probabilities `[n, k]` whose rows sum to 1.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { absentLogit, applySoftmax } from "./fitting.ts";
 *
 * const logits = Float64Array.of(7, 7, absentLogit);
 * assertEquals(applySoftmax(logits, 1, 3).data, Float32Array.of(0.5, 0.5, 0));
 * ```
 */
export function applySoftmax(logits: Float64Array, rows: number, k: number): Matrix {
  const data = new Float32Array(rows * k);
  for (let start = 0; start < data.length; start += k) {
    let largest = -Infinity;
    for (let c = start; c < start + k; c++) largest = Math.max(largest, logits[c]);
    let sum = 0;
    for (let c = start; c < start + k; c++) sum += Math.exp(logits[c] - largest);
    for (let c = start; c < start + k; c++) data[c] = Math.exp(logits[c] - largest) / sum;
  }
  return { data, rows, cols: k };
}

/** Appends the node that computes `label` from the tensor `probabilities`. */
export function addLabel(graph: Graph): void {
  graph.node("ArgMax", ["probabilities"], ["label"], { axis: { int: 1 }, keepdims: { int: 0 } });
}

/** Most milliseconds a fit may hold the thread, so that a server in the same process answers. */
const longestTurnMs = 20;

/**
 * Keeps a long fit from blocking the event loop, and stops it when the signal aborts. The
 * constructor throws the signal's reason when it is aborted already.
 *
 * @example
 * ```ts
 * import { assertRejects } from "@std/assert";
 * import { Pacer } from "./fitting.ts";
 *
 * const controller = new AbortController();
 * const pacer = new Pacer(controller.signal);
 * setTimeout(() => controller.abort(new Error("Enough")), 50);
 * await assertRejects(async () => {
 *   while (true) if (pacer.isDue()) await pacer.rest();
 * }, Error, "Enough");
 * ```
 */
export class Pacer {
  readonly #signal: AbortSignal;
  #turnStart = performance.now();

  constructor(signal: AbortSignal) {
    signal.throwIfAborted();
    this.#signal = signal;
  }

  /** Whether it is time to {@linkcode rest}. */
  isDue(): boolean {
    return performance.now() - this.#turnStart > longestTurnMs;
  }

  /**
   * Lets the event loop turn once.
   * @throws the signal's reason when it is aborted.
   */
  async rest(): Promise<void> {
    await setImmediate();
    this.#signal.throwIfAborted();
    this.#turnStart = performance.now();
  }
}
