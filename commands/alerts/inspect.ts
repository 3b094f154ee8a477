/** `deno task alerts explain|backtest|report`: what alerts are, would have been, and were. */
import { formatDuration } from "../../numeric/durations.ts";
import { type Backtest, backtestAlert } from "../../runtime/alerts/backtest.ts";
import { explainAlert, type Explained } from "../../runtime/alerts/explain.ts";
import { reportNoise } from "../../runtime/alerts/report.ts";
import { UsageError } from "../../runtime/errors.ts";
import { createProgressLine, formatTable, print } from "../../runtime/terminal.ts";
import { choosePlugins, chooseVersion } from "../options.ts";
import { type AlertsAction, formatTime, readSpan, readTime } from "./action.ts";

const WEEK_MS = 7 * 86_400_000;

/** Actions that look and change nothing. */
export const inspectActions: Readonly<Record<string, AlertsAction>> = {
  explain: {
    takes: [1, 1, "NAME"],
    options: ["model"],
    async run(project, args, names) {
      const [alert] = choosePlugins(project.plugins, "alert", names);
      const { model, version } = await chooseVersion(project, args);
      const explained = await explainAlert(project.store, alert, { model, version });
      print(args.options.json === true ? JSON.stringify(explained) : describe(explained));
    },
  },
  backtest: {
    takes: [1, 1, "NAME"],
    options: ["model", "from", "to", "step"],
    async run(project, args, names) {
      const now = Date.now();
      const { options, signal } = args;
      const [alert] = choosePlugins(project.plugins, "alert", names);
      const { model, version } = await chooseVersion(project, args);
      const to = readTime("to", options.to, now) ?? now;
      const from = readTime("from", options.from, now) ?? to - WEEK_MS;
      const stepMs = readSpan("step", options.step);
      if (stepMs === 0) throw new UsageError("Cannot use --step of no time: it would never end");
      using line = createProgressLine();
      const result = await backtestAlert(project.store, alert, {
        model,
        version,
        from,
        to,
        signal,
        ...(stepMs === undefined ? {} : { stepMs }),
        onProgress: (share) => line.show(`${alert.name} ${Math.round(100 * share)} %`),
      });
      print(options.json === true ? JSON.stringify(result) : summarize(result));
    },
  },
  report: {
    takes: [0, 0, ""],
    options: ["from", "to"],
    async run({ store, config }, { options }) {
      const now = Date.now();
      const to = readTime("to", options.to, now) ?? now;
      const from = readTime("from", options.from, now) ?? to - WEEK_MS;
      const rows = await reportNoise(store, { model: config.name, from, to });
      if (options.json === true) {
        return print(JSON.stringify({ from: new Date(from), to: new Date(to), alerts: rows }));
      }
      print(`${formatTime(from)} to ${formatTime(to)} UTC\n`);
      if (rows.length === 0) return print("no alert was evaluated");
      print(formatTable(
        ["alert", "fired", "notified", "acknowledged", "flaps", "mean time firing", "errors"],
        rows.map((row) => [
          row.alert,
          row.fired,
          row.notified,
          row.acknowledged,
          row.isFlapping ? "yes" : "",
          row.meanFiringSeconds === null
            ? ""
            : formatDuration(1000 * Math.round(row.meanFiringSeconds)),
          row.errors,
        ]),
      ));
    },
  },
};

function summarize(result: Backtest): string {
  const { alert, evaluations, episodes, firingShare, flappingShare, noDataShare } = result;
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const lines = [
    `${alert}: ${evaluations} evaluations, ${episodes.length} times began to fire`,
    `firing ${percent(firingShare)}, flapping ${percent(flappingShare)}, no data ${
      percent(noDataShare)
    } of the evaluations`,
  ];
  if (result.errors > 0) lines.push(`${result.errors} evaluations failed: ${result.error}`);
  if (episodes.length === 0) return lines.join("\n");
  return `${lines.join("\n")}\n\n${
    formatTable(
      ["from", "to", "series", "message"],
      episodes.map(({ from, to, series, message }) => [
        formatTime(from),
        to === null ? "still firing" : formatTime(to),
        series,
        message,
      ]),
    )
  }`;
}

function describe(explained: Explained): string {
  const { alert, memory, nextAt, findings, findingCount, observation, transitions, plan } =
    explained;
  const { sql, kind: _, name, ...definition } = alert;
  const state = memory === null
    ? "never evaluated"
    : memory === "damaged"
    ? "what it remembered cannot be read"
    : `${memory.state} since ${formatTime(memory.since)}${
      memory.reason === null ? "" : `: ${memory.reason}`
    }${memory.isFlapping ? "; it flaps" : ""}`;
  const rows = observation.kind === "error"
    ? `cannot be evaluated: ${observation.reason}`
    : findings.length === 0
    ? "none"
    : findings.map(({ message }) => `  ${message}`).join("\n");
  return [
    name,
    formatTable(["key", "value"], Object.entries(definition)),
    `state: ${state}`,
    `next evaluation by schedule: ${nextAt === null ? "none" : `${formatTime(nextAt)} UTC`}`,
    `query:\n${sql}`,
    `findings now (${findingCount}):\n${rows}`,
    ...(transitions.length === 0 ? [] : [
      `last transitions:\n${
        formatTable(Object.keys(transitions[0]), transitions.map((row) => Object.values(row)))
      }`,
    ]),
    ...(plan === null ? [] : [`plan:\n${plan}`]),
  ].join("\n\n");
}
