/**
 * What a value costs each online detector, in nanoseconds, on a stationary stream:
 * `deno run bench/online.ts [--rows=5000000]`.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { Adwin } from "../numeric/online/adwin.ts";
import { Cusum } from "../numeric/online/cusum.ts";
import type { Detector } from "../numeric/online/detector.ts";
import { PageHinkley } from "../numeric/online/page_hinkley.ts";
import { Random } from "../numeric/random.ts";
import { formatTable } from "../runtime/terminal.ts";

const { values } = parseArgs({ options: { rows: { type: "string", default: "5000000" } } });
const rows = Number(values.rows);
const random = new Random(0);
const stream = Float64Array.from({ length: rows }, () => random.uniform());

/** Thresholds that the stream does not reach: an alarm would make the windows short and cheap. */
const makes: Readonly<Record<string, () => Detector>> = {
  "Page–Hinkley": () => new PageHinkley({ threshold: Infinity }),
  CUSUM: () => Cusum.of(stream.subarray(0, 1000), { threshold: Infinity }),
  "ADWIN, looks every 32": () => new Adwin({ delta: 1e-9 }),
  "ADWIN, looks every 1": () => new Adwin({ delta: 1e-9, clock: 1 }),
};

function time(make: () => Detector): { nanoseconds: number; alarms: number } {
  const warm = make();
  for (const value of stream.subarray(0, 100_000)) warm.update(value);
  const detector = make();
  let alarms = 0;
  const start = performance.now();
  for (let i = 0; i < stream.length; i++) if (detector.update(stream[i])) alarms++;
  return { nanoseconds: (performance.now() - start) * 1e6 / rows, alarms };
}

console.log(formatTable(
  ["detector", "ns per value", "alarms"],
  Object.entries(makes).map(([name, make]) => {
    const { nanoseconds, alarms } = time(make);
    return [name, nanoseconds.toFixed(1), String(alarms)];
  }),
));
