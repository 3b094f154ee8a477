/** The store of a config without loading stages and plugins, so that a look at it is quick. */
import { z } from "zod";
import type { Arguments } from "../cli.ts";
import { loadConfig } from "../runtime/config.ts";
import { projectOptions } from "./options.ts";

/** Sections are not checked here: the command that runs them does. */
const anySections = Object.fromEntries(
  [
    "ingestion",
    "preprocessing",
    "features",
    "training",
    "evaluation",
    "registry",
    "deployment",
    "monitoring",
    "release",
    "serving",
  ].map((name) => [name, z.unknown()]),
);

/** Gives the path of the store that the options choose. */
export async function loadStorePath(args: Arguments): Promise<string> {
  return (await loadConfig(anySections, projectOptions(args))).store;
}
