/** Runs ONNX graphs. The only module that imports onnxruntime, and only when a model is opened. */
import type { InferenceSession } from "onnxruntime-node";
import { type Matrix, matrix } from "../numeric/matrix.ts";

/** Class ids `[n]` and probabilities `[n, k]`. */
export interface Prediction {
  readonly labels: Int32Array;
  readonly probabilities: Matrix;
}

/** A loaded graph whose only input is a float32 matrix `[n, d]`. */
export class OnnxSession {
  readonly #session: InferenceSession;
  readonly #tensor: typeof import("onnxruntime-node").Tensor;
  readonly #input: string;

  private constructor(session: InferenceSession, tensor: typeof import("onnxruntime-node").Tensor) {
    this.#session = session;
    this.#tensor = tensor;
    this.#input = session.inputNames[0];
  }

  /**
   * Loads a graph on `threads` CPU threads.
   * @throws {SyntaxError} when onnxruntime refuses the bytes.
   */
  static async open(bytes: Uint8Array, options: { threads?: number } = {}): Promise<OnnxSession> {
    const { InferenceSession, Tensor } = await import("onnxruntime-node");
    try {
      const session = await InferenceSession.create(bytes, {
        intraOpNumThreads: options.threads ?? 1,
        interOpNumThreads: 1,
        logSeverityLevel: 3,
      });
      return new OnnxSession(session, Tensor);
    } catch (error) {
      throw new SyntaxError(`Cannot load ONNX model: ${(error as Error).message.split("\n")[0]}`, {
        cause: error,
      });
    }
  }

  /** Runs a classifier graph on rows `[n, d]`; n = 0 gives empty arrays. */
  async classify(X: Matrix): Promise<Prediction> {
    const { label, probabilities } = await this.#session.run({ [this.#input]: this.#wrap(X) });
    const ids = label.data as BigInt64Array;
    const [rows, cols] = probabilities.dims as readonly number[];
    return {
      labels: Int32Array.from(ids, Number),
      probabilities: matrix(rows, cols, probabilities.data as Float32Array),
    };
  }

  /** Runs a graph with the single float32 output `output` on rows `[n, d]`. */
  async transform(X: Matrix, output: string): Promise<Matrix> {
    const result = (await this.#session.run({ [this.#input]: this.#wrap(X) }, [output]))[output];
    const [rows, cols] = result.dims as readonly number[];
    return matrix(rows, cols, result.data as Float32Array);
  }

  /** Frees the native memory of the graph. */
  async close(): Promise<void> {
    await this.#session.release();
  }

  #wrap(X: Matrix) {
    return new this.#tensor("float32", X.data, [X.rows, X.cols]);
  }
}
