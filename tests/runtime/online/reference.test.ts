import { assert, assertEquals } from "@std/assert";
import { Random } from "../../../numeric/random.ts";
import { detectorKinds, WatchParams } from "../../../runtime/online/params.ts";
import {
  fitReference,
  makeDetector,
  needsReference,
  thinHeldOut,
} from "../../../runtime/online/reference.ts";

for (const detector of detectorKinds) {
  Deno.test(`${detector} keeps the promised rate of false alarms in later periods, too, when nothing changes`, async () => {
    const params = WatchParams.parse({ series: "confidence", detector, rate: 0.1, period: 500 });
    const streams = 25;
    const periods = 40;
    let alarms = 0;
    for (let seed = 1; seed <= streams; seed++) {
      const random = new Random(seed);
      const values = Float64Array.from({ length: 400 }, () => random.uniform());
      const options = { params, source: "rows", pause: () => {} } as const;
      const reference = needsReference(detector) ? await fitReference(values, options) : null;
      const found = makeDetector(params, reference);
      for (let period = 0; period < periods; period++) {
        let isAlarm = false;
        for (let i = 0; i < params.period; i++) isAlarm = found.update(random.uniform()) || isAlarm;
        if (isAlarm) alarms++;
      }
    }
    // At most 100 of 1,000 periods, and what chance adds to a rate that one reference shares.
    assert(alarms <= 130, `${alarms} of ${streams * periods} periods`);
  });
}

Deno.test("fitReference() gives null when no two values differ, as a class that is never predicted", async () => {
  const params = WatchParams.parse({ series: "label:coal" });
  const options = { params, source: "rows", pause: () => {} } as const;
  assertEquals(await fitReference(new Float64Array(200), options), null);
});

Deno.test("thinHeldOut() keeps neighbors together and spreads over all of a long reference", () => {
  const values = Float64Array.from({ length: 1_001 }, (_, i) => i === 7 ? NaN : i);
  const thinned = thinHeldOut(values, { rows: 20, block: 5 })!;
  assertEquals([...thinned].slice(0, 10), [0, 1, 2, 3, 4, 251, 252, 253, 254, 255]);
  assertEquals(thinned.length, 20);
  assertEquals(thinHeldOut(values, { rows: 2_000, block: 1 })!.length, 1_000);
  assertEquals(thinHeldOut(values.subarray(0, 100), { rows: 20, block: 1 }), null);
});
