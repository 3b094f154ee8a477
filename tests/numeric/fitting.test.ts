import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  absentLogit,
  applySoftmax,
  checkColumns,
  countClasses,
  Pacer,
} from "../../numeric/fitting.ts";
import { matrix } from "../../numeric/matrix.ts";

Deno.test("applySoftmax() gives finite probabilities when logits are huge or a class is absent", () => {
  const logits = Float64Array.of(1000, 999, absentLogit, -1000, -1001, absentLogit);
  const { data } = applySoftmax(logits, 2, 3);
  const share = 1 / (1 + Math.exp(-1));
  for (const start of [0, 3]) {
    assertAlmostEquals(data[start], share, 1e-7);
    assertAlmostEquals(data[start + 1], 1 - share, 1e-7);
    assertEquals(data[start + 2], 0);
  }
});

Deno.test("countClasses() throws when rows are missing, strange or of one class", () => {
  const classNames = ["a", "b"];
  const label = (...y: number[]) => ({ X: matrix(2, 1), y: Int32Array.from(y), classNames });
  assertEquals(countClasses("t", label(1, 0)).present, [0, 1]);
  assertThrows(() => countClasses("t", label(1)), TypeError, "2 rows for 1 classes");
  assertThrows(() => countClasses("t", label(0, 2)), RangeError, "class 2 is not in 0 … 1");
  assertThrows(() => countClasses("t", label(0, -1)), RangeError, "class -1");
  assertThrows(() => countClasses("t", label(1, 1)), RangeError, `class "b"`);
  const none = { X: matrix(0, 1), y: new Int32Array(0), classNames };
  assertThrows(() => countClasses("t", none), RangeError, "there are no rows");
});

Deno.test("checkColumns() throws TypeError when the number of columns differs", () => {
  checkColumns(matrix(0, 3), 3);
  assertThrows(() => checkColumns(matrix(0, 3), 4), TypeError, "3 columns: the model has 4");
});

Deno.test("Pacer is due after its turn and lets a timer run when it rests", async () => {
  const pacer = new Pacer(new AbortController().signal);
  assert(!pacer.isDue());
  let hasRun = false;
  const timer = setTimeout(() => hasRun = true, 1);
  const start = performance.now();
  let rests = 0;
  while (performance.now() - start < 150) {
    if (!pacer.isDue()) continue;
    await pacer.rest();
    rests++;
    assert(!pacer.isDue());
  }
  clearTimeout(timer);
  assert(hasRun);
  assert(rests >= 2, `${rests} rests`);
});

Deno.test("Pacer throws the signal's reason when the signal is aborted from the start", () => {
  const signal = AbortSignal.abort(new Error("Not today"));
  assertThrows(() => new Pacer(signal), Error, "Not today");
});
