/**
 * What a value costs each online detector, in nanoseconds, on a stationary stream, alone and in the
 * path of a server's requests: `deno run -A bench/online.ts [--rows=5000000]`.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { Adwin } from "../numeric/online/adwin.ts";
import { Cusum } from "../numeric/online/cusum.ts";
import type { Detector } from "../numeric/online/detector.ts";
import { PageHinkley } from "../numeric/online/page_hinkley.ts";
import { matrix } from "../numeric/matrix.ts";
import { Random } from "../numeric/random.ts";
import type { InferenceRows } from "../runtime/inference/inference_log.ts";
import { OnlineWatch } from "../runtime/online/online_watch.ts";
import { OnlineParams } from "../runtime/online/params.ts";
import { openStore } from "../runtime/store/store.ts";
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

/** Detectors that a config can name. */
const kinds = ["cusum", "page_hinkley", "adwin"] as const;

/** One record a request, each with values of its own; they come round again. */
const requests: readonly InferenceRows[] = Array.from({ length: 4096 }, (_, i) => {
  const probabilities = matrix(1, 2);
  probabilities.data.set([0.5 + stream[i % rows] / 2, 0.5 - stream[i % rows] / 2]);
  return {
    model: "bench",
    version: 1,
    features: Float64Array.of(random.uniform(), random.uniform()),
    labels: Int32Array.of(0),
    probabilities,
    classes: ["a", "b"],
  };
});

/** Nanoseconds a record, from the inference log's call to its return. */
async function timePath(
  kind: typeof kinds[number],
): Promise<{ nanoseconds: number; alarms: number }> {
  await using store = await openStore(":memory:");
  await store.query(
    `insert into core.model_versions by name select 'bench' as model, 1 as version, '' as artifact,
       '' as run_id, ['x', 'y'] as input_names, ['a', 'b'] as class_names, '{}' as signature,
       '{}' as report, '' as evidence_hash, now()::timestamp as created_at`,
  );
  const series = ["confidence", ...kind === "adwin" ? ["label:a"] : ["feature:x", "feature:y"]];
  const watch = series.map((name) => ({ series: name, detector: kind }));
  await using online = new OnlineWatch(store, OnlineParams.parse({ watch }));
  online.open({ model: "bench", version: 1 });
  await online.settled();
  const time = new Date();
  const feed = (count: number) => {
    for (let i = 0; i < count; i++) online.read("request", time, requests[i % requests.length]);
  };
  // Past the reference, so that detectors do what they do all day.
  feed(1_000);
  await online.settled();
  let milliseconds = 0;
  const part = 10_000;
  for (let done = -part; done < rows; done += part) {
    const start = performance.now();
    feed(part);
    // The first part warms up.
    if (done >= 0) milliseconds += performance.now() - start;
    // So many rows have false alarms, too: the thresholds after them are simulated between requests.
    await online.settled();
  }
  const alarms = online.readings.reduce((sum, reading) => sum + reading.alarms, 0);
  return { nanoseconds: milliseconds * 1e6 / rows / series.length, alarms };
}

const paths: string[][] = [];
for (const kind of kinds) {
  const { nanoseconds, alarms } = await timePath(kind);
  paths.push([kind, nanoseconds.toFixed(1), String(alarms)]);
}
console.log(formatTable(["one record a request", "ns per value", "alarms"], paths));
