import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { createApiKey } from "../runtime/api_keys.ts";
import { openStore } from "../runtime/store/store.ts";
import { createModel } from "../runtime/tracking/registry.ts";
import { type CliResult, ROOT, runCli, withProjectFolder } from "./cli_runner.ts";
import { assertSigned, startReceiver } from "./webhook_receiver.ts";

/** Runs commands on a store of their own. */
function withStore(
  action: (run: (...args: string[]) => Promise<CliResult>, path: string) => Promise<void>,
): Promise<void> {
  return withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await (await openStore(path, { publish: false })).close();
    await action((...args) => runCli([...args, "--set", `store=${path}`]), path);
  });
}

Deno.test("audit lists changes, and verify finds a change of the log and a lost head", () =>
  withStore(async (run, path) => {
    assertStringIncludes((await run("audit")).stdout, "nothing was changed yet");
    {
      await using store = await openStore(path);
      await createApiKey(store, { name: "ci", role: "viewer" });
      await createModel(store, { name: "cores" }, { by: "ada" });
    }
    const list = await run("audit", "list", "--limit", "1");
    assertMatch(list.stdout, /ada +registered_model\.created +cores/);
    assertEquals(list.stdout.includes("api_key.created"), false);
    const rows = JSON.parse((await run("audit", "--json")).stdout);
    assertEquals(rows.map((row: { number: number }) => row.number), [1, 2]);
    assertEquals(rows[1].details.name, "cores");

    const whole = await run("audit", "verify", "--json");
    assertEquals(whole.code, 0, whole.stderr);
    const { head, ...state } = JSON.parse(whole.stdout);
    assertEquals(state, { entries: 2, firstBroken: null, lostHead: null });
    const again = await run("audit", "verify", "--head", head);
    assertEquals([again.code, again.stdout], [0, `whole: 2 entries, head ${head}\n`]);
    {
      await using store = await openStore(path);
      await store.query("delete from core.audit_log where number = 2");
    }
    assertEquals((await run("audit", "verify")).code, 0, "the chain alone cannot show it");
    const lost = await run("audit", "verify", "--head", head);
    assertEquals(lost.code, 1);
    assertMatch(lost.stdout, /^cut off or written anew: no entry has the hash [0-9a-f]{64}; 1 /);
    {
      await using store = await openStore(path);
      await store.query("update core.audit_log set actor = 'eve'");
    }
    const broken = await run("audit", "verify");
    assertEquals(
      [broken.code, broken.stdout],
      [1, "broken at entry 1: its fields do not give its hash\n"],
    );
  }));

Deno.test("webhooks are made, tested, delivered, replayed, changed and deleted", () =>
  withStore(async (run, path) => {
    assertStringIncludes((await run("webhooks")).stdout, "no webhook yet");
    await using receiver = startReceiver((number) =>
      new Response("", { status: number === 2 ? 500 : 200 })
    );
    const made = await run(
      ...["webhooks", "create", "chat", "--url", receiver.url, "--allow-local"],
      ...["--event", "registered_model.created", "--event", "geophone.api_key.created"],
    );
    assertEquals(made.code, 0, made.stderr);
    assertMatch(made.stdout, /^[0-9a-f]{48}\n$/);
    assertMatch(made.stderr, /^webhook "chat" \([0-9a-f-]{36}\) sends registered_model\.created, /);
    const secret = made.stdout.trim();

    const tested = await run("webhooks", "test", "chat");
    assertEquals([tested.code, tested.stderr], [0, ""]);
    assertMatch(tested.stdout, /^the receiver answered 200 in \d+ ms\n$/);
    const failed = await run("webhooks", "test", "chat", "--json");
    assertEquals([failed.code, JSON.parse(failed.stdout).status], [1, 500]);

    const nothing = await run("webhooks", "deliver");
    assertEquals([nothing.code, nothing.stdout.slice(0, 12)], [0, "0 delivered,"]);
    {
      await using store = await openStore(path);
      await createModel(store, { name: "cores" }, { by: "ada" });
    }
    const delivered = await run("webhooks", "deliver", "--json");
    assertEquals([delivered.code, JSON.parse(delivered.stdout)], [
      0,
      { delivered: 1, retried: 0, dead: 0, obstacles: [] },
    ]);
    for (const received of receiver.received) await assertSigned(received, secret);

    const [delivery] = JSON.parse((await run("webhooks", "deliveries", "--json")).stdout);
    assertEquals([delivery.webhook, delivery.state, delivery.status_code], [
      "chat",
      "delivered",
      200,
    ]);
    assertEquals((await run("webhooks", "replay", delivery.delivery_id)).code, 0);
    assertMatch((await run("webhooks", "deliveries", "--state", "pending")).stdout, /chat +regist/);
    assertEquals((await run("webhooks", "deliver")).code, 0);
    const ids = receiver.received.slice(-2).map(({ headers }) => headers.get("webhook-id"));
    assertEquals(ids, [delivery.delivery_id, delivery.delivery_id]);

    const changed = await run("webhooks", "update", "chat", "--status", "disabled", "--unsigned");
    assertStringIncludes(changed.stdout, 'webhook "chat" is DISABLED');
    const [listed] = JSON.parse((await run("webhooks", "list", "--json")).stdout);
    assertEquals([listed.status, listed.signed, listed.origin], [
      "DISABLED",
      false,
      new URL(receiver.url).origin,
    ]);
    assert(!JSON.stringify(listed).includes("in-the-url"));
    assertEquals((await run("webhooks", "delete", "chat")).code, 0);
    assertStringIncludes((await run("webhooks")).stdout, "no webhook yet");
  }));

Deno.test("webhooks deliver exits with 1 when an attempt failed, or a webhook is out of its reach", () =>
  withStore(async (run, path) => {
    await using receiver = startReceiver(() => new Response("", { status: 500 }));
    const create = (name: string, ...more: string[]) =>
      run("webhooks", "create", name, "--event", "registered_model.created", "--unsigned", ...more);
    const local = await create("local", "--url", receiver.url, "--allow-local");
    assertEquals([local.code, local.stdout], [0, ""]);
    assertEquals((await create("far", "--url", "https://1.1.1.1/hook")).code, 0);
    {
      await using store = await openStore(path);
      await createModel(store, { name: "cores" }, { by: "ada" });
    }
    // Run here with the permissions of another task, which reach this machine alone.
    const result = await run("webhooks", "deliver");
    assertEquals(result.code, 1);
    assertStringIncludes(result.stderr, 'Cannot serve webhook "far": this task may not reach');
    assertEquals(
      result.stdout,
      "0 delivered, 1 failed and tried again later, 0 dead letters\n",
    );
  }));

Deno.test("audit and webhooks exit with 2 when asked wrongly, and say what is right", () =>
  withStore(async (run) => {
    const create = ["webhooks", "create", "chat"];
    const url = ["--url", "https://1.1.1.1/"];
    const event = ["--event", "model_version.created"];
    const cases: readonly [args: readonly string[], part: string][] = [
      [["audit", "verfy"], 'did you mean "verify"?'],
      [["audit", "verify", "--head", "abc"], 'Cannot use --head "abc"'],
      [["audit", "list", "--head", "abc"], 'Cannot use --head with "audit list"'],
      [["audit", "--limit", "0"], "it must be a positive integer"],
      [["audit", "list", "more"], "usage is deno task audit list"],
      [["webhooks", "lst"], 'did you mean "list"?'],
      [["webhooks", "create"], "usage is deno task webhooks create NAME"],
      [[...create, ...event], "without --url"],
      [[...create, ...url], "without --event"],
      [[...create, ...url, "--event", "model_version.creatd"], 'did you mean "model_version.cre'],
      [[...create, ...event, "--url", "http://10.0.0.1/"], "--allow-local"],
      [[...create, ...url, ...event, "--secret-env", "HOME"], 'Cannot read a secret from "HOME"'],
      [[...create, ...url, ...event, "--state", "dead"], "Cannot use --state with"],
      [["webhooks", "update", "chat", "--status", "activ"], 'did you mean "ACTIVE"?'],
      [["webhooks", "delete", "chat"], 'Cannot find webhook "chat": there are none'],
      [["webhooks", "test", "chat"], 'Cannot find webhook "chat"'],
      [["webhooks", "replay", "none"], "none of this id"],
      [["webhooks", "deliveries", "--state", "ded"], 'did you mean "dead"?'],
    ];
    for (const [args, part] of cases) {
      const result = await run(...args);
      assertEquals(result.code, 2, `${args.join(" ")}: ${result.stdout}${result.stderr}`);
      assertStringIncludes(result.stderr, part);
      assertMatch(result.stderr, /^Cannot /);
    }
  }));

Deno.test("webhooks create refuses to keep a secret without a proper key", () =>
  withStore(async (_run, path) => {
    for (
      const [key, part] of [["", "GEOPHONE_SECRET_KEY is not set"], ["c2hvcnQ=", "it has 5 bytes"]]
    ) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          ...[
            "run",
            "-q",
            "--no-prompt",
            "-P=webhooks",
            join(ROOT, "cli.ts"),
            "webhooks",
            "create",
          ],
          ...["chat", "--url", "https://1.1.1.1/", "--event", "model_version.created"],
          ...["--set", `store=${path}`],
        ],
        cwd: ROOT,
        env: { GEOPHONE_SECRET_KEY: key, NO_COLOR: "1" },
        stdin: "null",
      }).output();
      assertEquals(code, 2);
      assertStringIncludes(new TextDecoder().decode(stderr), part);
    }
  }));
