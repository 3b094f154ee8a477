import { assertAlmostEquals, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { convertUnit, findConversion } from "../../runtime/units.ts";

for (
  const [value, from, to, expected] of [
    [100, "us/ft", "US/M", 328.0839895013123],
    [328.0839895013123, "us/m", "US/F", 100],
    [30, "%", "v/v", 0.3],
    [30, "LPU", "m3/m3", 0.3],
    [2.65, "G/C3", "kg/m3", 2650],
    [2650, "K/M3", "g/cm3", 2.65],
    [8.5, "in", "MM", 215.9],
    [1, "ft", "m", 0.3048],
    [100, "cm", "m", 1],
    [20, "OHMM", "ohm.m", 20],
    [80, "GAPI", "gAPI", 80],
    [1500, "mV", "V", 1.5],
    [4, "ms", "s", 0.004],
    [212, "degF", "degC", 100],
    [0, "degC", "K", 273.15],
    [7, "parsec", "PARSEC", 7],
  ] as const
) {
  Deno.test(`convertUnit() gives ${expected} ${to} when given ${value} ${from}`, () => {
    assertAlmostEquals(convertUnit(new Float64Array([value]), from, to)[0], expected, 1e-9);
  });
}

Deno.test("convertUnit() keeps NaN and its input", () => {
  const values = new Float64Array([1, NaN]);
  assertEquals(convertUnit(values, "m", "mm"), new Float64Array([1000, NaN]));
  assertEquals(values, new Float64Array([1, NaN]));
});

Deno.test("findConversion() lists what there is when a unit is unknown or the pair does not fit", () => {
  const unknown = assertThrows(() => findConversion("furlong", "m"), RangeError);
  assertStringIncludes(unknown.message, 'unit "furlong" is unknown');
  assertStringIncludes(unknown.message, "g/cm3");
  const pair = assertThrows(() => findConversion("g/cm3", "us/ft"), RangeError);
  assertStringIncludes(
    pair.message,
    'one measures density, the other slowness; "g/cm3" converts to',
  );
});

Deno.test("findConversion() round trips between every pair of a quantity", () => {
  for (
    const units of [["m", "cm", "mm", "in", "ft", "km"], ["degc", "degf", "k"], ["kpa", "psi"]]
  ) {
    for (const a of units) {
      for (const b of units) {
        const values = new Float64Array([-3, 0, 17.25]);
        const back = convertUnit(convertUnit(values, a, b), b, a);
        values.forEach((value, i) => assertAlmostEquals(back[i], value, 1e-9));
      }
    }
  }
});
