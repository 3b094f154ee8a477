/** What was done to a feature's values: missing, stuck, in another unit, scaled, shifted or changed. */
import { computeQuantiles, largestDistance, sortPresent } from "../../numeric/statistics.ts";
import { findConversion } from "../units.ts";
import { brief, type Kind, percent } from "./suspect.ts";

/** A mechanism in words. */
export interface Mechanism {
  readonly kind: Kind;
  /** A sentence without its subject's name and its end. */
  readonly text: string;
  readonly evidence: readonly string[];
}

/** Distance of two samples in `[0, 1]`: of the present values, or of the shares of missing ones. */
export function distanceOf(reference: Float64Array, current: Float64Array): number {
  const a = sortPresent(reference);
  const b = sortPresent(current);
  const missing = Math.abs(b.length / current.length - a.length / reference.length);
  return Math.max(missing, a.length === 0 || b.length === 0 ? 0 : largestDistance(a, b));
}

/** Share of rows by which missing or equal values must grow to be what happened. */
const GROWTH = 0.15;

/** A transformation is what happened when undoing it leaves less than this part of the distance. */
const REST = 0.4;

/** Factors nearer to 1 than this are a shift as well. */
const LEAST_FACTOR = 1.25;

/** Units that values come in by mistake, in the spelling of the unit table. */
const mistakes = [
  ...["m", "ft", "in", "cm", "mm", "km", "g/cm3", "kg/m3", "lb/ft3", "%", "v/v", "us/ft", "us/m"],
  ...["m/s", "ft/s", "degc", "degf", "k", "kpa", "pa", "mpa", "bar", "psi", "ms", "s", "us", "min"],
  ...["mv", "v", "deg", "rad", "kg", "g", "lb"],
];

/**
 * Says what happened to the values of a feature between a reference and now; both have rows, `NaN` is
 * missing.
 */
export function findMechanism(
  reference: Float64Array,
  current: Float64Array,
  unit?: string | null,
): Mechanism {
  const before = sortPresent(reference);
  const now = sortPresent(current);
  const missing = {
    before: 1 - before.length / reference.length,
    now: 1 - now.length / current.length,
  };
  const shares = `missing ${percent(missing.now)}, before ${percent(missing.before)}`;
  const apart = before.length === 0 || now.length === 0 ? 0 : largestDistance(before, now);
  if (Math.abs(missing.now - missing.before) > Math.max(GROWTH, apart / 2)) {
    return {
      kind: "missing values",
      text: missing.now > missing.before ? "is missing" : "is no longer missing",
      evidence: [shares],
    };
  }
  if (before.length === 0 || now.length === 0) {
    return { kind: "changed values", text: "changed", evidence: [shares] };
  }
  const stuck = { before: commonest(before), now: commonest(now) };
  if (stuck.now.share > stuck.before.share + GROWTH) {
    return {
      kind: "stuck value",
      text: `stands at ${brief(stuck.now.value)}`,
      evidence: [
        `${percent(stuck.now.share)} of the values are ${brief(stuck.now.value)}; before, the ` +
        `commonest value had ${percent(stuck.before.share)}`,
      ],
    };
  }
  return findTransformation(before, now, { apart, unit: unit ?? null });
}

function findTransformation(
  before: Float64Array,
  now: Float64Array,
  { apart, unit }: { readonly apart: number; readonly unit: string | null },
): Mechanism {
  const medians = `median ${brief(middle(now))}, before ${brief(middle(before))}`;
  const rest = ({ factor, offset }: { factor: number; offset: number }) =>
    largestDistance(before, now.map((value) => (value - offset) / factor));
  for (const { other, ...conversion } of unit === null ? [] : listMistakes(unit)) {
    if (rest(conversion) < REST / 2 * apart) {
      return {
        kind: "unit",
        text: `comes in ${other} where ${unit} is meant`,
        evidence: [medians],
      };
    }
  }
  const factor = estimateFactor(before, now);
  const offset = middle(now) - middle(before);
  const left = {
    scale: factor > 0 && Math.abs(Math.log(factor)) > Math.log(LEAST_FACTOR)
      ? rest({ factor, offset: 0 })
      : Infinity,
    shift: rest({ factor: 1, offset }),
  };
  if (left.scale < REST * apart && left.scale < left.shift) {
    return {
      kind: "scale",
      text: `is ${brief(factor)} times what it was`,
      evidence: [medians, `divided by ${brief(factor)}, the values are as before`],
    };
  }
  if (left.shift < REST * apart) {
    return {
      kind: "shift",
      text: `is shifted by ${offset > 0 ? "+" : ""}${brief(offset)}`,
      evidence: [medians],
    };
  }
  return {
    kind: "changed values",
    text: "has other values",
    evidence: [medians, `distance of the distributions ${brief(apart)}`],
  };
}

/** Conversions from `unit` to units of the same quantity that change a value. */
function listMistakes(unit: string): { other: string; factor: number; offset: number }[] {
  return mistakes.flatMap((other) => {
    try {
      const conversion = findConversion(unit, other);
      const isSame = Math.abs(conversion.factor - 1) < 1e-9 && conversion.offset === 0;
      return isSame ? [] : [{ other, ...conversion }];
    } catch {
      return []; // Another quantity, or a unit nobody knows.
    }
  });
}

/** Median over quantiles of how many times larger the values are now. */
function estimateFactor(before: Float64Array, now: Float64Array): number {
  const shares = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
  const a = computeQuantiles(before, shares)!;
  const b = computeQuantiles(now, shares)!;
  const scale = Math.max(...a.map(Math.abs));
  const ratios = sortPresent(
    a.map((value, i) => Math.abs(value) > 0.05 * scale ? b[i] / value : NaN),
  );
  return ratios.length === 0 ? NaN : middle(ratios);
}

function middle(sorted: Float64Array): number {
  return computeQuantiles(sorted, [0.5])![0];
}

function commonest(sorted: Float64Array): { readonly value: number; readonly share: number } {
  let best = { value: sorted[0], count: 0 };
  for (let start = 0; start < sorted.length;) {
    let end = start;
    while (end < sorted.length && sorted[end] === sorted[start]) end++;
    if (end - start > best.count) best = { value: sorted[start], count: end - start };
    start = end;
  }
  return { value: best.value, share: best.count / sorted.length };
}
