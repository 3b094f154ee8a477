import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { createApp } from "../server.ts";
import { runCli, withProjectFolder } from "./cli_runner.ts";

Deno.test("keys are made, shown once, rotated and revoked while a server runs", () =>
  withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    const keys = (...args: string[]) => runCli(["keys", ...args, "--set", `store=${path}`]);
    const none = await keys("list");
    assertEquals(none.code, 2);
    assertStringIncludes(none.stderr, 'run "deno task pipeline" first');

    await using store = await openStore(path);
    await using app = await createApp({ store, model: "rocks", quiet: true });
    const status = async (secret: string) => {
      await app.refresh();
      return (await app.request("/", { headers: { "x-api-key": secret } })).status;
    };
    assertStringIncludes((await keys()).stdout, "no key yet");
    const created = await keys(
      ...["create", "ci", "--role", "predictor", "--expires", "90d", "--rows-per-minute", "1000"],
      ...["--rows-per-day", "5000", "--reason", "nightly"],
    );
    assertEquals(created.code, 0, created.stderr);
    assertMatch(created.stdout, /^gp_[0-9a-f]{12}_[0-9a-f]{48}\n$/);
    assertMatch(created.stderr, /^key "ci" \(gp_[0-9a-f]{12}\), role predictor, expires 20/);
    const secret = created.stdout.trim();
    assertEquals(await status(secret), 200);

    const rotated = JSON.parse((await keys("rotate", "ci", "--grace", "1h", "--json")).stdout);
    assertEquals(rotated.name, "ci");
    assertEquals([await status(secret), await status(rotated.secret)], [200, 200]);
    const revoked = await keys("revoke", secret.slice(0, 15), "--reason", "in a log");
    assertEquals(revoked.stdout.includes(rotated.id), false);
    assertEquals([await status(secret), await status(rotated.secret)], [403, 200]);
    assertEquals((await keys("revoke", "ci")).code, 0);
    assertEquals(await status(rotated.secret), 403);

    const list = await keys("list");
    const json = await keys("list", "--json");
    const history = await keys("history", "--json");
    for (const { stdout } of [list, json, history]) {
      for (const each of [secret, rotated.secret]) {
        assertEquals(stdout.includes(each.slice(16)), false);
        assert(stdout.includes(each.slice(0, 15)));
      }
      assertEquals(/[0-9a-f]{48}/.test(stdout), false);
    }
    assertEquals(
      JSON.parse(json.stdout).map((row: Record<string, unknown>) => [
        row.name,
        row.role,
        row.state,
        row.rows_per_minute,
        row.rows_per_day,
        row.requests_per_day,
      ]),
      Array(2).fill(["ci", "predictor", "revoked", 1000, 5000, null]),
    );
    assertEquals(
      JSON.parse(history.stdout).map((row: Record<string, unknown>) => [row.action, row.reason]),
      [
        ["created", "nightly"],
        ["rotated", "rotated by hand"],
        ["created", `replaces ${secret.slice(0, 15)}`],
        ["revoked", "in a log"],
        ["revoked", "revoked by hand"],
      ],
    );
  }));

Deno.test("keys exits with 2 when asked wrongly, and says what is right", () =>
  withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await (await openStore(path)).close();
    const cases: readonly [args: readonly string[], part: string][] = [
      [["creat", "ci"], 'did you mean "create"?'],
      [["create"], "usage is deno task keys create NAME"],
      [["create", "ci"], "without --role"],
      [["create", "ci", "--role", "predicter"], 'did you mean "predictor"?'],
      [["create", "ci", "--role", "viewer", "--expires", "90"], "such as 24h or 90d"],
      [["create", "ci", "--role", "viewer", "--expires", "0d"], "never work"],
      [["create", "ci", "--role", "viewer", "--rows-per-minute", "0"], "positive integer"],
      [["create", "ci", "--role", "viewer", "--grace", "1h"], "Cannot use --grace"],
      [["create", "C I", "--role", "viewer"], "a name begins with a letter"],
      [["revoke", "ci"], 'Cannot find key "ci": there are none'],
      [["rotate", "ci", "--role", "admin"], "Cannot use --role"],
    ];
    for (const [args, part] of cases) {
      const result = await runCli(["keys", ...args, "--set", `store=${path}`]);
      assertEquals(result.code, 2, `${args.join(" ")}: ${result.stdout}${result.stderr}`);
      assertStringIncludes(result.stderr, part);
      assertMatch(result.stderr, /^Cannot /);
    }
  }));
