/** Calls of language models, sent over OTLP, judged over HTTP by a server that answers what a test says. */
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { createHash } from "node:crypto";
import { connect } from "../../judges/clients/connection.ts";
import { judgeCalls, JudgingParams } from "../../judges/judging.ts";
import { createJudges } from "../../judges/mod.ts";
import { JudgeSchedule } from "../../judges/schedule.ts";
import { traceLog } from "../../judges/tracing.ts";
import { estimateMean } from "../../numeric/survey/design.ts";
import type { Inference, Plugin, Verdict } from "../../plugins/plugin.ts";
import { withLease } from "../../runtime/alerts/lease.ts";
import { UsageError } from "../../runtime/errors.ts";
import { retain, RetentionParams } from "../../runtime/inference/retention.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { readSpans } from "../../runtime/traces/read.ts";
import type { SpanRecord } from "../../runtime/traces/span.ts";
import { createApp } from "../../server.ts";
import { makeSpan } from "../runtime/traces/span_fixture.ts";
import { makeCall, openCalls } from "./call_fixture.ts";
import { type FaultServer, makeReply, serveFault } from "./fault_server.ts";

const { signal } = new AbortController();
const yes = { text: "Yes", shares: { Yes: 0.9, No: 0.1 } };

/** Judges of this server; one of a name. */
function pickJudges({ host }: FaultServer, ...names: string[]): Plugin<"judge">[] {
  const judges = createJudges(connect({ host }, { attempts: 1, concurrency: 1 }));
  return names.map((name) => judges.find((judge) => judge.name === name)!);
}

/** A judge that says what `answer` does. */
function makeJudge(answer: (inference: Inference) => Verdict | Promise<Verdict>): Plugin<"judge"> {
  return {
    kind: "judge",
    name: "fake",
    summary: "a test",
    version: "fake-1",
    probe: () => Promise.resolve({ ready: true, detail: "here" }),
    judge: (inference) => Promise.resolve(answer(inference)),
  };
}

type Traces = Partial<ReturnType<typeof JudgingParams.parse>["traces"]>;

function makeOptions(
  judges: readonly Plugin<"judge">[],
  traces: Traces = {},
  more: { readonly params?: Record<string, unknown>; readonly redact?: string[] } = {},
) {
  const params = JudgingParams.parse({ traces: { samplingRate: 1, ...traces }, ...more });
  return { judges, params, seed: 42, signal };
}

const readVerdicts = async (store: Store) =>
  await store.query<Record<string, unknown>>(
    `select judge, status, kind, score, rationale from call_judgements
     order by created_at, judge, call_span_id`,
  );

const TRACE = "0102030405060708090a0b0c0d0e0f10";
const CALL = "1112131415161718";

/** What a program sends: a retrieval, a call that uses it, and a call that a judge of its own made. */
function makeRequest(): string {
  const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
  const at = (ms: number) => `${Date.now() - 60_000 + ms}000000`;
  const span = (spanId: string, name: string, ms: number, attributes: unknown[]) => ({
    traceId: TRACE,
    spanId,
    name,
    kind: 3,
    startTimeUnixNano: at(ms),
    endTimeUnixNano: at(ms + 10),
    attributes,
  });
  const say = (role: string, content: string) => ({ role, parts: [{ type: "text", content }] });
  const chat = [text("gen_ai.operation.name", "chat"), text("gen_ai.request.model", "large")];
  return JSON.stringify({
    resourceSpans: [{
      resource: { attributes: [text("service.name", "wells-chat")] },
      scopeSpans: [{
        scope: { name: "app" },
        spans: [
          span("2112131415161718", "retrieval", 0, [
            text(
              "gen_ai.retrieval.documents",
              JSON.stringify([{ id: "d1", score: 0.9, content: "Shale is a fine-grained rock." }]),
            ),
            text("retrieval.documents.0.document.content", "It splits into layers."),
          ]),
          span(CALL, "chat large", 100, [
            ...chat,
            text(
              "gen_ai.system_instructions",
              JSON.stringify([{ type: "text", content: "Be terse" }]),
            ),
            text(
              "gen_ai.input.messages",
              JSON.stringify([
                say("user", "Hello"),
                say("assistant", "Hi"),
                say("user", "What is shale? Tell ada@example.com"),
              ]),
            ),
            text(
              "gen_ai.output.messages",
              JSON.stringify([say("assistant", "A rock <b>&</b> fine")]),
            ),
          ]),
          span("3112131415161718", "chat large", 200, [
            ...chat,
            text("gen_ai.evaluation.name", "their own"),
            text("gen_ai.input.messages", JSON.stringify([say("user", "Is it good?")])),
            text("gen_ai.output.messages", JSON.stringify([say("assistant", "Yes")])),
          ]),
        ],
      }],
    }],
  });
}

Deno.test("judgeCalls() judges a call that came by OTLP, and its trace shows what was said, when judges of texts are asked", async () => {
  await using server = serveFault("ollama", () => Response.json(makeReply("ollama", yes)));
  await using store = await openStore(":memory:");
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const sent = await app.request("/v1/traces", {
    method: "POST",
    body: makeRequest(),
    headers: { "content-type": "application/json" },
  });
  assertEquals([sent.status, await sent.text()], [200, "{}"]);

  const judges = pickJudges(server, "relevance", "groundedness", "correctness", "pii");
  const options = makeOptions(judges, {}, { params: { pii: { text: "input" } } });
  const summaries = await judgeCalls(store, options);
  assertEquals(
    summaries.map(({ judge, scored, abstained, errors, left }) => ({
      judge,
      counts: [scored, abstained, errors, left],
    })),
    [
      { judge: "relevance", counts: [1, 0, 0, 0] },
      { judge: "groundedness", counts: [1, 0, 0, 0] },
      // Nobody says what was to be expected.
      { judge: "correctness", counts: [0, 1, 0, 0] },
      { judge: "pii", counts: [1, 0, 0, 0] },
    ],
  );
  const asked = server.asked.map(({ messages }) =>
    (messages as { role: string; content: string }[]).find(({ role }) => role === "user")!.content
  );
  assertEquals(asked.length, 2);
  assertMatch(asked[0], /What is shale\? Tell \[email\]/);
  assert(!asked[0].includes("Hello"), "the last message of the user is the input");
  assertMatch(asked[1], /Shale is a fine-grained rock\.[^]*It splits into layers\.[^]*Be terse/);
  const rows = await store.query<Record<string, unknown>>(
    `select j.call_trace_id, j.call_span_id, j.model, j.judge, j.status, j.kind, round(j.score, 9) as score, j.rationale,
       j.inclusion_probability as p, j.tokens_in, j.trace_id is null as is_untraced, c.reply
     from call_judgements j
     join llm_calls c on c.trace_id = j.call_trace_id and c.span_id = j.call_span_id
     order by j.judge`,
  );
  const shared = {
    call_trace_id: TRACE,
    call_span_id: CALL,
    model: "large",
    p: 1,
    reply: "A rock <b>&</b> fine",
  };
  const scored = { ...shared, status: "scored", kind: null };
  const asking = { ...scored, score: 0.9, rationale: null, tokens_in: 120, is_untraced: false };
  assertEquals(
    rows,
    [
      {
        ...shared,
        judge: "correctness",
        status: "abstained",
        kind: "no_text",
        score: null,
        rationale: 'there is no text "expected"',
        tokens_in: null,
        is_untraced: true,
      },
      { ...asking, judge: "groundedness" },
      // It was redacted when it was stored, and it was there.
      {
        ...scored,
        judge: "pii",
        score: 0,
        rationale: "1 × email",
        tokens_in: null,
        is_untraced: true,
      },
      { ...asking, judge: "relevance" },
    ],
  );
  assertEquals((await store.query("select * from judgements")).length, 0);

  // The verdict's trace has a link to the call, and is of no request.
  const [verdict] = await store.query<{ links: string; attributes: string; request_id: null }>(
    `select s.links, s.attributes, c.request_id from call_judgements j join spans s using (trace_id)
     join llm_calls c using (trace_id) where j.judge = 'relevance' and s.parent_id is null`,
  );
  assertEquals(JSON.parse(verdict.links), [{ trace_id: TRACE, span_id: CALL, attributes: {} }]);
  assertEquals([JSON.parse(verdict.attributes)["geophone.call_span_id"], verdict.request_id], [
    CALL,
    null,
  ]);

  const shown = await (await app.request(`/traces/${TRACE}`)).json();
  const [call, own] = shown.calls;
  assertEquals(
    call.judgements.map(({ judge, status }: Record<string, string>) => [judge, status]).sort(),
    [["correctness", "abstained"], ["groundedness", "scored"], ["pii", "scored"], [
      "relevance",
      "scored",
    ]],
  );
  assertEquals(own.judgements, []);
  const span = shown.spans.find(({ span_id }: { span_id: string }) => span_id === CALL);
  const event = span.events.find((event: { attributes: Record<string, unknown> }) =>
    event.attributes["gen_ai.evaluation.name"] === "relevance"
  );
  assertEquals(event.name, "gen_ai.evaluation.result");
  assertAlmostEquals(event.attributes["gen_ai.evaluation.score.value"], 0.9, 1e-9);
  const page = await app.request(`/traces/${TRACE}`, { headers: { accept: "text/html" } });
  const html = await page.text();
  const verdictTrace = call.judgements.find(({ judge }: { judge: string }) => judge === "relevance")
    .trace_id;
  assertStringIncludes(html, `<a href="/traces/${verdictTrace}">relevance</a>`);
  assertStringIncludes(html, "abstained: no_text");
  for await (const spans of readSpans(store, {}, 100)) {
    const exported = spans.find(({ spanId }) => spanId === CALL);
    assertEquals(exported?.events.length, 4);
  }

  // What judges asked is never judged, however often.
  const again = await judgeCalls(store, options);
  assertEquals(again.map(({ scored, abstained, left }) => [scored, abstained, left]), [
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
    [0, 0, 0],
  ]);
  assertEquals(server.asked.length, 2);
});

Deno.test("judgeCalls() draws calls by hash with their probability, a lower rate within a higher one, and by the filter", async () => {
  const calls = Array.from(
    { length: 300 },
    (_, i) => makeCall({ attributes: { "gen_ai.request.model": i % 3 === 0 ? "small" : "large" } }),
  );
  await using store = await openCalls(calls);
  const draw = ({ traceId, spanId }: SpanRecord) =>
    createHash("sha256").update(`42:${traceId}:${spanId}`).digest().readUInt32BE(0) / 2 ** 32;
  const asked: string[] = [];
  const judge = makeJudge(({ requestId }) => {
    asked.push(requestId);
    return { status: "scored", score: 0.5 };
  });
  const where = "model = 'large' -- not the small one";
  const drawn = (rate: number) =>
    calls.filter((call) => call.attributes["gen_ai.request.model"] === "large" && draw(call) < rate)
      .map(({ spanId }) => spanId);
  await judgeCalls(store, makeOptions([judge], { samplingRate: 0.3, where }));
  assertEquals(asked.toSorted(), drawn(0.3).toSorted());
  assertEquals(
    await store.query(
      "select distinct inclusion_probability as p, sampling_rate from call_judgements",
    ),
    [{ p: 0.3, sampling_rate: 0.3 }],
  );
  await judgeCalls(store, makeOptions([judge], { rates: { fake: 0.6 }, samplingRate: 0, where }));
  assertEquals(asked.toSorted(), drawn(0.6).toSorted());
  const [left] = await judgeCalls(store, makeOptions([judge], { maxRows: 7 }));
  assertEquals([left.scored, left.left], [7, 300 - drawn(0.6).length - 7]);
});

Deno.test("judgeCalls() asks again about calls that ended in an error, and finds those that come late", async () => {
  const days = (ago: number) => Math.round((Date.now() - ago * 86_400_000) * 1000);
  await using store = await openCalls([3, 2, 0].map((ago) => makeCall({ startedUs: days(ago) })));
  let isDown = true;
  const asked: string[] = [];
  const judge = makeJudge(({ requestId }) => {
    asked.push(requestId);
    return isDown && asked.length === 2
      ? { status: "error", kind: "timeout", message: "too late", isRetryable: true }
      : { status: "scored", score: 1 };
  });
  const [first] = await judgeCalls(store, makeOptions([judge]));
  assertEquals([first.scored, first.errors, first.left, first.meanScore], [2, 1, 1, 1]);
  isDown = false;
  const failed = asked.splice(0)[1];
  await judgeCalls(store, makeOptions([judge]));
  assertEquals(asked.splice(0), [failed]);
  const late = makeCall({ startedUs: days(2.5) });
  await traceLog(store).write([late]);
  await judgeCalls(store, makeOptions([judge]));
  assertEquals(asked.splice(0), [late.spanId]);
  assertEquals(
    await store.query(
      "select status, kind, score, is_retryable from call_judgements where status = 'error'",
    ),
    [{ status: "error", kind: "timeout", score: null, is_retryable: true }],
  );
  // The last word counts.
  assertEquals(
    await store.query("select judged, scored, coverage, mean from call_judge_means"),
    [{ judged: 4, scored: 4, coverage: 1, mean: 1 }],
  );
});

Deno.test("judgeCalls() skips its judges when another process judges calls", async () => {
  await using store = await openCalls([makeCall()]);
  const options = {
    ...makeOptions([makeJudge(() => ({ status: "scored", score: 1 }))]),
    waitMs: 0,
  };
  const lease = { name: "judging:calls", ttlMs: 5_000, waitMs: 0, signal };
  const summaries = await withLease(store, lease, () => judgeCalls(store, options));
  assertEquals(summaries?.map(({ status, detail }) => [status, detail]), [
    ["skipped", "another process judges calls now"],
  ]);
  const [{ scored }] = await judgeCalls(store, options);
  assertEquals(scored, 1);
});

Deno.test("judgeCalls() says what was wrong when the filter is no condition, or a judge is given parameters it does not take", async () => {
  await using store = await openCalls([makeCall()]);
  const judge = makeJudge(() => ({ status: "scored", score: 1 }));
  for (
    const where of [
      "nothing = 1",
      "true) or (",
      "label = 'a'",
      "exists (from read_text('/etc/hosts'))",
    ]
  ) {
    await assertRejects(() => judgeCalls(store, makeOptions([judge], { where })), UsageError);
  }
  await assertRejects(
    () => judgeCalls(store, makeOptions([judge], {}, { params: { fake: { a: 1 } } })),
    UsageError,
    'Cannot use judging.params of judge "fake"',
  );
  assertEquals(await readVerdicts(store), []);
});

Deno.test("judgeCalls() judges nothing when no call has a reply that was kept", async () => {
  const judge = makeJudge(() => ({ status: "scored", score: 1 }));
  await using none = await openCalls([makeSpan()]);
  await using metadata = await openCalls([makeCall()], { record: "metadata" });
  await using other = await openCalls([
    makeCall({ reply: null }),
    makeCall({ attributes: { "gen_ai.operation.name": "embeddings" } }),
  ]);
  for (const store of [none, metadata, other]) {
    const [summary] = await judgeCalls(store, makeOptions([judge]));
    assertEquals([summary.status, summary.scored, summary.left, summary.meanScore], [
      "judged",
      0,
      0,
      null,
    ]);
    assertEquals(await readVerdicts(store), []);
  }
});

Deno.test("judgeCalls() judges no text that redaction took away, and shows none that it is told to withhold", async () => {
  await using server = serveFault("openai", () => Response.json(makeReply("openai", yes)));
  const [relevance] = pickJudges(server, "relevance");
  await using named = await openCalls([makeCall()], { redact: ["gen_ai.input.messages"] });
  await judgeCalls(named, makeOptions([relevance]));
  await using fields = await openCalls([makeCall()], { redact: ["content"] });
  await judgeCalls(fields, makeOptions([relevance]));
  for (const [store, missing] of [[named, "input"], [fields, "input"]] as const) {
    assertEquals(await readVerdicts(store), [{
      judge: "relevance",
      status: "abstained",
      kind: "no_text",
      score: null,
      rationale: `there is no text "${missing}"`,
    }]);
  }
  assertEquals(server.asked.length, 0);
  await using whole = await openCalls([makeCall({ user: "My secret is 7" })]);
  await judgeCalls(whole, makeOptions([relevance], {}, { redact: ["input"] }));
  assertEquals(server.asked.length, 1);
  assert(!JSON.stringify(server.asked).includes("secret"));
});

Deno.test("judgeCalls() gets no score of a call from judges of predictions, and takes prompts of any form", async () => {
  await using server = serveFault("openai", () => Response.json(makeReply("openai", yes)));
  const call = makeCall({ attributes: { "gen_ai.input.messages": "Why is the sky blue?" } });
  await using store = await openCalls([call]);
  const names = ["rule", "llm", "combined", "consistency", "calibration", "edge_case"];
  const params = { plausibility: { order: ["a", "b"] } };
  const judges = pickJudges(server, ...names, "plausibility", "triage");
  const summaries = await judgeCalls(store, makeOptions(judges, {}, { params }));
  assertEquals(
    summaries.map(({ scored, abstained }) => [scored, abstained]),
    judges.map(() => [0, 1]),
  );
  assertEquals(server.asked.length, 0);
  let given: Inference["texts"];
  await judgeCalls(
    store,
    makeOptions([makeJudge(({ texts }) => {
      given = texts;
      return { status: "scored", score: 1 };
    })]),
  );
  assertEquals(given, { input: "Why is the sky blue?", output: "A fine-grained rock." });
});

Deno.test("call_judge_means weighs by the probability of the draw, by judge and called model, and mixes in no prediction", async () => {
  await using store = await openStore(":memory:");
  const values = [0.2, 0.9, 0.4, 1, 0.7];
  const probabilities = [0.5, 0.5, 0.25, 0.25, 0.5];
  for (const [i, score] of values.entries()) {
    await store.query(
      `insert into core.call_judgements by name select 't' || ? as call_trace_id, 's' as call_span_id,
         ?::varchar as model, 'safety' as judge, 'v1' as judge_version, 'scored' as status,
         ?::double as score, ?::double as inclusion_probability, 0.5 as sampling_rate, 1 as ms,
         timestamp '2026-03-04' as created_at`,
      [i, null, score, probabilities[i]],
    );
  }
  await store.query(
    `insert into core.call_judgements by name select 'other' as call_trace_id, 's' as call_span_id,
       'large' as model, 'safety' as judge, 'v1' as judge_version, 'error' as status, 'http' as kind,
       0.5 as inclusion_probability, 0.5 as sampling_rate, 1 as ms, timestamp '2026-03-04' as created_at`,
  );
  const [large, unknown] = await store.query<Record<string, number>>(
    "select * from call_judge_means order by model nulls last",
  );
  assertEquals([large.judged, large.scored, large.coverage, large.mean, large.low], [
    1,
    0,
    0,
    null,
    null,
  ]);
  const expected = estimateMean({ values, probabilities })!;
  assertEquals([unknown.judged, unknown.scored, unknown.coverage], [5, 5, 1]);
  assertAlmostEquals(unknown.mean, expected.value, 1e-12);
  assertAlmostEquals(unknown.standard_error, expected.standardError, 1e-12);
  assertAlmostEquals(
    unknown.high,
    Math.min(1, unknown.mean + 1.959964 * unknown.standard_error),
    1e-12,
  );
  assertEquals(await store.query("select * from judge_means"), []);
});

Deno.test("JudgeSchedule judges calls while there is no version to look at, and tells of them", async () => {
  await using store = await openCalls([makeCall(), makeCall()]);
  const lines: string[] = [];
  const judge = makeJudge(() => ({ status: "scored", score: 1 }));
  const { params, seed } = makeOptions([], {});
  const schedule = new JudgeSchedule(
    store,
    { judges: [], callJudges: [judge], params, seed, target: () => Promise.resolve(null) },
    { onEvent: (line) => lines.push(line) },
  );
  const [{ scored }] = await schedule.tick();
  await schedule.tick();
  await schedule.close();
  assertEquals([scored, lines], [2, ["Judge fake scored 2 of 2 calls, 0 are left"]]);
});

Deno.test("JudgeSchedule judges calls also when predictions cannot be judged, and then says why", async () => {
  await using store = await openCalls([makeCall()]);
  const judge = makeJudge(() => ({ status: "scored", score: 1 }));
  const { params, seed } = makeOptions([], {}, {});
  const schedule = new JudgeSchedule(store, {
    judges: [judge],
    callJudges: [judge],
    params: { ...params, sampling: { ...params.sampling, where: "nothing = 1" } },
    seed,
    target: () => Promise.resolve({ model: "rocks", version: 1 }),
  });
  await assertRejects(() => schedule.tick(), UsageError, "nothing");
  assertEquals((await readVerdicts(store)).length, 1);
  await schedule.close();
});

Deno.test("retain() takes verdicts on calls away with history, and keeps what their judges' versions were", async () => {
  await using store = await openCalls([makeCall()]);
  const judge = {
    ...makeJudge(() => ({ status: "scored", score: 1 })),
    definition: { asks: "it" },
  };
  await judgeCalls(store, makeOptions([judge]));
  const later = new Date(Date.now() + 3 * 86_400_000);
  const count = async () =>
    await store.query(
      `select (select count(*) from call_judgements) as verdicts,
         (select count(*) from judge_versions) as versions`,
    );
  await retain(store, RetentionParams.parse({ judgeDays: 1 }), { now: later });
  assertEquals(await count(), [{ verdicts: 1, versions: 1 }]);
  const { plan } = await retain(store, RetentionParams.parse({ historyDays: 1 }), { now: later });
  assertEquals([plan.counts.call_judgements, plan.counts.llm_calls], [1, 1]);
  assertEquals(await count(), [{ verdicts: 0, versions: 1 }]);
});
