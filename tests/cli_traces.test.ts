import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { TraceLog } from "../runtime/traces/log.ts";
import { runCli, withProjectFolder } from "./cli_runner.ts";
import { makeCallSpan, makeSpan } from "./runtime/traces/span_fixture.ts";

Deno.test("traces are listed, shown, exported and archived by the command while another process has the store", () =>
  withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    const traces = (...args: string[]) => runCli(["traces", ...args, "--set", `store=${path}`]);
    const none = await traces();
    assertEquals(none.code, 2);
    assertStringIncludes(none.stderr, 'run "deno task pipeline" first');

    await using store = await openStore(path);
    assertStringIncludes((await traces()).stdout, "no trace is like that");
    const root = makeSpan({ name: "judge\u001b[31m llm" });
    await new TraceLog(store, { redactText: (text) => text }).write([
      root,
      makeCallSpan([5, 1], {
        parentId: root.spanId,
        attributes: {
          "gen_ai.output.messages":
            '[{"role":"assistant","parts":[{"type":"text","content":"Yes\\u001b[2J"}]}]',
        },
      }),
      makeSpan({ traceId: "ab".repeat(16), name: "other", status: "error" }),
    ]);
    const list = await traces("--judge", "llm");
    assertMatch(list.stdout, /2026-01-02 03:04:05 {2}a{32} {2}judge \[31m llm .* tiny/);
    assertEquals(JSON.parse((await traces("--status", "error", "--json")).stdout)[0].name, "other");
    const shown = await traces("show", "aaaa");
    assertEquals(shown.code, 0, shown.stderr);
    assertMatch(shown.stdout, /\n {2}chat tiny +1 +unset +█+\n/);
    assertStringIncludes(shown.stdout, "tiny, 5 tokens in, 1 out, ended\nreply: Yes [2J\n");
    assertEquals(shown.stdout.includes("\u001b"), false);
    const whole = JSON.parse((await traces("show", "abab", "--json")).stdout);
    assertEquals([whole.span_count, whole.spans[0].status], [1, "error"]);
    const missing = await traces("show", "ffff");
    assertEquals(missing.code, 2);
    assertStringIncludes(missing.stderr, 'Cannot find trace "ffff"');

    const bodies: string[] = [];
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        bodies.push(await request.text());
        return Response.json({});
      },
    );
    const url = `http://127.0.0.1:${server.addr.port}`;
    assertEquals((await traces("export", "--otlp", url)).stdout, "3 spans sent\n");
    assertEquals(JSON.parse(bodies[0]).resourceSpans[0].scopeSpans[0].spans.length, 3);
    assertStringIncludes((await traces("export")).stderr, "without --otlp");

    const odd = await traces("archive", join(folder, "archive"), "--judge", "llm");
    assertEquals(odd.code, 2);
    assertStringIncludes(odd.stderr, "Cannot use --judge");
    const archived = await traces("archive", join(folder, "archive"), "--json");
    assertEquals(archived.code, 0, archived.stderr);
    assertEquals(JSON.parse(archived.stdout), { spans: 3, calls: 1, finished: 0 });
    assertEquals(await store.query("select count(*) as n from spans"), [{ n: 0 }]);
    const days = await Array.fromAsync(Deno.readDir(join(folder, "archive", "spans")));
    assert(days.some(({ name }) => name === "date=2026-01-02"));
  }));
