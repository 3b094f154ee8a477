/**
 * The configuration of a use case: one YAML file, an overlay per environment, and single settings
 * from the command line, merged in this order and checked before anything runs.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { parse } from "@std/yaml";
import { z } from "zod";
import { suggest, UsageError } from "./errors.ts";

/** The newest config version this code reads. */
export const CONFIG_VERSION = 1;

/** The environments; each has an overlay `<environment>.yaml` beside the use case's file. */
export const environments = ["dev", "staging", "production"] as const;

/** One of {@linkcode environments}. */
export type Environment = typeof environments[number];

const head = {
  version: z.literal(CONFIG_VERSION).describe("version of the config's schema"),
  name: z.string().regex(/^\w[\w-]{0,62}$/, "use letters, digits, _ and -")
    .describe("name of the use case: it names the model and the tables"),
  store: z.string().min(1).optional()
    .describe("DuckDB file; default .geophone/<environment>.duckdb"),
  seed: z.int().min(0).max(2 ** 31 - 1).default(42).describe("seed of everything random"),
  plugins: z.array(z.string()).default([])
    .describe("third-party plugins: npm:name or ./file.ts"),
};

/** A checked configuration: the head, and one entry of parameters per section. */
export interface Config {
  readonly version: number;
  readonly name: string;
  readonly store: string;
  readonly seed: number;
  readonly plugins: readonly string[];
  readonly environment: Environment;
  /** Parsed parameters by section, such as `training`. */
  readonly sections: Readonly<Record<string, unknown>>;
}

/** What makes a configuration. */
export interface ConfigOptions {
  /** The use case's YAML file; default `config/wells.yaml`. */
  readonly file?: string;
  readonly environment?: string;
  /** Overlay files beside the use case's file, by stem, such as `quick`; each must exist. */
  readonly overlays?: readonly string[];
  /** Settings `a.b=value`; the value is read as YAML. */
  readonly settings?: readonly string[];
  readonly seed?: number;
}

/** Default file of a use case. */
export const DEFAULT_CONFIG = "config/wells.yaml";

/**
 * Loads, merges and checks a configuration. `null` for the sections checks the head alone, for those
 * who only need to know which store it is.
 *
 * @throws {UsageError} when a file is missing or no YAML, a key is unknown (with the nearest known
 * one), a value has the wrong type, or the config is for a newer version.
 */
export async function loadConfig(
  sections: Readonly<Record<string, z.ZodType>> | null,
  options: ConfigOptions = {},
): Promise<Config> {
  const file = options.file ?? DEFAULT_CONFIG;
  const environment = checkEnvironment(options.environment ?? "dev");
  const base = await readYaml(file);
  checkVersion(file, base.version);
  let merged: Record<string, unknown> = base;
  merged = merge(merged, await readOverlay(file, environment) ?? {});
  for (const stem of options.overlays ?? []) {
    const overlay = await readOverlay(file, stem);
    if (!overlay) {
      throw new UsageError(
        `Cannot find overlay "${stem}": there is no ${join(dirname(file), `${stem}.yaml`)}`,
      );
    }
    merged = merge(merged, overlay);
  }
  for (const setting of options.settings ?? []) merged = merge(merged, parseSetting(setting));
  if (options.seed !== undefined) merged = { ...merged, seed: options.seed };
  return checkConfig(file, environment, merged, sections);
}

/** Checks merged values against the head and the sections' schemas; `null` checks the head alone. */
export function checkConfig(
  file: string,
  environment: Environment,
  values: Record<string, unknown>,
  sections: Readonly<Record<string, z.ZodType>> | null,
): Config {
  // A section left out is an empty one, so that its own defaults apply.
  const filled = { ...values };
  for (const name of Object.keys(sections ?? {})) filled[name] ??= {};
  const schema = sections === null ? z.looseObject(head) : z.strictObject({ ...head, ...sections });
  const result = schema.safeParse(filled);
  if (!result.success) {
    const lines = result.error.issues.flatMap((issue) => describeIssue(issue, schema));
    throw new UsageError(
      `Cannot use config "${file}": ${lines.join("; ")}`,
    );
  }
  const { version, name, store, seed, plugins, ...rest } = result.data as Record<string, unknown>;
  return {
    version: version as number,
    name: name as string,
    store: (store as string | undefined) ?? `.geophone/${environment}.duckdb`,
    seed: seed as number,
    plugins: plugins as string[],
    environment,
    sections: rest,
  };
}

/**
 * Parses stray parameters with a schema, such as a trainer's own.
 * @throws {UsageError} that names the place and what is wrong.
 */
export function parseParams<T>(schema: z.ZodType<T>, values: unknown, place: string): T {
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  const lines = result.error.issues.flatMap((issue) => describeIssue(issue, schema));
  throw new UsageError(`Cannot use ${place}: ${lines.join("; ")}`);
}

function checkEnvironment(name: string): Environment {
  if ((environments as readonly string[]).includes(name)) return name as Environment;
  throw new UsageError(
    `Cannot use environment "${name}": there are ${environments.join(", ")}`,
  );
}

function checkVersion(file: string, version: unknown): void {
  if (version === undefined) {
    throw new UsageError(
      `Cannot use config "${file}": it has no version; add "version: ${CONFIG_VERSION}"`,
    );
  }
  if (typeof version === "number" && version > CONFIG_VERSION) {
    throw new UsageError(
      `Cannot use config "${file}": it is for config version ${version} and this Geophone reads ${CONFIG_VERSION}; update Geophone`,
    );
  }
}

async function readYaml(file: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(
        `Cannot read config "${file}": there is no such file; make one with "deno task init TABLE.csv --target COLUMN"`,
        { cause: error },
      );
    }
    throw new UsageError(`Cannot read config "${file}": ${(error as Error).message}`, {
      cause: error,
    });
  }
  return parseYaml(text, file);
}

function readText(text: string, file: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw new UsageError(`Cannot parse config "${file}": ${(error as Error).message.trim()}`, {
      cause: error,
    });
  }
}

function parseYaml(text: string, file: string): Record<string, unknown> {
  const value = readText(text, file);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`Cannot parse config "${file}": it holds no mapping of keys to values`);
  }
  return value as Record<string, unknown>;
}

/** The house's own overlays, which a package fetched from a registry does not bring. */
const HOUSE = new URL("../config/", import.meta.url);

/** An overlay is optional beside a user's own config; the house's stands in then. */
async function readOverlay(
  file: string,
  stem: string,
): Promise<Record<string, unknown> | undefined> {
  if (basename(file) === `${stem}.yaml`) return {};
  const own = join(dirname(file), `${stem}.yaml`);
  const paths = HOUSE.protocol === "file:" ? [own, new URL(`${stem}.yaml`, HOUSE)] : [own];
  for (const path of paths) {
    let text: string;
    try {
      text = await Deno.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue;
      throw new UsageError(`Cannot read config "${path}": ${(error as Error).message}`, {
        cause: error,
      });
    }
    const name = path instanceof URL ? path.pathname : path;
    return readText(text, name) === null ? {} : parseYaml(text, name);
  }
  return undefined;
}

function parseSetting(setting: string): Record<string, unknown> {
  const equals = setting.indexOf("=");
  const path = setting.slice(0, equals).split(".");
  if (equals < 1 || path.some((key) => key === "")) {
    throw new UsageError(`Cannot use setting "${setting}": write it as section.key=value`);
  }
  let value: unknown;
  try {
    value = parseValue(setting.slice(equals + 1));
  } catch (error) {
    throw new UsageError(
      `Cannot use setting "${setting}": its value is no YAML; ${firstLine(error)}`,
      { cause: error },
    );
  }
  for (const key of path.reverse()) value = { [key]: value };
  return value as Record<string, unknown>;
}

/** Text such as `:memory:` is a mapping to YAML, but hardly what somebody means by it. */
function parseValue(text: string): unknown {
  const value: unknown = parse(text);
  return isMapping(value) && !text.trimStart().startsWith("{") ? text : value;
}

function merge(
  base: Record<string, unknown>,
  overlay: Record<string, unknown>,
): Record<string, unknown> {
  const merged = { ...base };
  for (const [key, value] of Object.entries(overlay)) {
    merged[key] = isMapping(value) && isMapping(merged[key])
      ? merge(merged[key] as Record<string, unknown>, value)
      : value;
  }
  return merged;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstLine(error: unknown): string {
  return (error as Error).message.split("\n")[0];
}

function describeIssue(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  parents: readonly PropertyKey[] = [],
): string[] {
  const path = [...parents, ...issue.path];
  const at = path.length === 0 ? "" : `${path.map(String).join(".")}: `;
  if (issue.code === "unrecognized_keys") {
    const known = keysAt(schema, path);
    return issue.keys.map((key) => {
      const near = suggest(key, known);
      const hint = near
        ? `; did you mean "${near}"?`
        : known.length > 0
        ? `; there are ${known.join(", ")}`
        : "";
      return `${at}unknown key "${key}"${hint}`;
    });
  }
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    // The alternative that came furthest is the one that was meant.
    const depth = (issues: readonly z.core.$ZodIssue[]) =>
      Math.max(
        ...issues.map((inner) => inner.path.length + (inner.code === "unrecognized_keys" ? 1 : 0)),
      );
    const meant = issue.errors.reduce((a, b) => depth(b) > depth(a) ? b : a);
    if (depth(meant) > 0) return meant.flatMap((inner) => describeIssue(inner, schema, path));
    const states = issue.errors.flat().map(({ message }) => plain(message));
    return [`${at}${[...new Set(states)].join(", or ")}`];
  }
  return [`${at}${plain(issue.message)}`];
}

function plain(message: string): string {
  return message.replace(/^Invalid input: /, "");
}

/** Keys that the schema knows at a path, through lists, maps and alternatives. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const root = z.toJSONSchema(schema, { unrepresentable: "any", io: "input", reused: "inline" });
  let nodes = listAlternatives(root as JsonSchema);
  for (const key of path) {
    nodes = nodes.flatMap((node) => {
      const child = node.properties?.[String(key)] ??
        (typeof key === "number" ? node.items : node.additionalProperties);
      return typeof child === "object" ? listAlternatives(child) : [];
    });
  }
  return [...new Set(nodes.flatMap((node) => Object.keys(node.properties ?? {})))];
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
}

function listAlternatives(node: JsonSchema): JsonSchema[] {
  const nested = [...node.anyOf ?? [], ...node.oneOf ?? [], ...node.allOf ?? []];
  return [node, ...nested.flatMap(listAlternatives)];
}
