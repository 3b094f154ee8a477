/** Verdicts of judges as traces, asked over HTTP of a server that answers what a test says. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "../../judges/clients/connection.ts";
import { createLlmJudge } from "../../judges/forms/form.ts";
import { question } from "../../judges/forms/question.ts";
import { referenceYesNo } from "../../judges/forms/reference_yesno.ts";
import { rubricJson } from "../../judges/forms/rubric_json.ts";
import { judgeSample, JudgingParams } from "../../judges/judging.ts";
import { rule } from "../../judges/rule.ts";
import type { Plugin } from "../../plugins/plugin.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { setTracing } from "../../runtime/traces/log.ts";
import { TracingParams } from "../../runtime/traces/params.ts";
import { addInferences, addModel } from "../plugins/alerts/rows.ts";
import { type Dialect, type FaultServer, makeReply, MODEL, serveFault } from "./fault_server.ts";

const REQUEST = "22222222-2222-4222-8222-222222222222";

async function openInferences(count: number): Promise<Store> {
  const store = await openStore(":memory:");
  const profile = { count: 9, mean: { GR: 50, RHOB: 2.4 }, std: { GR: 5, RHOB: 0.1 } };
  await addModel(store, { report: { profiles: { sandstone: profile, siltstone: profile } } });
  await addInferences(store, { count, requestId: REQUEST });
  return store;
}

function makeJudge({ host }: FaultServer, form = referenceYesNo()): Plugin<"judge"> {
  const connection = connect({ host }, { attempts: 1, concurrency: 1 });
  return createLlmJudge({ name: "llm", summary: "a test", form, connection, seed: 7 });
}

async function judgeAll(store: Store, judge: Plugin<"judge">): Promise<void> {
  await judgeSample(store, {
    judges: [judge],
    model: "rocks",
    version: 1,
    params: JudgingParams.parse({ samplingRate: 1, canaries: 0, threshold: 0 }),
    seed: 42,
    signal: new AbortController().signal,
  });
}

const yes = { text: "Yes", shares: { Yes: 0.9, No: 0.1 } };

for (const dialect of ["ollama", "openai"] as const satisfies readonly Dialect[]) {
  Deno.test(`judgeSample() leaves a trace of each verdict by the conventions when it asks over ${dialect}`, async () => {
    await using server = serveFault(
      dialect,
      () => Response.json({ ...makeReply(dialect, yes), model: "tiny-2026" }),
    );
    await using store = await openInferences(2);
    await judgeAll(store, makeJudge(server));
    const rows = await store.query<Record<string, unknown>>(
      `select j.request_id, j.row, j.status, t.spans, t.judge, t.model, t.tokens_in, t.tokens_out,
         t.errors, c.provider, c.response_model, c.kind, c.seed, c.temperature, c.reply, c.prompt,
         c.judge_version = j.judge_version as is_version, c.row = j.row as is_row
       from judgements j join traces t using (trace_id) join llm_calls c using (trace_id) order by j.row`,
    );
    assertEquals(rows.length, 2);
    const { prompt, ...first } = rows[0];
    assertEquals(first, {
      request_id: REQUEST,
      row: 0,
      status: "scored",
      spans: 2,
      judge: "llm",
      model: MODEL,
      tokens_in: 120,
      tokens_out: 1,
      errors: 0,
      provider: dialect === "ollama" ? "ollama" : "llama.cpp",
      response_model: "tiny-2026",
      kind: null,
      seed: 7,
      temperature: 0,
      reply: "Yes",
      is_version: true,
      is_row: true,
    });
    assertEquals(
      JSON.parse(prompt as string).map(({ role }: { role: string }) => role),
      ["system", "user"],
    );
    const [judge, chat] = await store.query<Record<string, string>>(
      `select name, kind, parent_id, attributes, events from spans
       where trace_id = (select trace_id from judgements where row = 0) order by parent_id nulls first`,
    );
    assertEquals([judge.name, chat.name, chat.kind], ["judge llm", `chat ${MODEL}`, "client"]);
    const attributes = JSON.parse(chat.attributes);
    assertEquals(attributes["gen_ai.request.model"], MODEL);
    assertEquals(attributes["gen_ai.response.finish_reasons"], ["stop"]);
    assertEquals(attributes["server.address"], "127.0.0.1");
    const [event] = JSON.parse(judge.events);
    assertEquals(event.name, "gen_ai.evaluation.result");
    assertEquals(event.attributes["gen_ai.evaluation.name"], "llm");
    assertMatch(judge.events, /"gen_ai\.evaluation\.score\.value":0\.9/);
  });
}

Deno.test("judgeSample() records tokens, reason and kind when a reply is cut, and each attempt when a server fails", async () => {
  await using cut = serveFault(
    "openai",
    () => Response.json(makeReply("openai", { text: '{"score": 1', finish: "length" })),
  );
  await using store = await openInferences(1);
  await judgeAll(store, makeJudge(cut, rubricJson({ rubric: "10 is good" })));
  await using down = serveFault("openai", () => new Response("no", { status: 500 }));
  const connection = connect({ host: down.host }, { attempts: 3, sleep: () => Promise.resolve() });
  await judgeAll(
    store,
    createLlmJudge({ name: "down", summary: "a test", form: referenceYesNo(), connection }),
  );
  assertEquals(
    await store.query(
      `select judge, status, kind, finish_reason, tokens_in, count(*) as calls from llm_calls
       group by all order by judge desc`,
    ),
    [
      ["llm", "truncated", "length", 120, 1],
      ["down", "http", null, null, 3],
    ].map(([judge, kind, finish_reason, tokens_in, calls]) => ({
      judge,
      status: "error",
      kind,
      finish_reason,
      tokens_in,
      calls,
    })),
  );
  const events = await store.query<{ events: string; status: string }>(
    "select events, status from spans where parent_id is null",
  );
  assertEquals(events.map(({ status }) => status), ["error", "error"]);
  assert(events.every(({ events }) => JSON.parse(events)[0].attributes["error.type"]));
});

Deno.test("judgeSample() stops a judge at its budget with a typed outcome and one line, and asks no more", async () => {
  await using server = serveFault("ollama", () => Response.json(makeReply("ollama", yes)));
  await using store = await openInferences(5);
  const stops: string[] = [];
  setTracing(store, {
    params: TracingParams.parse({ budgets: { llm: { tokensPerDay: 400 } } }),
    onStop: (text) => stops.push(text),
  });
  await judgeAll(store, makeJudge(server));
  assert(server.asked.length >= 1 && server.asked.length < 4, String(server.asked.length));
  assertEquals(
    await store.query(
      "select status, kind, count(*) as n from judgements group by all order by status desc",
    ),
    [
      { status: "scored", kind: null, n: server.asked.length },
      { status: "error", kind: "budget", n: 1 },
    ],
  );
  assertEquals(stops.length, 1);
  assertMatch(stops[0], /^Cannot ask for judge "llm": it has taken \d+ of 400 tokens today;/);
  const [{ spent }] = await store.query<{ spent: number }>(
    "select sum(tokens_in + tokens_out)::double as spent from llm_calls",
  );
  assert(spent <= 400, String(spent));
  // Another run of the same day has no more to spend.
  await judgeAll(store, makeJudge(server));
  assertEquals(stops.length, 1);
});

Deno.test("judgeSample() keeps no word of prompts when metadata alone is recorded, and nothing when off", async () => {
  await using server = serveFault("ollama", () => Response.json(makeReply("ollama", yes)));
  for (const [record, calls] of [["metadata", 1], ["off", 0]] as const) {
    await using store = await openInferences(1);
    setTracing(store, { params: TracingParams.parse({ record }) });
    await judgeAll(store, makeJudge(server, question({ question: "Is it secret?" })));
    assertEquals(
      await store.query("select count(*) as calls, count(prompt) as prompts from llm_calls"),
      [{ calls, prompts: 0 }],
    );
    assertEquals(JSON.stringify(await store.query("from spans")).includes("secret"), false);
    assertEquals(
      await store.query("select status, trace_id is null as is_plain from judgements"),
      [{ status: "scored", is_plain: record === "off" }],
    );
  }
});

Deno.test("judgeSample() leaves no trace when a judge asks no model", async () => {
  await using store = await openInferences(3);
  await judgeAll(store, rule);
  assertEquals(await store.query("select count(*) as n from spans"), [{ n: 0 }]);
  assertEquals(
    await store.query("select count(*) as n, count(trace_id) as traced from judgements"),
    [{ n: 3, traced: 0 }],
  );
});
