/** Every way a question can end, in both dialects, over real sockets. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type ChatClient, ChatError, type ChatRequest } from "../../judges/clients/client.ts";
import { connect } from "../../judges/clients/connection.ts";
import { Guard } from "../../judges/clients/guard.ts";
import {
  createReplayClient,
  readCassette,
  recordClient,
  writeCassette,
} from "../../judges/clients/replay.ts";
import { checkHost, readSettings } from "../../judges/clients/settings.ts";
import { type Dialect, makeReply, MODEL, serveFault } from "./fault_server.ts";

const { signal } = new AbortController();
const dialects: readonly Dialect[] = ["ollama", "openai"];

const choice: ChatRequest = { system: "s", user: "u", wanted: { kind: "choice" }, seed: 3 };
const json: ChatRequest = {
  ...choice,
  wanted: { kind: "json", schema: { type: "object" }, maxTokens: 9 },
};

async function failWith(
  dialect: Dialect,
  answer: Parameters<typeof serveFault>[1],
  { request = choice, timeoutMs = 5_000 }: {
    readonly request?: ChatRequest;
    readonly timeoutMs?: number;
  } = {},
): Promise<ChatError> {
  await using server = serveFault(dialect, answer);
  const client = await connect({ host: server.host, timeoutMs }, { attempts: 1 }).open(signal);
  return await assertRejects(() => client.ask(request, signal), ChatError);
}

Deno.test("connect().open() picks the dialect, and ask() sends what it wants in it", async () => {
  for (const dialect of dialects) {
    await using server = serveFault(
      dialect,
      (_, count) =>
        Response.json(makeReply(dialect, count === 1 ? { shares: { Yes: 0.9 } } : { text: "{}" })),
    );
    const connection = connect({ host: server.host });
    const client = await connection.open(signal);
    assert(client.digest!.length === 12);
    assertEquals(connection.modelVersion, `${MODEL}@${client.digest}`);
    const reply = await client.ask(choice, signal);
    assertEquals(reply, {
      text: "Yes",
      candidates: [{ token: "Yes", logprob: Math.log(0.9) }],
      tokensIn: 120,
      tokensOut: 1,
    });
    assertEquals((await client.ask(json, signal)).text, "{}");
    const [first, second] = server.asked;
    assertEquals([first.logprobs, first.top_logprobs, second.logprobs], [true, 20, undefined]);
    if (dialect === "ollama") {
      assertEquals(first.options, { temperature: 0, num_predict: 1, seed: 3 });
      assertEquals(second.format, { type: "object" });
    } else {
      assertEquals([first.cache_prompt, first.max_tokens, first.seed], [false, 1, 3]);
      assertEquals((second.response_format as { type: string }).type, "json_schema");
    }
  }
});

Deno.test("ask() gives an error of its kind when the server cannot answer", async () => {
  const refuse = (status: number, error: unknown, headers = {}) => () =>
    Response.json({ error }, { status, headers });
  const cases: [() => Response, kind: string, isRetryable: boolean, ChatRequest?][] = [
    [refuse(404, `model '${MODEL}' not found`), "model_missing", false],
    [refuse(404, { code: 404, message: "File Not Found" }), "http", false],
    [refuse(503, { message: "Loading model" }), "loading", true],
    [refuse(401, "no key"), "unauthorized", false],
    [refuse(429, "slow down", { "retry-after": "7" }), "rate_limited", true],
    [refuse(500, "out of memory"), "http", true],
    [() => new Response("<html>bad gateway</html>", { status: 502 }), "http", true],
    [() => new Response(null, { status: 302, headers: { location: "/" } }), "unreachable", true],
    [refuse(200, "unexpected EOF"), "http", false],
    [() => new Response('{"model": "x", "mess'), "schema", false],
    [() => Response.json(null), "schema", false],
  ];
  for (const dialect of dialects) {
    const own: typeof cases = [
      [() => Response.json(makeReply(dialect, {})), "schema", false],
      [() => Response.json(makeReply(dialect, { shares: { Yes: 1, No: 1 } })), "schema", false],
      [() => Response.json(makeReply(dialect, { finish: "length" })), "truncated", false, json],
      [() => Response.json(makeReply(dialect, { text: " " })), "schema", false, json],
    ];
    for (const [answer, kind, isRetryable, request = choice] of [...cases, ...own]) {
      const error = await failWith(dialect, answer, { request });
      assertEquals([error.kind, error.isRetryable], [kind, isRetryable], error.message);
      if (kind === "rate_limited") assertEquals(error.retryAfterMs, 7_000);
    }
  }
});

Deno.test("ask() gives timeout when the server hangs, cancelled when the run is", async () => {
  for (const dialect of dialects) {
    const gate = Promise.withResolvers<Response>();
    const hang = () => {
      setTimeout(() => gate.resolve(new Response("late")), 300);
      return gate.promise;
    };
    assertEquals((await failWith(dialect, hang, { timeoutMs: 100 })).kind, "timeout");
    await using server = serveFault(dialect, () => Response.json({}));
    const client = await connect({ host: server.host }).open(signal);
    const error = await assertRejects(() => client.ask(choice, AbortSignal.abort()), ChatError);
    assertEquals(error.kind, "cancelled");
  }
});

Deno.test("connect() says what is missing when nobody listens, or the model or dialect is not there", async () => {
  const gone = connect({ host: "http://127.0.0.1:1" }, { attempts: 1 });
  assertEquals((await assertRejects(() => gone.open(signal), ChatError)).kind, "unreachable");
  const nobody = await gone.probe(signal);
  assertEquals(nobody.ready, false);
  assertStringIncludes(nobody.detail, "http://127.0.0.1:1");
  await using server = serveFault("ollama", () => Response.json({}));
  const missing = await connect({ host: server.host, model: "big" }).probe(signal);
  assertEquals(missing.ready, false);
  assertStringIncludes(missing.detail, 'run "ollama pull big" or set GEOPHONE_JUDGE_MODEL');
  const other = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response("hello"),
  );
  const neither = await connect({ host: `127.0.0.1:${other.addr.port}` }).probe(signal);
  assertEquals(neither.ready, false);
  assertStringIncludes(neither.detail, "no Ollama and no server of OpenAI's dialect");
  await other.shutdown();
});

Deno.test("checkHost() lets no host but this machine be asked unless it is named", () => {
  const kindOf = (host: string, remote?: string) => {
    try {
      return checkHost({ host, ...(remote === undefined ? {} : { remote }) });
    } catch (error) {
      return (error as ChatError).kind;
    }
  };
  assertEquals(kindOf("localhost:1"), "http://localhost:1");
  assertEquals(kindOf("http://[::1]:1/v1/"), "http://[::1]:1");
  assertEquals(kindOf("http://user:secret@127.0.0.1:1"), "http://127.0.0.1:1");
  for (
    const host of ["https://api.example.com", "http://127.0.0.1.example.com", "10.0.0.1", "no host"]
  ) assertEquals(kindOf(host), "refused", host);
  assertEquals(kindOf("https://a.example.com/v1", "a.example.com"), "https://a.example.com");
  assertEquals(kindOf("https://b.example.com/v1", "a.example.com"), "refused");
});

Deno.test("readSettings() refuses a number that is none and reads the rest as it stands", () => {
  const env: Record<string, string> = { OLLAMA_HOST: "h:1", GEOPHONE_JUDGE_TOKENS: "100" };
  const settings = readSettings((name) => env[name]);
  assertEquals([settings.host, settings.tokens, settings.timeoutMs], ["h:1", 100, 30_000]);
  env.GEOPHONE_JUDGE_TOKENS = "many";
  let kind = "";
  try {
    readSettings((name) => env[name]);
  } catch (error) {
    kind = (error as ChatError).kind;
  }
  assertEquals(kind, "refused");
});

/** A guard on a clock of its own, and the waits that it asked for. */
function makeGuard(options: ConstructorParameters<typeof Guard>[0] = {}) {
  let time = 0;
  const waits: number[] = [];
  const guard = new Guard({
    now: () => time,
    sleep(ms) {
      waits.push(ms);
      time += ms;
      return Promise.resolve();
    },
    ...options,
  });
  return { guard, waits, pass: (ms: number) => time += ms };
}

Deno.test("Guard.run() tries again after what passes, with jitter or as long as the server says", async () => {
  const { guard, waits } = makeGuard();
  let calls = 0;
  const result = await guard.run(() => {
    calls++;
    if (calls === 1) return Promise.reject(new ChatError("Busy", "loading"));
    if (calls === 2) {
      return Promise.reject(new ChatError("Slow", "rate_limited", { retryAfterMs: 7_000 }));
    }
    return Promise.resolve({ calls });
  }, { signal });
  assertEquals(result, { calls: 3 });
  assert(waits[0] >= 100 && waits[0] <= 200, `${waits[0]}`);
  assertEquals(waits[1], 7_000);
  const rejecting = (kind: "schema" | "rate_limited", retryAfterMs = 1) => {
    const { guard, waits } = makeGuard();
    return assertRejects(
      () =>
        guard.run(() => Promise.reject(new ChatError("No", kind, { retryAfterMs })), { signal }),
      ChatError,
    ).then(() => waits.length);
  };
  assertEquals(await rejecting("schema"), 0);
  assertEquals(await rejecting("rate_limited"), 2);
  // Longer than the time there is: no wait at all.
  assertEquals(await rejecting("rate_limited", 60_000), 0);
});

Deno.test("Guard.run() leaves a failing server alone, and asks again after the rest", async () => {
  const { guard, pass } = makeGuard({ attempts: 1, failures: 2, coolDownMs: 100 });
  let calls = 0;
  const fail = () => {
    calls++;
    return Promise.reject(new ChatError("Gone", "unreachable"));
  };
  const kind = async () => (await assertRejects(() => guard.run(fail, { signal }), ChatError)).kind;
  assertEquals([await kind(), await kind(), await kind(), await kind()], [
    "unreachable",
    "unreachable",
    "circuit_open",
    "circuit_open",
  ]);
  assertEquals(calls, 2);
  pass(101);
  assertEquals([await kind(), await kind()], ["unreachable", "circuit_open"]);
  pass(101);
  assertEquals(await guard.run(() => Promise.resolve({ fine: 1 }), { signal }), { fine: 1 });
  assertEquals(await kind(), "unreachable");
});

Deno.test("Guard.run() stops at the token budget before it is passed, and counts what came", async () => {
  const { guard } = makeGuard({ tokens: 100 });
  const spend = (tokensIn: number, reserve: number) =>
    guard.run(() => Promise.resolve({ tokensIn, tokensOut: 1 }), { signal, reserve });
  await spend(29, 60);
  assertEquals(guard.spent, 30);
  const error = await assertRejects(() => spend(1, 71), ChatError, "GEOPHONE_JUDGE_TOKENS");
  assertEquals([error.kind, error.isRetryable, guard.spent], ["budget", false, 30]);
  await spend(68, 70);
  assertEquals(guard.spent, 99);
});

Deno.test("Guard.run() keeps to its concurrency, and a cancelled one in the queue leaves it", async () => {
  const guard = new Guard({ concurrency: 1 });
  const gate = Promise.withResolvers<void>();
  const order: string[] = [];
  const enter = (name: string, own = signal) =>
    guard.run(async () => {
      order.push(name);
      await gate.promise;
      return {};
    }, { signal: own });
  const controller = new AbortController();
  const first = enter("first");
  const second = assertRejects(() => enter("second", controller.signal), ChatError);
  const third = enter("third");
  controller.abort();
  assertEquals((await second).kind, "cancelled");
  assertEquals(order, ["first"]);
  gate.resolve();
  await Promise.all([first, third]);
  assertEquals(order, ["first", "third"]);
});

Deno.test("createReplayClient() answers what was recorded, from a file, too, and nothing else", async () => {
  const source: ChatClient = {
    server: "http://127.0.0.1:9",
    model: "m",
    digest: "d1",
    ask: () => Promise.resolve({ text: "Yes", candidates: [{ token: "Yes", logprob: -0.1 }] }),
  };
  const recording = recordClient(source);
  const reply = await recording.ask(choice, signal);
  const path = await Deno.makeTempFile();
  await writeCassette(path, recording.cassette());
  const connection = connect({ cassette: path });
  assertEquals(await connection.probe(signal), { ready: true, detail: "m at http://127.0.0.1:9" });
  const client = await connection.open(signal);
  assertEquals(await client.ask(choice, signal), reply);
  const kindOf = async (client: ChatClient, request: ChatRequest) =>
    (await assertRejects(() => client.ask(request, signal), ChatError)).kind;
  assertEquals(await kindOf(client, { ...choice, seed: 4 }), "cassette_missing");
  assertEquals(await kindOf(client, { ...choice, user: "other" }), "cassette_missing");
  const newer = createReplayClient({ ...recording.cassette(), digest: "d2" });
  assertEquals(await kindOf(newer, choice), "cassette_missing");
  await Deno.writeTextFile(path, "[]");
  assertEquals((await assertRejects(() => readCassette(path), ChatError)).kind, "cassette_missing");
  await Deno.remove(path);
});
