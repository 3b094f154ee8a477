/** `deno task stage STAGE`. */
import type { Arguments } from "./arguments.ts";
import { print } from "../runtime/terminal.ts";
import { stages } from "../stages/mod.ts";
import { checkName } from "./options.ts";
import { describeParams } from "./params.ts";
import { runSelection } from "./pipeline.ts";

/** Runs one stage, or shows its parameters. */
export async function run(args: Arguments): Promise<number> {
  const [name] = args.positionals;
  checkName("stage", name, stages.map((stage) => stage.name));
  const stage = stages.find((stage) => stage.name === name)!;
  if (args.options.help === true) {
    const lines = describeParams(stage.params);
    print(
      `deno task stage ${stage.name} [options]\n\n${stage.summary}\n\nParameters (section "${stage.name}" of the config, or --set ${stage.name}.key=value):\n${
        lines.join("\n") || "  none"
      }\n\nOptions: as deno task pipeline, without --from, --to and --only`,
    );
    return 0;
  }
  return await runSelection(args, {
    from: name,
    to: name,
    isDryRun: args.options["dry-run"] === true,
  });
}
