/** `deno task pipeline`. */
import type { Arguments } from "./arguments.ts";
import { checkMonitors, openProject, type Project } from "../run.ts";
import { describeError, UsageError } from "../runtime/errors.ts";
import { PipelineStop, type Run, type Selection, StageError } from "../runtime/runner.ts";
import { createReporter, formatCount, formatTable, print } from "../runtime/terminal.ts";
import { formatInterval, type Report } from "../stages/evaluation.ts";
import { runPipeline, stages } from "../stages/mod.ts";
import type { MonitoringState } from "../stages/monitoring.ts";
import type { Release } from "../stages/release.ts";
import { checkName, projectOptions, readText } from "./options.ts";

/** Runs the pipeline; 1 when a stage failed. */
export async function run(args: Arguments): Promise<number> {
  return await runSelection(args, {
    ...selectStages(args),
    isDryRun: args.options["dry-run"] === true,
  });
}

/** Runs the selected stages and prints how it went. */
export async function runSelection(args: Arguments, selection: Selection): Promise<number> {
  const start = performance.now();
  const isJson = args.options.json === true;
  await using project = await openProject({
    ...projectOptions(args),
    isTrial: selection.isDryRun === true,
  });
  const { config } = project;
  await checkMonitors(project, null);
  if (!isJson) print(`${config.name} · ${config.environment} · store ${config.store}\n`);
  const run = await project.openRun({
    selection,
    signal: args.signal,
    ...(isJson ? {} : { reporter: createReporter(stages.length) }),
  });
  let failure: unknown;
  try {
    await runPipeline(run);
  } catch (error) {
    failure = error;
  }
  await run.finish(failure);
  const isStopped = failure instanceof PipelineStop;
  const seconds = (performance.now() - start) / 1000;
  if (isJson) {
    print(JSON.stringify({
      run_id: run.id,
      status: failure === undefined || isStopped ? "done" : "failed",
      error: failure === undefined || isStopped ? null : describeError(failure),
      resume: failure instanceof StageError ? resumeCommand(args, run) : null,
      seconds,
      stages: run.results,
      findings: run.findings,
    }));
    return failure === undefined || isStopped ? 0 : 1;
  }
  if (failure !== undefined && !isStopped) {
    if (failure instanceof StageError) {
      print(`\nTo go on where it stopped: ${resumeCommand(args, run)}`);
    }
    throw failure;
  }
  if (selection.isDryRun) return 0;
  if (!isStopped) printSummary(project, run, args);
  print(`\nrun ${run.id} took ${seconds.toFixed(1)} s`);
  return 0;
}

function selectStages({ options }: Arguments): Selection {
  const [from, to, only] = [options.from, options.to, options.only].map(readText);
  if (only !== undefined && (from !== undefined || to !== undefined)) {
    throw new UsageError("Cannot use --only with --from or --to: choose one");
  }
  const names = stages.map((stage) => stage.name);
  for (const name of [from, to, only]) if (name !== undefined) checkName("stage", name, names);
  if (from !== undefined && to !== undefined && names.indexOf(from) > names.indexOf(to)) {
    throw new UsageError(`Cannot run from "${from}" to "${to}": the order is ${names.join(", ")}`);
  }
  return {
    ...(from ?? only ? { from: from ?? only as string } : {}),
    ...(to ?? only ? { to: to ?? only as string } : {}),
  };
}

/** The exact command that goes on where this run stopped. */
function resumeCommand({ options }: Arguments, run: Run): string {
  const failed = run.results.at(-1)?.stage ?? stages[0].name;
  const flags = repeatFlags(
    options,
    (name) => !["from", "to", "only", "json", "debug", "dry-run"].includes(name),
  );
  return ["deno task pipeline", ...flags, `--from ${failed}`].join(" ");
}

/** What to type next: serve what was released, or look closer at what was not. */
function nextCommand({ options }: Arguments, { isPassed, checks }: Release): string {
  const command = (name: string, kept: readonly string[]) =>
    ["deno task", name, ...repeatFlags(options, (flag) => kept.includes(flag))].join(" ");
  if (isPassed) return command("serve", ["config", "env"]);
  const trainer = checks.find(({ betterTrainer }) => betterTrainer !== undefined)?.betterTrainer;
  return trainer === undefined
    ? `${command("models", ["config", "env"])} show challenger, then mend what the gate names`
    : `${
      command("pipeline", ["config", "env", "set"])
    } --set training.trainer=${trainer} --set training.params={}: it did better`;
}

function repeatFlags(
  options: Arguments["options"],
  isWanted: (name: string) => boolean,
): string[] {
  return Object.entries(options).filter(([name]) => isWanted(name)).flatMap(([name, value]) => {
    if (value === true) return [`--${name}`];
    return [value].flat().map((text) => `--${name} ${quoteArgument(String(text))}`);
  });
}

function quoteArgument(text: string): string {
  return /^[\w./=:@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function printSummary({ config }: Project, run: Run, args: Arguments): void {
  const report = run.outputs.get("evaluation") as Report;
  const release = run.outputs.get("release") as Release;
  const state = run.outputs.get("monitoring") as MonitoringState;
  const isAllCached = run.results.every(({ status }) => status === "cached");
  const alias = release.isPassed ? `${release.alias}` : `${config.name} stays where it was`;
  print(`
model     ${release.model} version ${release.version}, ${
    release.isPassed ? `released as ${alias}` : "not released"
  }
data      ${formatCount(report.rows)} rows of ${report.classes.length} classes: ${
    report.scores.classes.map(({ name, support }) => `${name} ${formatCount(support)}`).join(", ")
  }
scores    ${report.split.folds} ${report.split.kind} folds, 95 % intervals over ${
    unitOfSplit(report)
  }
`);
  const rows = [{ trainer: report.trainer, scores: report.scores }, ...report.baselines];
  print(indent(formatTable(
    ["trainer", "accuracy", "balanced accuracy", "macro-F1", "log-loss"],
    rows.map(({ trainer, scores }) => [
      trainer,
      formatInterval(scores.accuracy),
      formatInterval(scores.balancedAccuracy),
      formatInterval(scores.macroF1),
      formatInterval(scores.logLoss),
    ]),
  )));
  const weakest = [...report.scores.classes].sort((a, b) => (a.recall ?? 0) - (b.recall ?? 0))[0];
  const firing = state.alerts.filter(({ state }) => state === "firing").map(({ alert }) => alert);
  print(`
weakest   ${weakest.name}: ${(100 * (weakest.recall ?? 0)).toFixed(0)} % of its ${
    formatCount(weakest.support)
  } rows are found
gate      ${
    release.checks.map(({ isPassed, reason }) => `${isPassed ? "pass" : "FAIL"}  ${reason}`)
      .join(`\n${" ".repeat(10)}`)
  }
alerts    ${firing.length > 0 ? firing.join(", ") : "none fires"}
judges    ${
    state.judges.map(({ judge, status, scored, meanScore, implausible, detail }) =>
      status === "skipped"
        ? `${judge}: skipped, ${detail}`
        : meanScore === null || implausible === null
        ? `${judge}: none scored`
        : `${judge}: ${formatCount(scored)} scored, mean ${meanScore.toFixed(2)}, ${
          (100 * implausible).toFixed(0)
        } % implausible`
    ).join(`\n${" ".repeat(10)}`)
  }
store     ${config.store} (everything above is rows: deno task sql "from models")${
    isAllCached ? "\ncache     nothing has changed: all stages were served from the cache" : ""
  }
next      ${nextCommand(args, release)}`);
}

/** What the bootstrap draws with replacement. */
function unitOfSplit({ split }: Report): string {
  return { blocked: "blocks", group: "groups", stratified: "rows" }[split.kind];
}

function indent(text: string): string {
  return text.split("\n").map((line) => `          ${line}`).join("\n");
}
