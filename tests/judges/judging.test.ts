import { assert, assertAlmostEquals, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connect } from "../../judges/clients/connection.ts";
import { createLlmJudge } from "../../judges/forms/form.ts";
import { referenceYesNo } from "../../judges/forms/reference_yesno.ts";
import { judgeSample, type JudgingOptions, JudgingParams } from "../../judges/judging.ts";
import { rule } from "../../judges/rule.ts";
import { JudgeSchedule } from "../../judges/schedule.ts";
import { drawRow } from "../../runtime/draw.ts";
import type { Inference, Plugin, Verdict } from "../../plugins/plugin.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { addInferences, addModel } from "../plugins/alerts/rows.ts";
import { makeReply, serveFault } from "./fault_server.ts";

const REQUEST = "22222222-2222-4222-8222-222222222222";

interface TestJudge {
  readonly judge: Plugin<"judge">;
  /** Rows asked about, in order. */
  readonly asked: number[];
}

function makeJudge(
  answer: (inference: Inference, signal: AbortSignal) => Verdict | Promise<Verdict>,
  more: Partial<Plugin<"judge">> = {},
): TestJudge {
  const asked: number[] = [];
  const judge: Plugin<"judge"> = {
    kind: "judge",
    name: "fake",
    summary: "a test",
    version: "fake-1",
    probe: () => Promise.resolve({ ready: true, detail: "here" }),
    async judge(inference, { signal }) {
      asked.push(inference.row);
      return await answer(inference, signal);
    },
    ...more,
  };
  return { judge, asked };
}

const scored = (score: number): Verdict => ({ status: "scored", score, tokensIn: 3, tokensOut: 1 });

function makeOptions(
  judges: readonly Plugin<"judge">[],
  params: Partial<JudgingOptions["params"]> = {},
  more: Partial<JudgingOptions> = {},
): JudgingOptions {
  return {
    judges,
    model: "rocks",
    version: 1,
    params: JudgingParams.parse({ samplingRate: 1, ...params }),
    seed: 42,
    signal: new AbortController().signal,
    ...more,
  };
}

async function openInferences(count: number): Promise<Store> {
  const store = await openStore(":memory:");
  await addModel(store, {
    report: {
      profiles: {
        sandstone: { count: 9, mean: { GR: 50, RHOB: 2.4 }, std: { GR: 5, RHOB: 0.1 } },
        siltstone: { count: 9, mean: { GR: 90, RHOB: 2.6 }, std: { GR: 5, RHOB: 0.1 } },
      },
    },
  });
  await addInferences(store, { count, requestId: REQUEST });
  return store;
}

const countRows = async (store: Store) =>
  await store.query<{ status: string; n: number }>(
    "select status, count(*) as n from judgements group by all order by all",
  );

Deno.test("judgeSample() writes verdicts with their probability when asked once, and nothing new the second time", async () => {
  await using store = await openInferences(600);
  const { judge, asked } = makeJudge(({ row }) => scored(row % 4 === 0 ? 0.1 : 0.9));
  const options = makeOptions([judge], { samplingRate: 0.5 });
  const [first] = await judgeSample(store, options);
  const drawn = Array.from({ length: 600 }, (_, row) => row)
    .filter((row) => drawRow({ requestId: REQUEST, row }, 42) < 0.5);
  assertEquals(asked, drawn);
  const low = drawn.filter((row) => row % 4 === 0).length;
  assertEquals([first.status, first.detail, first.abstained, first.errors, first.left], [
    "judged",
    "here",
    0,
    0,
    0,
  ]);
  assertEquals(first.scored, drawn.length);
  assertAlmostEquals(first.implausible!, low / drawn.length, 1e-12);
  assertAlmostEquals(first.meanScore!, 0.9 - 0.8 * low / drawn.length, 1e-12);
  const [row] = await store.query(
    `select count(*) as n, count(distinct row) as distinct_rows, min(inclusion_probability) as low,
       max(inclusion_probability) as high, any_value(judge_version) as version,
       sum(tokens_in) / count(*) as tokens, count(kind) as kinds from judgements`,
  );
  assertEquals(row, {
    n: drawn.length,
    distinct_rows: drawn.length,
    low: 0.5,
    high: 0.5,
    version: "fake-1",
    tokens: 3,
    kinds: 0,
  });
  const [second] = await judgeSample(store, options);
  assertEquals([second.scored, second.meanScore, second.implausible, second.left], [
    0,
    null,
    null,
    0,
  ]);
  assertEquals(asked.length, drawn.length);
});

Deno.test("judgeSample() asks again when the judge has a new version, another seed or a higher rate", async () => {
  await using store = await openInferences(200);
  const { judge, asked } = makeJudge(() => scored(0.5));
  await judgeSample(store, makeOptions([judge], { samplingRate: 0.2 }));
  const first = new Set(asked.splice(0));
  await judgeSample(store, makeOptions([judge], { samplingRate: 0.6 }));
  assert(asked.length > 0 && asked.every((row) => !first.has(row)));
  assertEquals(
    [...first, ...asked.splice(0)].sort((a, b) => a - b),
    Array.from({ length: 200 }, (_, row) => row)
      .filter((row) => drawRow({ requestId: REQUEST, row }, 42) < 0.6),
  );
  await judgeSample(store, makeOptions([{ ...judge, version: "fake-2" }], { samplingRate: 0.2 }));
  assertEquals(new Set(asked), first);
});

Deno.test("judgeSample() keeps errors apart from scores and asks about them again, last", async () => {
  await using store = await openInferences(20);
  let isBroken = true;
  const { judge, asked } = makeJudge(({ row }) =>
    row % 2 === 0 && isBroken
      ? { status: "error", kind: "timeout", message: "too late" }
      : row === 1
      ? { status: "abstained", kind: "low_token_mass", rationale: "0.1" }
      : scored(1)
  );
  const [first] = await judgeSample(store, makeOptions([judge], { maxRows: 10 }));
  assertEquals(asked.splice(0), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assertEquals(
    [first.scored, first.abstained, first.errors, first.meanScore, first.left],
    [4, 1, 5, 1, 15],
  );
  isBroken = false;
  const [second] = await judgeSample(store, makeOptions([judge], { maxRows: 12 }));
  assertEquals(asked.splice(0), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0, 2]);
  assertEquals([second.scored, second.left], [12, 3]);
  await judgeSample(store, makeOptions([judge]));
  assertEquals(asked, [4, 6, 8]);
  assertEquals(await countRows(store), [
    { status: "abstained", n: 1 },
    { status: "error", n: 5 },
    { status: "scored", n: 19 },
  ]);
  const wrong = await store.query(
    "select distinct kind, score, rationale, tokens_in from judgements where status = 'error'",
  );
  assertEquals(wrong, [{ kind: "timeout", score: null, rationale: "too late", tokens_in: null }]);
});

Deno.test("judgeSample() takes no more than maxRows and maxSeconds and says how many are left", async () => {
  await using store = await openInferences(50);
  const none = makeJudge(() => scored(1));
  const [zero] = await judgeSample(store, makeOptions([none.judge], { maxRows: 0 }));
  assertEquals([zero.scored, zero.left, none.asked], [0, 50, []]);
  const slow = makeJudge(async () => {
    await new Promise((resolve) => setTimeout(resolve, 30));
    return scored(1);
  });
  const [summary] = await judgeSample(store, makeOptions([slow.judge], { maxSeconds: 0.2 }));
  assert(summary.scored > 0 && summary.scored < 20, `${summary.scored}`);
  assertEquals(summary.left, 50 - summary.scored);
  assertEquals(await countRows(store), [{ status: "scored", n: summary.scored }]);
});

Deno.test("judgeSample() skips a judge that is not ready and goes on with the next", async () => {
  await using store = await openInferences(5);
  const away = makeJudge(() => scored(1), {
    name: "away",
    probe: () => Promise.resolve({ ready: false, detail: "nobody there" }),
  });
  const broken = makeJudge(() => scored(1), {
    name: "broken",
    probe: () => Promise.reject(new Error("No such host")),
  });
  const { judge } = makeJudge(() => scored(1));
  const summaries = await judgeSample(store, makeOptions([away.judge, broken.judge, judge]));
  assertEquals(summaries.map(({ status, detail, scored }) => [status, detail, scored]), [
    ["skipped", "nobody there", 0],
    ["skipped", "its probe failed: No such host", 0],
    ["judged", "here", 5],
  ]);
  assertEquals(summaries[0].meanScore, null);
  assertEquals([away.asked, broken.asked], [[], []]);
});

Deno.test("judgeSample() records an error when a judge throws or gives a score that is none", async () => {
  await using store = await openInferences(4);
  const { judge } = makeJudge(({ row }) => {
    if (row === 0) throw new TypeError("Cannot read it");
    return scored([0, NaN, 1.5, 0.25][row]);
  });
  const [summary] = await judgeSample(store, makeOptions([judge]));
  assertEquals([summary.scored, summary.errors, summary.meanScore], [1, 3, 0.25]);
  const rows = await store.query(
    "select status, kind, score, rationale from judgements order by row",
  );
  assertEquals(rows, [
    { status: "error", kind: "judge", score: null, rationale: "Cannot read it" },
    { status: "error", kind: "judge", score: null, rationale: "its score NaN is not in [0, 1]" },
    { status: "error", kind: "judge", score: null, rationale: "its score 1.5 is not in [0, 1]" },
    { status: "scored", kind: null, score: 0.25, rationale: null },
  ]);
});

Deno.test("judgeSample() keeps its verdicts and throws the reason when the run is cancelled", async () => {
  await using store = await openInferences(10);
  const controller = new AbortController();
  const { judge } = makeJudge(({ row }) => {
    if (row < 3) return scored(1);
    controller.abort(new Error("Stop it"));
    return { status: "error", kind: "cancelled", message: "stopped" };
  });
  const options = makeOptions([judge], {}, { signal: controller.signal });
  await assertRejects(() => judgeSample(store, options), Error, "Stop it");
  assertEquals(await countRows(store), [{ status: "scored", n: 3 }]);
});

Deno.test("judgeSample() judges only the version asked for, and by its own profiles", async () => {
  await using store = await openInferences(10);
  await addModel(store, { seed: 2, alias: null });
  await addInferences(store, { count: 7, version: 2 });
  const [one] = await judgeSample(store, makeOptions([rule]));
  assertEquals([one.scored, one.abstained], [10, 0]);
  assert(one.meanScore! > 0.9);
  const [two] = await judgeSample(store, makeOptions([rule], {}, { version: 2 }));
  assertEquals([two.scored, two.abstained, two.meanScore], [0, 7, null]);
  const kinds = await store.query(
    "select distinct kind from judgements where status = 'abstained'",
  );
  assertEquals(kinds, [{ kind: "no_profile" }]);
});

Deno.test("judgeSample() gives the judge the features, probabilities and label as they were served", async () => {
  await using store = await openInferences(0);
  await addInferences(store, { count: 1, requestId: REQUEST, features: [50, null, 0.2] });
  let seen: Inference | undefined;
  const { judge } = makeJudge((inference) => {
    seen = inference;
    return scored(1);
  });
  await judgeSample(store, makeOptions([judge]));
  const { probabilities, ...rest } = seen!;
  assertEquals(rest, {
    requestId: REQUEST,
    row: 0,
    model: "rocks",
    version: 1,
    features: { GR: 50, RHOB: null, NPHI: 0.2 },
    label: "sandstone",
    confidence: 0.9,
  });
  assertAlmostEquals(probabilities.sandstone, 0.8, 1e-6);
  assertEquals(Object.keys(probabilities), ["sandstone", "siltstone", "anhydrite"]);
});

Deno.test("judgeSample() keeps what an LLM's verdict rests on, and whether an error may pass", async () => {
  await using store = await openInferences(3);
  await using server = serveFault(
    "openai",
    (_, count) =>
      count < 3
        ? Response.json(makeReply("openai", { shares: { Yes: 0.6, No: 0.2 } }))
        : Response.json({ error: "busy" }, { status: 503 }),
  );
  const connection = connect({ host: server.host }, { attempts: 1 });
  const llm = createLlmJudge({
    name: "llm",
    summary: "",
    form: referenceYesNo(),
    connection,
    seed: 5,
  });
  const [summary] = await judgeSample(store, makeOptions([llm]));
  assertEquals([summary.scored, summary.errors, summary.left], [2, 1, 1]);
  const rows = await store.query(
    `select distinct judge_version, status, kind, round(score, 6) as score, raw, round(mass, 6) as mass,
       server, model_digest, seed, is_retryable, tokens_in from judgements order by status desc`,
  );
  const digest = /@(\w{12})$/.exec(llm.version)![1];
  const shared = {
    judge_version: llm.version,
    server: server.host,
    model_digest: digest,
    seed: 5,
  };
  const found: Record<string, unknown>[] = rows.map((row) => ({ ...row, seed: Number(row.seed) }));
  assertEquals(found, [
    {
      ...shared,
      status: "scored",
      kind: null,
      score: 0.75,
      raw: "Yes",
      mass: 0.8,
      is_retryable: null,
      tokens_in: 120,
    },
    {
      ...shared,
      status: "error",
      kind: "loading",
      score: null,
      raw: null,
      mass: null,
      is_retryable: true,
      tokens_in: null,
    },
  ]);
});

Deno.test("judgeSample() ends a judge's batch at once when its tokens are spent, and leaves the rest due", async () => {
  await using store = await openInferences(50);
  await using server = serveFault(
    "openai",
    () => Response.json(makeReply("openai", { shares: { Yes: 0.6, No: 0.2 } })),
  );
  const judgeWith = async (tokens: number) => {
    const connection = connect({ host: server.host, tokens }, { attempts: 1 });
    const llm = createLlmJudge({ name: "llm", summary: "", form: referenceYesNo(), connection });
    const { judge, asked } = makeJudge(() => scored(1));
    return { asked, summaries: await judgeSample(store, makeOptions([llm, judge])) };
  };
  const first = await judgeWith(1500);
  const [llm, other] = first.summaries;
  assert(llm.scored > 0 && llm.scored < 20);
  assertEquals([llm.status, llm.errors, llm.left], ["judged", 1, 50 - llm.scored]);
  assertMatch(
    llm.stopped!,
    /^budget: Cannot ask for \d+ tokens: \d+ of 1500 are spent; raise GEOPHONE_JUDGE_TOKENS$/,
  );
  // The next judge is none the worse.
  assertEquals([other.scored, other.left, other.stopped], [50, 0, null]);
  assertEquals(
    await store.query(
      "select status, kind, count(*) as n from judgements where judge = 'llm' group by all order by all",
    ),
    [{ status: "error", kind: "budget", n: 1 }, { status: "scored", kind: null, n: llm.scored }],
  );
  const [again] = (await judgeWith(1e6)).summaries;
  assertEquals([again.scored, again.left, again.stopped], [50 - llm.scored, 0, null]);
});

for (const kind of ["circuit_open", "model_missing", "refused", "unauthorized"]) {
  Deno.test(`judgeSample() asks a judge no further when an answer is the error ${kind}, nor about canaries`, async () => {
    await using store = await openInferences(5);
    const { judge, asked } = makeJudge(({ row }) =>
      row === 1 ? { status: "error", kind, message: "so it is" } : scored(1)
    );
    const [summary] = await judgeSample(store, makeOptions([judge]));
    assertEquals(asked, [0, 1]);
    assertEquals([summary.scored, summary.errors, summary.left], [1, 1, 4]);
    assertEquals(summary.stopped, `${kind}: so it is`);
  });
}

Deno.test("JudgeSchedule says in one line why a judge was asked no further", async () => {
  await using store = await openInferences(3);
  const { judge } = makeJudge(() => ({ status: "error", kind: "refused", message: "not local" }));
  const { judges, params, seed, model, version } = makeOptions([judge]);
  const lines: string[] = [];
  const target = () => Promise.resolve({ model, version });
  const onEvent = (line: string, level: string) => lines.push(`${level}: ${line}`);
  const schedule = new JudgeSchedule(store, { judges, params, seed, target }, { onEvent });
  await schedule.tick();
  await schedule.close();
  assertEquals(lines, [
    "warn: Judge fake scored 0 of 1 predictions, 3 are left; it was asked no further: refused: not local",
  ]);
});

Deno.test("judgements keep model and version when their predictions have gone", async () => {
  await using store = await openInferences(3);
  await judgeSample(store, makeOptions([makeJudge(() => scored(0.5)).judge]));
  await store.query("delete from core.inferences");
  assertEquals(
    await store.query("select model, version, count(*) as n from judgements group by all"),
    [{ model: "rocks", version: 1, n: 3 }],
  );
  const [mean] = await store.query("select model, version, judged, mean from judge_means");
  assertEquals(mean, { model: "rocks", version: 1, judged: 3, mean: 0.5 });
  const { rows } = await store.queryReadOnly("select count(*) as n from judgements", {
    scope: { model: "rocks", version: 2 },
  });
  assertEquals(rows, [[0]]);
});
