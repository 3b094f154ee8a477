/** `deno task serve`. */
import type { Arguments } from "../cli.ts";
import { deployedAlias, openProject } from "../run.ts";
import { serve } from "../server.ts";
import type { ServingParams } from "../serving/params.ts";
import { projectOptions, readNumber, readText } from "./options.ts";

/** Serves until a signal arrives, then drains. */
export async function run(args: Arguments): Promise<void> {
  await using project = await openProject({ ...projectOptions(args), create: false });
  const { config, store } = project;
  const serving = config.sections.serving as ServingParams;
  const host = readText(args.options.host);
  const served = await serve({
    store,
    model: config.name,
    aliases: ["production", deployedAlias(config)],
    serving: {
      ...serving,
      ...(host === undefined ? {} : { host }),
      ...(args.options.port === undefined ? {} : { port: readNumber("port", args.options.port) }),
    },
  });
  await served.finished;
}
