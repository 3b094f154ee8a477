import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { TraceLog } from "../runtime/traces/log.ts";
import { runCli, withProjectFolder } from "./cli_runner.ts";
import { makeSpan } from "./runtime/traces/span_fixture.ts";

Deno.test("deno task judge --traces judges calls by the config or by name, and says what it cannot", () =>
  withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    const judge = (...args: string[]) =>
      runCli(["judge", "--traces", ...args, "--set", `store=${path}`]);
    const none = await judge("pii");
    assertEquals(none.code, 2);
    assertStringIncludes(none.stderr, 'run "deno task pipeline" first');

    await using store = await openStore(path);
    const empty = await judge("pii");
    assertEquals(empty.code, 0, empty.stderr);
    assertStringIncludes(empty.stdout, "note: no trace has a call of a language model whose reply");

    const call = makeSpan({
      attributes: {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "large",
        "gen_ai.output.messages":
          '[{"role":"assistant","parts":[{"type":"text","content":"Write to ada@example.com"}]}]',
      },
    });
    await new TraceLog(store, { redactText: (text) => text }).write([call]);
    const failures: readonly [string, ...string[]][] = [
      ["monitoring.judging.traces.judges is empty"],
      ['did you mean "relevance"', "relevence"],
      ["Cannot use --model with --traces", "pii", "--model", "1"],
      ["Cannot use --rate 2", "pii", "--rate", "2"],
      ["nothing", "pii", "--set", "monitoring.judging.traces.where=nothing = 1"],
    ];
    for (const [message, ...args] of failures) {
      const failed = await judge(...args);
      assertEquals(failed.code, 2, failed.stdout);
      assertStringIncludes(failed.stderr, message);
    }

    const chosen = ["--set", "monitoring.judging.traces.judges=[pii, correctness]"];
    const json = JSON.parse((await judge(...chosen, "--rate", "1", "--json")).stdout);
    assertEquals(json.traces, true);
    assertEquals(
      json.judges.map(({ judge }: { judge: string }) => judge),
      ["pii", "correctness"],
    );
    assertEquals([json.judges[0].scored, json.judges[0].meanScore], [1, 0]);
    const again = await judge("pii", "--rate", "1");
    assertMatch(again.stdout, /^calls of language models, sampling rate 1\n/);
    assertMatch(again.stdout, /pii +judged +0 +0 +0/);
    const shown = await runCli(["traces", "show", "aaaa", "--set", `store=${path}`]);
    assertStringIncludes(shown.stdout, "judge pii: 0.00, 1 × email");
  }));
