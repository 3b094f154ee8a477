/**
 * Explanations on request: what each feature of a record added to the score of the class that was
 * predicted. Nothing is loaded before the first request for one.
 *
 * @module
 */
import { Pacer } from "../numeric/fitting.ts";
import type { Matrix } from "../numeric/matrix.ts";
import { type ClassifierTrees, readTrees } from "../numeric/onnx_trees.ts";
import { TreeExplainer } from "../numeric/tree_shap.ts";
import { OnnxSession } from "../runtime/onnx_session.ts";
import { expandRows, type RawRows } from "../runtime/predict/predictor.ts";
import type { Signature } from "../runtime/registry/signature.ts";
import { HttpError } from "./http_error.ts";

/** Most contributions of one prediction. */
export const MAX_CONTRIBUTIONS = 50;

/** Most records of one request that asks for explanations. */
export const MAX_EXPLAINED_ROWS = 1_000;

/** What one feature added. */
export interface Contribution {
  readonly feature: string;
  /** As the model's file takes it, before logarithm and scaling; `null` is missing. */
  readonly value: number | null;
  /** In the unit of the score: the logarithm of odds. */
  readonly contribution: number;
}

/** Why one record got its class. */
export interface Explanation {
  /** Mean score of the predicted class over the training rows. */
  readonly baseValue: number;
  /** The largest by absolute value first; equal ones by name. */
  readonly contributions: readonly Contribution[];
  /** Per raw column, the sum over all features made of it: with `baseValue`, the score. */
  readonly inputs: readonly { readonly name: string; readonly contribution: number }[];
}

/**
 * Reads how many contributions a request asks for; `undefined` for none.
 * @throws {HttpError} 400 when it is no number from 1 to {@linkcode MAX_CONTRIBUTIONS}.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readExplain } from "./explain.ts";
 *
 * assertEquals(readExplain("http://localhost/predict?explain=3"), 3);
 * assertEquals(readExplain("http://localhost/predict"), undefined);
 * ```
 */
export function readExplain(url: string): number | undefined {
  const mark = url.indexOf("?");
  if (mark < 0) return undefined;
  const values = new URLSearchParams(url.slice(mark)).getAll("explain");
  if (values.length === 0) return undefined;
  const [text] = values;
  const count = /^\d{1,3}$/.test(text) ? Number(text) : NaN;
  if (values.length > 1 || !(count >= 1 && count <= MAX_CONTRIBUTIONS)) {
    throw new HttpError(
      `Cannot read the query: explain "${
        values.join(", ").slice(0, 40)
      }" is no number from 1 to ${MAX_CONTRIBUTIONS}`,
      "invalid_query",
    );
  }
  return count;
}

/**
 * Refuses a request of too many records to explain.
 * @throws {HttpError} 413 above {@linkcode MAX_EXPLAINED_ROWS}.
 */
export function checkExplainedRows(rowCount: number): void {
  if (rowCount <= MAX_EXPLAINED_ROWS) return;
  throw new HttpError(
    `Cannot explain ${rowCount} records in one request: the limit is ${MAX_EXPLAINED_ROWS}; send them in parts`,
    "too_large",
  );
}

/** Gives the part of a prediction's JSON that explains it, from its first comma on. */
export function writeExplanation({ baseValue, contributions, inputs }: Explanation): string {
  const sums = Object.fromEntries(inputs.map(({ name, contribution }) => [name, contribution]));
  return `,"base_value":${baseValue},"contributions":${JSON.stringify(contributions)}` +
    `,"input_contributions":${JSON.stringify(sums)}`;
}

/** Explains the predictions of one model of trees. Close it when the model is. */
export class Explainer {
  readonly #signature: Signature;
  readonly #trees: ClassifierTrees;
  readonly #preparation: OnnxSession | null;
  readonly #classes = new Map<number, TreeExplainer>();

  private constructor(
    signature: Signature,
    trees: ClassifierTrees,
    preparation: OnnxSession | null,
  ) {
    this.#signature = signature;
    this.#trees = trees;
    this.#preparation = preparation;
  }

  /**
   * Reads the trees of a model from its ONNX bytes.
   * @throws {HttpError} 422 when they cannot be explained.
   */
  static async open(bytes: Uint8Array, signature: Signature): Promise<Explainer> {
    const reading = readTrees(bytes);
    if ("refusal" in reading) throw unexplainable(signature, reading.refusal);
    const { trees } = reading;
    const preparation = trees.preparation && await OnnxSession.open(trees.preparation.bytes);
    return new Explainer(signature, trees, preparation);
  }

  /**
   * Explains the predicted classes `[n]` of raw rows `[n, d]` by the `top` largest contributions
   * each. Lets the event loop turn between records.
   * @throws the signal's reason when it is aborted.
   */
  async explain(
    rows: RawRows,
    labels: Int32Array,
    { top, signal = new AbortController().signal }: { top: number; signal?: AbortSignal },
  ): Promise<Explanation[]> {
    const features = expandRows(rows, this.#signature);
    const { preparation } = this.#trees;
    const prepared = this.#preparation
      ? await this.#preparation.transform(features, preparation!.output)
      : features;
    const pacer = new Pacer(signal);
    const explanations: Explanation[] = [];
    for (let i = 0; i < features.rows; i++) {
      if (pacer.isDue()) await pacer.rest();
      const explainer = this.#explainerOf(labels[i], prepared.cols);
      explanations.push(
        describe(explainer, {
          row: rowOf(prepared, i),
          values: rowOf(features, i),
          signature: this.#signature,
          top,
        }),
      );
    }
    return explanations;
  }

  async close(): Promise<void> {
    await this.#preparation?.close();
  }

  #explainerOf(label: number, features: number): TreeExplainer {
    let explainer = this.#classes.get(label);
    if (!explainer) {
      const score = this.#trees.scores.get(label) ?? { constant: 0, trees: [] };
      this.#classes.set(label, explainer = new TreeExplainer(score, features));
    }
    return explainer;
  }
}

function rowOf({ data, cols }: Matrix, i: number): Float32Array {
  return data.subarray(i * cols, (i + 1) * cols);
}

interface RecordTask {
  /** What the trees see `[f]`. */
  readonly row: Float32Array;
  /** What the graph takes `[f]`. */
  readonly values: Float32Array;
  readonly signature: Signature;
  readonly top: number;
}

function describe(
  explainer: TreeExplainer,
  { row, values, signature: { inputs, features }, top }: RecordTask,
): Explanation {
  const contributions = explainer.explain(row);
  const order = features.map((_, j) => j).sort((a, b) =>
    Math.abs(contributions[b]) - Math.abs(contributions[a]) ||
    (features[a] < features[b] ? -1 : 1)
  );
  // Columns run as windowNames() says: block by block, each in the order of the inputs.
  const sums = new Float64Array(inputs.length);
  contributions.forEach((contribution, j) => sums[j % inputs.length] += contribution);
  return {
    baseValue: explainer.baseValue,
    contributions: order.slice(0, top).map((j) => ({
      feature: features[j],
      value: Number.isFinite(values[j]) ? shorten(values[j]) : null,
      contribution: contributions[j],
    })),
    inputs: inputs.map(({ name }, j) => ({ name, contribution: sums[j] })),
  };
}

/** Gives a float32 by as few digits as read back as the same float32, so that 0.1 stays 0.1. */
function shorten(value: number): number {
  for (let digits = 6; digits <= 8; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function unexplainable({ model, trainer }: Signature, reason: string): HttpError {
  return new HttpError(
    `Cannot explain model "${model}" of trainer "${trainer}": ${reason}; ask without "explain"`,
    "invalid_input",
  );
}
