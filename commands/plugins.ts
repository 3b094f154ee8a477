/** `deno task plugins [KIND]`. */
import type { Arguments } from "./arguments.ts";
import { kinds, type Plugin } from "../plugins/plugin.ts";
import { openPlugins, sections } from "../run.ts";
import { loadConfig } from "../runtime/config.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { describeParams } from "./params.ts";
import { checkName, projectOptions } from "./options.ts";

/** Lists plugins by kind and name. */
export async function run(args: Arguments): Promise<void> {
  const [kind] = args.positionals;
  const config = await loadConfig(sections, projectOptions(args));
  const plugins = await openPlugins(config.plugins);
  const wanted = kind === undefined ? kinds : [checkName("kind", kind, kinds)];
  const rows = wanted.flatMap((kind) => plugins.list(kind) as unknown as Plugin[]);
  if (args.options.json === true) {
    return print(JSON.stringify(rows.map(({ kind, name, summary }) => ({ kind, name, summary }))));
  }
  print(formatTable(
    ["kind", "name", "summary"],
    rows.map(({ kind, name, summary }) => [kind, name, summary]),
  ));
  if (kind === undefined) return;
  for (const plugin of rows) {
    if (!("params" in plugin)) continue;
    const lines = describeParams(plugin.params);
    if (lines.length > 0) print(`\nParameters of ${plugin.name}:\n${lines.join("\n")}`);
  }
}
