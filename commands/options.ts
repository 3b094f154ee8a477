/** What the commands share: options of a config, and where the answer goes. */
import type { Arguments } from "./arguments.ts";
import type { Kinds, Plugin, Plugins } from "../plugins/plugin.ts";
import { suggest, UsageError } from "../runtime/errors.ts";
import {
  currentVersion,
  type ModelVersion,
  resolveVersion,
} from "../runtime/registry/model_registry.ts";
import { deployedAlias, type Project, type ProjectOptions } from "../run.ts";

/** Reads the options that choose a config. */
export function projectOptions({ options }: Arguments): ProjectOptions {
  const seed = options.seed === undefined ? undefined : readNumber("seed", options.seed);
  return {
    ...(typeof options.config === "string" ? { file: options.config } : {}),
    ...(typeof options.env === "string" ? { environment: options.env } : {}),
    ...(Array.isArray(options.set) ? { settings: options.set } : {}),
    ...(options.quick === true ? { overlays: ["quick"] } : {}),
    ...(seed === undefined ? {} : { seed }),
  };
}

/**
 * Reads a number given as an option.
 * @throws {UsageError} when it is none.
 */
export function readNumber(name: string, value: unknown): number {
  const number = Number(value);
  if (typeof value !== "string" || value.trim() === "" || !Number.isFinite(number)) {
    throw new UsageError(`Cannot use --${name} "${value}": it must be a number`);
  }
  return number;
}

/** A text option, or `undefined`. */
export function readText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/**
 * Gives `name` when it is one of `known`.
 * @throws {UsageError} that names the nearest one.
 */
export function checkName<T extends string>(what: string, name: string, known: readonly T[]): T {
  if ((known as readonly string[]).includes(name)) return name as T;
  const near = suggest(name, known);
  throw new UsageError(
    `Cannot find ${what} "${name}"${near ? `; did you mean "${near}"? There` : ": there"} are ${
      known.join(", ")
    }`,
  );
}

/**
 * Gives the plugins that a person named.
 * @throws {UsageError} that names the nearest one when there is no such plugin.
 */
export function choosePlugins<K extends keyof Kinds>(
  plugins: Plugins,
  kind: K,
  names: readonly string[],
): Plugin<K>[] {
  const known = plugins.list(kind).map((plugin) => plugin.name);
  return names.map((name) => plugins.get(kind, checkName(kind, name, known)));
}

/** The version that a command works with, and how it came to it. */
export interface ChosenVersion extends ModelVersion {
  /** What a person should know: that the version was never released. */
  readonly note: string | null;
}

/**
 * Gives the version that `--model` names; without it the one in production, else the deployed one,
 * with a note that says so.
 * @throws {UsageError} when there is none.
 */
export async function chooseVersion(
  { store, config }: Project,
  { options }: Arguments,
): Promise<ChosenVersion> {
  const given = readText(options.model);
  if (given !== undefined) {
    return { ...await resolveVersion(store, config.name, given), note: null };
  }
  if (await currentVersion(store, config.name, "production") !== null) {
    return { ...await resolveVersion(store, config.name, "production"), note: null };
  }
  const alias = deployedAlias(config);
  const version = await resolveVersion(store, config.name, alias);
  return {
    ...version,
    note: `${config.name} has no released version; this is ${alias}, version ${version.version}`,
  };
}
