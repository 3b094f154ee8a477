/** A prediction in words: the class's profile beside what was measured. */
import type { ClassProfile, Inference } from "../../plugins/plugin.ts";
import { formatNumber, showName } from "./data.ts";

/** Most features that a prompt shows: a record may have thousands. */
const MAX_FEATURES = 64;

/** The name of a class as a prompt shows it. */
export function showClass(label: string, profiles: Readonly<Record<string, ClassProfile>>): string {
  return showName(label, `class ${Object.keys(profiles).indexOf(label) + 1}`);
}

/** One line per feature that has a value in the record and a profile; none when there is none. */
export function describeRecord(
  { features }: Inference,
  { mean, std }: ClassProfile,
  redact: readonly string[] = [],
): string[] {
  return listFeatures(mean, redact).flatMap(([name, shown]) => {
    const value = Object.hasOwn(features, name) ? features[name] : null;
    if (!isNumber(value) || !isNumber(mean[name]) || !isNumber(std[name])) return [];
    const distance = Math.abs(value - mean[name]) / std[name];
    // A class in which the feature never varied: equal is typical, anything else is not.
    const words = distance >= 2 ? "very unusual" : distance >= 1 ? "somewhat unusual" : "typical";
    return [
      `${shown}: measured ${formatNumber(value)}, this class usually ${
        formatNumber(mean[name])
      } ± ${formatNumber(std[name])} (${words})`,
    ];
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
