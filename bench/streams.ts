/**
 * Delay and alarms of the online detectors on real streams with known changes:
 * `deno run --allow-read=DIR bench/streams.ts DIR`. DIR holds `elec.csv` (Elec2: what is measured in
 * Victoria is constant up to row 17,424 and moves from there) and `occupancy.csv` (of the package
 * river: an office's temperature, humidity, light and CO2, every 16th reading, in which five people
 * marked changes).
 *
 * Detectors that need a reference learn it from the first rows and, after an alarm, from the next
 * ones; their thresholds promise at most 5 % false alarms in a period of as many rows. A reference
 * that is constant has no threshold: the first other value is the alarm. ADWIN is given the range of
 * the values in hindsight. The errors of Elec2 need not change where its columns do.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { Adwin } from "../numeric/online/adwin.ts";
import { calibrateThreshold } from "../numeric/online/calibration.ts";
import { Cusum } from "../numeric/online/cusum.ts";
import type { Detector } from "../numeric/online/detector.ts";
import { PageHinkley } from "../numeric/online/page_hinkley.ts";
import { computeStd } from "../numeric/statistics.ts";
import { formatTable } from "../runtime/terminal.ts";

const folder = Deno.args[0];
if (!folder) {
  console.error("Cannot read streams: name the folder of elec.csv and occupancy.csv");
  Deno.exit(2);
}

/** A column of a CSV file with a header and without quotes. */
async function readColumn(file: string, name: string): Promise<Float64Array> {
  const [header, ...lines] = (await Deno.readTextFile(`${folder}/${file}`)).trim().split("\n");
  const place = header.split(",").indexOf(name);
  if (place < 0) throw new RangeError(`Cannot read "${name}" of "${file}": columns are ${header}`);
  return Float64Array.from(lines, (line) => Number(line.split(",")[place]));
}

/** A stream and what is known about it. */
interface Stream {
  readonly name: string;
  readonly values: Float64Array;
  /** Rows, from 0, at which it changed. */
  readonly changes: readonly number[];
  /** Rows after a change in which an alarm counts as having found it. */
  readonly patience: number;
  /** Rows of a reference. */
  readonly learn: number;
  /** Rows that are alike: a day. */
  readonly block: number;
}

/** Half-hours: a day is 48, a week 336. */
const elec = { changes: [17_424], patience: 1000, learn: 336, block: 48 };

/** Marked by at least three of the five people, within three rows. */
const occupancy = { changes: [53, 142, 236, 416], patience: 30, learn: 30, block: 5 };

async function readStreams(): Promise<Stream[]> {
  const classes = await readColumn("elec.csv", "class");
  const errors = classes.map((label, i) => i === 0 || label === classes[i - 1] ? 0 : 1);
  const read = (file: string, column: string, name: string, facts: typeof elec) =>
    readColumn(file, column).then((values) => ({ name, values, ...facts }));
  return [
    await read("elec.csv", "vicprice", "Elec2, price of Victoria", elec),
    await read("elec.csv", "vicdemand", "Elec2, demand of Victoria", elec),
    { name: "Elec2, errors of no change", values: errors, ...elec },
    await read("occupancy.csv", "V1", "occupancy, temperature", occupancy),
    await read("occupancy.csv", "V2", "occupancy, humidity", occupancy),
    await read("occupancy.csv", "V3", "occupancy, light", occupancy),
    await read("occupancy.csv", "V4", "occupancy, CO2", occupancy),
  ];
}

/** A detector that learns its reference from the stream, and anew after each alarm. */
class Relearning implements Detector {
  readonly #fit: (reference: Float64Array) => Detector;
  readonly #size: number;
  #reference: number[] = [];
  #detector: Detector | null = null;

  constructor(size: number, fit: (reference: Float64Array) => Detector) {
    this.#size = size;
    this.#fit = fit;
  }

  update(value: number): boolean {
    if (!this.#detector) {
      this.#reference.push(value);
      if (this.#reference.length < this.#size) return false;
      this.#detector = fitOrWait(Float64Array.from(this.#reference), this.#fit);
      this.#reference = [];
      return false;
    }
    const isAlarm = this.#detector.update(value);
    if (isAlarm) this.#detector = null;
    return isAlarm;
  }
}

function fitOrWait(
  reference: Float64Array,
  fit: (reference: Float64Array) => Detector,
): Detector {
  const [first] = reference;
  if (reference.some((value) => value !== first)) return fit(reference);
  return { update: (value) => value !== first };
}

/** Gives a fit whose threshold keeps the promise; a drawn reference may happen to be constant. */
function calibrated<D extends PageHinkley | Cusum>(
  { block }: Stream,
  make: (reference: Float64Array, threshold: number) => D,
): (reference: Float64Array) => Detector {
  return (reference) => {
    const { threshold } = calibrateThreshold({
      create(drawn) {
        const isConstant = drawn.every((value) => value === drawn[0]);
        return make(isConstant ? reference : drawn, Infinity);
      },
      reference,
      rows: reference.length,
      block,
      replicates: 200,
    });
    return make(reference, threshold);
  };
}

/** ADWIN's bound is for values in `[0, 1]`. */
function rescaled(values: Float64Array): Detector {
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const detector = new Adwin();
  return { update: (value) => detector.update((value - low) / (high - low)) };
}

function makeDetectors(stream: Stream): Record<string, Detector> {
  const pageHinkley = calibrated(
    stream,
    (reference, threshold) =>
      new PageHinkley({ threshold, tolerance: computeStd(reference)! / 2, warmUp: 1 }),
  );
  const cusum = calibrated(stream, (reference, threshold) => Cusum.of(reference, { threshold }));
  return {
    ADWIN: rescaled(stream.values),
    "Page–Hinkley": new Relearning(stream.learn, pageHinkley),
    CUSUM: new Relearning(stream.learn, cusum),
  };
}

function judge({ values, changes, patience }: Stream, detector: Detector) {
  const alarms: number[] = [];
  values.forEach((value, row) => {
    if (detector.update(value)) alarms.push(row);
  });
  const delays = changes.flatMap((change) => {
    const found = alarms.find((row) => row >= change && row < change + patience);
    return found === undefined ? [] : [found - change];
  });
  const isAfter = (row: number) =>
    changes.some((change) => row >= change && row < change + patience);
  const others = alarms.filter((row) => !isAfter(row));
  const before = others.filter((row) => row < changes[0]).length;
  return { delays, before, later: others.length - before };
}

const rows: string[][] = [];
for (const stream of await readStreams()) {
  for (const [name, detector] of Object.entries(makeDetectors(stream))) {
    const { delays, before, later } = judge(stream, detector);
    rows.push([
      stream.name,
      name,
      `${delays.length} of ${stream.changes.length}`,
      delays.join(" ") || "-",
      `${before} in ${stream.changes[0]}`,
      String(later),
    ]);
  }
}
console.log(formatTable(
  ["stream", "detector", "found", "delays, rows", "alarms before", "other, later"],
  rows,
));
