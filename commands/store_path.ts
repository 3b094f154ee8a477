/** The store of a config without loading stages and plugins, so that a look at it is quick. */
import { loadConfig } from "../runtime/config.ts";
import type { Arguments } from "./arguments.ts";
import { projectOptions } from "./options.ts";

/** Gives the path of the store that the options choose. */
export async function loadStorePath(args: Arguments): Promise<string> {
  return (await loadConfig(null, projectOptions(args))).store;
}
