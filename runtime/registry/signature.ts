/**
 * What a model expects and answers: written into the ONNX file's metadata by training, read back by
 * serving, so that one file is all a server needs.
 *
 * @module
 */
import { readMetadata } from "../../numeric/onnx.ts";
import type { WindowSpec } from "../../numeric/windows.ts";

/** One raw column that a request's record carries. */
export interface InputColumn {
  readonly name: string;
  readonly unit?: string;
  /** Physically sensible bounds; values outside become missing, as in preprocessing. */
  readonly range?: readonly [number, number];
}

/** The contract between a model and those who call it. */
export interface Signature {
  readonly model: string;
  readonly inputs: readonly InputColumn[];
  /** The column that orders a request's records, when features look along it. */
  readonly order: { readonly column: string; readonly unit?: string } | null;
  readonly windows: WindowSpec;
  /** What happens to a value outside its range. */
  readonly outliers: "null" | "clip" | "keep";
  /** Columns of the graph's input `[n, d]`: the raw columns and what windows made of them. */
  readonly features: readonly string[];
  readonly classes: readonly string[];
  readonly target: string;
  readonly trainer: string;
  /** Content hash of the training table. */
  readonly dataHash: string;
  /** Hash of the code and lock file that trained it. */
  readonly codeHash: string;
  readonly seed: number;
}

/** Metadata key of the signature. */
export const SIGNATURE_KEY = "geophone.signature";

/**
 * Reads the signature from ONNX bytes.
 * @throws {SyntaxError} when the bytes are no ONNX model or carry no signature.
 */
export function readSignature(bytes: Uint8Array): Signature {
  const text = readMetadata(bytes)[SIGNATURE_KEY];
  if (text === undefined) {
    throw new SyntaxError(
      `Cannot read model signature: the metadata has no "${SIGNATURE_KEY}"; was it trained by Geophone?`,
    );
  }
  return JSON.parse(text);
}
