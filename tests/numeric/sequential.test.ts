import { assert, assertEquals, assertThrows } from "@std/assert";
import { Random } from "../../numeric/random.ts";
import { computeRateInterval, logBeta, measureRateEvidence } from "../../numeric/rates.ts";
import { PairedTest, UnpairedTest } from "../../numeric/sequential.ts";

function assertNear(actual: number, expected: number, relative = 1e-9): void {
  assert(
    Math.abs(actual - expected) <= relative * Math.abs(expected),
    `${actual} is not near ${expected}`,
  );
}

function factorial(n: number): bigint {
  return n < 2 ? 1n : BigInt(n) * factorial(n - 1);
}

/** Beta(w + 1, l + 1) * 2**(w + l) of whole numbers, by exact integers. */
function exactEValue(wins: number, losses: number): number {
  const scale = 10n ** 40n;
  const value = 2n ** BigInt(wins + losses) * factorial(wins) * factorial(losses) * scale /
    factorial(wins + losses + 1);
  return Number(value) / 1e40;
}

Deno.test("logBeta() agrees with factorials and with Beta(1/2, 1/2) = pi", () => {
  for (const [a, b] of [[1, 1], [3, 4], [20, 30], [150, 20]]) {
    const exact = Number(factorial(a - 1) * factorial(b - 1) * 10n ** 300n / factorial(a + b - 1));
    assertNear(Math.exp(logBeta(a, b)) * 1e300, exact, 1e-11);
  }
  assertNear(logBeta(0.5, 0.5), Math.log(Math.PI), 1e-12);
});

Deno.test("PairedTest has the e-value of the Beta function's closed form, whatever ties lie between", () => {
  for (const [wins, losses] of [[1, 0], [3, 3], [0, 12], [40, 25], [150, 100]]) {
    const test = new PairedTest();
    for (let i = 0; i < wins; i++) test.add(1);
    for (let i = 0; i < 5; i++) test.add(0);
    for (let i = 0; i < losses; i++) test.add(-1);
    assertNear(test.read().eValue, exactEValue(wins, losses), 1e-8);
    assertEquals(test.read().count, wins + losses + 5);
  }
});

Deno.test("PairedTest keeps the smallest p-value and the first decision when evidence falls again", () => {
  const test = new PairedTest();
  for (let i = 0; i < 10; i++) test.add(1);
  const { pValue, decision } = test.read();
  assertNear(pValue, 1 / exactEValue(10, 0), 1e-9);
  assertEquals(decision, 1);
  for (let i = 0; i < 10; i++) test.add(-1);
  const later = test.read();
  assertEquals([later.pValue, later.decision], [pValue, 1]);
  assertNear(later.eValue, exactEValue(10, 10), 1e-8);
});

Deno.test("PairedTest bounds the e-value, and refuses differences beyond 1", () => {
  const test = new PairedTest({ alpha: 0.01 });
  for (let i = 0; i < 2000; i++) test.add(-1);
  const { eValue, pValue, decision } = test.read();
  assertNear(eValue, 1e300, 1e-9);
  assert(pValue >= 0 && pValue < 1e-300);
  assertEquals(decision, -1);
  assertThrows(() => test.add(1.5), RangeError, "[-1, 1]");
  assertThrows(() => test.add(NaN), RangeError, "[-1, 1]");
  assertThrows(() => new PairedTest({ alpha: 0 }), RangeError, "(0, 1)");
});

/** Decisions of `runs` simulated tests, each looked at after every observation. */
function simulate(runs: number, one: (random: Random) => -1 | 0 | 1): Record<string, number> {
  const counts: Record<string, number> = { "-1": 0, "0": 0, "1": 0 };
  for (let seed = 1; seed <= runs; seed++) counts[one(new Random(seed))]++;
  return counts;
}

/** Two classifiers of given accuracies on the same 400 units, right independently of one another. */
function pairedRun(champion: number, challenger: number): (random: Random) => -1 | 0 | 1 {
  return (random) => {
    const test = new PairedTest();
    for (let i = 0; i < 400; i++) {
      test.add(Number(random.uniform() < challenger) - Number(random.uniform() < champion));
    }
    return test.read().decision;
  };
}

Deno.test("PairedTest is wrong in at most 5 % of 1,000 seeded streams under continuous peeking", () => {
  const equal = simulate(1000, pairedRun(0.8, 0.8));
  assert(equal["1"] + equal["-1"] <= 50, JSON.stringify(equal));
  const worse = simulate(1000, pairedRun(0.8, 0.78));
  assert(worse["1"] <= 50, JSON.stringify(worse));
});

Deno.test("PairedTest finds a real difference of ten points in nearly every stream", () => {
  const better = simulate(200, pairedRun(0.75, 0.9));
  assert(better["1"] >= 190 && better["-1"] === 0, JSON.stringify(better));
});

Deno.test("PairedTest stays valid when outcomes are shares of groups with the same mean", () => {
  const decisions = simulate(1000, (random) => {
    const test = new PairedTest();
    // A group's rows are alike: its share leaps, and is 0 on average.
    for (let i = 0; i < 300; i++) test.add(random.uniform() < 0.25 ? 0.75 : -0.25);
    return test.read().decision;
  });
  assert(decisions["1"] + decisions["-1"] <= 50, JSON.stringify(decisions));
});

/** Two classifiers on units of their own, a tenth of 1,500 for the challenger. */
function unpairedRun(champion: number, challenger: number): (random: Random) => -1 | 0 | 1 {
  return (random) => {
    const test = new UnpairedTest();
    for (let i = 0; i < 1500; i++) {
      const arm = random.uniform() < 0.1 ? "challenger" : "champion";
      const rate = arm === "challenger" ? challenger : champion;
      test.add(arm, Number(random.uniform() < rate));
    }
    return test.read().decision;
  };
}

Deno.test("UnpairedTest is wrong in at most 5 % of 1,000 seeded streams, and finds a real difference", () => {
  const equal = simulate(1000, unpairedRun(0.8, 0.8));
  assert(equal["1"] + equal["-1"] <= 50, JSON.stringify(equal));
  const worse = simulate(200, unpairedRun(0.9, 0.65));
  assert(worse["-1"] >= 190 && worse["1"] === 0, JSON.stringify(worse));
});

Deno.test("measureRateEvidence() agrees with Beta functions of whole numbers, and refuses nonsense", () => {
  // Beta(½, ½) gives 3 of 3 the mean likelihood (1/2)(3/4)(5/6) = 5/16, 0 of 2 (1/2)(3/4).
  // One common rate is 3/5 at best.
  const expected = (5 / 16) * (3 / 8) / ((3 / 5) ** 3 * (2 / 5) ** 2);
  assertNear(
    measureRateEvidence({ successes: 3, failures: 0 }, { successes: 0, failures: 2 }),
    expected,
    1e-12,
  );
  const none = { successes: 0, failures: 0 };
  assert(measureRateEvidence(none, { successes: 5, failures: 0 }) <= 1);
  assertNear(measureRateEvidence(none, none), 1, 1e-12);
  assertThrows(() => measureRateEvidence(none, { successes: -1, failures: 0 }), RangeError);
  assertThrows(() => measureRateEvidence({ successes: NaN, failures: 0 }, none), RangeError);
});

Deno.test("computeRateInterval() covers the rate at all times in at least 95 % of streams", () => {
  let missed = 0;
  for (let seed = 1; seed <= 1000; seed++) {
    const random = new Random(seed);
    let successes = 0;
    let isMissed = false;
    for (let n = 1; n <= 200; n++) {
      if (random.uniform() < 0.3) successes++;
      if (n % 5 > 0) continue;
      const { low, high } = computeRateInterval({ successes, failures: n - successes })!;
      if (low > 0.3 || high < 0.3) isMissed = true;
    }
    if (isMissed) missed++;
  }
  assert(missed <= 50, `${missed} of 1000`);
});

Deno.test("computeRateInterval() has an end at 0 or 1 when all outcomes are alike", () => {
  const all = computeRateInterval({ successes: 20, failures: 0 })!;
  assertEquals([all.value, all.high], [1, 1]);
  assert(all.low > 0.7 && all.low < 0.9);
  const none = computeRateInterval({ successes: 0, failures: 20 }, { alpha: 0.01 })!;
  assertEquals([none.value, none.low], [0, 0]);
});
