/** `deno task monitor`. */
import { alertDeps, openProject, tellDeps } from "../run.ts";
import { AlertSchedule } from "../runtime/alerts/scheduler.ts";
import { UsageError } from "../runtime/errors.ts";
import { SinkDispatcher } from "../runtime/notifications/sinks.ts";
import { print } from "../runtime/terminal.ts";
import { evaluate } from "./alerts/evaluate.ts";
import type { Arguments } from "./arguments.ts";
import { projectOptions } from "./options.ts";

/** Evaluates every alert that is not paused once, or with `--daemon` whenever its schedule says so. */
export async function run(args: Arguments): Promise<number> {
  const { once, daemon, model } = args.options;
  if (once === true && daemon === true) {
    throw new UsageError("Cannot monitor once and as a daemon: give one of --once and --daemon");
  }
  if (daemon === true && model !== undefined) {
    throw new UsageError(
      "Cannot use --model with --daemon: it follows what is in production; use --once",
    );
  }
  await using project = await openProject({ ...projectOptions(args), create: false });
  if (daemon !== true) {
    const { alerts } = alertDeps(project);
    return await evaluate(project, args, alerts.filter(({ schedule }) => !schedule?.isPaused));
  }
  const { promise, resolve } = Promise.withResolvers<void>();
  if (args.signal.aborted) resolve();
  args.signal.addEventListener("abort", () => resolve(), { once: true });
  const deps = alertDeps(project);
  const isJson = args.options.json === true;
  const say = (line: string, level: "info" | "warn") =>
    print(
      isJson
        ? JSON.stringify({ time: new Date(), level, line })
        : `${new Date().toISOString()} ${line}`,
    );
  const { sinks, notifications } = tellDeps(project.config, project.plugins);
  await using _notifier = SinkDispatcher.start(project.store, {
    sinks,
    ...(notifications === undefined ? {} : { params: notifications }),
    onError: (line) => say(line, "warn"),
  });
  const schedule = AlertSchedule.start(project.store, deps, { onEvent: say });
  if (!isJson) print(`watching ${deps.alerts.length} alerts; Ctrl-C ends it`);
  await promise;
  await schedule.close();
  return 0;
}
