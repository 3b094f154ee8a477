import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { redactText } from "../../../judges/prompts/redact.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { BudgetError, Budgets } from "../../../runtime/traces/budget.ts";
import { TraceLog } from "../../../runtime/traces/log.ts";
import { TracingParams } from "../../../runtime/traces/params.ts";
import { retain, RetentionParams } from "../../../runtime/inference/retention.ts";
import { makeCallSpan, makeSpan } from "./span_fixture.ts";

const said = {
  "gen_ai.system_instructions": '[{"type":"text","content":"You check."}]',
  "gen_ai.input.messages":
    '[{"role":"user","parts":[{"type":"text","content":"GR 31.5 of ada@example.com"},{"type":"tool_call","name":"f"}]}]',
  "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"Yes"}]}]',
};

Deno.test("write() keeps a span once when it is sent twice, within a request and later", async () => {
  await using store = await openStore(":memory:");
  const log = new TraceLog(store, { redactText });
  const span = makeCallSpan([5, 1]);
  await log.write([span, span]);
  await log.write([span, makeSpan({ parentId: span.spanId })]);
  assertEquals(await store.query("select spans, llm_calls, tokens_in, name from traces"), [
    { spans: 2, llm_calls: 1, tokens_in: 5, name: "chat tiny" },
  ]);
});

Deno.test("write() keeps prompt and reply as a row without personal data when everything is recorded", async () => {
  await using store = await openStore(":memory:");
  const log = new TraceLog(store, { redactText });
  await log.write([makeCallSpan([5, 1], { attributes: said })]);
  const [{ prompt, reply, attributes }] = await store.query<Record<string, string>>(
    "select prompt, reply, attributes from llm_calls join spans using (trace_id, span_id)",
  );
  assertEquals(JSON.parse(prompt), [
    { role: "system", content: "You check." },
    { role: "user", content: 'GR 31.5 of [email]\n{"type":"tool_call","name":"f"}' },
  ]);
  assertEquals(reply, "Yes");
  assertEquals(attributes.includes("messages"), false);
});

Deno.test("write() leaves out what was said when metadata alone is recorded, and everything when off", async () => {
  for (const [record, expected] of [["metadata", [1, 1]], ["off", [0, 0]]] as const) {
    await using store = await openStore(":memory:");
    const params = TracingParams.parse({ record });
    const log = new TraceLog(store, { params, redactText });
    await log.write([makeCallSpan([5, 1], {
      attributes: { ...said, "gen_ai.prompt.0.content": "secret", "input.value": "secret" },
      events: [{
        name: "gen_ai.content.prompt",
        us: 1,
        attributes: { "gen_ai.prompt": "secret" },
      }],
    })]);
    const [row] = await store.query<Record<string, number>>(
      `select (select count(*) from spans) as spans, (select count(*) from llm_calls) as calls`,
    );
    assertEquals([row.spans, row.calls], [...expected]);
    const text = JSON.stringify([
      await store.query("from spans"),
      await store.query("from llm_calls"),
    ]);
    assertEquals(/secret|example|Yes/.test(text), false, text);
  }
});

Deno.test("write() keeps nothing of JSON that is nested too deep to find named fields in it", async () => {
  await using store = await openStore(":memory:");
  const params = TracingParams.parse({ redact: ["well"], detectors: false });
  const text = "[".repeat(100_000) + '{"well":"P-129"}' + "]".repeat(100_000);
  await new TraceLog(store, { params, redactText }).write([
    makeSpan({ attributes: { "input.value": text } }),
  ]);
  assertEquals(await store.query("select attributes->>'input.value' as text from spans"), [
    { text: "[redacted]" },
  ]);
});

Deno.test("write() redacts named fields in attributes and in JSON within them when the config names them", async () => {
  await using store = await openStore(":memory:");
  const params = TracingParams.parse({ redact: ["user.id", "well"], detectors: false });
  await new TraceLog(store, { params, redactText }).write([makeSpan({
    attributes: {
      "user.id": "ada",
      body: '{"well":"P-129","gr":1}',
      nested: { well: "P-129", mail: "ada@example.com" },
      "server.address": "192.0.2.7",
    },
  })]);
  const [{ attributes }] = await store.query<{ attributes: string }>(
    "select attributes from spans",
  );
  assertEquals(JSON.parse(attributes), {
    "user.id": "[redacted]",
    body: '{"well":"[redacted]","gr":1}',
    nested: { well: "[redacted]", mail: "ada@example.com" },
    "server.address": "192.0.2.7",
  });
});

Deno.test("flush() keeps spans for the next time when the store does not take them", async () => {
  await using store = await openStore(":memory:");
  const log = new TraceLog(store, { redactText });
  log.record(makeCallSpan([5, 1]));
  await store.query("alter table core.spans rename to elsewhere");
  await assertRejects(() => log.flush());
  await store.query("alter table core.elsewhere rename to spans");
  await log.flush();
  assertEquals(await store.query("select count(*) as n from llm_calls"), [{ n: 1 }]);
});

Deno.test("llm_costs counts what has no price apart when prices are known for some models", async () => {
  await using store = await openStore(":memory:");
  const params = TracingParams.parse({ prices: { tiny: { in: 10, out: 100 } } });
  const log = new TraceLog(store, { params, redactText });
  const failed = { status: "error", attributes: { "error.type": "timeout" } } as const;
  await log.write([
    makeCallSpan([1_000, 10]),
    makeCallSpan([2_000, 20]),
    makeCallSpan([7, 7], { attributes: { "gen_ai.request.model": "other" } }),
    makeSpan({
      ...failed,
      attributes: { ...makeCallSpan([0, 0]).attributes, ...failed.attributes },
    }),
  ]);
  assertEquals(
    await store.query(
      `select day, judge, model, calls, tokens_in, tokens_out, round(cost, 6) as cost, unpriced, errors
       from llm_costs order by model`,
    ),
    [
      { model: "other", calls: 1, tokens_in: 7, tokens_out: 7, cost: null, unpriced: 1, errors: 0 },
      {
        model: "tiny",
        calls: 3,
        tokens_in: 3000,
        tokens_out: 30,
        cost: .033,
        unpriced: 0,
        errors: 1,
      },
    ].map((row) => ({ day: "2026-01-02T00:00:00.000Z", judge: "llm", ...row })),
  );
});

Deno.test("TracingParams refuses budgets when nothing is recorded that they could count", () => {
  assertThrows(
    () => TracingParams.parse({ record: "off", budgets: { llm: { tokensPerDay: 1 } } }),
    Error,
    "budgets count what was recorded",
  );
});

const planned = { judge: "llm", model: "tiny", tokensIn: 90, tokensOut: 10 };

Deno.test("reserve() stops with one line when a day's tokens are spent, by whoever spent them, until tomorrow", async () => {
  await using store = await openStore(":memory:");
  const params = TracingParams.parse({ budgets: { llm: { tokensPerDay: 300 } } });
  const stops: string[] = [];
  let now = new Date("2026-01-02T12:00:00Z");
  const budgets = new Budgets(store, {
    params,
    onStop: (text) => stops.push(text),
    now: () => now,
  });
  // Another process, and another judge, which is not counted.
  await new TraceLog(store, { params, redactText }).write([
    makeCallSpan([100, 50]),
    makeCallSpan([9_000, 0], { attributes: { "gen_ai.evaluation.name": "other" } }),
  ]);
  const settle = await budgets.reserve(planned);
  for (let i = 0; i < 2; i++) await assertRejects(() => budgets.reserve(planned), BudgetError);
  assertEquals(stops, [
    'Cannot ask for judge "llm": it has taken 250 of 300 tokens today; raise tracing.budgets or wait for tomorrow (UTC)',
  ]);
  settle({ ...callRow, tokens_in: 20, tokens_out: 1 });
  await budgets.reserve(planned);
  await budgets.reserve({ ...planned, judge: "free" });
  now = new Date("2026-01-03T00:00:00Z");
  await budgets.reserve(planned);
});

Deno.test("reserve() counts a call once when it is written, and one that failed as much as it might take", async () => {
  await using store = await openStore(":memory:");
  const params = TracingParams.parse({ budgets: { "*": { tokensPerDay: 320 } } });
  const now = () => new Date("2026-01-02T12:00:00Z");
  const log = new TraceLog(store, { params, redactText, onStop() {} });
  const budgets = new Budgets(store, { params, onStop() {}, now });
  const settle = await budgets.reserve(planned);
  const call = log.record(makeCallSpan([60, 10]))!;
  settle(call);
  await log.flush();
  budgets.written([call]);
  const failed = await budgets.reserve(planned);
  failed({ ...callRow, tokens_in: null, tokens_out: null });
  const { message } = await assertRejects(
    async () => {
      await budgets.reserve(planned);
      await budgets.reserve(planned);
    },
    BudgetError,
  );
  assertStringIncludes(message, "270 of 320 tokens");
});

Deno.test("reserve() stops when money is limited and the model has no price, or the price is too high", async () => {
  await using store = await openStore(":memory:");
  const params = TracingParams.parse({
    budgets: { "*": { costPerDay: 1 } },
    prices: { tiny: { in: 5_000, out: 5_000 } },
  });
  const budgets = new Budgets(store, { params, onStop() {} });
  await budgets.reserve(planned);
  await budgets.reserve(planned);
  await assertRejects(() => budgets.reserve(planned), BudgetError, "it has cost 1 of 1 today");
  await assertRejects(
    () => budgets.reserve({ ...planned, model: "other" }),
    BudgetError,
    "add it to tracing.prices",
  );
});

Deno.test("retain() takes old spans and calls away when history has an age", async () => {
  await using store = await openStore(":memory:");
  const log = new TraceLog(store, { redactText });
  await log.write([makeCallSpan([1, 1]), makeCallSpan([1, 1], { startedUs: Date.now() * 1000 })]);
  const { plan } = await retain(store, RetentionParams.parse({ historyDays: 2 }));
  assertEquals([plan.counts.spans, plan.counts.llm_calls], [1, 1]);
  assertEquals(await store.query("select count(*) as n from spans"), [{ n: 1 }]);
});

const callRow = {
  trace_id: "a",
  span_id: "b",
  started_us: 0,
  ms: 1,
  request_id: null,
  row: null,
  judge: "llm",
  judge_version: null,
  operation: "chat",
  provider: null,
  server: null,
  model: "tiny",
  response_model: null,
  status: "ok",
  kind: null,
  finish_reason: null,
  cost: null,
  temperature: null,
  seed: null,
  prompt: null,
  reply: null,
} as const;
