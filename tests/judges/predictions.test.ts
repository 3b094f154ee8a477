/** Judges of predictions and texts that need no model, over a real store where they look beyond a row. */
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { openHistory } from "../../judges/history.ts";
import { judgeSample, JudgingParams } from "../../judges/judging.ts";
import { calibration } from "../../judges/predictions/calibration.ts";
import { consistency } from "../../judges/predictions/consistency.ts";
import { edgeCase } from "../../judges/predictions/edge_case.ts";
import { plausibility } from "../../judges/predictions/plausibility.ts";
import { textRules } from "../../judges/texts/rules.ts";
import type { Inference, JudgeContext, JudgeHistory, Verdict } from "../../plugins/plugin.ts";
import { UsageError } from "../../runtime/errors.ts";
import { openStore } from "../../runtime/store/store.ts";
import { makeJudgeCase } from "../contract.ts";
import { addInferences, addModel } from "../plugins/alerts/rows.ts";

const { signal } = new AbortController();
const { inference, profiles } = makeJudgeCase();
const REQUEST = "33333333-3333-4333-8333-333333333333";

const kindOf = (verdict: Verdict) => verdict.status === "scored" ? "scored" : verdict.kind;

/** A history of neighbors with these labels at these distances, of rows around, and of outcomes. */
function makeHistory(
  { labels = [], distance = 0.5, before = [], after = [], outcomes = [] }: {
    readonly labels?: readonly string[];
    readonly distance?: number;
    readonly before?: readonly string[];
    readonly after?: readonly string[];
    readonly outcomes?: readonly { confidence: number; isCorrect: boolean }[];
  },
): JudgeHistory {
  const make = (label: string): Inference => ({ ...inference, row: 9, label });
  return {
    neighbors: (_, count) =>
      Promise.resolve(labels.slice(0, count).map((l) => ({ inference: make(l), distance }))),
    around: () => Promise.resolve({ before: before.map(make), after: after.map(make) }),
    outcomes: () => Promise.resolve(outcomes),
    known: () => Promise.resolve([]),
    scores: () => Promise.resolve({}),
  };
}

const context = (history: JudgeHistory, params?: unknown): JudgeContext => ({
  profiles,
  signal,
  history,
  ...(params === undefined ? {} : { params }),
});

Deno.test("consistency scores the share of near neighbors of the same class, else abstains", async () => {
  const labels = ["a", "a", "a", "b", "a", "b"];
  const verdict = await consistency.judge(inference, context(makeHistory({ labels })));
  assert(verdict.status === "scored");
  assertAlmostEquals(verdict.score, 4 / 6, 1e-12);
  assertEquals(verdict.label, "a");
  const far = await consistency.judge(inference, context(makeHistory({ labels, distance: 2 })));
  assertEquals(kindOf(far), "few_neighbors");
  assertEquals(kindOf(await consistency.judge(inference, { profiles, signal })), "no_history");
});

Deno.test("calibration compares the confidence with the realized accuracy, else an estimate", async () => {
  const outcomes = Array.from({ length: 40 }, (_, i) => ({ confidence: 0.8, isCorrect: i < 20 }));
  const other = Array.from({ length: 99 }, () => ({ confidence: 0.2, isCorrect: true }));
  const realized = await calibration.judge(
    inference,
    context(makeHistory({ outcomes: [...outcomes, ...other] })),
  );
  assert(realized.status === "scored");
  assertAlmostEquals(realized.score, 0.7, 1e-12);
  assertEquals(realized.label, "realized");
  const labels = Array.from({ length: 25 }, (_, i) => i < 20 ? "a" : "b");
  const estimated = await calibration.judge(inference, context(makeHistory({ labels })));
  assert(estimated.status === "scored");
  assertAlmostEquals(estimated.score, 1, 1e-12);
  assertEquals(estimated.label, "estimated");
  assertEquals(
    kindOf(await calibration.judge(inference, context(makeHistory({})))),
    "few_neighbors",
  );
});

Deno.test("edge_case scores low far from every class, 0 out of range, and knows no missing value", async () => {
  const score = async (features: Inference["features"]) => {
    const verdict = await edgeCase.judge({ ...inference, features }, { profiles, signal });
    assert(verdict.status === "scored");
    return verdict.score;
  };
  assertEquals(await score({ GR: 30, RHOB: 2.4 }), 1);
  // Two deviations: twice the tail of a normal distribution beyond 2.
  assertAlmostEquals(await score({ GR: 40, RHOB: null }), 0.0455002638963584, 1e-12);
  assertEquals(await score({ GR: 300, RHOB: 2.4 }), 0);
});

Deno.test("plausibility breaks at ranges, transitions and order, and needs a rule that applies", async () => {
  const run = async (params: unknown, history: Parameters<typeof makeHistory>[0] = {}) => {
    const verdict = await plausibility.judge(inference, context(makeHistory(history), params));
    return verdict.status === "scored" ? verdict.score : verdict.kind;
  };
  assertEquals(await run({}), "no_rules");
  assertEquals(await run({ ranges: { b: { GR: [0, 1] } } }), "no_rules");
  assertEquals(await run({ ranges: { a: { GR: [0, null], DT: [0, 1] } } }), 1);
  assertEquals(await run({ ranges: { a: { GR: [null, 30] } } }), 0);
  const transitions = [["b", "a"]];
  assertEquals(await run({ transitions }, { before: ["b"] }), 0);
  assertEquals(await run({ transitions }, { after: ["b"] }), 1);
  assertEquals(await run({ transitions }), "no_rules");
  const order = ["a", "b"];
  assertEquals(await run({ order }, { before: ["a"], after: ["b"] }), 1);
  assertEquals(await run({ order }, { before: ["b"] }), 0);
  assertEquals(await run({ order }, { before: ["c"] }), "no_rules");
});

Deno.test("text rules judge what is there by their parameters, and abstain without text or rule", async () => {
  const run = async (name: string, output: string | null, params?: unknown) => {
    const judge = textRules.find((rule) => rule.name === name)!;
    const texts = output === null ? {} : { output };
    const verdict = await judge.judge({ ...inference, texts }, context(makeHistory({}), params));
    return verdict.status === "scored" ? verdict.score : verdict.kind;
  };
  assertEquals(await run("pii", "Ask ada@example.com"), 0);
  assertEquals(await run("pii", "Ask ada@example.com", { kinds: ["phone"] }), 1);
  assertEquals(await run("pii", null), "no_text");
  assertEquals(await run("regex", "abc"), "no_rules");
  assertEquals(await run("regex", "abc", { matches: "^a", excludes: "z" }), 1);
  assertEquals(await run("regex", "abz", { matches: "^a", excludes: "z" }), 0);
  assertEquals(await run("regex", `${"a".repeat(5_000)}b`, { matches: "^(a+)+$" }), 0);
  assertEquals(await run("length", "one two", { max: 1 }), 0);
  assertEquals(await run("length", "µ漢😀", { min: 3, max: 3, unit: "characters" }), 1);
  assertEquals(await run("json", '{"a": 1}', { required: ["a"] }), 1);
  assertEquals(await run("json", "[1]", { required: ["a"] }), 0);
  assertEquals(await run("json", "{a: 1}"), 0);
  assertEquals(textRules[1].params!.safeParse({ matches: "(" }).success, false);
});

Deno.test("openHistory() finds neighbors, rows around and outcomes of the version in the store", async () => {
  await using store = await openStore(":memory:");
  await addModel(store);
  await addInferences(store, { count: 5, requestId: REQUEST, features: [50, 2.4, 0.2] });
  await addInferences(store, { count: 3, features: [90, 2.6, 0.3] });
  const history = openHistory(store, { model: "rocks", version: 1 });
  const own = {
    ...inference,
    requestId: REQUEST,
    row: 2,
    features: { GR: 50, RHOB: 2.4, NPHI: null },
  };
  const near = await history.neighbors(own, 6);
  assertEquals(near.length, 6);
  assertEquals(near.filter(({ distance }) => distance === 0).length, 4);
  assert(near.every(({ inference: { requestId, row } }) => requestId !== REQUEST || row !== 2));
  assert(near.at(-1)!.distance > 1);
  const { before, after } = await history.around(own, 1);
  assertEquals([before.map(({ row }) => row), after.map(({ row }) => row)], [[1], [3]]);
  const first = await history.around({ ...own, row: 0 }, 2);
  assertEquals([first.before.length, first.after.map(({ row }) => row)], [0, [1, 2]]);
  await store.query(
    `insert into core.labels (request_id, row, label, created_at)
     values (?, 0, 'sandstone', now()), (?, 1, 'siltstone', now())`,
    [REQUEST, REQUEST],
  );
  const outcomes = await openHistory(store, { model: "rocks", version: 1 }).outcomes();
  assertEquals(outcomes.map(({ isCorrect }) => isCorrect), [true, false]);
  const none = openHistory(store, { model: "rocks", version: 2 });
  assertEquals(await none.neighbors(own, 3), []);
});

Deno.test("judgeSample() gives judges their parameters, keeps the evidence, and refuses unknown ones", async () => {
  await using store = await openStore(":memory:");
  await addModel(store, { report: { profiles } });
  await addInferences(store, { count: 3, requestId: REQUEST, features: [50, 2.4, 0.2] });
  const judge = (params: Record<string, unknown>) =>
    judgeSample(store, {
      judges: [plausibility],
      model: "rocks",
      version: 1,
      params: JudgingParams.parse({ samplingRate: 1, params }),
      seed: 1,
      signal,
    });
  const ranges = { sandstone: { GR: [0, 40] } };
  const [first] = await judge({ plausibility: { ranges } });
  assertEquals([first.scored, first.meanScore, first.left], [3, 0, 0]);
  const [row] = await store.query(
    "select distinct label, rationale, raw, mass, is_retryable, trace_id from judgements",
  );
  assertEquals(row, {
    label: "impossible",
    rationale: '"sandstone" has no GR of 50',
    raw: null,
    mass: null,
    is_retryable: null,
    trace_id: null,
  });
  // Other parameters are another judge: all is asked again.
  const [second] = await judge({ plausibility: { ranges: { sandstone: { GR: [0, 60] } } } });
  assertEquals([second.scored, second.meanScore], [3, 1]);
  const versions = await store.query("select distinct judge_version from judgements");
  assertEquals(versions.length, 2);
  await assertRejects(() => judge({ plausibility: { rangs: {} } }), UsageError, "plausibility");
});
