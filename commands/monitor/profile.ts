/** `deno task monitor profile`: what the latest windows say. */
import type { Project } from "../../run.ts";
import {
  type LatestCost,
  type LatestProfile,
  readLatestCosts,
  readLatestProfiles,
} from "../../runtime/monitors/read.ts";
import { formatCell, formatCount, formatTable, print } from "../../runtime/terminal.ts";
import type { Arguments } from "../arguments.ts";
import { chooseVersion } from "../options.ts";

/** Prints the latest window of each granularity, a line a column, those that drifted first. */
export async function showProfile(project: Project, args: Arguments): Promise<void> {
  const { model, version, note } = await chooseVersion(project, args);
  const profiles = await readLatestProfiles(project.store, { model, version });
  const costs = await readLatestCosts(project.store, { model, version });
  if (args.options.json === true) return print(JSON.stringify({ model, version, profiles, costs }));
  if (note !== null) print(`note: ${note}\n`);
  if (profiles.length === 0) {
    return print(
      `no window of ${model} version ${version} has been computed: ` +
        '"deno task monitor" computes those that have closed',
    );
  }
  print(profiles.map(describe).join("\n\n"));
  if (costs.length > 0) print(`\n${costs.map(describeCost).join("\n")}`);
}

/** One line: what was looked at, what it took, and what precision a lower rate costs. */
function describeCost(cost: LatestCost): string {
  const { monitor, granularity, rowsUsed, rowsRead, ms, tokens } = cost;
  const name = granularity === null ? monitor : `${monitor} of ${granularity}`;
  const budgets = [
    ...(cost.budgetMs === null ? [] : [`${formatCell(cost.budgetMs)} ms`]),
    ...(cost.budgetRows === null ? [] : [`${formatCount(cost.budgetRows)} rows`]),
  ];
  const { rate, nextRate, standardErrorRatio: ratio } = cost;
  return [
    `cost of ${name}: ${formatCount(rowsUsed)} of ${formatCount(rowsRead)} rows in ` +
    `${formatCount(Math.round(ms))} ms` +
    (tokens === null ? "" : ` and ${formatCount(tokens)} tokens`),
    ...(budgets.length === 0 ? [] : [`budget ${budgets.join(" and ")} a window`]),
    ...(rate === null || ratio === null || rate === 1 ? [] : [
      `at a rate of ${formatCell(rate)} standard errors are ${formatCell(ratio)} times as wide`,
    ]),
    ...(nextRate === null || nextRate === rate ? [] : [`next rate ${formatCell(nextRate)}`]),
  ].join("; ");
}

function describe(profile: LatestProfile): string {
  const { granularity, start, end, rows, samplingFraction, labeledRows, accuracy, columns } =
    profile;
  const labels = accuracy === null
    ? "no labels"
    : `accuracy ${formatCell(accuracy)} of ${formatCount(labeledRows)} labeled`;
  const title = `${granularity}, ${formatTime(start)} to ${formatTime(end)} UTC: ` +
    `${samplingFraction < 1 ? "about " : ""}${formatCount(rows)} rows, ${labels}`;
  const table = formatTable(
    [
      "column",
      "null %",
      "mean",
      "median",
      "deviation",
      "distinct",
      "method",
      "effect",
      "p",
      "drift",
    ],
    columns.map((column) => [
      column.column,
      column.percentNull,
      column.avg,
      column.median,
      column.stddev,
      column.distinctCount,
      column.method,
      column.effectSize,
      column.adjustedPValue,
      column.isDrifted === null ? column.reason ?? "no baseline" : column.isDrifted ? "yes" : "no",
    ]),
  );
  return `${title}\n\n${table}`;
}

function formatTime(text: string): string {
  return text.slice(0, 16).replace("T", " ");
}
