/** A prediction in words: the class's profile beside what was measured. */
import type { ClassProfile, Inference } from "../../plugins/plugin.ts";
import { formatNumber, showName } from "./data.ts";

/** Most features that a prompt shows: a record may have thousands. */
const MAX_FEATURES = 64;

/** The name of a class as a prompt shows it. */
export function showClass(label: string, profiles: Readonly<Record<string, ClassProfile>>): string {
  return showName(label, `class ${Object.keys(profiles).indexOf(label) + 1}`);
}

/** A feature that has a value in the record and a profile. */
interface Placed {
  readonly shown: string;
  readonly value: number;
  readonly mean: number;
  readonly std: number;
  /** Deviations from the mean; where the feature never varied ±Infinity, or `NaN` when it is equal. */
  readonly distance: number;
}

function placeRecord(
  { features }: Inference,
  profile: ClassProfile,
  redact: readonly string[],
): Placed[] {
  return listFeatures(profile.mean, redact).flatMap(([name, shown]) => {
    const value = Object.hasOwn(features, name) ? features[name] : null;
    const [mean, std] = [profile.mean[name], profile.std[name]];
    if (!isNumber(value) || !isNumber(mean) || !isNumber(std)) return [];
    return [{ shown, value, mean, std, distance: (value - mean) / std }];
  });
}

/** One line per feature that has a value and a profile, with both; none when there is none. */
export function describeRecord(
  inference: Inference,
  profile: ClassProfile,
  redact: readonly string[] = [],
): string[] {
  return placeRecord(inference, profile, redact).map(({ shown, value, mean, std, distance }) => {
    const far = Math.abs(distance);
    const words = far >= 2 ? "very unusual" : far >= 1 ? "somewhat unusual" : "typical";
    return `${shown}: measured ${formatNumber(value)}, this class usually ${formatNumber(mean)} ± ${
      formatNumber(std)
    } (${words})`;
  });
}

/**
 * One line per feature that has a value and a profile: where the value lies, in words alone. A small
 * model tells right from wrong by them better than by numbers, for a third of the tokens, and no
 * measured value is in the prompt (bench/README.md, judges.ts).
 */
export function placeInWords(
  inference: Inference,
  profile: ClassProfile,
  redact: readonly string[] = [],
): string[] {
  return placeRecord(inference, profile, redact).map(({ shown, distance }) => {
    const far = Math.abs(distance);
    const side = distance > 0 ? "high" : "low";
    const words = far >= 3
      ? `extremely unusual, far too ${side}`
      : far >= 2
      ? `very unusual, too ${side}`
      : far >= 1
      ? `somewhat unusual, ${side}`
      : "typical";
    return `${shown}: ${words}`;
  });
}

/** The measured values alone, one line each. */
export function describeValues(
  { features }: Inference,
  { mean }: ClassProfile,
  redact: readonly string[] = [],
): string[] {
  return listFeatures(mean, redact).flatMap(([name, shown]) => {
    const value = Object.hasOwn(features, name) ? features[name] : null;
    return isNumber(value) ? [`${shown}: ${formatNumber(value)}`] : [];
  });
}

/** A class in one line: what its features usually are. */
export function describeProfile(
  { mean, std }: ClassProfile,
  redact: readonly string[] = [],
): string {
  return listFeatures(mean, redact).flatMap(([name, shown]) =>
    isNumber(mean[name]) && isNumber(std[name])
      ? [`${shown} ${formatNumber(mean[name])} ± ${formatNumber(std[name])}`]
      : []
  ).join(", ");
}

function listFeatures(
  mean: Readonly<Record<string, number>>,
  redact: readonly string[],
): (readonly [name: string, shown: string])[] {
  return Object.keys(mean).slice(0, MAX_FEATURES)
    .map((name, i) => [name, showName(name, `column ${i + 1}`)] as const)
    .filter(([name]) => !redact.includes(name));
}

/** Whether a value of a record is a number at all. */
export function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}
