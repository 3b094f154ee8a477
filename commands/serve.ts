/** `deno task serve`. */
import type { Arguments } from "./arguments.ts";
import { deployedAlias, openProject } from "../run.ts";
import { UsageError } from "../runtime/errors.ts";
import type { RetentionParams } from "../runtime/retention.ts";
import { print } from "../runtime/terminal.ts";
import { serve } from "../server.ts";
import type { ServingParams } from "../serving/params.ts";
import { gateParams } from "./models/action.ts";
import { chooseVersion, projectOptions, readNumber, readText } from "./options.ts";

/** Serves until a signal arrives, then drains. */
export async function run(args: Arguments): Promise<void> {
  await using project = await openProject({ ...projectOptions(args), create: false, thread: true });
  const { config, store } = project;
  const serving = config.sections.serving as ServingParams;
  const host = readText(args.options.host);
  const { note } = await chooseVersion(project, args).catch(() => ({ note: null }));
  if (note !== null) print(`note: ${note}`);
  const served = await serve({
    store,
    model: config.name,
    aliases: ["production", deployedAlias(config)],
    gates: gateParams(config),
    environment: config.environment,
    retention: config.sections.retention as RetentionParams,
    serving: {
      ...serving,
      ...(host === undefined ? {} : { host }),
      ...(args.options.port === undefined ? {} : { port: readPort(args.options.port) }),
    },
  });
  await served.finished;
}

/** Port 0 lets the system choose one. */
function readPort(value: unknown): number {
  const port = readNumber("port", value);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw new UsageError(`Cannot use --port ${value}: it must be an integer from 0 to 65535`);
}
