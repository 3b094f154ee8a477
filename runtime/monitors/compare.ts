/** What differs between two sides of a column. Pure. */
import type { BinCounts } from "../../numeric/drift/bins.ts";
import { chooseMethod } from "../../numeric/drift/choice.ts";
import {
  countDistributions,
  countHalvesOf,
  type Distribution,
  type Gaps,
  measureGaps,
  measureStabilityOf,
  sizeOf,
} from "../../numeric/drift/distributions.ts";
import {
  measureJensenShannon,
  measureLInfinity,
  measureTotalVariation,
} from "../../numeric/drift/divergences.ts";
import { adjustPValues } from "../../numeric/drift/power.ts";
import { testChiSquared, testProportions } from "../../numeric/drift/tables.ts";
import type { Plugin } from "../../plugins/plugin.ts";
import type { ColumnProfile, Side } from "./columns.ts";
import { testCounts } from "./counts.ts";

/** What a comparison of two sides gives; `null` where the column's type has no such number. */
export interface Difference {
  readonly jsDistance: number | null;
  readonly ks: { readonly statistic: number; readonly pValue: number } | null;
  /** In the column's own unit. */
  readonly wassersteinDistance: number | null;
  readonly populationStabilityIndex: number | null;
  readonly chiSquared: { readonly statistic: number; readonly pValue: number } | null;
  readonly tvDistance: number | null;
  readonly lInfinityDistance: number | null;
  /** What suits the column, and why. */
  readonly method: string | null;
  readonly decisionPath: readonly string[] | null;
  /** What the method measured, comparable over columns: in `[0, 1]` or in standard deviations. */
  readonly effectSize: number | null;
  /** Of the method, or of the column type's test where the method is a distance. */
  readonly pValue: number | null;
  readonly threshold: number | null;
  readonly methods: readonly MethodResult[];
  /** Values of either side. */
  readonly referenceCount: number;
  readonly currentCount: number;
  /** Why there is no result; `null` when there is one. */
  readonly reason: string | null;
  /** What of the result decides. */
  readonly decides: "pValue" | "statistic" | null;
}

/** What a method by name found. */
export interface MethodResult {
  readonly method: string;
  readonly statistic: number;
  readonly p_value: number | null;
  readonly is_drifted: boolean;
}

const nothing = {
  jsDistance: null,
  ks: null,
  wassersteinDistance: null,
  populationStabilityIndex: null,
  chiSquared: null,
  tvDistance: null,
  lInfinityDistance: null,
  method: null,
  decisionPath: null,
  effectSize: null,
  pValue: null,
  threshold: null,
  methods: [],
  decides: null,
} as const;

/** How columns are compared. */
export interface Comparing {
  /** Fewest values a side. */
  readonly minRows: number;
  /** Methods besides those of a lakehouse. */
  readonly methods: readonly Plugin<"drift">[];
}

/** Compares a column's current side with its reference. Too few values give a reason and no result. */
export function compareSides(
  { reference, current }: { readonly reference: Side; readonly current: Side },
  comparing: Comparing,
): Difference {
  const referenceCount = countPresent(reference.profile);
  const currentCount = countPresent(current.profile);
  const counts = { referenceCount, currentCount };
  for (const [name, count] of [["reference", referenceCount], ["current", currentCount]] as const) {
    if (count < comparing.minRows) {
      const reason = `${count} ${name} values, it takes ${comparing.minRows}`;
      return { ...nothing, ...counts, reason };
    }
  }
  return reference.distribution !== null && current.distribution !== null
    ? { ...compareNumbers(reference, current, comparing), ...counts }
    : { ...compareTexts(reference, current), ...counts };
}

function countPresent({ count, numNulls, numNan }: ColumnProfile): number {
  return count - numNulls - (numNan ?? 0);
}

type Result = Omit<Difference, "referenceCount" | "currentCount">;

function compareNumbers(reference: Side, current: Side, { methods }: Comparing): Result {
  const [r, c] = [reference.distribution!, current.distribution!];
  const gaps = measureGaps(r, c)!;
  const bins = countDistributions(r, c);
  if (bins === null) return { ...nothing, reason: "there are infinite values" };
  const jsDistance = measureJensenShannon(bins)!;
  const ks = { statistic: gaps.largest, pValue: gaps.pValue };
  // Of a thinned side only a lower bound is known; it has thousands.
  const { method, decides, threshold, path } = chooseMethod({
    type: "numeric",
    referenceCount: sizeOf(r),
    distinctCount: Math.max(gaps.distinct, reference.profile.distinctCount),
  });
  const scores = score(method, { gaps, bins, jsDistance, reference, current });
  return {
    ...nothing,
    jsDistance,
    ks,
    wassersteinDistance: gaps.area,
    populationStabilityIndex: measureStabilityOf(r, c),
    method,
    decisionPath: decides === "statistic" ? [...path, AND_TEST] : path,
    decides,
    threshold,
    effectSize: scores.effect,
    pValue: scores.pValue,
    methods: runMethods(methods, expand(r), expand(c)),
    reason: null,
  };
}

/** What the chosen method says, as the plugin `auto` does. */
function score(
  method: ReturnType<typeof chooseMethod>["method"],
  { gaps, bins, jsDistance, reference, current }: {
    readonly gaps: Gaps;
    readonly bins: BinCounts;
    readonly jsDistance: number;
    readonly reference: Side;
    readonly current: Side;
  },
): { readonly effect: number; readonly pValue: number } {
  switch (method) {
    case "ks":
      return { effect: gaps.largest, pValue: gaps.pValue };
    case "wasserstein":
      return { effect: gaps.area / scaleOf(reference.profile), pValue: gaps.pValue };
    case "jensenshannon":
      return { effect: jsDistance, pValue: gaps.pValue };
    case "chisquare":
      return { effect: testChiSquared(bins)!.effect, pValue: testCounts(bins) };
    case "z": {
      const halves = countHalvesOf(reference.distribution!, current.distribution!)!;
      return { effect: testProportions(halves)!.effect, pValue: testCounts(halves) };
    }
  }
}

/** Population deviation of the reference, at least Evidently's smallest scale. */
function scaleOf(profile: ColumnProfile): number {
  const n = countPresent(profile);
  return Math.max((profile.stddev ?? 0) * Math.sqrt((n - 1) / n), 1e-3);
}

function compareTexts(reference: Side, current: Side): Result {
  const [r, c] = [reference.categories!, current.categories!];
  const bins = countTexts(r, c);
  const chi = testChiSquared(bins)!;
  const jsDistance = measureJensenShannon(bins)!;
  const { method, decides, threshold, path } = chooseMethod({
    type: "categorical",
    referenceCount: countPresent(reference.profile),
    distinctCount: bins.reference.length,
  });
  // One class on both sides is one bin, which the test of two shares does not take.
  const isShare = method === "z" && bins.reference.length === 2;
  const { effect } = isShare ? testProportions(bins)! : chi;
  return {
    ...nothing,
    jsDistance,
    chiSquared: { statistic: chi.statistic, pValue: chi.pValue },
    tvDistance: measureTotalVariation(bins),
    lInfinityDistance: measureLInfinity(bins),
    method,
    decisionPath: decides === "statistic" ? [...path, AND_TEST] : path,
    decides,
    threshold,
    effectSize: method === "jensenshannon" ? jsDistance : effect,
    pValue: testCounts(bins),
    reason: null,
  };
}

function countTexts(
  reference: ReadonlyMap<string, number>,
  current: ReadonlyMap<string, number>,
): BinCounts {
  const names = [...new Set([...reference.keys(), ...current.keys()])];
  const read = (side: ReadonlyMap<string, number>) =>
    Float64Array.from(names, (name) => side.get(name) ?? 0);
  return { reference: read(reference), current: read(current), bins: "categories" };
}

function runMethods(
  methods: readonly Plugin<"drift">[],
  reference: () => Float64Array,
  current: () => Float64Array,
): MethodResult[] {
  return methods.flatMap((plugin) => {
    const result = plugin.compare(reference(), current());
    if (result === null) return [];
    return [{
      method: plugin.name,
      statistic: result.statistic,
      p_value: result.pValue ?? null,
      is_drifted: result.isDrifted,
    }];
  });
}

/** Gives the values of a distribution, made once when they are asked for. */
function expand({ values, upTo }: Distribution): () => Float64Array {
  let sample: Float64Array | undefined;
  return () => {
    if (sample) return sample;
    sample = new Float64Array(upTo[upTo.length - 1]);
    values.forEach((value, i) => sample!.fill(value, i === 0 ? 0 : upTo[i - 1], upTo[i]));
    return sample;
  };
}

/** Whether a column drifted, with its p-value among those of the columns compared together. */
export interface Decision {
  readonly adjustedPValue: number | null;
  readonly isDrifted: boolean | null;
}

/** Level of the tests over the columns of a cell: where nothing drifted, so many cells say one did. */
export const DRIFT_LEVEL = 0.05;

/** Ends the decision path of a distance. */
const AND_TEST =
  `and the adjusted p-value is below ${DRIFT_LEVEL}: few rows are as far apart by chance`;

/**
 * Decides for all columns of one cell together: p-values are adjusted by Benjamini and Hochberg, and a
 * test decides by the adjusted one. A distance decides by its size, where the test of the column's type
 * says that it is not chance: of a column that never changes, forty values are 0.15 standard deviations
 * away from any number of others, which is past the threshold.
 */
export function decideTogether(differences: readonly Difference[]): Decision[] {
  const adjusted = adjustPValues(differences.map(({ pValue }) => pValue));
  return differences.map(({ decides, threshold, effectSize }, i) => ({
    adjustedPValue: adjusted[i],
    isDrifted: decides === null
      ? null
      : decides === "pValue"
      ? adjusted[i]! < threshold!
      : effectSize! >= threshold! && adjusted[i]! < DRIFT_LEVEL,
  }));
}
