import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { alertTemplate, testTemplate } from "../commands/alerts/template.ts";
import { parseAlert } from "../plugins/alerts/load.ts";
import { testAlert } from "../runtime/alerts/unit_tests.ts";
import { openStore } from "../runtime/store/store.ts";
import { cliArgs, ROOT, runCli, withProjectFolder } from "./cli_runner.ts";
import { registerTestModel } from "./model_fixture.ts";
import { startReceiver } from "./webhook_receiver.ts";

/** A store whose model `wells` answered a hundred requests, a tenth of them with an error. */
async function fillStore(path: string): Promise<void> {
  await using store = await openStore(path, { publish: false });
  await registerTestModel(store, { model: "wells" });
  await store.query(
    `insert into core.requests by name select uuid()::varchar as request_id,
       now() at time zone 'UTC' - interval 10 minute as request_time, 'POST' as method,
       '/predict' as endpoint, case when range % 10 = 0 then 500 else 200 end as status_code,
       'wells' as model, 1 as version, 1 as row_count, 2.0 as duration_ms
     from range(100)`,
  );
}

Deno.test("alerts send what fires to sinks once, show a failed delivery and send it anew", async () => {
  await withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await fillStore(path);
    let isDown = true;
    await using receiver = startReceiver(() => new Response(null, { status: isDown ? 503 : 200 }));
    const alerts = (...args: string[]) =>
      runCli(
        ["alerts", ...args, "--set", `store=${path}`, "--set", "monitoring.sinks=[webhook]"],
        ROOT,
        { GEOPHONE_WEBHOOK_URL: receiver.url },
      );
    const first = await alerts("error_rate");
    assertStringIncludes(first.stdout, "sink webhook failed: ");
    assertEquals([first.code, receiver.received.length], [1, 1]);
    const [event] = receiver.received[0].body.data.events;
    assertEquals([event.kind, event.alert], ["firing", "error_rate"]);
    const list = JSON.parse((await alerts("deliveries", "--json")).stdout);
    const [{ sink, state, status_code, attempts, delivery_id }] = list;
    assertEquals([list.length, sink, state, status_code, attempts], [
      1,
      "webhook",
      "pending",
      503,
      1,
    ]);
    const waits = await alerts("replay", delivery_id);
    assertEquals(waits.code, 2);
    assertStringIncludes(waits.stderr, "it still waits");
    await using store = await openStore(path, { publish: false });
    await store.query("update core.sink_outbox set state = 'dead', next_at = null");
    await store.close();
    isDown = false;
    // Told already: the next evaluation has nothing to tell.
    assertEquals((await alerts("error_rate")).code, 0);
    assertEquals(receiver.received.length, 1);
    assertEquals((await alerts("replay", delivery_id)).code, 0);
    const sent = await alerts("deliver");
    assertStringIncludes(sent.stdout, "1 delivered, 0 failed");
    assertEquals(receiver.received[1].body.data, receiver.received[0].body.data);
    assertEquals((await alerts("deliveries", "--state", "lost")).code, 2);
  });
});

Deno.test("alerts are evaluated, explained, silenced, backtested and reported from the command line", async (t) => {
  await withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await fillStore(path);
    const alerts = (...args: string[]) => runCli(["alerts", ...args, "--set", `store=${path}`]);
    const json = async (...args: string[]) => {
      const result = await alerts(...args, "--json");
      assertEquals([result.code, result.stderr], [0, ""]);
      return JSON.parse(result.stdout);
    };

    await t.step("an alert that fires says so, with its findings", async () => {
      const { alerts: [outcome] } = await json("error_rate");
      assertEquals([outcome.alert, outcome.state, outcome.findingCount], [
        "error_rate",
        "firing",
        1,
      ]);
      assertStringIncludes((await alerts("error_rate")).stdout, "10.0 % of 100 requests failed");
    });

    await t.step("explain shows definition, state, findings and plan", async () => {
      const { stdout } = await alerts("explain", "error_rate");
      for (
        const text of ["firing since", "10.0 % of 100", "next evaluation", "severity", "plan:"]
      ) {
        assertStringIncludes(stdout, text);
      }
    });

    await t.step("snooze, silence and ack hold until unsilence", async () => {
      const snooze = await json("snooze", "error_rate", "--for", "1h", "--note", "drill");
      assertEquals((await json("error_rate")).alerts[0].state, "snoozed");
      await json("silence", 'severity="warning"', 'subject=~"P-13.*"');
      await json("ack", "error_rate", "--note", "looking");
      const rows = await json("silences");
      assertEquals(rows.map((row: Record<string, unknown>) => [row.kind, row.matchers, row.note]), [
        ["snooze", 'alert="error_rate"', "drill"],
        ["silence", 'severity="warning", subject=~"P-13.*"', null],
        ["ack", 'alert="error_rate"', "looking"],
      ]);
      assertStringIncludes((await alerts("unsilence", snooze.id)).stdout, "has ended");
      const { stdout } = await runCli(["audit", "list", "--json", "--set", `store=${path}`]);
      const changes = JSON.parse(stdout).filter(({ action }: { action: string }) =>
        action.startsWith("silence.")
      );
      assertEquals(
        changes.map((each: Record<string, unknown>) => each.action).toSorted(),
        ["silence.created", "silence.created", "silence.created", "silence.ended"],
      );
      assert(changes.every(({ actor }: { actor: unknown }) => typeof actor === "string"));
      assertEquals((await json("error_rate")).alerts[0].state, "firing");
    });

    await t.step("backtest gives when it would have fired", async () => {
      const result = await json("backtest", "error_rate", "--from", "30m", "--step", "1m");
      assertEquals([result.evaluations, result.episodes.length, result.errors], [31, 1, 0]);
      assertStringIncludes(
        (await alerts("backtest", "error_rate", "--from", "30m", "--step", "1m")).stdout,
        "still firing",
      );
    });

    await t.step("report counts the week", async () => {
      const { alerts: rows } = await json("report");
      assertEquals([rows.length, rows[0].fired, rows[0].acknowledged], [1, 1, 1]);
      assertStringIncludes((await alerts("report")).stdout, "mean time firing");
    });

    await t.step("test runs the tests beside the alerts", async () => {
      const all = await alerts("test", "--set", "plugins=[prompts:/polite]");
      assertEquals(all.code, 0, all.stdout);
      assertStringIncludes(all.stdout, "3 passed, 0 failed");
      const file = join(folder, "error_rate.test.yaml");
      await Deno.writeTextFile(file, "- { name: wrong, at: [{ time: 0m, state: firing }] }");
      const wrong = await alerts("test", file);
      assertEquals(wrong.code, 1);
      assertStringIncludes(wrong.stdout, "at 0m: state is ok, expected firing");
    });

    await t.step("what is asked for wrongly is named", async () => {
      const wrong: [args: string[], message: string][] = [
        [["snooze", "error_rat"], 'did you mean "error_rate"?'],
        [["silence", "severity"], "Cannot read matcher"],
        [["silence", "severity=info", "--for", "soon"], "write a span such as 30m"],
        [["unsilence", "nobody"], "none of this id holds"],
        [["silence", "severity=info", "--note", "x".repeat(1_001)], "longer than 1000 characters"],
        [["backtest", "error_rate", "--from", "yesterday"], "write a time such as"],
        [["backtest", "error_rate", "--step", "0"], "it would never end"],
        [["report", "--step", "1h"], "it takes --from, --to"],
        [["explain"], "usage is deno task alerts explain NAME"],
        [["new", "error_rate"], "is there already"],
        [["new", "../x"], "use lower-case letters"],
        [["test", "no_such.test.yaml"], 'Cannot find alert "no_such"'],
      ];
      for (const [args, message] of wrong) {
        const { code, stderr } = await alerts(...args);
        assertEquals([args, code], [args, 2]);
        assertStringIncludes(stderr, message);
      }
    });

    await t.step(
      "monitor --daemon evaluates by schedule beside others and ends with a signal",
      async () => {
        const child = new Deno.Command(Deno.execPath(), {
          args: cliArgs(["monitor", "--daemon", "--set", `store=${path}`]),
          cwd: ROOT,
          stdin: "null",
          stdout: "piped",
          stderr: "piped",
        }).spawn();
        const reader = child.stdout.getReader();
        const { value } = await reader.read();
        assertMatch(new TextDecoder().decode(value), /watching \d+ alerts/);
        assertEquals((await runCli(["monitor", "--once", "--set", `store=${path}`])).code, 0);
        child.kill("SIGTERM");
        reader.releaseLock();
        const { code, stderr } = await child.output();
        assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
      },
    );
  });
});

Deno.test("monitor refuses both ways at once, and a version for the daemon", async () => {
  for (
    const [args, text] of [[["--once"], "give one of"], [["--model", "1"], "use --once"]] as const
  ) {
    const { code, stderr } = await runCli(["monitor", "--daemon", ...args]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, text);
  }
});

Deno.test("alertTemplate() is an alert that passes the tests of testTemplate()", async () => {
  const results = await testAlert(parseAlert("mine", alertTemplate("mine")), testTemplate("mine"));
  assertEquals(results.map(({ failures }) => failures), [[]]);
  assert(results[0].test.startsWith("mine "));
});
