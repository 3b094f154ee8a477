/** The columns that are monitored, and what is said of one over some rows. */
import { type Distribution, toDistribution } from "../../numeric/drift/distributions.ts";
import type { MonitoredVersion } from "./rows.ts";

/** What a column is about. */
export type ColumnKind =
  | "feature"
  | "prediction"
  | "confidence"
  | "probability"
  | "label"
  | "table";

/** One column of the rows. */
export interface Column {
  /** Name of the input, or one that begins with a colon, as no input's does by accident. */
  readonly name: string;
  readonly kind: ColumnKind;
  readonly dataType: "double" | "float" | "string";
  /** SQL of its value over the rows. */
  readonly sql: string;
}

/** Name of the row that is about all columns together. */
export const TABLE = ":table";

/** The predicted class and the one that turned out to be true. */
export const categoryColumns: readonly Column[] = [
  { name: ":prediction", kind: "prediction", dataType: "string", sql: "label" },
  { name: ":label", kind: "label", dataType: "string", sql: "truth" },
];

/** The columns of numbers of a version. */
export function numberColumns({ inputs, classes }: MonitoredVersion): Column[] {
  return [
    ...inputs.map((name, j): Column => ({
      name,
      kind: "feature",
      dataType: "double",
      sql: `features[${j + 1}]`,
    })),
    { name: ":confidence", kind: "confidence", dataType: "double", sql: "confidence" },
    ...classes.map((name, j): Column => ({
      name: `:probability:${name}`,
      kind: "probability",
      dataType: "float",
      sql: `probabilities[${j + 1}]`,
    })),
  ];
}

/** What is said of a column; `null` where it has no such number. */
export interface ColumnProfile {
  /** Rows, those without a value included. */
  readonly count: number;
  readonly numNulls: number;
  readonly numNan: number | null;
  readonly numZeros: number | null;
  readonly avg: number | null;
  /** Of the sample: divisor n - 1. */
  readonly stddev: number | null;
  readonly min: number | null;
  readonly max: number | null;
  readonly median: number | null;
  /** Every twentieth, from the smallest to the largest value; exact, linear between values. */
  readonly quantiles: readonly number[] | null;
  readonly minLength: number | null;
  readonly maxLength: number | null;
  readonly avgLength: number | null;
  readonly distinctCount: number;
  readonly frequentItems: readonly { readonly item: string; readonly count: number }[];
}

/** One side of a comparison: what is said of a column, and its values. */
export interface Side {
  readonly profile: ColumnProfile;
  /** Of a column of numbers, in float32 as the model sees them. */
  readonly distribution: Distribution | null;
  /** Of a column of text. */
  readonly categories: ReadonlyMap<string, number> | null;
}

const probabilities = Array.from({ length: 21 }, (_, i) => i / 20);

/** Most frequent values that are named. */
const MOST_ITEMS = 10;

/** Gives what is said of numbers in ascending order; the array is free for other use afterwards. */
export function describeNumbers(
  sorted: Float64Array,
  { rows, nan }: { readonly rows: number; readonly nan: number },
): Side {
  const n = sorted.length;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += sorted[i];
  const mean = sum / n;
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (sorted[i] - mean) ** 2;
  const runs = describeRuns(sorted);
  const quantiles = quantilesOf(sorted);
  const profile: ColumnProfile = {
    count: rows,
    numNulls: rows - n - nan,
    numNan: nan,
    numZeros: runs.zeros,
    avg: n === 0 ? null : mean,
    stddev: n < 2 ? null : Math.sqrt(squares / (n - 1)),
    min: n === 0 ? null : sorted[0],
    max: n === 0 ? null : sorted[n - 1],
    median: quantiles === null ? null : quantiles[10],
    quantiles,
    minLength: null,
    maxLength: null,
    avgLength: null,
    distinctCount: runs.distinct,
    frequentItems: runs.frequent,
  };
  for (let i = 0; i < n; i++) sorted[i] = Math.fround(sorted[i]);
  return { profile, distribution: toDistribution(sorted), categories: null };
}

/** Type 7, as `computeQuantiles()`, which would sort a copy. */
function quantilesOf(sorted: Float64Array): number[] | null {
  const last = sorted.length - 1;
  if (last < 0) return null;
  const places = probabilities.map((probability) => {
    const place = probability * last;
    const lower = Math.floor(place);
    const [a, b] = [sorted[lower], sorted[Math.min(lower + 1, last)]];
    return a === b ? a : a + (b - a) * (place - lower);
  });
  return places;
}

/** What runs of equal values tell: of frequent items the smaller of two comes first, none occurs once. */
function describeRuns(
  sorted: Float64Array,
): {
  readonly distinct: number;
  readonly zeros: number;
  readonly frequent: ColumnProfile["frequentItems"];
} {
  const top: { value: number; count: number }[] = [];
  let distinct = 0;
  let zeros = 0;
  for (let start = 0, end = 0; start < sorted.length; start = end) {
    const value = sorted[start];
    while (end < sorted.length && sorted[end] === value) end++;
    const count = end - start;
    distinct++;
    if (value === 0) zeros = count;
    if (count < 2 || (top.length === MOST_ITEMS && count <= top[MOST_ITEMS - 1].count)) continue;
    if (top.length === MOST_ITEMS) top.pop();
    let at = top.length;
    while (at > 0 && top[at - 1].count < count) at--;
    top.splice(at, 0, { value, count });
  }
  return {
    distinct,
    zeros,
    frequent: top.map(({ value, count }) => ({ item: String(value), count })),
  };
}

/** Gives what is said of categories with their counts, among `rows` rows. */
export function describeCategories(
  categories: ReadonlyMap<string, number>,
  rows: number,
): Side {
  const entries = [...categories].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
  const present = entries.reduce((sum, [, count]) => sum + count, 0);
  const lengths = entries.map(([item]) => [...item].length);
  const total = entries.reduce((sum, [, count], i) => sum + count * lengths[i], 0);
  const isEmpty = present === 0;
  return {
    profile: {
      count: rows,
      numNulls: rows - present,
      numNan: null,
      numZeros: null,
      avg: null,
      stddev: null,
      min: null,
      max: null,
      median: null,
      quantiles: null,
      minLength: isEmpty ? null : Math.min(...lengths),
      maxLength: isEmpty ? null : Math.max(...lengths),
      avgLength: isEmpty ? null : total / present,
      distinctCount: entries.length,
      frequentItems: entries.slice(0, MOST_ITEMS).map(([item, count]) => ({ item, count })),
    },
    distribution: null,
    categories,
  };
}
