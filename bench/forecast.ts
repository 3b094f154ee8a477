/**
 * How well demand is forecast: `deno run --allow-read bench/forecast.ts DATA_DIR`, where DATA_DIR holds
 * `elec.csv`, the Elec2 data set (half hours of the New South Wales market; column `nswdemand`). Hours
 * are means of two; every day of the last part is forecast from the end of the day before.
 *
 * @see https://www.openml.org/d/151
 */
import { parseArgs } from "node:util";
import { backtest } from "../numeric/backtest.ts";

const { positionals: [dir], values } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    horizon: { type: "string", default: "24" },
    days: { type: "string", default: "365" },
  },
});
if (dir === undefined) {
  // deno-lint-ignore no-console
  console.error("usage: deno run --allow-read bench/forecast.ts DATA_DIR [--horizon H] [--days N]");
  Deno.exit(2);
}
const [head, ...lines] = (await Deno.readTextFile(`${dir}/elec.csv`)).trim().split("\n");
const column = head.split(",").indexOf("nswdemand");
const halves = lines.map((line) => Number(line.split(",")[column]));
const hours = Float64Array.from(
  { length: halves.length >> 1 },
  (_, i) => (halves[2 * i] + halves[2 * i + 1]) / 2,
);
const horizon = Number(values.horizon);
const origins = Math.floor(Number(values.days) * 24 / horizon);
const rows = [[24], [168], [24, 168]].map((periods) => {
  const { mase, naiveMase, coverage, count } = backtest(hours, { periods, horizon, origins });
  const [a, b, c] = [mase, naiveMase, coverage].map((value) => value.toFixed(3));
  return `${periods.join("+")}\t${count}\t${a}\t${b}\t${c}`;
});
// deno-lint-ignore no-console
console.log(["seasons\thours\tMASE\tnaive\tcoverage of 95 %", ...rows].join("\n"));
