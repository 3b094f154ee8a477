/** How well a classifier did on the labeled rows of a cell. Pure. */
import type { Cell, Confused } from "./cells.ts";

/** A metric of each class against the rest, and its means. */
export interface ByClass {
  readonly one_vs_all: Readonly<Record<string, number>>;
  /** Mean of the classes that are a label or were predicted. */
  readonly macro: number;
  /** Mean weighted by the labels of each class. */
  readonly weighted: number;
}

/** What labels say of predictions. */
export interface Quality {
  readonly labeledRows: number;
  readonly accuracy: number;
  readonly precision: ByClass;
  readonly recall: ByClass;
  readonly f1: ByClass;
  readonly confusion: readonly Confused[];
}

/**
 * Scores the labeled rows of a cell; `null` without any. A class without a correct prediction counts as
 * 0, as in scikit-learn with `zero_division=0`; one that is neither a label nor predicted does not count.
 */
export function scoreCell({ confusion }: Pick<Cell, "confusion">): Quality | null {
  const labeledRows = confusion.reduce((sum, { count }) => sum + count, 0);
  if (labeledRows === 0) return null;
  const names = [...new Set(confusion.flatMap(({ label, prediction }) => [label, prediction]))]
    .sort();
  const count = (isCounted: (cell: Confused) => boolean) =>
    confusion.reduce((sum, cell) => isCounted(cell) ? sum + cell.count : sum, 0);
  const classes = names.map((name) => ({
    name,
    support: count(({ label }) => label === name),
    predicted: count(({ prediction }) => prediction === name),
    correct: count(({ label, prediction }) => label === name && prediction === name),
  }));
  type Class = typeof classes[number];
  const average = (score: (of: Class) => number): ByClass => ({
    one_vs_all: Object.fromEntries(classes.map((of) => [of.name, score(of)])),
    macro: classes.reduce((sum, of) => sum + score(of), 0) / classes.length,
    weighted: classes.reduce((sum, of) => sum + of.support * score(of), 0) / labeledRows,
  });
  return {
    labeledRows,
    accuracy: count(({ label, prediction }) => label === prediction) / labeledRows,
    precision: average(({ correct, predicted }) => predicted === 0 ? 0 : correct / predicted),
    recall: average(({ correct, support }) => support === 0 ? 0 : correct / support),
    f1: average(({ correct, support, predicted }) => 2 * correct / (support + predicted)),
    confusion: [...confusion].sort((a, b) =>
      a.label === b.label ? compare(a.prediction, b.prediction) : compare(a.label, b.label)
    ),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
