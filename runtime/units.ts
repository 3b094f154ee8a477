/**
 * Units of well logs and of everyday measurement, and how to convert between them.
 *
 * @see BIPM, The International System of Units, 9th edition (2019), and NIST SP 811, appendix B, for
 * the exact factors of inch, foot and pound.
 *
 * @module
 */
import { suggest } from "./errors.ts";

/** `to = from * factor + offset`. */
export interface Conversion {
  readonly factor: number;
  readonly offset: number;
}

/** `[factor to the quantity's base unit, spellings, offset to the base unit]`. */
type Unit = readonly [factor: number, spellings: string, offset?: number];

const FOOT = 0.3048;
const INCH = 0.0254;
const POUND_PER_CUBIC_FOOT = 16.01846337396014;

/** Spellings are compared without case and spaces; the first one names the unit in messages. */
const QUANTITIES: Readonly<Record<string, readonly Unit[]>> = {
  length: [
    [1, "m meter meters metre metres"],
    [0.01, "cm"],
    [0.001, "mm"],
    [1000, "km"],
    [INCH, "in inch inches"],
    [FOOT, "ft f feet foot"],
  ],
  // Slowness: the inverse of velocity, per meter.
  slowness: [
    [1, "us/m usec/m µs/m"],
    [1 / FOOT, "us/ft us/f usec/ft µs/ft"],
  ],
  velocity: [
    [1, "m/s"],
    [1000, "km/s"],
    [FOOT, "ft/s f/s"],
  ],
  // A limestone or sandstone porosity unit is one percent of the bulk volume.
  fraction: [
    [1, "v/v m3/m3 ft3/ft3 frac fraction dec decimal"],
    [0.01, "% percent pct lpu spu dpu pu p.u."],
  ],
  density: [
    [1000, "g/cm3 g/c3 g/cc gm/cc gcc"],
    [1, "kg/m3 k/m3"],
    [POUND_PER_CUBIC_FOOT, "lb/ft3 lbm/ft3"],
  ],
  resistivity: [[1, "ohm.m ohmm ohm-m ohm*m"]],
  conductivity: [[0.001, "ms/m mmho/m mmhos/m"], [1, "s/m"]],
  radioactivity: [[1, "gapi api"]],
  voltage: [[0.001, "mv millivolt"], [1, "v volt"]],
  "photoelectric factor": [[1, "b/e b/elec barns/e"]],
  time: [
    [0.001, "ms msec"],
    [1, "s sec second seconds"],
    [1e-6, "us µs usec"],
    [60, "min"],
    [3600, "h hr hour hours"],
  ],
  temperature: [
    [1, "degc °c c celsius"],
    [5 / 9, "degf °f fahrenheit", -160 / 9],
    [1, "k kelvin degk", -273.15],
  ],
  pressure: [
    [1000, "kpa"],
    [1, "pa"],
    [1e6, "mpa"],
    [1e5, "bar"],
    [6894.757293168361, "psi psia"],
  ],
  angle: [[1, "deg degree degrees"], [180 / Math.PI, "rad"]],
  mass: [[1, "kg"], [0.001, "g"], [0.45359237, "lb lbs"]],
};

interface Known {
  readonly quantity: string;
  readonly name: string;
  readonly factor: number;
  readonly offset: number;
}

const known = new Map<string, Known>();
for (const [quantity, units] of Object.entries(QUANTITIES)) {
  for (const [factor, spellings, offset = 0] of units) {
    const all = spellings.split(" ");
    for (const spelling of all) known.set(spelling, { quantity, name: all[0], factor, offset });
  }
}

function normalize(unit: string): string {
  return unit.toLowerCase().replaceAll(/\s/g, "").replace("μ", "µ").replaceAll("³", "3");
}

/**
 * Finds how to convert `from` into `to`. Equal spellings convert by factor 1, known or not.
 *
 * @throws {RangeError} when a unit is unknown, or the two measure different quantities; the message
 * lists the known units.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { findConversion } from "./units.ts";
 *
 * assertEquals(findConversion("G/C3", "kg/m3"), { factor: 1000, offset: 0 });
 * assertEquals(findConversion("LPU", "v/v").factor, 0.01);
 * ```
 */
export function findConversion(from: string, to: string): Conversion {
  const [a, b] = [normalize(from), normalize(to)];
  if (a === b) return { factor: 1, offset: 0 };
  const [source, target] = [known.get(a), known.get(b)];
  const fail = (state: string): never => {
    throw new RangeError(`Cannot convert "${from}" to "${to}": ${state}`);
  };
  if (!source || !target) {
    const unknown = source ? to : from;
    const near = suggest(unknown, [...known.keys()]);
    return fail(
      `unit "${unknown}" is unknown${
        near ? `; did you mean "${near}"?` : ";"
      } known are ${listUnits()}`,
    );
  }
  if (source.quantity !== target.quantity) {
    const fitting = listUnits(source.quantity);
    return fail(
      `one measures ${source.quantity}, the other ${target.quantity}; "${from}" converts to ${fitting}`,
    );
  }
  return {
    factor: source.factor / target.factor,
    offset: (source.offset - target.offset) / target.factor,
  };
}

/** Lists the known units by their first spelling. */
function listUnits(quantity?: string): string {
  const names = [...known.values()]
    .filter((unit) => quantity === undefined || unit.quantity === quantity)
    .map((unit) => unit.name);
  return [...new Set(names)].join(", ");
}

/**
 * Converts values from one unit into another; `NaN` stays `NaN` and the input is left as it is.
 *
 * @throws {RangeError} when a unit is unknown, or the two measure different quantities.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { convertUnit } from "./units.ts";
 *
 * assertEquals(convertUnit(new Float64Array([2, NaN]), "in", "mm"), new Float64Array([50.8, NaN]));
 * ```
 */
export function convertUnit(values: Float64Array, from: string, to: string): Float64Array {
  const { factor, offset } = findConversion(from, to);
  return values.map((value) => value * factor + offset);
}
