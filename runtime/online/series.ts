/** Series of numbers that the rows of the inference table make, read from memory and by SQL alike. */
import { suggest, UsageError } from "../errors.ts";
import type { HeldOut } from "../estimates/held_out.ts";
import type { InferenceRows } from "../inference/inference_log.ts";
import { quoteLiteral } from "../store/sql.ts";

/** One number a row; a missing one is `NaN`. */
export interface Series {
  /** As in the config: `confidence`, `label:CLASS` or `feature:NAME`. */
  readonly name: string;
  /** The number as SQL over `core.inferences`. */
  readonly sql: string;
  /** Writes the numbers of `rows` to the start of `into`, which is long enough. */
  read(rows: InferenceRows, into: Float64Array): void;
  /** Gives the numbers of held-out predictions. */
  ofHeldOut(heldOut: HeldOut): Float64Array;
}

/** What a series is made from: the names of a version's inputs and classes, in their order. */
export interface SeriesNames {
  readonly inputs: readonly string[];
  readonly classes: readonly string[];
}

/**
 * Gives the series of a name.
 * @throws {UsageError} when the version has no such input or class.
 */
export function makeSeries(name: string, { inputs, classes }: SeriesNames): Series {
  if (name === "confidence") return confidence;
  const wanted = name.slice(name.indexOf(":") + 1);
  return name.startsWith("label:")
    ? makeShare(name, find("class", wanted, classes), wanted)
    : makeFeature(name, find("input", wanted, inputs));
}

function find(what: string, name: string, names: readonly string[]): number {
  const index = names.indexOf(name);
  if (index >= 0) return index;
  const near = suggest(name, names);
  throw new UsageError(
    `Cannot watch ${what} "${name}": the model has none of this name; ${
      near ? `did you mean "${near}"?` : `there are ${names.join(", ")}`
    }`,
  );
}

const confidence: Series = {
  name: "confidence",
  sql: "confidence",
  read({ labels, probabilities: { data, cols } }, into) {
    for (let i = 0; i < labels.length; i++) into[i] = data[i * cols + labels[i]];
  },
  ofHeldOut({ P: { data, rows, cols } }) {
    return Float64Array.from({ length: rows }, (_, i) => data[findLargest(data, i * cols, cols)]);
  },
};

function makeShare(name: string, index: number, label: string): Series {
  return {
    name,
    sql: `(label = ${quoteLiteral(label)})::int::double`,
    read({ labels }, into) {
      for (let i = 0; i < labels.length; i++) into[i] = labels[i] === index ? 1 : 0;
    },
    ofHeldOut({ P: { data, rows, cols } }) {
      return Float64Array.from(
        { length: rows },
        (_, i) => findLargest(data, i * cols, cols) === i * cols + index ? 1 : 0,
      );
    },
  };
}

function makeFeature(name: string, index: number): Series {
  return {
    name,
    sql: `features[${index + 1}]`,
    read({ features, labels }, into) {
      const cols = features.length / labels.length;
      for (let i = 0; i < labels.length; i++) into[i] = features[i * cols + index];
    },
    ofHeldOut({ X: { data, rows, cols } }) {
      return Float64Array.from({ length: rows }, (_, i) => data[i * cols + index]);
    },
  };
}

/** Index of the first largest value of a row. */
function findLargest(data: ArrayLike<number>, start: number, length: number): number {
  let best = start;
  for (let i = start + 1; i < start + length; i++) if (data[i] > data[best]) best = i;
  return best;
}
