import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Adwin } from "../../../numeric/online/adwin.ts";
import {
  calibrateThreshold,
  calibrateThresholdBeside,
} from "../../../numeric/online/calibration.ts";
import { Cusum, findCusumThreshold, measureRunLength } from "../../../numeric/online/cusum.ts";
import type { Detector, ResumableDetector } from "../../../numeric/online/detector.ts";
import { PageHinkley } from "../../../numeric/online/page_hinkley.ts";
import { Random } from "../../../numeric/random.ts";
import golden from "../../oracles/drift.json" with { type: "json" };

function findAlarms(detector: Detector, values: Iterable<number>): number[] {
  return [...values].flatMap((value, i) => detector.update(value) ? [i] : []);
}

function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

Deno.test("Adwin alarms where river does when a stream changes its mean, its spread or its rate", () => {
  for (const { values, adwin, adwinEnd, eager } of golden.streams) {
    const detector = new Adwin();
    assertEquals(findAlarms(detector, values), adwin);
    assertEquals(detector.width, adwinEnd.width);
    assertAlmostEquals(detector.mean!, adwinEnd.mean, 1e-12);
    const options = { delta: 0.05, clock: 1, warmUp: 30, buckets: 8 };
    assertEquals(findAlarms(new Adwin(options), values), eager);
  }
});

Deno.test("PageHinkley alarms where river does when a stream changes its mean, its spread or its rate", () => {
  for (const { values, pageHinkley, sensitive } of golden.streams) {
    assertEquals(findAlarms(new PageHinkley({ threshold: 25 }), values), pageHinkley);
    const options = { warmUp: 10, tolerance: 0.05, threshold: 8, memory: 0.999 };
    assertEquals(findAlarms(new PageHinkley(options), values), sensitive);
  }
});

Deno.test("measureRunLength() equals Montgomery's table 9.3 when the threshold is 4 or 5", () => {
  assertAlmostEquals(measureRunLength({ threshold: 4, allowance: 0.5 }), 168, 0.5);
  assertAlmostEquals(measureRunLength({ threshold: 5, allowance: 0.5 }), 465, 0.5);
});

Deno.test("Cusum runs as long as measureRunLength() says when values are normal", () => {
  const random = new Random(8);
  const options = { threshold: 3.5, allowance: 0.5 };
  const detector = new Cusum({ mean: 0, std: 1, ...options });
  let alarms = 0;
  const rows = 400_000;
  for (let i = 0; i < rows; i++) if (detector.update(drawNormal(random))) alarms++;
  const expected = rows / measureRunLength(options);
  assertAlmostEquals(alarms, expected, 4 * Math.sqrt(expected));
});

Deno.test("findCusumThreshold() inverts measureRunLength() when asked for a run", () => {
  for (const runLength of [50, 10_000, 1_000_000]) {
    const threshold = findCusumThreshold({ runLength });
    const found = measureRunLength({ threshold, allowance: 0.5 });
    assertAlmostEquals(found, runLength, 1e-5 * runLength);
  }
});

Deno.test("calibrateThreshold() keeps the promised rate of false alarms over 1,000 weeks when nothing changes", () => {
  // Hourly values of a skewed law: a threshold for normal values would alarm far too often.
  const random = new Random(9);
  const draw = (length: number) =>
    Float64Array.from({ length }, () => -Math.log(1 - random.uniform()));
  const week = 168;
  const fits = {
    cusum: (drawn: Float64Array, threshold: number) => Cusum.of(drawn, { threshold }),
    pageHinkley: (_: Float64Array, threshold: number) => new PageHinkley({ threshold }),
  };
  for (const [name, fit] of Object.entries(fits)) {
    let falseAlarms = 0;
    // The promise is about a reference that was drawn, too: 25 of them, 40 weeks each.
    for (let r = 0; r < 25; r++) {
      const reference = draw(1000);
      const { threshold } = calibrateThreshold({
        create: (drawn) => fit(drawn, Infinity),
        reference,
        rows: week,
        rate: 0.05,
        seed: r,
      });
      for (let w = 0; w < 40; w++) {
        const detector = fit(reference, threshold);
        if (draw(week).some((value) => detector.update(value))) falseAlarms++;
      }
      assert(
        findAlarms(fit(reference, threshold), [...draw(50), ...draw(400).map((v) => v + 2)])
          .length > 0,
      );
    }
    assert(falseAlarms <= 50, `${name}: ${falseAlarms} of 1000 weeks`);
  }
});

Deno.test("Adwin keeps its rate of false alarms over 1,000 weeks when nothing changes", () => {
  const random = new Random(10);
  let falseAlarms = 0;
  for (let w = 0; w < 1000; w++) {
    const detector = new Adwin();
    for (let i = 0; i < 168; i++) if (detector.update(random.uniform())) falseAlarms++;
  }
  // Five looks a week, each at most at the default delta of 0.002.
  assert(falseAlarms <= 5 * 0.002 * 1000, `${falseAlarms}`);
});

Deno.test("calibrateThreshold() is the same with a seed, and higher when neighbors are alike", () => {
  const random = new Random(11);
  let last = 0;
  const reference = Float64Array.from({ length: 600 }, () => {
    last = 0.9 * last + drawNormal(random);
    return last;
  });
  const options = {
    create: (drawn: Float64Array) => Cusum.of(drawn, { threshold: Infinity }),
    reference,
    rows: 200,
    replicates: 200,
  };
  const alone = calibrateThreshold(options);
  assertEquals(calibrateThreshold(options), alone);
  assert(calibrateThreshold({ ...options, block: 50 }).threshold > 2 * alone.threshold);
});

Deno.test("Adwin, Cusum and PageHinkley ignore NaN when it is mixed in", () => {
  const { values } = golden.streams[0];
  const holed = values.flatMap((value) => [NaN, value]);
  const makes = [
    () => new Adwin(),
    () => new PageHinkley({ threshold: 25 }),
    () => new Cusum({ mean: 0, std: 1, threshold: 8 }),
  ];
  for (const make of makes) {
    const alarms = findAlarms(make(), values);
    assert(alarms.length > 0);
    assertEquals(findAlarms(make(), holed), alarms.map((i) => 2 * i + 1));
  }
});

Deno.test("Adwin and the others throw RangeError when an option is out of range", () => {
  assertEquals(new Adwin().mean, null);
  assertThrows(() => new Adwin({ delta: 0 }), RangeError, `"0"`);
  assertThrows(() => new Adwin({ clock: 0.5 }), RangeError, `clock "0.5"`);
  assertThrows(() => new PageHinkley({ threshold: 0 }), RangeError, `"0"`);
  assertThrows(() => new PageHinkley({ tolerance: -1 }), RangeError, `"-1"`);
  assertThrows(() => new PageHinkley({ memory: 2 }), RangeError, `"2"`);
  assertThrows(() => new PageHinkley({ warmUp: 0 }), RangeError, `"0"`);
  assertThrows(() => new Cusum({ mean: NaN, std: 1 }), RangeError, `"NaN"`);
  assertThrows(() => new Cusum({ mean: 0, std: 0 }), RangeError, `"0"`);
  assertThrows(() => new Cusum({ mean: 0, std: 1, threshold: -1 }), RangeError, `"-1"`);
  assertThrows(() => new Cusum({ mean: 0, std: 1, allowance: -1 }), RangeError, `"-1"`);
  assertThrows(() => Cusum.of([2, 2]), RangeError, "differ");
  // Rounding gives these a deviation above 0.
  assertThrows(() => Cusum.of(new Float64Array(1000).fill(0.1)), RangeError, "differ");
  assertThrows(() => findCusumThreshold({ runLength: 1 }), RangeError, `"1"`);
  assertThrows(() => findCusumThreshold({ runLength: 9, allowance: 3 }), RangeError, `"3"`);
  assertThrows(() => measureRunLength({ threshold: 0, allowance: 0 }), RangeError, `"0"`);
});

Deno.test("calibrateThreshold() throws RangeError when there is too little to promise anything", () => {
  const create = (drawn: Float64Array) => Cusum.of(drawn, { threshold: Infinity });
  const reference = Float64Array.from({ length: 40 }, (_, i) => i);
  const options = { create, reference, rows: 10 };
  assertThrows(() => calibrateThreshold({ ...options, reference: [1, 2] }), RangeError, "at least");
  assertThrows(() => calibrateThreshold({ ...options, rows: 0 }), RangeError, `rows "0"`);
  assertThrows(() => calibrateThreshold({ ...options, block: 41 }), RangeError, `"41"`);
  assertThrows(() => calibrateThreshold({ ...options, rate: 0 }), RangeError, `"0"`);
  assertThrows(() => calibrateThreshold({ ...options, replicates: 50 }), RangeError, "it takes 59");
});

const resumable: readonly (() => ResumableDetector)[] = [
  () => new Adwin({ delta: 0.05, buckets: 3 }),
  () => new PageHinkley({ threshold: 8, memory: 0.999, tolerance: 0.1 }),
  () => new Cusum({ mean: 0, std: 1, threshold: 4 }),
];

Deno.test("save() and restore() change no alarm when a detector goes on in another place", () => {
  const random = new Random(6);
  const values = Array.from({ length: 3_000 }, (_, i) => drawNormal(random) + (i > 2_000 ? 1 : 0));
  for (const make of resumable) {
    const expected = findAlarms(make(), values);
    assert(expected.length > 0);
    let detector = make();
    const alarms: number[] = [];
    values.forEach((value, i) => {
      // Just after an alarm, too, where the next value begins anew.
      if (i % 37 === 0 || alarms.at(-1) === i - 1) {
        const state = JSON.parse(JSON.stringify(detector.save()));
        (detector = make()).restore(state);
      }
      if (detector.update(value)) alarms.push(i);
    });
    assertEquals(alarms, expected);
  }
});

Deno.test("restore() throws RangeError and leaves the detector alone when the state is damaged", () => {
  for (const make of resumable) {
    const detector = make();
    for (let i = 0; i < 100; i++) detector.update(i % 3 - 1);
    const state = detector.save();
    for (const damaged of [state.slice(1), [...state, 1], state.map(() => NaN), [7.5]]) {
      assertThrows(() => detector.restore(damaged), RangeError, "Cannot restore");
      assertEquals(detector.save(), state);
    }
  }
});

Deno.test("sinceChange counts from the change when the mean jumps", () => {
  const jump = 500;
  for (const make of resumable) {
    const detector = make();
    const random = new Random(2);
    for (let i = 0;; i++) {
      const noise = (random.uniform() - 0.5) / 5;
      if (!detector.update(i < jump ? noise : 2 + noise)) continue;
      const truth = i + 1 - jump;
      assert(truth > 0);
      // ADWIN cuts at the borders of buckets.
      assertAlmostEquals(detector.sinceChange, truth, detector instanceof Adwin ? 64 : 3);
      break;
    }
  }
});

Deno.test("calibrateThresholdBeside() gives what calibrateThreshold() gives and stops when it is told to", async () => {
  const random = new Random(1);
  const options = {
    create: (drawn: Float64Array) => Cusum.of(drawn, { threshold: Infinity }),
    reference: Float64Array.from({ length: 100 }, () => random.uniform()),
    rows: 100,
    rate: 0.1,
    replicates: 50,
  };
  let pauses = 0;
  const beside = await calibrateThresholdBeside(options, () => void pauses++);
  assertEquals(beside, calibrateThreshold(options));
  assertEquals(pauses, 50);
  await assertRejects(
    () => calibrateThresholdBeside(options, () => Promise.reject(new Error("The end"))),
    Error,
    "The end",
  );
});
