/** `deno task monitor`. */
import {
  alertDeps,
  checkMonitors,
  monitorDeps,
  openProject,
  type Project,
  tellDeps,
} from "../run.ts";
import { AlertSchedule } from "../runtime/alerts/scheduler.ts";
import { UsageError } from "../runtime/errors.ts";
import { computeInTurn, MonitorSchedule } from "../runtime/monitors/schedule.ts";
import { SinkDispatcher } from "../runtime/notifications/sinks.ts";
import { createProgressLine, print, printError } from "../runtime/terminal.ts";
import { evaluate } from "./alerts/evaluate.ts";
import type { Arguments } from "./arguments.ts";
import { showProfile } from "./monitor/profile.ts";
import { checkName, chooseVersion, projectOptions } from "./options.ts";

/**
 * Computes the windows that have closed, then evaluates every alert that is not paused; with `--daemon`
 * evaluates them whenever their schedules say so.
 */
export async function run(args: Arguments): Promise<number> {
  const { once, daemon, model } = args.options;
  const [action] = args.positionals;
  if (action !== undefined) {
    checkName("action of monitor", action, ["profile"]);
    if (once === true || daemon === true) {
      throw new UsageError("Cannot use --once or --daemon with profile: it only reads");
    }
  }
  if (once === true && daemon === true) {
    throw new UsageError("Cannot monitor once and as a daemon: give one of --once and --daemon");
  }
  if (daemon === true && model !== undefined) {
    throw new UsageError(
      "Cannot use --model with --daemon: it follows what is in production; use --once",
    );
  }
  await using project = await openProject({ ...projectOptions(args), create: false });
  if (action === "profile") {
    await showProfile(project, args);
    return 0;
  }
  if (daemon !== true) {
    const isRefreshed = await refresh(project, args);
    const { alerts } = alertDeps(project);
    const code = await evaluate(
      project,
      args,
      alerts.filter(({ schedule }) => !schedule?.isPaused),
    );
    return isRefreshed ? code : 1;
  }
  const { promise, resolve } = Promise.withResolvers<void>();
  if (args.signal.aborted) resolve();
  args.signal.addEventListener("abort", () => resolve(), { once: true });
  const deps = alertDeps(project);
  await checkMonitors(project, await deps.target());
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
  const monitors = MonitorSchedule.start(project.store, monitorDeps(project), { onEvent: say });
  const schedule = AlertSchedule.start(project.store, deps, { onEvent: say });
  if (!isJson) print(`watching ${deps.alerts.length} alerts; Ctrl-C ends it`);
  await promise;
  await Promise.all([schedule.close(), monitors?.close()]);
  return 0;
}

/** Computes the windows that are due; says what failed, and gives whether nothing did. */
async function refresh(project: Project, args: Arguments): Promise<boolean> {
  const { model, version } = await chooseVersion(project, args);
  await checkMonitors(project, { model, version });
  using line = createProgressLine();
  const { target: _, ...deps } = monitorDeps(project);
  const done = await computeInTurn(project.store, {
    model,
    version,
    ...deps,
    signal: args.signal,
    onProgress: (share) => line.show(`profile ${Math.round(100 * share)} %`),
  });
  if (done !== null && done.refreshed.state !== "FAILED") return true;
  printError(
    `warning: the profile is not whole: ${
      done?.refreshed.message ?? "another process computes it and has not ended"
    }`,
  );
  return false;
}
