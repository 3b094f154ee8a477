/** What is measured of a row: what the model answers, how wrong it is, or what it was asked. */
import { sortPresent } from "../../numeric/statistics.ts";
import type { Matrix } from "../../numeric/matrix.ts";
import { takeRows } from "../../numeric/matrix.ts";
import { Predictor } from "../predict/predictor.ts";
import { loadModel, resolveVersion } from "../registry/model_registry.ts";
import type { Store } from "../store/store.ts";
import type { Outcomes } from "./change.ts";
import type { Sample } from "./sample.ts";
import { lowerBound, upperBound } from "../../numeric/sorting.ts";

/** Gives the outcomes of rows, with other inputs or other versions than they had on request. */
export interface Measure {
  /** Whether it asks the model, so that the version matters. */
  readonly isPredicted: boolean;
  of(
    rows: Sample,
    instead?: { readonly X?: Matrix; readonly version?: number },
  ): Promise<Outcomes>;
}

/** The versions of a model, opened when they are needed first. */
export class Versions implements AsyncDisposable {
  readonly #open = new Map<number, Promise<Predictor>>();

  constructor(readonly store: Store, readonly model: string) {}

  /** Gives the predictor of a version. */
  get(version: number): Promise<Predictor> {
    const known = this.#open.get(version);
    if (known) return known;
    const opened = resolveVersion(this.store, this.model, String(version))
      .then((found) => loadModel(this.store, found))
      .then((bytes) => Predictor.open(bytes));
    this.#open.set(version, opened);
    return opened;
  }

  /** Predicts each row `[n, k]` by the version that answered it, or all by one. */
  async predict(
    rows: Sample,
    { X = rows.X, version }: { readonly X?: Matrix; readonly version?: number } = {},
  ): Promise<Float64Array> {
    const parts = Map.groupBy(rows.version.keys(), (i) => version ?? rows.version[i]);
    let all = new Float64Array(0);
    for (const [each, index] of parts) {
      const predictor = await this.get(each);
      const { probabilities } = await predictor.predict({
        X: takeRows(X, index),
        order: Float64Array.from(index, (i) => rows.order[i]),
        groups: Int32Array.from(index, (i) => rows.groups[i]),
      });
      const k = probabilities.cols;
      if (all.length === 0) all = new Float64Array(rows.version.length * k);
      index.forEach((row, i) => all.set(probabilities.data.subarray(i * k, (i + 1) * k), row * k));
    }
    return all;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opened of this.#open.values()) {
      await opened.then((predictor) => predictor.close(), () => {});
    }
  }
}

/** The class probabilities and the largest of them. */
export function measurePredictions(versions: Versions, classes: number): Measure {
  return {
    isPredicted: true,
    async of(rows, instead) {
      const P = await versions.predict(rows, instead);
      const cols = classes + 1;
      const data = new Float64Array(rows.version.length * cols);
      for (let i = 0; i < rows.version.length; i++) {
        const row = P.subarray(i * classes, (i + 1) * classes);
        data.set(row, i * cols);
        data[i * cols + classes] = row.reduce((a, b) => Math.max(a, b), 0);
      }
      return { data, rows: rows.version.length, cols };
    },
  };
}

/** Whether the prediction is wrong, of rows whose label is known. */
export function measureErrors(versions: Versions, classes: readonly string[]): Measure {
  return {
    isPredicted: true,
    async of(rows, instead) {
      const P = await versions.predict(rows, instead);
      const k = classes.length;
      const data = Float64Array.from(rows.truth, (truth, i) => {
        const row = P.subarray(i * k, (i + 1) * k);
        return classes[row.indexOf(row.reduce((a, b) => Math.max(a, b), 0))] === truth ? 0 : 1;
      });
      return { data, rows: data.length, cols: 1 };
    },
  };
}

/**
 * Of each input, where it lies among the reference's values, how far from their middle, and whether it is
 * missing, all in `[0, 1]`: the scales of the features are then alike.
 */
export function measureInputs(reference: Matrix): Measure {
  const d = reference.cols;
  const sorted = Array.from(
    { length: d },
    (_, j) =>
      sortPresent(
        Float64Array.from({ length: reference.rows }, (_, i) => reference.data[i * d + j]),
      ),
  );
  return {
    isPredicted: false,
    of(rows, { X = rows.X } = {}) {
      const cols = 3 * d;
      const data = new Float64Array(X.rows * cols);
      for (let i = 0; i < X.rows; i++) {
        for (let j = 0; j < d; j++) {
          const value = X.data[i * d + j];
          const isMissing = Number.isNaN(value);
          const rank = isMissing ? 0.5 : rankOf(sorted[j], value);
          data.set(
            [rank, isMissing ? 0.5 : Math.abs(2 * rank - 1), isMissing ? 1 : 0],
            i * cols + 3 * j,
          );
        }
      }
      return Promise.resolve({ data, rows: X.rows, cols });
    },
  };
}

/** Middle of the ranks of a value among sorted ones, in `[0, 1]`. */
function rankOf(sorted: Float64Array, value: number): number {
  if (sorted.length === 0) return 0.5;
  return (lowerBound(sorted, value) + upperBound(sorted, value)) / 2 / sorted.length;
}
