/** Which drift method suits a column: the rule of Evidently 0.7, with its reasons in words. */

/** What the choice looks at. */
export interface ColumnShape {
  readonly type: "numeric" | "categorical";
  /** Rows of the reference that have a value. */
  readonly referenceCount: number;
  /** Distinct values of reference and current together. */
  readonly distinctCount: number;
}

/** Name of the drift plugin of a chosen method. */
export type ChosenMethod = "ks" | "chisquare" | "z" | "wasserstein" | "jensenshannon";

/** A method and how it decides. */
export interface MethodChoice {
  readonly method: ChosenMethod;
  /** What is compared with the threshold: drifted is a p-value below it or a statistic from it on. */
  readonly decides: "pValue" | "statistic";
  readonly threshold: number;
  /** The questions that were asked and their answers, in order. */
  readonly path: readonly string[];
}

/** Up to this many reference rows a test decides; beyond, it would alarm on differences that do not matter. */
const mostTestedRows = 1000;

/** Up to this many distinct numbers, a number is a category. */
const mostCategoryNumbers = 5;

/**
 * Chooses the drift method of a column by its type and size, exactly as Evidently 0.7 does for numeric
 * and categorical columns:
 *
 * | reference rows | numeric, > 5 distinct | numeric, 3–5 | categorical, > 2 | ≤ 2 distinct |
 * | -------------- | --------------------- | ------------ | ---------------- | ------------ |
 * | ≤ 1000         | `ks`                  | `chisquare`  | `chisquare`      | `z`          |
 * | > 1000         | `wasserstein`         | `jensenshannon` | `jensenshannon` | `jensenshannon` |
 *
 * A test decides by p < 0.05, a distance by ≥ 0.1.
 *
 * @throws {RangeError} when a count is not an integer ≥ 0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { chooseMethod } from "./choice.ts";
 *
 * const shape = { type: "numeric", referenceCount: 5000, distinctCount: 4800 } as const;
 * const { method, decides, threshold, path } = chooseMethod(shape);
 * assertEquals([method, decides, threshold], ["wasserstein", "statistic", 0.1]);
 * assertEquals(path, [
 *   "the column is numeric",
 *   "5000 reference rows are more than 1000: a distance decides, not a test",
 *   "4800 distinct values are more than 5: the values are taken as numbers",
 *   "wasserstein: drifted when the statistic is at least 0.1",
 * ]);
 * ```
 *
 * @see Evidently 0.7.23, `_get_default_stattest`
 */
export function chooseMethod(
  { type, referenceCount, distinctCount }: ColumnShape,
): MethodChoice {
  for (const count of [referenceCount, distinctCount]) {
    if (!Number.isInteger(count) || count < 0) {
      throw new RangeError(
        `Cannot choose a method for "${count}" values: it is not an integer ≥ 0`,
      );
    }
  }
  const isTested = referenceCount <= mostTestedRows;
  const isNumber = type === "numeric" && distinctCount > mostCategoryNumbers;
  const method = isNumber
    ? isTested ? "ks" : "wasserstein"
    : !isTested
    ? "jensenshannon"
    : distinctCount > 2
    ? "chisquare"
    : "z";
  const decides = isTested ? "pValue" : "statistic";
  const threshold = isTested ? 0.05 : 0.1;
  return {
    method,
    decides,
    threshold,
    path: [
      `the column is ${type}`,
      isTested
        ? `${referenceCount} reference rows are at most ${mostTestedRows}: a test decides`
        : `${referenceCount} reference rows are more than ${mostTestedRows}: ` +
          "a distance decides, not a test",
      ...describeValues(type, distinctCount, isNumber),
      ...(isTested && !isNumber
        ? [
          distinctCount > 2
            ? "more than two categories: a table of counts is tested"
            : "at most two categories: two proportions are tested",
        ]
        : []),
      decides === "pValue"
        ? `${method}: drifted when p is below ${threshold}`
        : `${method}: drifted when the statistic is at least ${threshold}`,
    ],
  };
}

function describeValues(
  type: ColumnShape["type"],
  distinctCount: number,
  isNumber: boolean,
): string[] {
  if (type === "categorical") return [];
  return [
    isNumber
      ? `${distinctCount} distinct values are more than ${mostCategoryNumbers}: ` +
        "the values are taken as numbers"
      : `${distinctCount} distinct values are at most ${mostCategoryNumbers}: ` +
        "each value is taken as a category",
  ];
}
