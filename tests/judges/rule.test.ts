import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { rule } from "../../judges/rule.ts";
import { Random } from "../../numeric/random.ts";
import type { ClassProfile, Inference } from "../../plugins/plugin.ts";
import { makeJudgeCase } from "../contract.ts";

const { signal } = new AbortController();

async function score(
  inference: Inference,
  profiles: Readonly<Record<string, ClassProfile>>,
): Promise<number> {
  const verdict = await rule.judge(inference, { profiles, signal });
  if (verdict.status !== "scored") throw new Error(`Expected a score: got ${verdict.kind}`);
  return verdict.score;
}

/** Share of pairs in which the right one scores higher; ties count half. */
function computeAuc(right: readonly number[], wrong: readonly number[]): number {
  let wins = 0;
  for (const a of right) for (const b of wrong) wins += a > b ? 1 : a === b ? 0.5 : 0;
  return wins / (right.length * wrong.length);
}

Deno.test("rule.judge() tells right from swapped labels when classes are Gaussian", async () => {
  const random = new Random(7);
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
  const classes = ["a", "b", "c"];
  const names = ["GR", "RHOB", "NPHI", "DT"];
  const centers = [[30, 2.6, 0.1, 60], [80, 2.4, 0.25, 80], [110, 2.5, 0.3, 95]];
  const widths = [12, 0.12, 0.06, 10];
  const profiles = Object.fromEntries(classes.map((name, c) => [name, {
    count: 100,
    mean: Object.fromEntries(names.map((n, j) => [n, centers[c][j]])),
    std: Object.fromEntries(names.map((n, j) => [n, widths[j]])),
  }]));
  const right: number[] = [];
  const wrong: number[] = [];
  for (let i = 0; i < 300; i++) {
    const c = i % 3;
    const { inference } = makeJudgeCase({
      features: Object.fromEntries(
        names.map((n, j) => [
          n,
          random.uniform() < 0.2 ? null : centers[c][j] + widths[j] * normal(),
        ]),
      ),
    });
    const judged = await rule.judge({ ...inference, label: classes[c] }, { profiles, signal });
    if (judged.status !== "scored") continue; // too few features were drawn
    right.push(judged.score);
    wrong.push(await score({ ...inference, label: classes[(c + 1 + i % 2) % 3] }, profiles));
  }
  assert(right.length > 250);
  const auc = computeAuc(right, wrong);
  assert(auc > 0.9, `AUC ${auc}`);
});

Deno.test("rule.judge() gives scores that sum to 1 over the labels and names the nearest class", async () => {
  const { inference, profiles } = makeJudgeCase();
  const a = await rule.judge(inference, { profiles, signal });
  const b = await rule.judge({ ...inference, label: "b" }, { profiles, signal });
  assert(a.status === "scored" && b.status === "scored");
  assertAlmostEquals(a.score + b.score, 1, 1e-12);
  assert(a.score > 0.9);
  assertEquals(a.rationale, 'nearest class profile is "a", as predicted');
  assertEquals(b.rationale, 'nearest class profile is "a", not "b"');
});

Deno.test("rule.judge() gives 1 / k when classes are alike", async () => {
  const { inference, profiles } = makeJudgeCase();
  assertAlmostEquals(await score(inference, { a: profiles.a, b: profiles.a }), 0.5, 1e-12);
});

Deno.test("rule.judge() equals the closed form when features are two", async () => {
  // Mean over the two features of the log density, then a softmax over the classes.
  const { inference, profiles } = makeJudgeCase({ features: { GR: 50, RHOB: 2.5 } });
  const density = (value: number, mean: number, std: number) =>
    -0.5 * ((value - mean) / std) ** 2 - Math.log(std);
  const a = (density(50, 30, 5) + density(2.5, 2.4, 0.1)) / 2;
  const b = (density(50, 90, 8) + density(2.5, 2.7, 0.1)) / 2;
  assertAlmostEquals(await score(inference, profiles), 1 / (1 + Math.exp(b - a)), 1e-12);
});

Deno.test("rule.judge() abstains when fewer than 30 % of the profile's features are present", async () => {
  const names = Array.from({ length: 10 }, (_, j) => `f${j}`);
  const profile = (center: number): ClassProfile => ({
    count: 9,
    mean: Object.fromEntries(names.map((n) => [n, center])),
    std: Object.fromEntries(names.map((n) => [n, 1])),
  });
  const profiles = { a: profile(0), b: profile(3) };
  const withFeatures = (count: number) =>
    makeJudgeCase({
      features: Object.fromEntries(names.map((n, j) => [n, j < count ? 0.1 : null])),
    }).inference;
  assertEquals(await rule.judge(withFeatures(2), { profiles, signal }), {
    status: "abstained",
    kind: "low_coverage",
    rationale: "2 of the profile's 10 features can be compared",
  });
  assert(await score(withFeatures(3), profiles) > 0.9);
});

Deno.test("rule.judge() abstains when there is no profile of the class", async () => {
  const { inference, profiles } = makeJudgeCase({ label: "toString" });
  assertEquals(await rule.judge(inference, { profiles, signal }), {
    status: "abstained",
    kind: "no_profile",
    rationale: 'training left no profile of class "toString"',
  });
});

Deno.test("rule.judge() abstains when the predicted class never varied, and leaves out others that never did", async () => {
  const { inference, profiles } = makeJudgeCase();
  const once = { count: 1, mean: { GR: 31, RHOB: 2.4 }, std: { GR: 0, RHOB: 0 } };
  const verdict = await rule.judge(inference, { profiles: { ...profiles, a: once }, signal });
  assertEquals([verdict.status, "kind" in verdict && verdict.kind], ["abstained", "low_coverage"]);
  assertEquals(
    await score(inference, { ...profiles, c: once }),
    await score(inference, profiles),
  );
});

Deno.test("rule.judge() compares all classes over the same features when one of them lacks some", async () => {
  const { inference } = makeJudgeCase({ features: { GR: 30, RHOB: 2.4, NPHI: 0.2 } });
  const std = { GR: 5, RHOB: 0.001, NPHI: 0.001 };
  const a = { count: 9, mean: { GR: 30, RHOB: 2.4, NPHI: 0.2 }, std };
  // In units of small numbers a log density is large: b must not lose for lacking the feature.
  const b = { count: 9, mean: { GR: 30, RHOB: 2.4 }, std };
  assertAlmostEquals(await score(inference, { a, b }), 0.5, 1e-12);
});

Deno.test("rule.judge() abstains when the values lie beyond every class", async () => {
  const { inference, profiles } = makeJudgeCase({ features: { GR: 1e200, RHOB: 1e200 } });
  const verdict = await rule.judge(inference, { profiles, signal });
  assertEquals([verdict.status, "kind" in verdict && verdict.kind], ["abstained", "out_of_range"]);
});
