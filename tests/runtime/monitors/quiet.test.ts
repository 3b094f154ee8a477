import { assert, assertEquals } from "@std/assert";
import { Random } from "../../../numeric/random.ts";
import { loadAlerts } from "../../../plugins/alerts/load.ts";
import { backtestAlert } from "../../../runtime/alerts/backtest.ts";
import { regularizedBeta } from "../../../numeric/special.ts";
import { compareSides, decideTogether, DRIFT_LEVEL } from "../../../runtime/monitors/compare.ts";
import { testCounts } from "../../../runtime/monitors/counts.ts";
import { ProfileParams } from "../../../runtime/monitors/definition.ts";
import { addRows, day, openMonitored, refreshAt } from "./fixture.ts";
import { drawPrediction, drawSides, type Sides } from "./stationary.ts";

/** Weeks of each stream; set GEOPHONE_QUIET_WEEKS for more, as for the promise of docs/drift.md. */
const WEEKS = Number(Deno.env.get("GEOPHONE_QUIET_WEEKS") ?? 40);

/**
 * Rows of the baseline and of a day: where tests decide, with ties and few rows, and where distances
 * do.
 */
const streams = [[800, 60], [5_000, 40], [5_000, 300]] as const;

/** Probability that a correct decision fails one of these tests, over all its counts together. */
const BY_LUCK = 1e-6;

const DAYS = 7;

/** What of a window alarms; each is promised in at most `DRIFT_LEVEL` of the windows. */
interface Alarms {
  /** Any column drifted from the baseline, or from the day before. */
  readonly baseline: boolean;
  readonly consecutive: boolean;
  /** More than half of the features did from the baseline: the alert `data_drift`. */
  readonly alert: boolean;
}

/** Decides as `refreshMonitors()` does for the columns of one window. */
function decide(reference: Sides, current: Sides): Map<string, boolean | null> {
  const { minRows } = ProfileParams.parse({});
  const names = [...current.keys()];
  const differences = names.map((name) => {
    const sides = { reference: reference.get(name)!.side, current: current.get(name)!.side };
    return compareSides(sides, { minRows, methods: [] });
  });
  const decisions = decideTogether(differences);
  return new Map(names.map((name, i) => [name, decisions[i].isDrifted]));
}

const anyOf = (drifted: ReadonlyMap<string, boolean | null>) =>
  [...drifted.values()].some((isDrifted) => isDrifted === true);

function watch(baseline: Sides, before: Sides, current: Sides): Alarms {
  const drifted = decide(baseline, current);
  const features = [...drifted].filter(([name]) => current.get(name)!.isFeature);
  const known = features.filter(([, isDrifted]) => isDrifted !== null);
  return {
    baseline: anyOf(drifted),
    consecutive: anyOf(decide(before, current)),
    alert: known.filter(([, isDrifted]) => isDrifted).length > 0.5 * known.length,
  };
}

/** Probability of `count` or more of `n`, each with probability `p`. */
function binomialTail(count: number, n: number, p: number): number {
  return count === 0 ? 1 : regularizedBeta(count, n - count + 1, p);
}

// Each week has a baseline of its own, so that the same day of different weeks is independent of the
// others: its alarms are binomial. The days of one week are not, as they share their baseline.
for (const [stream, [rows, daily]] of streams.entries()) {
  Deno.test(`decideTogether() alarms in at most ${100 * DRIFT_LEVEL} % of ${WEEKS} weeks of days of ${daily} rows when nothing changes, against ${rows}`, () => {
    const random = new Random(2026 + stream);
    const counts = { baseline: [0], consecutive: [0], alert: [0] };
    for (const each of Object.values(counts)) each.length = DAYS, each.fill(0);
    for (let week = 0; week < WEEKS; week++) {
      const baseline = drawSides(random, rows);
      let before = drawSides(random, daily);
      for (let day = 0; day < DAYS; day++) {
        const current = drawSides(random, daily);
        const alarms = watch(baseline, before, current);
        for (const kind of ["baseline", "consecutive", "alert"] as const) {
          if (alarms[kind]) counts[kind][day]++;
        }
        before = current;
      }
    }
    const bounds = streams.length * Object.keys(counts).length * DAYS;
    const shares = Object.entries(counts).map(([kind, days]) => {
      const share = days.reduce((sum, count) => sum + count, 0) / (DAYS * WEEKS);
      return `${kind} ${(100 * share).toFixed(2)} %`;
    });
    for (const [kind, days] of Object.entries(counts)) {
      for (const count of days) {
        const chance = binomialTail(count, WEEKS, DRIFT_LEVEL);
        assert(chance > BY_LUCK / bounds, `${kind}: ${count} of ${WEEKS}; ${shares.join(", ")}`);
      }
    }
    // deno-lint-ignore no-console -- the rate is what the test is for
    console.log(`false alarms, ${rows} and ${daily} rows: ${shares.join(", ")}`);
  });
}

Deno.test("binomialTail() has the exact values of a short series", () => {
  assertEquals(binomialTail(0, 4, 0.5), 1);
  for (const [count, tail] of [[1, 15], [2, 11], [3, 5], [4, 1]] as const) {
    assert(Math.abs(binomialTail(count, 4, 0.5) - tail / 16) < 1e-12);
  }
});

Deno.test("decideTogether() finds a shifted column when it is past threshold and chance, and names no other", () => {
  const random = new Random(7);
  const baseline = drawSides(random, 5_000);
  const calm = drawSides(random, 300);
  // A feature that nothing else depends on takes the place of another.
  const shifted: Sides = new Map(
    [...calm].map(([name, each]) => name === "steps" ? [name, calm.get("skewed")!] : [name, each]),
  );
  const drifted = [...decide(baseline, shifted)].filter(([, is]) => is).map(([name]) => name);
  assertEquals(drifted, ["steps"]);
});

Deno.test("testCounts() tests more categories than a call takes arguments", () => {
  const reference = new Float64Array(200_000).fill(1);
  const current = new Float64Array(200_000);
  current[0] = 40;
  assert(testCounts({ reference, current }) < 1e-100);
});

Deno.test("testCounts() keeps its level where a limit does not, and sees a rare category that grows", () => {
  const of = (reference: number[], current: number[]) =>
    testCounts({ reference: Float64Array.from(reference), current: Float64Array.from(current) });
  assert(of([792, 8], [30, 30]) < 1e-12, "a flag that was rare");
  assert(of([770, 22, 8], [20, 10, 30]) < 1e-12);
  assert(of([500, 500, 0], [20, 20, 20]) < 1e-12, "a category that is new");
  assertEquals(of([10, 0, 0], [10, 0, 0]), 1);
  assertEquals(of([40, 0], [30, 0]), 1);
  // Fisher's tea.
  assert(Math.abs(of([3, 1], [1, 3]) - 34 / 70) < 1e-12);
  const random = new Random(3);
  let alarms = 0;
  const draws = 4_000;
  const draw = (rows: number) => {
    const counts = [0, 0, 0];
    for (let i = 0; i < rows; i++) {
      const level = random.uniform();
      counts[level < 0.96 ? 0 : level < 0.99 ? 1 : 2]++;
    }
    return counts;
  };
  for (let i = 0; i < draws; i++) if (of(draw(800), draw(60)) < 0.01) alarms++;
  assert(binomialTail(alarms, draws, 0.01) > BY_LUCK, `${alarms} of ${draws}`);
});

Deno.test("backtestAlert() finds prediction_drift and data_drift quiet over three weeks when nothing changes", async () => {
  const random = new Random(11);
  const baseline = Array.from({ length: 1_200 }, () => drawPrediction(random));
  await using store = await openMonitored(baseline);
  for (let d = 1; d <= 21; d++) {
    const rows = Array.from({ length: 240 }, () => drawPrediction(random));
    await addRows(store, rows, { requestId: `day-${d}`, from: day(d), stepSeconds: 360 });
    await refreshAt(store, day(d + 1));
  }
  const alerts = await loadAlerts(new URL("../../../plugins/alerts/", import.meta.url));
  for (const name of ["prediction_drift", "data_drift"]) {
    const result = await backtestAlert(store, alerts.find((alert) => alert.name === name)!, {
      model: "rocks",
      version: 1,
      from: day(2).getTime(),
      to: day(22).getTime(),
      stepMs: 21_600_000,
      signal: AbortSignal.timeout(60_000),
    });
    // The classes of 240 predictions are a quarter off with a probability below 2^3 exp(-240 / 8); two
    // of three features drift in one of twenty windows with one of a hundredth, and the seed is fixed.
    assertEquals([result.errors, result.episodes], [0, []], name);
    assert(result.evaluations > 75);
  }
});
