import { assert, assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { askCanaries } from "../../judges/cases/canaries.ts";
import { type CaseOptions, makeCases } from "../../judges/cases/cases.ts";
import { makeCard } from "../../judges/cards/card.ts";
import { measureCard } from "../../judges/cards/measure.ts";
import { combined } from "../../judges/combined/combined.ts";
import { combine, fitCombination, type KnownSignals } from "../../judges/combined/fit.ts";
import { compareJudges } from "../../judges/compare.ts";
import { examine } from "../../judges/doctor/doctor.ts";
import { openHistory } from "../../judges/history.ts";
import { recordJudgeLabels } from "../../judges/labels.ts";
import { judgeSample, JudgingParams } from "../../judges/judging.ts";
import { rule } from "../../judges/rule.ts";
import { estimateAuc } from "../../numeric/agreement/auc.ts";
import { Random } from "../../numeric/random.ts";
import { UsageError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store/store.ts";
import { addInferences } from "../plugins/alerts/rows.ts";
import { about, makeJudge, openHeldOut, openJudge, signal } from "./held_out.ts";

const cardOptions = { ...about, rows: 200, signal };

async function cases(store: Store, more: Partial<CaseOptions> = {}) {
  return await makeCases(store, {
    ...about,
    count: 100,
    half: "measure",
    task: "swapped",
    ...more,
  });
}

/** What is true of a row: its features lie by its class. */
const known = new Map<string, boolean>();

async function openKnown(): Promise<Store> {
  const store = await openHeldOut();
  for (const task of ["swapped", "mistakes"] as const) {
    for (const half of ["measure", "teach"] as const) {
      for (const { inference, isGood } of await cases(store, { task, half, count: 2000 })) {
        known.set(inference.requestId, isGood);
      }
    }
  }
  return store;
}

Deno.test("makeCases() gives as many good as bad ones, the same each time, and never one for both halves", async () => {
  await using store = await openHeldOut();
  for (const task of ["swapped", "mistakes"] as const) {
    const [measure, teach] = [
      await cases(store, { task, count: 1000 }),
      await cases(store, { task, half: "teach", count: 1000 }),
    ];
    assertEquals(await cases(store, { task, count: 1000 }), measure);
    const place = ({ inference }: typeof measure[number]) => inference.requestId.split(":")[1];
    const taught = new Set(teach.map(place));
    assert(measure.length >= 100 && measure.every((row) => !taught.has(place(row))));
    const good = measure.filter(({ isGood }) => isGood).length;
    assert(Math.abs(2 * good - measure.length) <= 1, `${good} of ${measure.length}`);
  }
  const mistakes = await cases(store, { task: "mistakes" });
  for (const { inference: { label, probabilities } } of mistakes) {
    assertEquals(probabilities[label], Math.max(...Object.values(probabilities)));
  }
  assertEquals(await cases(store, { version: 2 }), []);
});

Deno.test("makeCard() measures on mistakes, and says that a judge that knows is trusted and one that guesses is not", async () => {
  await using store = await openKnown();
  const random = new Random(3);
  const wise = makeJudge(({ requestId }) => ({
    status: "scored",
    score: 0.6 + 0.2 * random.uniform() + (known.get(requestId) ? 0.18 : 0),
    tokensIn: 10,
    tokensOut: 1,
  }), { name: "wise" });
  const card = await makeCard(store, await openJudge(store, wise), cardOptions);
  assertEquals([card.source, card.status, card.coverage, card.tokens], [
    "mistakes",
    "trusted",
    1,
    11 * card.n,
  ]);
  assert(card.n >= 150 && 2 * card.good === card.n);
  // At the naive cut of 0.5 it would call everything good.
  assert(card.threshold! > 0.6 && card.tpr! > 0.7 && card.tnr! > 0.7 && card.kappa!.low! > 0.4);
  assertMatch(card.summary, /^agrees with the truth beyond chance; better than the rule: AUC \+/);
  const guess = makeJudge(() => ({ status: "scored", score: random.uniform() }), { name: "guess" });
  const poor = await makeCard(store, await openJudge(store, guess), cardOptions);
  assertEquals(poor.status, "advisory");
  assertMatch(
    poor.summary,
    /^does not agree with the truth beyond chance; (worse than|adds nothing to) the rule/,
  );
  const [row] = await store.query("select n, auc, status from judge_cards where judge = 'wise'");
  assertEquals([row.n, row.auc, row.status], [card.n, card.auc!.value, "trusted"]);
});

Deno.test("makeCard() asks again only what is missing, and an error is no answer", async () => {
  await using store = await openHeldOut();
  let asked = 0;
  let isBroken = true;
  const judge = makeJudge(({ label }) => {
    asked++;
    return isBroken && label === "sandstone"
      ? { status: "error", kind: "timeout", message: "too late" }
      : label === "siltstone"
      ? { status: "abstained", kind: "no_profile" }
      : { status: "scored", score: 0.5 };
  });
  const first = await makeCard(store, await openJudge(store, judge), cardOptions);
  const all = asked;
  assert(first.coverage! > 0.2 && first.coverage! < 0.5, `${first.coverage}`);
  isBroken = false;
  const second = await makeCard(store, await openJudge(store, judge), cardOptions);
  assert(asked - all > 0 && asked - all < all / 2, `${asked} after ${all}`);
  assert(second.coverage! > first.coverage!);
  await makeCard(store, await openJudge(store, judge), cardOptions);
  assert(asked < 2 * all);
});

Deno.test("makeCard() goes by what people and labels say of production when that is enough", async () => {
  await using store = await openHeldOut();
  const request = crypto.randomUUID();
  await addInferences(store, { count: 120, requestId: request });
  const judge = makeJudge(({ row }) => ({ status: "scored", score: row % 4 === 0 ? 0.2 : 0.8 }));
  const params = JudgingParams.parse({ samplingRate: 1, canaries: 0 });
  await judgeSample(store, { ...about, judges: [judge], params, seed: 1, signal });
  const label = (count: number) =>
    recordJudgeLabels(
      store,
      Array.from({ length: count }, (_, row) => ({
        requestId: request,
        row,
        label: row % 4 === 0 ? "bad" : "good",
      })),
      { by: "lab" },
    );
  await label(20);
  assertEquals(
    (await makeCard(store, await openJudge(store, judge), cardOptions)).source,
    "mistakes",
  );
  await label(120);
  const card = await makeCard(store, await openJudge(store, judge), cardOptions);
  assertEquals([card.source, card.n, card.good, card.auc!.value, card.tpr, card.tnr], [
    ...["labels", 120, 90, 1, 1, 1],
  ]);
});

Deno.test("measureCard() gives no number of too few rows, and trusts none of them", () => {
  const row = { score: 1, isGood: true, rule: 0.5, own: 0.5 };
  const few = Array.from(
    { length: 40 },
    (_, i) => i < 9 ? { ...row, score: 0, isGood: false } : row,
  );
  const card = measureCard(few);
  assertEquals([card.n, card.good, card.coverage, card.auc, card.kappa], [40, 31, 1, null, null]);
  assertEquals(measureCard([]).coverage, null);
  assertEquals(measureCard([{ ...row, score: null }]).coverage, 0);
});

Deno.test("combined is at least as good as the rule and the model's own probability on rows it did not learn from", async () => {
  await using store = await openHeldOut();
  const card = await makeCard(store, await openJudge(store, combined), cardOptions);
  assert(card.auc!.value > 0.8, `${card.auc!.value}`);
  assert(card.ruleLift!.difference >= 0 && card.ownLift!.low > -0.02);
  const swapped = await makeCard(store, await openJudge(store, combined), {
    ...cardOptions,
    source: "swapped",
  });
  assert(swapped.auc!.value > 0.85 && swapped.ruleLift!.difference >= 0, `${swapped.auc!.value}`);
  assertEquals([card.status, swapped.source], ["trusted", "swapped"]);
});

Deno.test("combined answers with the rule, and says so, where nothing is known", async () => {
  await using store = await openHeldOut({ rows: 10 });
  const asked = await openJudge(store, combined);
  const [{ inference }] = await cases(store);
  const [own, ruled] = await Promise.all([
    combined.judge(inference, asked.context),
    rule.judge(inference, asked.context),
  ]);
  assert(own.status === "scored" && ruled.status === "scored");
  assertEquals(own.score, ruled.score);
  assertMatch(own.rationale!, /^the rule alone: \d predictions of known truth are too few/);
});

Deno.test("combined has another version when it has learned otherwise", async () => {
  await using store = await openHeldOut();
  const { judgeVersion } = await openJudge(store, combined);
  assertEquals((await openJudge(store, combined)).judgeVersion, judgeVersion);
  const request = crypto.randomUUID();
  await addInferences(store, { count: 100, requestId: request, features: [40, 2.3, 0.1] });
  const labels = Array.from({ length: 100 }, (_, row) => ({
    requestId: request,
    row,
    label: "bad" as const,
  }));
  await recordJudgeLabels(store, labels, { by: null });
  assert((await openJudge(store, combined)).judgeVersion !== judgeVersion);
});

Deno.test("fitCombination() weighs a language model where enough rows have its score, and keeps the rule where weighing is worse", () => {
  const random = new Random(1);
  const make = (isGood: boolean, llm: boolean): KnownSignals => ({
    rule: Math.min(1, Math.max(0.01, 0.4 + (isGood ? 0.15 : 0) + 0.4 * random.uniform())),
    own: 0.5 + 0.4 * random.uniform(),
    llm: llm ? Math.min(0.99, (isGood ? 0.55 : 0.2) + 0.4 * random.uniform()) : null,
    isGood,
  });
  const rows = Array.from({ length: 400 }, (_, i) => make(i % 2 === 0, i < 200));
  const fit = fitCombination(rows);
  assert(fit.kind === "fitted" && fit.full !== null);
  const test = Array.from({ length: 400 }, (_, i) => make(i % 2 === 0, true));
  const truth = test.map(({ isGood }) => isGood ? 1 : 0);
  const auc = (scores: number[]) => estimateAuc({ scores, truth })!.value;
  const whole = auc(test.map((row) => combine(fit, row)));
  assert(whole > auc(test.map((row) => combine(fit, { ...row, llm: null }))) + 0.1);
  // A rule that ranks perfectly by scores that no line separates better.
  const perfect = Array.from({ length: 60 }, (_, i) => ({
    rule: i % 2 === 0 ? 0.9 + i / 1000 : 0.1 + i / 1000,
    own: i % 3 === 0 ? 1e-6 : 1,
    llm: null,
    isGood: i % 2 === 0,
  }));
  const kept = fitCombination(perfect);
  const scores = perfect.map((row) => combine(kept, row));
  assertEquals(estimateAuc({ scores, truth: perfect.map((r) => r.isGood ? 1 : 0) })!.value, 1);
  assertEquals(fitCombination(rows.slice(0, 20)).kind, "rule");
});

Deno.test("known() and scores() give rows to learn from, and what other judges said of them", async () => {
  await using store = await openHeldOut();
  const llm = makeJudge(() => ({ status: "scored", score: 0.25 }), { name: "llm" });
  await askCanaries(store, await openJudge(store, llm), { ...about, count: 20, signal });
  const [asked] = await store.query<{ request_id: string }>("select request_id from judge_cases");
  const history = openHistory(store, about);
  const rows = await history.known();
  assert(rows.length > 100 && rows.some(({ isGood }) => isGood) && rows.some((r) => !r.isGood));
  const inference = { ...rows[0].inference, requestId: asked.request_id };
  assertEquals(await history.scores(inference), { llm: 0.25 });
  assertEquals(
    await history.scores(rows[0].inference).then((s) => Object.keys(s).length <= 1),
    true,
  );
});

Deno.test("askCanaries() keeps the canary AUC of each batch", async () => {
  await using store = await openHeldOut();
  let isAwake = true;
  const judge = makeJudge(({ probabilities, label }) => ({
    status: "scored",
    score: isAwake ? probabilities[label] : 0.5,
  }));
  const params = JudgingParams.parse({ samplingRate: 1, canaries: 300 });
  const batch = async () => {
    await addInferences(store, { count: 3 });
    await judgeSample(store, { ...about, judges: [judge], params, seed: 1, signal });
  };
  await batch();
  isAwake = false;
  await batch();
  const rows = await store.query<{ auc: number; asked: number; scored: number }>(
    "select auc, asked, scored from judge_canaries order by created_at",
  );
  assertEquals(rows.map(({ asked, scored }) => [asked, scored]), [[300, 300], [300, 300]]);
  // Every batch draws others; so many have an AUC of 0.94 with a deviation of 0.006.
  assert(rows[0].auc > 0.9, `${rows[0].auc}`);
  assertEquals(rows[1].auc, 0.5);
});

Deno.test("compareJudges() pairs what both scored, by name or by version", async () => {
  await using store = await openHeldOut();
  for (const judge of [rule, combined]) {
    await makeCard(store, await openJudge(store, judge), cardOptions);
  }
  const comparison = await compareJudges(store, ["combined", "rule@rule-1"], about);
  const { first, second, rows, auc, right } = comparison;
  assert(rows >= 150 && first.judgeVersion.startsWith("combined-1+"));
  assertAlmostEquals(first.auc!.value - second.auc!.value, auc!.difference, 1e-12);
  assert(right!.onlyFirst + right!.onlySecond > 0 && right!.pValue <= 1);
  await assertRejects(
    () => compareJudges(store, ["rule", "nobody"], about),
    UsageError,
    "judges card nobody",
  );
  await assertRejects(
    () => compareJudges(store, ["rule@no", "combined"], about),
    UsageError,
    "rule@no",
  );
});

Deno.test("examine() passes the rule, and quarantines a judge that is moved by what must not move it", async () => {
  await using store = await openHeldOut();
  const healthy = await examine(store, await openJudge(store, rule), { ...about, rows: 8, signal });
  assertEquals(healthy!.map(({ probe, isPassed }) => [probe, isPassed]), [
    ["determinism", true],
    ["order", true],
    ["verbosity", true],
    ["injection", true],
    ["label-swap", true],
  ]);
  let calls = 0;
  const faults = {
    determinism: () => (calls++ % 3) / 10,
    order: (names: readonly string[]) => names[0] === "GR" ? 0.9 : 0.1,
    verbosity: (names: readonly string[]) => names.length > 10 ? 0.9 : 0.1,
    injection: (names: readonly string[]) => names.some((n) => /ignore/i.test(n)) ? 0.9 : 0.1,
    "label-swap": () => 0.5,
  };
  for (const [probe, score] of Object.entries(faults)) {
    const judge = makeJudge(({ features }) => ({
      status: "scored",
      score: score(Object.keys(features)),
    }), { name: probe });
    await makeCard(store, await openJudge(store, judge), cardOptions);
    const found = await examine(store, await openJudge(store, judge), {
      ...about,
      rows: 8,
      signal,
    });
    assertEquals(found!.find((outcome) => outcome.probe === probe)!.isPassed, false, probe);
    const [{ status }] = await store.query("select status from judge_cards where judge = ?", [
      probe,
    ]);
    assertEquals(status, "quarantined");
  }
  const silent = makeJudge(() => ({ status: "abstained", kind: "no_text" }), { name: "silent" });
  const nothing = await examine(store, await openJudge(store, silent), {
    ...about,
    rows: 8,
    signal,
  });
  assert(nothing!.every(({ isPassed }) => isPassed === null));
  const other = { ...about, version: 2, rows: 8, signal };
  assertEquals(await examine(store, await openJudge(store, rule), other), null);
});
