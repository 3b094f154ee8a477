/** Which values lie beyond what others have shown. */
import type { Matrix } from "../matrix.ts";

/** The ranges of features. */
export interface Support {
  /**
   * Marks by 1 each value of `X` `[n, d]` below the least value seen of its feature, above the largest, or
   * missing where it never was; the others are 0. Row-major.
   * @throws {TypeError} when `X` has another number of columns.
   */
  findOutside(X: Matrix): Uint8Array;
}

/**
 * Keeps the range of each feature of `X` `[n, d]`, and whether it was ever missing. A combination of
 * values that were only seen apart, or a gap between them, is not outside.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "../matrix.ts";
 * import { fitSupport } from "./support.ts";
 *
 * const support = fitSupport(matrix(2, 1, Float32Array.of(1, 3)));
 * const rows = matrix(3, 1, Float32Array.of(2, 4, NaN));
 * assertEquals(support.findOutside(rows), Uint8Array.of(0, 1, 1));
 * ```
 */
export function fitSupport(X: Matrix): Support {
  const d = X.cols;
  const low = new Float64Array(d).fill(Infinity);
  const high = new Float64Array(d).fill(-Infinity);
  const hasMissing = new Uint8Array(d);
  for (let at = 0; at < X.data.length; at++) {
    const j = at % d;
    const x = X.data[at];
    if (Number.isNaN(x)) hasMissing[j] = 1;
    else {
      low[j] = Math.min(low[j], x);
      high[j] = Math.max(high[j], x);
    }
  }
  return {
    findOutside(X) {
      if (X.cols !== d) {
        throw new TypeError(`Cannot compare ${X.cols} columns: the reference has ${d}`);
      }
      return Uint8Array.from(X.data, (x, at) => {
        const j = at % d;
        const isInside = Number.isNaN(x) ? hasMissing[j] === 1 : x >= low[j] && x <= high[j];
        return isInside ? 0 : 1;
      });
    },
  };
}
