import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { JudgingParams } from "../../judges/judging.ts";
import { measureAgreement, readMembers } from "../../judges/report/agreement.ts";
import {
  correctByLabels,
  estimateScores,
  type JudgedRow,
  measureCoverage,
  type ReportedRate,
  stratifyScores,
} from "../../judges/report/rates.ts";
import { reportJudges } from "../../judges/report/report.ts";
import { rule } from "../../judges/rule.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { Random } from "../../numeric/random.ts";
import { addInferences, addJudgements, addModel } from "../plugins/alerts/rows.ts";

const row = (score: number | null, more: Partial<JudgedRow> = {}): JudgedRow => ({
  score,
  probability: 1,
  stratum: null,
  isGood: null,
  ...more,
});

const repeat = <T>(n: number, make: (i: number) => T) =>
  Array.from({ length: n }, (_, i) => make(i));

function assertRate(
  rate: ReportedRate,
  [value, low, high]: readonly [number, number, number],
  tolerance = 1e-9,
) {
  assertEquals(rate.reason, null);
  assertAlmostEquals(rate.value!, value, tolerance);
  assertAlmostEquals(rate.low!, low, tolerance);
  assertAlmostEquals(rate.high!, high, tolerance);
}

/** Ends of Wilson's interval of a share of so many rows. */
function wilson(share: number, rows: number): [number, number] {
  const z = 1.959963985;
  const center = (share + z ** 2 / (2 * rows)) / (1 + z ** 2 / rows);
  const reach = z * Math.sqrt(share * (1 - share) / rows + z ** 2 / (4 * rows ** 2)) /
    (1 + z ** 2 / rows);
  return [center - reach, center + reach];
}

Deno.test("estimateScores() weighs by the draw and gives the interval of Hájek's mean, without what has no score", () => {
  const rows = [
    row(0.9, { probability: 0.5 }),
    row(0.3, { probability: 0.25 }),
    row(0.6, { probability: 0.5 }),
    row(null, { probability: 0.25 }),
  ];
  // Weights 2, 4, 2 of 8: (1.8 + 1.2 + 1.2) / 8; deviations .375, −.225, .075.
  const spread = 0.5 * (0.375 * 2) ** 2 + 0.75 * (0.225 * 4) ** 2 + 0.5 * (0.075 * 2) ** 2;
  const half = 1.959963985 * Math.sqrt(spread * 3 / 2) / 8;
  const { mean, below } = estimateScores(rows, 0.5);
  assertRate(mean, [0.525, 0.525 - half, 0.525 + half]);
  // Half of the weight lies below: of a variance of (.5 + 3 + .5) · 3/2 · .25 · 4/4 / 64 …
  const variance = (0.5 * 1 + 0.75 * 4 + 0.5 * 1) * 3 / 2 / 64;
  // … which is that of so many rows; the weights alone are worth 64 / (2 + 12 + 2) = 4.
  assertRate(below, [0.5, ...wilson(0.5, Math.min(0.25 / variance, 4))]);
  assertEquals(measureCoverage(rows), 8 / 12);
  assertEquals(estimateScores([row(0.5), row(null)], 0.5).mean, {
    value: null,
    low: null,
    high: null,
    reason: "1 score: needs 2",
  });
  assertEquals(measureCoverage([]), null);
});

Deno.test("estimateScores() holds shares in 93 of 100 draws or more, also where nearly nothing lies below the cut", () => {
  const random = new Random(4);
  for (const [share, often, rarely] of [[0.01, 0.1, 0.1], [0.02, 0.4, 0.1], [0.3, 0.4, 0.1]]) {
    const population = repeat(
      1500,
      (i) =>
        row(random.uniform() < share * (i % 2 === 0 ? 0.5 : 1.5) ? 0 : 1, {
          probability: i % 2 === 0 ? rarely : often,
        }),
    );
    const truth = population.filter(({ score }) => score === 0).length / 1500;
    let held = 0;
    for (let draw = 0; draw < 1000; draw++) {
      const drawn = population.filter(({ probability }) => random.uniform() < probability);
      const { low, high } = estimateScores(drawn, 0.5).below;
      if (low! <= truth && truth <= high!) held++;
    }
    assert(held >= 930, `${held} of 1000 at ${truth}`);
  }
  // Nobody found does not mean that there is nobody, unless all were looked at.
  const none = (probability: number) =>
    estimateScores(repeat(100, () => row(1, { probability })), 0.5).below;
  assertRate(none(0.5), [0, ...wilson(0, 200)]);
  assertRate(none(1), [0, 0, 0]);
  // Twenty of those who came for sure say nothing of the others, of whom one in ten was drawn.
  const others = repeat(40, () => row(1, { probability: 0.1 }));
  const { value, low, high } = estimateScores([...repeat(20, () => row(0)), ...others], 0.5).below;
  assertAlmostEquals(value!, 20 / 420, 1e-12);
  assert(low! < 0.02 && high! > 0.1, `${low} ${high}`);
});

Deno.test("stratifyScores() weighs strata by their sizes, takes those with too few scores together, and is narrower", () => {
  const rows = [
    ...repeat(10, (i) => row(i < 2 ? 0.1 : 0.9, { stratum: "sand", probability: 0.1 })),
    ...repeat(10, (i) => row(i < 8 ? 0.1 : 0.9, { stratum: "clay", probability: 0.5 })),
  ];
  const sizes = new Map([["sand", 100], ["clay", 20]]);
  const { mean, below, strata } = stratifyScores(rows, sizes, 0.5)!;
  assertEquals(strata.map(({ stratum, size, scored }) => [stratum, size, scored]), [
    ["clay", 20, 10],
    ["sand", 100, 10],
  ]);
  // Share below: 100/120 · .2 + 20/120 · .8 = .3; variances .9·.16/9 and .5·.16/9 of the strata.
  const variance = (100 / 120) ** 2 * 0.9 * 0.16 / 9 + (20 / 120) ** 2 * 0.5 * 0.16 / 9;
  assertRate(below, [0.3, ...wilson(0.3, 0.3 * 0.7 / variance)]);
  assertAlmostEquals(mean.value!, 0.3 * 0.1 + 0.7 * 0.9, 1e-12);
  const plain = estimateScores(rows, 0.5).below;
  assert(below.high! - below.low! < plain.high! - plain.low!);

  const sparse = stratifyScores(
    [...rows, row(0.4, { stratum: "salt" })],
    new Map([...sizes, ["salt", 3], ["coal", 2]]),
    0.5,
  )!;
  // One score of salt and none of coal: the smallest of the others comes with them.
  assertEquals(sparse.strata.map(({ stratum, size, scored }) => [stratum, size, scored]), [
    ["sand", 100, 10],
    ["others", 25, 11],
  ]);
  assertEquals(stratifyScores(rows, new Map(), 0.5), null);
  assertEquals(stratifyScores([], sizes, 0.5)!.mean.reason, "0 scores: needs 2");
});

Deno.test("correctByLabels() says why there is no rate while labels are too few, of one kind, or of all", () => {
  const known = (n: number, bad: number) =>
    repeat(n, (i) => row(i < bad ? 0.2 : 0.8, { isGood: i >= bad }));
  const open = repeat(20, () => row(0.5));
  const reasonOf = (rows: readonly JudgedRow[]) => {
    const { ppi, roganGladen } = correctByLabels(rows, 0.5, null);
    assertEquals(ppi, roganGladen);
    return ppi.reason;
  };
  assertEquals(reasonOf([...known(23, 10), ...open]), "23 labels: needs 30");
  assertEquals(reasonOf([...known(1, 1), ...open]), "1 label: needs 30");
  assertEquals(
    reasonOf([...known(60, 4), ...open]),
    "60 labels, 4 of them bad: needs 10 of either kind",
  );
  assertEquals(reasonOf(known(60, 20)), "0 scored predictions without a label: needs 2");
  // What it never scored is no label of its own.
  assertEquals(
    reasonOf([...known(23, 10), ...repeat(9, () => row(null, { isGood: true })), ...open]),
    "23 labels: needs 30",
  );
  const coin = [...repeat(40, (i) => row(i % 4 < 2 ? 0.2 : 0.8, { isGood: i % 2 === 0 })), ...open];
  assertEquals(
    correctByLabels(coin, 0.5, null).roganGladen.reason,
    "it tells bad from good no better than chance at its cut",
  );
  assertEquals(correctByLabels(coin, 0.5, null).ppi.reason, null);
});

Deno.test("correctByLabels() gives the rates that a calculation by hand gives", () => {
  // Of 20 bad ones 14 score low, of 40 good ones 6; of 300 without a label 90.
  const rows = [
    ...repeat(20, (i) => row(i < 14 ? 0.2 : 0.8, { isGood: false })),
    ...repeat(40, (i) => row(i < 6 ? 0.2 : 0.8, { isGood: true })),
    ...repeat(300, (i) => row(i < 90 ? 0.2 : 0.8)),
  ];
  const { labels, badLabels, ppi, roganGladen } = correctByLabels(rows, 0.5, null);
  assertEquals([labels, badLabels], [60, 20]);
  // (.3 + .85 − 1) / (.7 + .85 − 1)
  assertAlmostEquals(roganGladen.value!, 3 / 11, 1e-12);
  // Labels: mean 1/3, predicted bad .4 of 60 against .38 of 300 (1 − score); variances of these means.
  const of = (share: number, n: number) => 0.36 * share * (1 - share) / (n - 1);
  const [known, open] = [of(1 / 3, 60), of(0.3, 300)];
  const covariance = 0.6 * (14 / 60 - 1 / 9) / 59;
  const lambda = covariance / (known + open);
  const value = 1 / 3 + lambda * (0.38 - 0.4);
  const variance = 2 / 9 / 59 - covariance ** 2 / (known + open);
  const half = 1.959963985 * Math.sqrt(variance);
  assertRate(ppi, [value, value - half, value + half]);
  // A card whose cut the labels chose has measured it on other halves.
  const carded = correctByLabels(rows, 0.5, { tpr: 0.8, tnr: 0.7, good: 40, bad: 20 });
  assertAlmostEquals(carded.roganGladen.value!, 0.2, 1e-12);
});

Deno.test("correctByLabels() holds the true rate in 93 to 97 of 100 intervals, of a sample with unequal probabilities", () => {
  const random = new Random(11);
  const samples = 3000;
  const held = { ppi: 0, roganGladen: 0, below: 0 };
  for (let sample = 0; sample < samples; sample++) {
    // Doubtful predictions are wrong more often, and drawn more often.
    const drawn: { probability: number; score: number; isBad: boolean }[] = [];
    for (let i = 0; i < 1500; i++) {
      const isDoubtful = i % 2 === 0;
      const isBad = random.uniform() < (isDoubtful ? 0.4 : 0.1);
      const score = isBad ? 1 - Math.sqrt(random.uniform()) : Math.sqrt(random.uniform());
      const probability = isDoubtful ? 0.6 : 0.3;
      if (random.uniform() < probability) drawn.push({ probability, score, isBad });
    }
    const rows = drawn.map(({ probability, score, isBad }) =>
      row(score, { probability, isGood: random.uniform() < 0.25 ? !isBad : null })
    );
    const { ppi, roganGladen } = correctByLabels(rows, 0.5, null);
    const holds = ({ low, high }: ReportedRate) => low! <= 0.25 && 0.25 <= high!;
    held.ppi += holds(ppi) ? 1 : 0;
    held.roganGladen += holds(roganGladen) ? 1 : 0;
    // What the judge itself says lies elsewhere: .75 · .25 + .25 · .75.
    const { low, high } = estimateScores(rows, 0.5).below;
    held.below += low! <= 0.25 && 0.25 <= high! ? 1 : 0;
  }
  const share = (n: number) => n / samples;
  assert(share(held.ppi) >= 0.93 && share(held.ppi) <= 0.97, `PPI++ ${share(held.ppi)}`);
  assert(
    share(held.roganGladen) >= 0.93 && share(held.roganGladen) <= 0.97,
    `Rogan-Gladen ${share(held.roganGladen)}`,
  );
  assert(share(held.below) < 0.1, `uncorrected ${share(held.below)}`);
});

Deno.test("measureAgreement() gives α over what at least two scored, by each one's own cut", () => {
  const rater = (name: string, cut: number, scores: Record<string, number>) => ({
    name,
    cut,
    scores: new Map(Object.entries(scores)),
  });
  const a = rater("a", 0.5, { x: 0.9, y: 0.1, z: 0.8, only: 0.3 });
  const b = rater("b", 0.2, { x: 0.7, y: 0.1, z: 0.4 });
  const { nominal, interval, predictions, raters } = measureAgreement([a, b])!;
  assertEquals([raters, predictions, nominal!.value], [["a", "b"], 3, 1]);
  // Observed 2 (.04 + .16) over 6 pairs' expected 2 (6 Σx² − (Σx)²) / 5.
  const values = [0.9, 0.7, 0.1, 0.1, 0.8, 0.4];
  const sum = values.reduce((x, y) => x + y);
  const squares = values.reduce((x, y) => x + y ** 2, 0);
  assertAlmostEquals(interval!.value, 1 - 0.4 * 5 / (2 * (6 * squares - sum ** 2)), 1e-12);
  assertEquals(measureAgreement([a]), null);
  assertEquals(measureAgreement([a, rater("c", 0.5, {})])!.nominal, null);
  const members = readMembers([
    { key: "x", members: '{"members":{"m":0.9,"n":null},"threshold":0.7,"agreement":1}' },
    { key: "y", members: '{"members":{"m":0.2,"n":0.3},"agreement":1}' },
    { key: "z", members: null },
  ]);
  assertEquals(members.map(({ name, cut, scores }) => [name, cut, [...scores]]), [
    ["m", 0.7, [["x", 0.9], ["y", 0.2]]],
    ["n", 0.7, [["y", 0.3]]],
  ]);
});

const REQUEST = "44444444-4444-4444-8444-444444444444";

const makeOptions = (more: Partial<Parameters<typeof reportJudges>[1]> = {}) => ({
  model: "rocks",
  version: 1,
  params: JudgingParams.parse({ threshold: 0.3 }),
  seed: 1,
  plugins: [rule],
  ...more,
});

/** 200 predictions judged by `rule`: 60 of score .1, 130 of .9, 10 errors; 40 labels, every fifth. */
async function openJudged(): Promise<Store> {
  const store = await openStore(":memory:");
  await addModel(store);
  await addInferences(store, { count: 200, requestId: REQUEST });
  const shared = { requestId: REQUEST, judgeVersion: rule.version };
  await addJudgements(store, { ...shared, count: 60, score: 0.1 });
  await addJudgements(store, { ...shared, start: 60, count: 130, score: 0.9 });
  await addJudgements(store, { ...shared, start: 190, count: 10, status: "error" });
  await store.query("update core.judgements set kind = 'timeout' where status = 'error'");
  await store.query(
    `insert into core.judge_labels (request_id, row, label, created_at)
     select request_id, row, case when score < 0.5 and row % 2 = 0 or row % 13 = 0 then 'bad' else 'good' end, now()
     from core.judgements where status = 'scored' and row % 5 = 0`,
  );
  return store;
}

Deno.test("reportJudges() gives rates, labels, coverage, cost and what is missing of each judge", async () => {
  await using store = await openJudged();
  const { judges: [judge], agreement } = await reportJudges(store, makeOptions());
  assertEquals(agreement, null);
  assertEquals([judge.judge, judge.judgeVersion, judge.status], ["rule", rule.version, "advisory"]);
  assertEquals([judge.judged, judge.scored, judge.coverage], [200, 190, 0.95]);
  assertEquals([judge.cut, judge.cutSource, judge.stratified], [0.3, "config", null]);
  assertAlmostEquals(judge.mean.value!, (60 * 0.1 + 130 * 0.9) / 190, 1e-12);
  assertAlmostEquals(judge.below.value!, 60 / 190, 1e-12);
  assertEquals(judge.corrected.labels, 38);
  assertEquals(judge.cost.errors, { timeout: 10 });
  assertEquals([judge.cost.calls, judge.cost.ms, judge.cost.tokensIn], [200, 1, 0]);
  assertEquals(judge.lift.own, {
    value: null,
    low: null,
    high: null,
    reason: 'no card: run "deno task judges card rule"',
    says: null,
  });
  await assertRejects(
    () => reportJudges(store, makeOptions({ judges: ["llm"] })),
    UsageError,
    'Cannot report judge "llm": it has judged nothing of rocks version 1; run "deno task judge llm"',
  );
  const other = await reportJudges(store, makeOptions({ version: 2 }));
  assertEquals(other.judges, []);
});

Deno.test("reportJudges() cuts where the card says, and says better, worse or adds nothing by its interval", async () => {
  await using store = await openJudged();
  const card = ([lift, low, high]: readonly number[]) =>
    store.query(
      `insert into core.judge_cards by name select 'rule' as judge, ? as judge_version,
         'rocks' as model, 1 as version, 'swapped' as source, 200 as n, 100 as good, 1 as coverage,
         0.4 as kappa_low, 0.8 as tpr, 0.8 as tnr, 0.95 as threshold, 'a test' as summary,
         ?::double as own_lift, ?::double as own_lift_low, ?::double as own_lift_high, 0 as tokens,
         1 as ms, now()::timestamp as created_at`,
      [rule.version, lift, low, high],
    );
  const says = [];
  for (const ends of [[0.1, 0.05, 0.15], [-0.1, -0.2, -0.05], [0.01, -0.02, 0.04]]) {
    await store.query("delete from core.judge_cards");
    await card(ends);
    const { judges: [judge] } = await reportJudges(store, makeOptions());
    assertEquals([judge.cut, judge.cutSource, judge.status], [0.95, "card", "trusted"]);
    assertEquals(judge.below.value, 1);
    assertEquals(
      judge.lift.rule.reason,
      "200 scored predictions on its card, too few of either truth",
    );
    says.push(judge.lift.own.says);
  }
  assertEquals(says, ["better", "worse", "adds nothing"]);
});

Deno.test("reportJudges() takes no label of rows that teach, where a judge learns or nobody knows it", async () => {
  await using store = await openJudged();
  const [known, unknown, learning] = await Promise.all([
    [rule],
    [],
    [{ ...rule, learn: () => Promise.resolve("x") }],
  ].map(async (plugins) =>
    (await reportJudges(store, makeOptions({ plugins }))).judges[0].corrected.labels
  ));
  assertEquals(known, 38);
  assert(unknown > 5 && unknown < 33, `${unknown}`);
  assertEquals(learning, unknown);
});

Deno.test("reportJudges() counts an answer to a judge's own question before that to the prediction", async () => {
  await using store = await openJudged();
  const before = (await reportJudges(store, makeOptions())).judges[0].corrected;
  await store.query(
    `insert into core.judge_labels (request_id, row, judge, label, created_at)
     select request_id, row, 'rule', 'bad', now() from core.judge_labels where judge = ''`,
  );
  const { labels, badLabels } = (await reportJudges(store, makeOptions())).judges[0].corrected;
  assert(before.badLabels < 20);
  assertEquals([labels, badLabels], [38, 38]);
});

Deno.test("reportJudges() gives strata where the sample is stratified, and versions and agreement", async () => {
  await using store = await openJudged();
  await addInferences(store, { count: 100, label: "siltstone", confidence: 0.4 });
  await store.query(
    `insert into core.judgements by name select request_id, row, 'llm' as judge, 'v2' as judge_version,
       'rocks' as model, 1 as version, 'scored' as status, 0.5 as score, 0.5 as inclusion_probability,
       2 as ms, 7 as tokens_in, 1 as tokens_out, now()::timestamp as created_at
     from core.inferences where label = 'siltstone' and row < 40`,
  );
  await store.query(
    `insert into core.judgements by name select request_id, row, 'llm' as judge, 'v1' as judge_version,
       'rocks' as model, 1 as version, 'scored' as status, score, 0.5 as inclusion_probability,
       2 as ms, timestamp '2020-01-01' as created_at
     from core.judgements where judge = 'rule' and status = 'scored'`,
  );
  const params = JudgingParams.parse({
    threshold: 0.6,
    sampling: { mode: "stratified", where: "confidence > 0" },
  });
  const { judges, agreement } = await reportJudges(store, makeOptions({ params }));
  assertEquals(judges.map(({ judgeVersion }) => judgeVersion), ["v2", rule.version]);
  const [llm, ruled] = judges;
  // No stratum but one has scores: 200 of the other come with it.
  assertEquals(
    ruled.stratified!.strata.map(({ stratum, size, scored }) => [stratum, size, scored]),
    [["others", 300, 190]],
  );
  assertEquals(llm.stratified!.below.value, 1);
  assertEquals([llm.cost.tokensIn, llm.cost.tokensOut], [280, 40]);
  assertEquals([agreement!.raters, agreement!.predictions], [["llm", "rule"], 0]);
  const named = await reportJudges(store, makeOptions({ params, judges: ["llm"] }));
  assertEquals(named.judges.map(({ judgeVersion }) => judgeVersion), ["v2", "v1"]);
  const broken = JudgingParams.parse({ sampling: { mode: "stratified", where: "nothing = 1" } });
  await assertRejects(() => reportJudges(store, makeOptions({ params: broken })), UsageError);
});
