import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { cliArgs, makeFlowers, runCli, withProjectFolder } from "./cli_runner.ts";

const CONFIG = `version: 1
name: flowers
store: flowers.duckdb
ingestion:
  train: [flowers.csv]
  production: [later.csv]
preprocessing:
  target: Species
training:
  params: { rounds: 15 }
monitoring:
  judging: { judges: [rule, combined], samplingRate: 0.3 }
`;

/** Runs a command that reads these keys. */
async function typeKeys(keys: string, args: readonly string[], cwd: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: cliArgs(args),
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(keys));
  await writer.close();
  const { code, stdout } = await child.output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, text);
  return text;
}

Deno.test("deno task judges shows, measures, examines, compares and labels what was judged", async (t) => {
  await withProjectFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "flowers.csv"), makeFlowers(1500));
    await Deno.writeTextFile(join(folder, "later.csv"), makeFlowers(300));
    await Deno.writeTextFile(join(folder, "flowers.yaml"), CONFIG);
    const judges = async (...args: string[]) =>
      await runCli(["judges", ...args, "--config", "flowers.yaml"], folder);
    const run = await runCli(["pipeline", "--config", "flowers.yaml"], folder);
    assertEquals(run.code, 0, run.stderr);

    await t.step("lists means with coverage, and nobody is trusted without a card", async () => {
      const { stdout } = await judges();
      assertMatch(stdout, /judge +version +judged +coverage +mean +low +high +status/);
      assertMatch(stdout, /combined +combined-1\+\w+ .* advisory/);
      assertMatch(stdout, /rule +rule-1 .* advisory/);
    });
    await t.step("makes cards, and compares by them", async () => {
      const none = await judges("compare", "combined", "rule");
      assertEquals(none.code, 2);
      assertStringIncludes(none.stderr, 'run "deno task judges card combined"');
      const card = await judges("card", "combined", "--rows", "100");
      assertEquals(card.code, 0, card.stderr);
      assertMatch(card.stdout, /status +trusted/);
      assertMatch(card.stdout, /coverage +100\.0 %/);
      assertMatch(card.stdout, /combined agrees with the truth beyond chance; .* the rule: AUC/);
      const rule = JSON.parse((await judges("card", "rule", "--rows", "100", "--json")).stdout);
      assertEquals([rule.judge, rule.n], ["rule", 100]);
      const compared = await judges("compare", "combined", "rule");
      assertMatch(
        compared.stdout,
        /100 predictions in common \(swapped\): .* \(DeLong\)\n\d+ are right by the first/,
      );
      assertMatch((await judges()).stdout, /combined-1\+\w+ .* trusted/);
    });
    await t.step("reports rates with intervals, or why there are none", async () => {
      const { stdout, stderr, code } = await judges("report");
      assertEquals(code, 0, stderr);
      assertMatch(
        stdout,
        /combined \(combined-1\+\w+\), trusted\n\nwhat +value\n[- ]+\njudged +\d+, \d+ of them scored/,
      );
      assertMatch(stdout, /mean score +0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\]/);
      assertMatch(stdout, /bad by PPI\+\+ +\d+ labels: needs 30/);
      assertMatch(stdout, /against the rule +(better|worse|adds nothing): AUC [+−]0\.\d{3} \[/);
      assertMatch(stdout, /agreement of combined, rule: Krippendorff's α /);
      const { judges: [rule], agreement } = JSON.parse(
        (await judges("report", "rule", "--json")).stdout,
      );
      assertEquals([rule.judge, rule.cutSource, agreement], ["rule", "card", null]);
      const unknown = await judges("report", "ruel");
      assertEquals(unknown.code, 2);
      assertStringIncludes(unknown.stderr, 'Cannot report judge "ruel"');
      assertEquals((await judges("report", "--rows", "3")).code, 2);
    });
    await t.step("examines a judge, and ends with 1 when it says nothing", async () => {
      const healthy = await judges("doctor", "rule");
      assertEquals(healthy.code, 0, healthy.stdout);
      assertMatch(
        healthy.stdout,
        /determinism +passed[\s\S]*label-swap +passed[\s\S]*rule \(rule-1\) passed/,
      );
      const silent = await judges("doctor", "length", "--json");
      assertEquals(silent.code, 1);
      assertEquals(JSON.parse(silent.stdout).is_quarantined, false);
    });
    await t.step("asks a person key by key", async () => {
      const said = await typeKeys("ynsu?q", [
        "judges",
        "label",
        "--by",
        "ann",
        "--config",
        "flowers.yaml",
      ], folder);
      assertMatch(said, /Is it \w+\? y good, n bad, s skip, u undo, q end/);
      assertMatch(
        said,
        /\n {2}good\n[\s\S]*\n {2}bad\n[\s\S]*\n {2}skipped\n[\s\S]*\n {2}taken back\n[\s\S]*1 labels kept\n$/,
      );
      await using store = await openStore(join(folder, "flowers.duckdb"));
      assertEquals(await store.query("select label, labeled_by from judge_labels"), [
        { label: "good", labeled_by: "ann" },
      ]);
      const [{ request_id, row }] = await store.query(
        "select request_id, row from judgements limit 1",
      );
      await Deno.writeTextFile(
        join(folder, "l.csv"),
        `request_id,row,label\n${request_id},${row},bad\n`,
      );
    });
    await t.step("takes the labels of a file, and refuses what is wrong", async () => {
      assertEquals((await judges("label", "l.csv")).stdout, "1 labels kept\n");
      const wrong = await judges("label", "flowers.csv");
      assertEquals(wrong.code, 2);
      assertStringIncludes(wrong.stderr, 'lacks the column "request_id"');
    });
    await t.step("writes a judge's file once, which a config can name", async () => {
      assertStringIncludes((await judges("new", "polite")).stdout, "wrote config/judges/polite.md");
      assertEquals((await judges("new", "polite")).code, 2);
      assertEquals((await judges("new", "../evil")).code, 2);
      const listed = await runCli(
        ["plugins", "--config", "flowers.yaml", "--set", "plugins=[./config/judges/polite.md]"],
        folder,
      );
      assertMatch(listed.stdout, /polite/);
    });
    await t.step("registers its text, which a config can name by an alias", async () => {
      const prompts = async (...args: string[]) =>
        await runCli(["prompts", ...args, "--config", "flowers.yaml"], folder);
      const file = "config/judges/polite.md";
      assertStringIncludes((await prompts()).stdout, "no prompt yet");
      assertStringIncludes((await prompts("register", file)).stdout, "registered polite/1");
      assertEquals((await prompts("register", file)).stdout, "polite/1 is this text already\n");
      assertMatch(
        (await prompts("alias", "polite", "production")).stdout,
        /^polite@production is version 1/,
      );
      assertMatch((await prompts()).stdout, /polite +1 +production/);
      assertEquals(
        (await prompts("show", "polite@production")).stdout,
        await Deno.readTextFile(join(folder, file)),
      );
      const judge = async (reference: string) =>
        await runCli(
          [
            "judge",
            "polite",
            "--config",
            "flowers.yaml",
            "--set",
            `plugins=[prompts:/${reference}]`,
          ],
          folder,
          { GEOPHONE_JUDGE_HOST: "http://127.0.0.1:1" },
        );
      // No server answers here: the judge is found, and says so.
      assertStringIncludes((await judge("polite@production")).stdout, "skipped");
      for (
        const [run, message] of [
          [judge("polite@prod"), "it has the versions 1 @production"],
          [judge(""), "it is none of NAME, NAME/VERSION and NAME@ALIAS"],
          [judge("polite.md"), 'Cannot find prompt "polite.md": '],
          [prompts("register", "none.md"), 'Cannot register prompt "none.md"'],
          [prompts("register", "flowers.csv"), "it does not begin with a header"],
          [prompts("show", "rude"), 'Cannot find prompt "rude": there are polite'],
          [prompts("alias", "polite/7", "production"), "it has the versions 1 @production"],
          [prompts("alias", "polite/1", "1"), 'Cannot set alias "1"'],
          [prompts("alias", "polite/1"), "usage is deno task prompts alias"],
        ] as const
      ) {
        const { code, stderr } = await run;
        assert(code === 2 && stderr.includes(message), stderr);
      }
    });
    await t.step("names a prompt that a config has before there is a store", async () => {
      const overrides = ["--set", "plugins=[prompts:/polite]", "--set", "store=none.duckdb"];
      const { code, stderr } = await runCli(
        ["pipeline", "--config", "flowers.yaml", ...overrides],
        folder,
      );
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, 'Cannot find prompt "polite": there is no store yet; ');
      await assertRejects(() => Deno.stat(join(folder, "none.duckdb")), Deno.errors.NotFound);
    });
    await t.step("refuses other actions, arguments and options", async () => {
      for (
        const [args, message] of [
          [["crad", "rule"], "card"],
          [["card"], "usage is deno task judges card NAME"],
          [["card", "rul"], "rule"],
          [["card", "rule", "--cases", "swaped"], "swapped"],
          [["card", "rule", "--rows", "0"], "positive integer"],
          [["list", "--rows", "3"], "none of these options"],
        ] as [string[], string][]
      ) {
        const { code, stderr } = await judges(...args);
        assert(code === 2 && stderr.includes(message), `${args.join(" ")}: ${stderr}`);
      }
    });
  });
});
