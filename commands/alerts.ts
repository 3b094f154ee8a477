/** `deno task alerts [NAME…]`. */
import type { Arguments } from "./arguments.ts";
import { openProject } from "../run.ts";
import { deliverFindings, evaluateAlerts } from "../runtime/alert_engine.ts";
import { formatTable, print } from "../runtime/terminal.ts";
import { choosePlugins, chooseVersion, projectOptions } from "./options.ts";

/** Evaluates alerts, delivers new findings to the configured sinks, and prints the states. */
export async function run(args: Arguments): Promise<number> {
  await using project = await openProject({ ...projectOptions(args), create: false });
  const { plugins, store, config } = project;
  const alerts = args.positionals.length > 0
    ? choosePlugins(plugins, "alert", args.positionals)
    : plugins.list("alert");
  const { model, version, note } = await chooseVersion(project, args);
  const outcomes = await evaluateAlerts(store, alerts, { model, version });
  const { sinks } = config.sections.monitoring as { readonly sinks: readonly string[] };
  const failures = await deliverFindings(
    sinks.map((name) => plugins.get("sink", name)),
    outcomes,
    args.signal,
  );
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
