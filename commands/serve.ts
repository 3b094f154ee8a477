/** `deno task serve`. */
import type { Arguments } from "./arguments.ts";
import {
  alertDeps,
  checkMonitors,
  deployedAlias,
  judgeDeps,
  monitorDeps,
  openProject,
} from "../run.ts";
import type { Config } from "../runtime/config.ts";
import { UsageError } from "../runtime/errors.ts";
import type { NotificationParams } from "../runtime/notifications/params.ts";
import type { ResourceParams } from "../runtime/resources.ts";
import type { RetentionParams } from "../runtime/inference/retention.ts";
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
  await checkMonitors(project, await monitorDeps(project).target());
  const served = await serve({
    store,
    model: config.name,
    aliases: ["production", deployedAlias(config)],
    gates: gateParams(config),
    environment: config.environment,
    retention: config.sections.retention as RetentionParams,
    resources: config.sections.resources as ResourceParams,
    sinks: project.plugins.list("sink"),
    notifications: config.sections.notifications as NotificationParams,
    ...(isScheduled(config) ? { alerts: alertDeps(project), monitors: monitorDeps(project) } : {}),
    rules: alertDeps(project),
    judging: judgeDeps(project),
    serving: {
      ...serving,
      ...(host === undefined ? {} : { host }),
      ...(args.options.port === undefined ? {} : { port: readPort(args.options.port) }),
    },
  });
  await served.finished;
}

/** Whether a server evaluates alerts by itself. */
function isScheduled({ sections }: Config): boolean {
  return (sections.monitoring as { readonly schedule: "on" | "off" }).schedule === "on";
}

/** Port 0 lets the system choose one. */
function readPort(value: unknown): number {
  const port = readNumber("port", value);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw new UsageError(`Cannot use --port ${value}: it must be an integer from 0 to 65535`);
}
