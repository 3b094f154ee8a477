/**
 * From raw records to predictions: range check, windows, graph. Training, serving and batch files
 * all come through here, so that they cannot disagree.
 *
 * @module
 */
import { type Matrix, matrix } from "../../numeric/matrix.ts";
import { computeWindows } from "../../numeric/windows.ts";
import { OnnxSession, type Prediction } from "../onnx_session.ts";
import { readSignature, type Signature } from "../registry/signature.ts";

/** Raw rows as a caller sends them. */
export interface RawRows {
  /** Input columns in signature order `[n, d]`; `NaN` is missing. */
  readonly X: Matrix;
  /** Value of the order column `[n]`; left out when the signature has none. */
  readonly order?: Float64Array;
  /** Rows of different groups never share a window `[n]`. */
  readonly groups?: Int32Array;
  /** Graph input `[n, f]`, where windows have seen neighbors that are not among these rows. */
  readonly features?: Matrix;
}

/** A model ready to answer. */
export class Predictor {
  readonly #session: OnnxSession;

  private constructor(readonly signature: Signature, session: OnnxSession) {
    this.#session = session;
  }

  /**
   * Opens a model from its ONNX bytes.
   * @throws {SyntaxError} when they are no model of Geophone.
   */
  static async open(bytes: Uint8Array, options: { threads?: number } = {}): Promise<Predictor> {
    const signature = readSignature(bytes);
    return new Predictor(signature, await OnnxSession.open(bytes, options));
  }

  /** Graph input `[n, f]` for raw rows `[n, d]`. A pure function of these rows. */
  expand(rows: RawRows): Matrix {
    return rows.features ?? expandRows(rows, this.signature);
  }

  /** Runs the graph on what {@linkcode expand} made; rows of many requests may share one call. */
  classify(features: Matrix): Promise<Prediction> {
    return this.#session.classify(features);
  }

  /** Predicts raw rows in one go. */
  predict(rows: RawRows): Promise<Prediction> {
    return this.classify(this.expand(rows));
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}

/**
 * Gives the graph input `[n, f]` of raw rows `[n, d]`: out-of-range values handled as the signature
 * says, then window features along the order column within each group.
 */
export function expandRows(
  rows: RawRows,
  signature: Pick<Signature, "inputs" | "outliers" | "windows">,
): Matrix {
  const X = applyRanges(rows.X, signature);
  return computeWindows(X, signature.windows, {
    ...(rows.order ? { order: rows.order } : {}),
    ...(rows.groups ? { groups: rows.groups } : {}),
  });
}

function applyRanges(X: Matrix, signature: Pick<Signature, "inputs" | "outliers">): Matrix {
  if (signature.outliers === "keep" || signature.inputs.every((input) => !input.range)) return X;
  const data = X.data.slice();
  signature.inputs.forEach(({ range }, j) => {
    if (!range) return;
    const [low, high] = range;
    for (let i = j; i < data.length; i += X.cols) {
      if (data[i] >= low && data[i] <= high) continue;
      if (Number.isNaN(data[i])) continue;
      data[i] = signature.outliers === "null" ? NaN : data[i] < low ? low : high;
    }
  });
  return matrix(X.rows, X.cols, data);
}
