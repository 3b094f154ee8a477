/** What names and values tracking takes: the limits of MLflow 3, so that data fits both. */
import { invalid } from "./error.ts";

/** Largest counts and lengths (characters). @see mlflow/utils/validation.py of MLflow 3.17 */
export const limits = {
  key: 250,
  paramValue: 6_000,
  tagValue: 8_000,
  experimentTagValue: 20_000,
  registryTagValue: 100_000,
  experimentName: 500,
  modelName: 256,
  alias: 255,
  datasetName: 500,
  datasetDigest: 36,
  datasetSchema: 1_048_575,
  datasetProfile: 16_777_215,
  datasetSource: 65_535,
  metricsPerBatch: 1_000,
  paramsPerBatch: 100,
  tagsPerBatch: 100,
  entitiesPerBatch: 1_000,
  batchBytes: 1_000_000,
  datasetsPerBatch: 1_000,
} as const;

/** Letters of a key; it may be a path, so that a tree of metrics can be shown. */
const KEY = /^[/\w.\- :]+$/u;

/**
 * Checks the key of a param, metric or tag.
 * @throws {TrackingError} when it is empty, too long, has other letters or is no clean relative path.
 */
export function checkKey(what: string, key: string): void {
  const state = !KEY.test(key)
    ? "a name is of letters, digits, _, -, ., :, space and /"
    : key.length > limits.key
    ? `it has ${key.length} characters and ${limits.key} are allowed`
    : key.split("/").some((part) => part === "" || part === "." || part === "..")
    ? "a name with / is a clean relative path"
    : null;
  if (state !== null) throw invalid(`Cannot take ${what} "${key.slice(0, 80)}": ${state}`);
}

/** @throws {TrackingError} when `text` is longer than `most` characters. */
export function checkLength(what: string, text: string, most: number): void {
  if (text.length <= most) return;
  throw invalid(`Cannot take ${what}: it has ${text.length} characters and ${most} are allowed`);
}

/** @throws {TrackingError} when there are more than `most`. */
export function checkCount(what: string, count: number, most: number): void {
  if (count <= most) return;
  throw invalid(
    `Cannot take ${count} ${what} at once: at most ${most} are allowed; send them in parts`,
  );
}

/** @throws {TrackingError} when a name is no registered model's. */
export function checkModelName(name: string): void {
  const state = name.trim() === ""
    ? "it is empty"
    : /[/:]/.test(name)
    ? "a name has no / and no :"
    : name === "." || name === ".."
    ? "it is no name"
    : null;
  if (state !== null) throw invalid(`Cannot take model name "${name}": ${state}`);
  checkLength("the model name", name, limits.modelName);
}

/** @throws {TrackingError} when a name is no alias's, or is reserved. */
export function checkAlias(alias: string): void {
  const state = !/^[\w-]+$/.test(alias)
    ? "a name is of letters, digits, _ and -"
    : alias.toLowerCase() === "latest"
    ? '"latest" is reserved'
    : /^v?\d+$/i.test(alias)
    ? "it reads as a version number"
    : null;
  if (state !== null) throw invalid(`Cannot set alias "${alias.slice(0, 80)}": ${state}`);
  checkLength("the alias", alias, limits.alias);
}
