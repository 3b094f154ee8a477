/**
 * Fits preparation and classifier as one ONNX graph. The classifier trains on what onnxruntime makes
 * of the exported preparation, so that float32 rounding cannot flip a split between training and
 * serving.
 *
 * @module
 */
import { type Matrix } from "../numeric/matrix.ts";
import { Graph } from "../numeric/onnx.ts";
import { fitSteps, type Steps } from "../numeric/preprocess.ts";
import type { Model, Plugin } from "../plugins/plugin.ts";
import { OnnxSession } from "./onnx_session.ts";

/** Labelled rows `[n, d]` before preparation. */
export interface LabelledRows {
  readonly X: Matrix;
  readonly y: Int32Array;
}

/** What to fit. */
export interface FitOptions {
  readonly train: LabelledRows;
  /** Rows for early stopping. */
  readonly validation?: LabelledRows;
  readonly featureNames: readonly string[];
  readonly classNames: readonly string[];
  readonly steps: {
    readonly standardize: boolean;
    readonly pca: number | null;
    readonly log: readonly string[];
  };
  readonly trainer: Plugin<"trainer">;
  readonly params: unknown;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (share: number) => void;
}

/** A fitted graph and the model inside it. */
export interface FittedClassifier {
  readonly model: Model;
  readonly steps: Steps;
  /** Prepares rows exactly as the exported graph does `[n, d] -> [n, p]`. */
  prepare(X: Matrix): Promise<Matrix>;
  /** The whole graph as ONNX bytes: input `input` `[n, d]`, outputs `label` and `probabilities`. */
  toOnnx(metadata?: Readonly<Record<string, string>>): Uint8Array;
  close(): Promise<void>;
}

/**
 * Fits the preparation on the training rows, then the classifier on the prepared rows.
 * @throws {Error} what the trainer throws, such as a single class.
 */
export async function fitClassifier(options: FitOptions): Promise<FittedClassifier> {
  const { train, validation, featureNames, classNames, trainer } = options;
  const { standardize, pca, log } = options.steps;
  const steps = fitSteps(train.X, featureNames, {
    impute: !trainer.handlesMissing || pca !== null,
    standardize,
    log,
    pca,
  });
  const prepare = await openPreparation(steps, train.X.cols);
  const asDataset = async ({ X, y }: LabelledRows) => ({
    X: await prepare.run(X),
    y,
    featureNames: steps.outputNames,
    classNames,
  });
  try {
    const model = await trainer.fit(await asDataset(train), options.params, {
      seed: options.seed,
      signal: options.signal,
      ...(validation ? { validation: await asDataset(validation) } : {}),
      ...(options.onProgress ? { onProgress: options.onProgress } : {}),
    });
    return {
      model,
      steps,
      prepare: prepare.run,
      toOnnx: (metadata = {}) =>
        exportGraph(steps, model, train.X.cols, classNames.length, metadata),
      close: prepare.close,
    };
  } catch (error) {
    await prepare.close();
    throw error;
  }
}

/** The preparation alone, as a session over its own exported graph. */
async function openPreparation(steps: Steps, columns: number) {
  const graph = new Graph();
  const input = graph.input("input", "float32", ["n", columns]);
  const output = steps.toGraph(graph, input);
  if (output === input) {
    return { run: (X: Matrix) => Promise.resolve(X), close: () => Promise.resolve() };
  }
  graph.output(output, "float32", ["n", steps.outputNames.length]);
  const session = await OnnxSession.open(graph.toBytes());
  return {
    run: (X: Matrix) => session.transform(X, output),
    close: () => session.close(),
  };
}

function exportGraph(
  steps: Steps,
  model: Model,
  columns: number,
  classCount: number,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const graph = new Graph();
  const input = graph.input("input", "float32", ["n", columns]);
  model.toGraph(graph, steps.toGraph(graph, input));
  graph.output("label", "int64", ["n"]);
  graph.output("probabilities", "float32", ["n", classCount]);
  return graph.toBytes({ metadata });
}
