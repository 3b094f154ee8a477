/** A stream whose distribution never changes, as the monitors measure it: columns of days. */
import { Random } from "../../../numeric/random.ts";
import { testClasses } from "../../model_fixture.ts";
import type { FixtureRow } from "./fixture.ts";
import {
  describeCategories,
  describeNumbers,
  type Side,
} from "../../../runtime/monitors/columns.ts";

/** Columns by name; `feature` columns come first, as in a model's signature. */
export type Sides = ReadonlyMap<string, Drawn>;

interface Drawn {
  readonly isFeature: boolean;
  readonly side: Side;
}

/** One row: what came in, and what a model of it would answer. */
interface Row {
  readonly features: Readonly<Record<string, number>>;
  readonly probabilities: readonly number[];
}

const classes = ["clay", "sand", "silt", "lime"];

/** Features that depend on each other: a heavy tail, ties, zeros, few and rare levels, a flag, missing values. */
function drawRow(random: Random): Row {
  const [a, b, c, d] = Array.from({ length: 4 }, () => drawNormal(random));
  const level = random.uniform();
  return {
    features: {
      normal: a,
      dependent: 0.8 * a + 0.6 * b,
      skewed: Math.exp(b),
      steps: Math.round(10 * c) / 10,
      zeros: d > 0.5 ? d : 0,
      levels: level < 0.5 ? 1 : level < 0.8 ? 2 : level < 0.95 ? 3 : 4,
      rare: level < 0.96 ? 0 : level < 0.99 ? 1 : 2,
      flag: c + d > 0.3 ? 1 : 0,
      gaps: random.uniform() < 0.1 ? NaN : 2 * b + d,
    },
    probabilities: softmax([0.8 + a, 0.3 * b, c - 0.4, 0.5 * d - 0.6]),
  };
}

/** Box and Muller. */
function drawNormal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
  return radius * Math.cos(2 * Math.PI * random.uniform());
}

function softmax(scores: readonly number[]): number[] {
  const powers = scores.map(Math.exp);
  const sum = powers.reduce((x, y) => x + y, 0);
  return powers.map((power) => power / sum);
}

/** Draws rows and gives each of their columns as the monitors describe it. */
export function drawSides(random: Random, rows: number): Sides {
  const drawn = Array.from({ length: rows }, () => drawRow(random));
  const numbers = (read: (row: Row) => number): Side => {
    const present = drawn.map(read).filter((value) => !Number.isNaN(value));
    return describeNumbers(Float64Array.from(present).sort(), { rows, nan: 0 });
  };
  const predicted = Map.groupBy(
    drawn,
    ({ probabilities }) => classes[probabilities.indexOf(Math.max(...probabilities))],
  );
  const counts = new Map([...predicted].map(([name, { length }]) => [name, length]));
  return new Map<string, Drawn>([
    ...Object.keys(drawn[0].features).map((name) =>
      [name, { isFeature: true, side: numbers(({ features }) => features[name]) }] as const
    ),
    [":prediction", { isFeature: false, side: describeCategories(counts, rows) }],
    [":confidence", {
      isFeature: false,
      side: numbers(({ probabilities }) => Math.max(...probabilities)),
    }],
    ...classes.map((name, k) =>
      [`:probability:${name}`, {
        isFeature: false,
        side: numbers(({ probabilities }) => probabilities[k]),
      }] as const
    ),
  ]);
}

/** Draws one prediction as it stands in the store. */
export function drawPrediction(random: Random): FixtureRow {
  const features = Array.from({ length: 3 }, () => 50 + 10 * drawNormal(random));
  const probabilities = softmax(features.map((value) => value / 20));
  const confidence = Math.max(...probabilities);
  const label = testClasses[probabilities.indexOf(confidence)];
  return { features, label, probabilities, confidence, slice: null, truth: label };
}
