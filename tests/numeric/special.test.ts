import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as special from "../../numeric/special.ts";
import golden from "../oracles/drift.json" with { type: "json" };

const functions: Readonly<Record<string, (...values: number[]) => number>> = {
  logGamma: special.logGamma,
  upperGamma: special.upperGamma,
  regularizedBeta: (a, b, x) => special.regularizedBeta(a, b, x),
  normalTail: special.normalTail,
  normalPoint: special.normalPoint,
  chiSquaredTail: special.chiSquaredTail,
  studentTail: special.studentTail,
};

for (const [name, cases] of Object.entries(golden.special)) {
  Deno.test(`${name}() equals scipy to 1e-10 of its value when arguments are small, large or deep in a tail`, () => {
    for (const { arguments: given, value } of cases) {
      assertAlmostEquals(
        functions[name](...given),
        value,
        1e-10 * Math.abs(value),
        `${name}(${given}) is ${functions[name](...given)}, not ${value}`,
      );
    }
  });
}

Deno.test("logGamma() and the others give NaN or the limit when an argument is outside or at an end", () => {
  assertEquals([special.logGamma(-1), special.logGamma(0)], [NaN, Infinity]);
  assertEquals([special.upperGamma(-1, 1), special.upperGamma(1, Infinity)], [NaN, 0]);
  assertEquals(
    [special.regularizedBeta(1, 1, 2), special.regularizedBeta(1, 1, 0)],
    [NaN, 0],
  );
  assertEquals([special.studentTail(Infinity, 3), special.studentTail(-Infinity, 3)], [0, 1]);
  assertEquals([special.normalTail(NaN), special.normalTail(Infinity)], [NaN, 0]);
  assertEquals([special.normalPoint(0), special.normalPoint(1)], [Infinity, -Infinity]);
});

Deno.test("normalPoint() inverts normalTail() when the probability runs over (0, 1)", () => {
  for (let p = 0.01; p < 1; p += 0.01) {
    assertAlmostEquals(special.normalTail(special.normalPoint(p)), p, 1e-13);
  }
  assert(Math.abs(special.normalPoint(0.5)) < 1e-15);
});

Deno.test("normalPoint() throws RangeError when the probability is not in [0, 1]", () => {
  for (const p of [-0.1, 1.1, NaN]) {
    assertThrows(() => special.normalPoint(p), RangeError, `"${p}"`);
  }
});
