/** `deno task why ALERT`. */
import { formatDuration } from "../numeric/durations.ts";
import { openProject } from "../run.ts";
import { UsageError } from "../runtime/errors.ts";
import { formatCount, formatTable, print, printError } from "../runtime/terminal.ts";
import { explainWhy, type Explanation } from "../runtime/why/explain.ts";
import { percent } from "../runtime/why/suspect.ts";
import { formatTime, readSpan, readTime } from "./alerts/action.ts";
import type { Arguments } from "./arguments.ts";
import { choosePlugins, chooseVersion, projectOptions } from "./options.ts";

/** Says why an alert fires: what changed, and what explains how much of it. */
export async function run(args: Arguments): Promise<void> {
  const windowMs = readSpan("window", args.options.window);
  const at = readTime("at", args.options.at, Date.now());
  if (windowMs === 0) throw new UsageError("Cannot use --window of no time: it holds nothing");
  await using project = await openProject({ ...projectOptions(args), create: false });
  const [alert] = choosePlugins(project.plugins, "alert", args.positionals);
  const { model, version, note } = await chooseVersion(project, args);
  if (note !== null) printError(note);
  const explanation = await explainWhy(project.store, alert, {
    model,
    version,
    ...(at === undefined ? {} : { at }),
    ...(windowMs === undefined ? {} : { windowMs }),
  });
  print(args.options.json === true ? JSON.stringify(explanation) : describe(explanation));
}

function describe({ alert, current, reference, change, isReal, suspects, ...about }: Explanation) {
  const { symptom, compared } = about;
  const length = formatDuration(Date.parse(current.to) - Date.parse(current.from));
  const lines = [
    `${alert}: ${change}`,
    `compared: ${formatCount(current.rows)} ${
      /errors|latency|volume/.test(symptom)
        ? "requests"
        : symptom === "resources"
        ? "looks at the machine"
        : "predictions"
    } of the ${length} before ${formatTime(Date.parse(current.to))} UTC with ${
      formatCount(reference.rows)
    } ${reference.kind === "training" ? "training rows" : "of the time before"}`,
    ...(compared === symptom
      ? []
      : [`the ${symptom} did not change beyond chance; the ${compared} did`]),
  ];
  if (!isReal) {
    return [...lines, "nothing changed beyond chance: there is nothing to explain"].join("\n");
  }
  if (suspects.length === 0) {
    return [...lines, "none of the suspects explains a twentieth of the change"].join("\n");
  }
  const table = formatTable(
    ["explains", "kind", "cause"],
    suspects.map(({ contribution, kind, text }) => [percent(contribution), kind, text]),
  );
  const [first] = suspects;
  return [
    ...lines,
    `\n${table}`,
    `\n${first.text}:\n${first.evidence.map((line) => `  ${line}`).join("\n")}`,
  ].join("\n");
}
