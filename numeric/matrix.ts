/** The dense matrix that every numeric part shares. */

/**
 * A dense row-major matrix `[rows, cols]`: `data[i * cols + j]` is row `i`, column `j`.
 * A missing value is `NaN`.
 */
export interface Matrix {
  readonly data: Float32Array;
  readonly rows: number;
  readonly cols: number;
}

/**
 * Gives a matrix over `data`, or a matrix of zeros when `data` is left out.
 *
 * @throws {RangeError} when `data.length` is not `rows * cols`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "./matrix.ts";
 *
 * assertEquals(matrix(1, 2).data, new Float32Array([0, 0]));
 * ```
 */
export function matrix(
  rows: number,
  cols: number,
  data: Float32Array = new Float32Array(rows * cols),
): Matrix {
  if (data.length !== rows * cols) {
    throw new RangeError(
      `Cannot shape ${data.length} values as [${rows}, ${cols}]: it takes ${rows * cols}`,
    );
  }
  return { data, rows, cols };
}

/** Copies the rows at `index` into a new matrix `[index.length, cols]`. */
export function takeRows(X: Matrix, index: ArrayLike<number>): Matrix {
  const out = matrix(index.length, X.cols);
  for (let i = 0; i < index.length; i++) {
    const start = index[i] * X.cols;
    out.data.set(X.data.subarray(start, start + X.cols), i * X.cols);
  }
  return out;
}
