import { assert, assertEquals } from "@std/assert";
import { computeFlapShare, isFlappingNow } from "../../../runtime/alerts/flapping.ts";
import { type AlertMemory, type Observation, step } from "../../../runtime/alerts/state.ts";

const clocks = { forMs: 60_000, keepFiringForMs: 0 };

function see(...series: string[]): Observation {
  return {
    kind: "rows",
    series: series.map((name) => ({ series: name, labels: {}, value: 1, message: name })),
  };
}

const failed: Observation = { kind: "error", reason: "no table" };

/** Runs observations and gives the state after each. */
function states(
  steps: readonly (readonly [at: number, seen: Observation])[],
  how = clocks,
): string[] {
  let memory: AlertMemory | null = null;
  return steps.map(([now, seen]) => {
    memory = step(memory, seen, { now, clocks: how }).memory;
    return memory.state;
  });
}

Deno.test("step() runs each series on its own when they begin at different times", () => {
  let memory: AlertMemory | null = null;
  const at = (now: number, ...names: string[]) => {
    memory = step(memory, see(...names), { now, clocks }).memory;
    return Object.fromEntries(memory.series.map(({ series, state }) => [series, state]));
  };
  assertEquals(at(0, "a"), { a: "pending" });
  assertEquals(at(30_000, "a", "b"), { a: "pending", b: "pending" });
  assertEquals(at(60_000, "a", "b"), { a: "firing", b: "pending" });
  assertEquals(at(90_000, "b"), { b: "firing" });
});

Deno.test("step() begins `for` anew when one evaluation is without the series", () => {
  assertEquals(
    states([[0, see("a")], [50_000, see()], [60_000, see("a")], [119_999, see("a")], [
      120_000,
      see("a"),
    ]]),
    ["pending", "ok", "pending", "pending", "firing"],
  );
});

Deno.test("step() keeps series as they are while an evaluation fails, and their clocks run on", () => {
  assertEquals(
    states([[0, see("a")], [30_000, failed], [60_000, see("a")], [70_000, failed], [
      80_000,
      see(),
    ]]),
    ["pending", "error", "firing", "error", "ok"],
  );
});

Deno.test("step() keeps what was waited and no more when the clock jumps back", () => {
  const hour = 3_600_000;
  const after = (jump: number) =>
    states([[hour, see("a")], [hour + 40_000, see("a")], [hour + 40_000 - jump, see("a")], [
      hour + 59_999 - jump,
      see("a"),
    ], [hour + 60_000 - jump, see("a")]]);
  for (const jump of [1, 40_000, hour]) {
    assertEquals(after(jump), ["pending", "pending", "pending", "pending", "firing"]);
  }
});

Deno.test("step() is no_data when there are no rows, unless a series fires on", () => {
  const none: Observation = { kind: "no_data" };
  assertEquals(
    states([[0, none], [1, see("a")], [2, none], [3, none]], {
      forMs: 0,
      keepFiringForMs: 1,
    }),
    ["no_data", "firing", "firing", "no_data"],
  );
});

Deno.test("step() is snoozed when a person said so, and fires at once afterwards when it held meanwhile", () => {
  assertEquals(
    states([[0, see("a")], [60_000, { ...see("a"), isSnoozed: true }], [61_000, see("a")]]),
    ["pending", "snoozed", "firing"],
  );
});

Deno.test("step() gives a transition for each change, with its reason, and none otherwise", () => {
  const first = step(null, see("a"), { now: 0, clocks });
  const second = step(first.memory, see("a"), { now: 1, clocks });
  const third = step(second.memory, see("a"), { now: 60_000, clocks });
  const fourth = step(third.memory, failed, { now: 60_001, clocks });
  assertEquals(first.transitions.map(({ series, from, to }) => [series, from, to]), [
    ["a", "ok", "pending"],
    [null, null, "pending"],
  ]);
  assertEquals(second.transitions, []);
  assertEquals(third.transitions.map(({ reason }) => reason), [
    "held for 1m: a",
    "1 series firing",
  ]);
  assertEquals(fourth.transitions, [
    { series: null, from: "firing", to: "error", at: 60_001, value: null, reason: "no table" },
  ]);
});

Deno.test("computeFlapShare() weighs seven changes among 21 states as flapping.c of Nagios does", () => {
  // Changes at states 3, 4, 5, 9, 12, 16 and 19 of 20, the newest last.
  const isChange = new Set([3, 4, 5, 9, 12, 16, 19]);
  let history = "o";
  for (let i = 1; i <= 20; i++) {
    history += isChange.has(i) ? history.at(-1) === "o" ? "f" : "o" : history.at(-1);
  }
  // 35 % unweighted; with weights 0.75 … 1.25 it is (0.75 · 7 + 0.5 / 19 · Σ (i − 1)) / 20.
  const positions = [...isChange].reduce((sum, i) => sum + i - 1, 0);
  const expected = (0.75 * 7 + 0.5 / 19 * positions) / 20;
  assert(Math.abs(computeFlapShare(history) - expected) < 1e-12);
  assertEquals(Math.round(1000 * expected), 343);
});

Deno.test("isFlappingNow() begins at 20 % and ends below 5 %, so that it does not flap itself", () => {
  assertEquals(isFlappingNow("oofofofoo", false), true);
  assertEquals(isFlappingNow("oof", false), false);
  assertEquals(isFlappingNow("oof", true), true);
  assertEquals(isFlappingNow("o".repeat(21), true), false);
  // A newest change alone weighs 6.25 %: two thirds of a window later it is below 5 %.
  assertEquals(isFlappingNow("o".repeat(20) + "f", true), true);
  assertEquals(isFlappingNow("of" + "f".repeat(19), true), false);
});
