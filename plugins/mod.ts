/**
 * The built-in plugins, and the one door through which third parties come in.
 *
 * @module
 */
import { isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { loadAlerts } from "./alerts/load.ts";
import { auto } from "./drift/auto.ts";
import { ks } from "./drift/ks.ts";
import { methods } from "./drift/methods.ts";
import { psi } from "./drift/psi.ts";
import type { Plugin } from "./plugin.ts";
import { alertmanager } from "./sinks/alertmanager.ts";
import { email } from "./sinks/email.ts";
import { file } from "./sinks/file.ts";
import { log } from "./sinks/log.ts";
import { slack } from "./sinks/slack.ts";
import { webhook } from "./sinks/webhook.ts";
import { las } from "./sources/las.ts";
import { csv, json, parquet } from "./sources/table.ts";
import { boosting } from "./trainers/boosting.ts";
import { logistic } from "./trainers/logistic.ts";
import { prior } from "./trainers/prior.ts";

/** Plugins that are TypeScript; the alerts are the `.sql` files in `plugins/alerts`. */
const builtIns: readonly Plugin[] = [
  las,
  csv,
  parquet,
  json,
  prior,
  logistic,
  boosting,
  ks,
  psi,
  auto,
  ...methods,
  log,
  file,
  webhook,
  slack,
  email,
  alertmanager,
];

/**
 * Loads the built-in plugins and those of `specifiers`: `npm:name`, a URL, or a path against
 * `baseDir`. A module's default export is one plugin or a list.
 *
 * @throws {TypeError} `Cannot load plugin "<specifier>": …` when it cannot be imported or exports
 * no plugin.
 */
export async function loadPlugins(
  specifiers: readonly string[] = [],
  baseDir: string = Deno.cwd(),
): Promise<Plugin[]> {
  const alerts = await loadAlerts(new URL("./alerts/", import.meta.url));
  const others = await Promise.all(specifiers.map((name) => importPlugins(name, baseDir)));
  return [...builtIns, ...alerts, ...others.flat()];
}

async function importPlugins(specifier: string, baseDir: string): Promise<Plugin[]> {
  const isPath = specifier.startsWith(".") || isAbsolute(specifier);
  const url = isPath ? pathToFileURL(resolve(baseDir, specifier)).href : specifier;
  let module: { default?: unknown };
  try {
    module = await import(url);
  } catch (error) {
    throw new TypeError(
      `Cannot load plugin "${specifier}": ${(error as Error).message.split("\n")[0]}`,
      { cause: error },
    );
  }
  const plugins = [module.default].flat();
  if (
    plugins.length === 0 ||
    plugins.some((plugin) => typeof plugin !== "object" || plugin === null)
  ) {
    throw new TypeError(
      `Cannot load plugin "${specifier}": its default export is no plugin; see plugins/plugin.ts`,
    );
  }
  return plugins as Plugin[];
}
