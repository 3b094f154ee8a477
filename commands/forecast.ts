/** `deno task forecast`. */
import type { Arguments } from "./arguments.ts";
import { openProject } from "../run.ts";
import {
  type Demand,
  forecastDemand,
  measureCapacity,
  readHourlyRequests,
} from "../runtime/demand.ts";
import { UsageError } from "../runtime/errors.ts";
import { formatTable, print, printError } from "../runtime/terminal.ts";
import { drawDemand } from "./forecast_drawing.ts";
import { checkName, projectOptions, readNumber, readText } from "./options.ts";
import { writeWhole } from "./sql.ts";

const formats = ["table", "json", "csv", "svg"] as const;

/** Four weeks: what lies further ahead, a history of weeks says nothing about. */
const MOST_HOURS = 672;

/** Forecasts the requests of the model, and the replicas they take. */
export async function run(args: Arguments): Promise<void> {
  const { options } = args;
  const hours = options.hours === undefined ? 24 : readNumber("hours", options.hours);
  if (!Number.isInteger(hours) || hours < 1 || hours > MOST_HOURS) {
    throw new UsageError(
      `Cannot use --hours ${options.hours}: it must be an integer from 1 to ${MOST_HOURS}`,
    );
  }
  const format = readFormat(options);
  const out = readText(options.out);
  if (out !== undefined) await writeWhole(out, null);
  await using project = await openProject({ ...projectOptions(args), create: false });
  const { store, config: { name: model } } = project;
  const history = await readHourlyRequests(store, { model });
  const capacity = await measureCapacity(store, { model });
  const demand = forecastDemand(history, capacity, { hours });
  const text = write(demand, model)[format]();
  if (out === undefined) return print(text.trimEnd());
  await writeWhole(out, text);
  printError(`wrote ${hours} hours to ${out}`);
}

function readFormat(options: Arguments["options"]): typeof formats[number] {
  const given = readText(options.format);
  if (options.json === true && given !== undefined && given !== "json") {
    throw new UsageError(`Cannot print json and ${given} at once: choose one`);
  }
  return checkName("format", options.json === true ? "json" : given ?? "table", formats);
}

function write(
  demand: Demand,
  model: string,
): Readonly<Record<typeof formats[number], () => string>> {
  const { history, hours } = demand;
  return {
    table: () => `${describe(demand, model)}\n\n${toTable(demand)}\n`,
    json() {
      const { start, counts } = history;
      const summary = { start, hours: counts.length };
      return `${JSON.stringify({ model, ...demand, history: summary })}\n`;
    },
    csv: () =>
      ["time,requests,low,high,replicas"].concat(
        hours.map(({ time, requests, low, high, replicas }) =>
          [time.toISOString(), requests, low, high, replicas].join(",")
        ),
      ).join("\n") + "\n",
    svg: () =>
      drawDemand(demand, `Requests per hour to ${model}, and ${hours.length} hours to come`),
  };
}

function toTable({ hours }: Demand): string {
  return formatTable(
    ["hour (UTC)", "requests", "low", "high", "replicas"],
    hours.map(({ time, requests, low, high, replicas }) => [
      time.toISOString().slice(0, 16).replace("T", " "),
      Math.round(requests),
      Math.round(low),
      Math.round(high),
      replicas,
    ]),
  );
}

function describe(demand: Demand, model: string): string {
  const { history, periods, backtest, capacity, replicas, targetUtilization } = demand;
  const seasons = periods.length === 0 ? "no season" : `seasons of ${periods.join(" and ")} h`;
  const quality = backtest === null
    ? "too little history to say how good"
    : `MASE ${backtest.mase.toFixed(2)} against ${
      backtest.naiveMase.toFixed(2)
    } of the season before, on the last ${backtest.days} days`;
  const basis = capacity.basis === "duration"
    ? `${capacity.meanMs.toFixed(2)} ms a request`
    : "its busiest second";
  return [
    `${model}: ${history.counts.length} h of history, ${seasons}; ${quality}`,
    `one replica answers ${capacity.requestsPerSecond.toFixed(1)} requests a second (${basis})`,
    `${replicas} ${replicas === 1 ? "replica takes" : "replicas take"} the highest hour at ${
      100 * targetUtilization
    } % utilization`,
  ].join("\n");
}
