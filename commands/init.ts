/** `deno task init TABLE --target COLUMN`. */
import type { Arguments } from "./arguments.ts";
import { openPlugins } from "../run.ts";
import { UsageError } from "../runtime/errors.ts";
import { writeConfig } from "../runtime/init.ts";
import { openStore } from "../runtime/store/store.ts";
import { formatCount, print } from "../runtime/terminal.ts";
import { readText } from "./options.ts";

/** Writes a config for a table and prints the next command. */
export async function run({ positionals: [file], options, signal }: Arguments): Promise<void> {
  const target = readText(options.target);
  if (target === undefined) {
    throw new UsageError(
      `Cannot write a config for "${file}": name the column to predict with --target COLUMN`,
    );
  }
  await using store = await openStore(":memory:");
  const { path, rows, classes, features, notes } = await writeConfig(file, {
    target,
    group: readText(options.group),
    order: readText(options.order),
    force: options.force === true,
  }, { plugins: await openPlugins(), store, signal });
  const shown = path.startsWith(`${Deno.cwd()}/`) ? path.slice(Deno.cwd().length + 1) : path;
  for (const note of notes) print(`note: ${note}`);
  print(
    `${formatCount(rows)} rows, ${features.length} features, ${classes.length} classes: ${
      classes.map(({ name, rows }) => `${name} ${formatCount(rows)}`).join(", ")
    }\nwrote ${shown}\nnext: deno task pipeline --config ${shown}`,
  );
}
