/** `deno task predict IN OUT`. */
import type { Arguments } from "./arguments.ts";
import { openProject } from "../run.ts";
import { loadModel } from "../runtime/registry/model_registry.ts";
import { predictFile } from "../runtime/predict/file.ts";
import { Predictor } from "../runtime/predict/predictor.ts";
import { createProgressLine, formatCount, print } from "../runtime/terminal.ts";
import { chooseVersion, projectOptions } from "./options.ts";

/** Predicts a table and writes it with the answers. */
export async function run(args: Arguments): Promise<void> {
  const [input, output] = args.positionals;
  await using project = await openProject({ ...projectOptions(args), create: false });
  const { config, store, plugins } = project;
  const version = await chooseVersion(project, args);
  const predictor = await Predictor.open(await loadModel(store, version), { threads: 2 });
  const { group, features } = config.sections.preprocessing as {
    readonly group: string;
    readonly features: unknown;
  };
  using line = createProgressLine();
  try {
    const { rows, missing, counts, findings } = await predictFile(predictor, input, output, {
      plugins,
      signal: args.signal,
      aliases: readAliases(features),
      ...(group.startsWith("_") ? {} : { group }),
      onProgress: ({ rows, predicted }) =>
        line.show(`${formatCount(predicted)} of ${formatCount(rows)} rows predicted`),
    });
    line[Symbol.dispose]();
    if (args.options.json === true) {
      return print(
        JSON.stringify({ output, rows, missing, counts, findings, version: version.version }),
      );
    }
    if (version.note !== null) print(`note: ${version.note}`);
    for (const { severity, message } of findings) print(`${severity}: ${message}`);
    if (missing.length > 0) {
      print(`warning: ${input} lacks ${missing.join(", ")}: counted as missing`);
    }
    print(
      `${formatCount(rows)} rows predicted by ${version.model} version ${version.version}: ${
        Object.entries(counts).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1])
          .map(([name, n]) => `${name} ${formatCount(n)}`).join(", ")
      }\nwrote ${output}`,
    );
  } finally {
    await predictor.close();
  }
}

function readAliases(features: unknown): Record<string, readonly string[]> {
  if (typeof features !== "object" || features === null || Array.isArray(features)) return {};
  return Object.fromEntries(
    Object.entries(features as Record<string, { aliases?: readonly string[] }>)
      .map(([name, { aliases }]) => [name, aliases ?? []]),
  );
}
