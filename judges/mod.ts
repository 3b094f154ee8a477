/** The built-in judges. */
import type { Plugin } from "../plugins/plugin.ts";
import { ollama } from "./ollama.ts";
import { rule } from "./rule.ts";

/** Judges in the order in which lists show them. */
export const judges: readonly Plugin<"judge">[] = [rule, ollama];
