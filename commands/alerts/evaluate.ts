/** `deno task alerts [NAME…]`: evaluates now, and tells of it. */
import type { Plugin } from "../../plugins/plugin.ts";
import { alertDeps, type Project, tellDeps } from "../../run.ts";
import { tellAlerts } from "../../runtime/alerts/tell.ts";
import { evaluateAlerts } from "../../runtime/alerts/engine.ts";
import { formatTable, print } from "../../runtime/terminal.ts";
import type { Arguments } from "../arguments.ts";
import { choosePlugins, chooseVersion } from "../options.ts";

/** Evaluates alerts by name, or all of them; 1 when one or a sink fails. */
export function evaluateNamed(
  project: Project,
  args: Arguments,
  names: readonly string[],
): Promise<number> {
  const alerts = names.length > 0
    ? choosePlugins(project.plugins, "alert", names)
    : alertDeps(project).alerts;
  return evaluate(project, args, alerts);
}

/** Evaluates these alerts; 1 when one or a sink fails. */
export async function evaluate(
  project: Project,
  args: Arguments,
  alerts: readonly Plugin<"alert">[],
): Promise<number> {
  const { store } = project;
  const { model, version, note } = await chooseVersion(project, args);
  const { signal } = args;
  const outcomes = await evaluateAlerts(store, alerts, { model, version, signal });
  const failures = await tellAlerts(store, alerts, {
    ...tellDeps(project.config, project.plugins),
    defaultSinks: alertDeps(project).defaultSinks,
    model,
    version,
    signal,
  });
  const isBroken = outcomes.some(({ state }) => state === "error") || failures.size > 0;
  if (args.options.json === true) {
    print(
      JSON.stringify({
        model,
        version,
        alerts: outcomes,
        failed_sinks: Object.fromEntries(failures),
      }),
    );
    return isBroken ? 1 : 0;
  }
  if (note !== null) print(`note: ${note}\n`);
  print(formatTable(
    ["alert", "state", "severity", "findings", "summary"],
    outcomes.map(({ alert, state, severity, findingCount, summary, error }) => [
      alert,
      state,
      severity,
      findingCount,
      error ?? summary,
    ]),
  ));
  for (const { alert, findings } of outcomes) {
    if (findings.length > 0) print(`\n${alert}`);
    for (const { message } of findings) print(`  ${message}`);
  }
  for (const [sink, message] of failures) print(`\nsink ${sink} failed: ${message}`);
  return isBroken ? 1 : 0;
}
