/** The least value of a function of a few numbers. */

/** How far a search goes. */
export interface MinimizeOptions {
  /** Evaluations of the function at most; default 400. */
  readonly maxEvaluations?: number;
  /** Ends when the values of all corners differ by no more than this part of the least; default 1e-8. */
  readonly tolerance?: number;
  /** Length of the first simplex's edges; default 0.5. */
  readonly step?: number;
}

/**
 * Gives the point where Nelder and Mead's simplex search from `start` finds the least value of `f`. It
 * needs no derivative and is deterministic; what it finds may be a local minimum. `NaN` of `f` counts as
 * infinite.
 *
 * @param start `[d]`, left as it is.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { minimize } from "./simplex.ts";
 *
 * const [x, y] = minimize(([x, y]) => (1 - x) ** 2 + 100 * (y - x * x) ** 2, Float64Array.of(-1, 1));
 * assertAlmostEquals(x, 1, 1e-3);
 * assertAlmostEquals(y, 1, 1e-3);
 * ```
 *
 * @see Nelder and Mead, "A Simplex Method for Function Minimization", The Computer Journal 7(4), 1965
 */
export function minimize(
  f: (point: Float64Array) => number,
  start: Float64Array,
  { maxEvaluations = 400, tolerance = 1e-8, step = 0.5 }: MinimizeOptions = {},
): Float64Array {
  const d = start.length;
  let evaluations = 0;
  const measure = (point: Float64Array) => {
    evaluations++;
    const value = f(point);
    return { point, value: Number.isNaN(value) ? Infinity : value };
  };
  const corners = [measure(start.slice())];
  for (let i = 0; i < d; i++) {
    const point = start.slice();
    point[i] += step;
    corners.push(measure(point));
  }
  const sort = () => corners.sort((a, b) => a.value - b.value);
  sort();
  while (evaluations < maxEvaluations) {
    const [best] = corners;
    const worst = corners[d];
    if (worst.value - best.value <= tolerance * (Math.abs(best.value) + tolerance)) break;
    const center = centerOf(corners.slice(0, d).map(({ point }) => point));
    const along = (factor: number) =>
      measure(center.map((c, i) => c + factor * (worst.point[i] - c)));
    const reflected = along(-1);
    if (reflected.value < best.value) {
      const expanded = along(-2);
      corners[d] = expanded.value < reflected.value ? expanded : reflected;
    } else if (reflected.value < corners[d - 1].value) {
      corners[d] = reflected;
    } else {
      const contracted = along(reflected.value < worst.value ? -0.5 : 0.5);
      if (contracted.value < Math.min(reflected.value, worst.value)) {
        corners[d] = contracted;
      } else {
        for (let i = 1; i <= d; i++) {
          corners[i] = measure(corners[i].point.map((x, j) => (x + best.point[j]) / 2));
        }
      }
    }
    sort();
  }
  return corners[0].point;
}

function centerOf(points: readonly Float64Array[]): Float64Array {
  const sum = new Float64Array(points[0].length);
  for (const point of points) point.forEach((x, i) => sum[i] += x);
  return sum.map((x) => x / points.length);
}
