import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { cliArgs, type CliResult, makeFlowers, withProjectFolder } from "./cli_runner.ts";
import { flipArtifact } from "./tampering.ts";

const CONFIG = `version: 1
name: flowers
ingestion: { train: [flowers.csv] }
preprocessing: { target: Species }
evaluation: { replicates: 100, baselines: [prior] }
training: { params: { rounds: 10 } }
registry: { intendedUse: Flowers of these three species }
`;

interface Cli {
  readonly folder: string;
  /** Runs \`models …\` as somebody. */
  models(by: string, ...args: string[]): Promise<CliResult>;
}

/** A folder with a released version, and strict gates in staging. */
function withProject(action: (cli: Cli) => Promise<void>): Promise<void> {
  return withProjectFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "flowers.csv"), makeFlowers());
    await Deno.writeTextFile(join(folder, "flowers.yaml"), CONFIG);
    await Deno.writeTextFile(
      join(folder, "staging.yaml"),
      "release: { approvals: { count: 1, fourEyes: true } }\n",
    );
    const run = async (by: string, ...args: string[]): Promise<CliResult> => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: cliArgs([...args, "--config", "flowers.yaml"]),
        cwd: folder,
        env: { NO_COLOR: "1", GEOPHONE_USER: by },
        stdin: "null",
      }).output();
      const decoder = new TextDecoder();
      return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
    };
    const { code, stderr } = await run("ada", "pipeline");
    assertEquals(code, 0, stderr);
    await action({ folder, models: (by, ...args) => run(by, "models", ...args) });
  });
}

Deno.test("models promotes by the gates, approves with four eyes, pushes by hash and tells what was", () =>
  withProject(async ({ folder, models }) => {
    const strict = ["--set", "release.minMacroF1=1"];
    const refused = await models("ada", "promote", "1", "next", ...strict);
    assertEquals(refused.code, 1, refused.stderr);
    assertMatch(refused.stdout, /^FAIL {2}macro-F1 .* against 1\.000/m);
    assertMatch(refused.stdout, /not promoted: flowers@next points to no version\n$/);
    const forced = await models(
      ...["ada", "promote", "1", "next", ...strict, "--force", "--reason", "the show"] as const,
    );
    assertEquals(forced.code, 0, forced.stderr);
    assertStringIncludes(forced.stdout, "flowers@next is version 1, forced against the gates");

    const pushed = await models("ada", "push", "1", "--to", "staging");
    assertEquals(pushed.code, 0, pushed.stderr);
    assertStringIncludes(
      pushed.stdout,
      "flowers version 1 of dev is version 1 of staging (evidence ",
    );
    const staging = ["--env", "staging"];
    const own = await models("ada", "approve", "1", ...staging);
    assertEquals(own.code, 2);
    assertStringIncludes(own.stderr, "ada registered it; somebody else has to");
    const blocked = await models("bob", "promote", "1", "production", ...staging);
    assertEquals(blocked.code, 1);
    assertStringIncludes(blocked.stdout, "FAIL  0 of 1 approvals by role operator");
    assertEquals((await models("bob", "approve", "1", ...staging, "--reason", "fine")).code, 0);
    const again = await models("ada", "push", "1", "--to", "staging", "--alias", "production");
    assertEquals(again.code, 0, again.stdout + again.stderr);
    assertStringIncludes(again.stdout, "is version 1 of staging, as before");
    assertStringIncludes(again.stdout, "flowers@production is version 1");
    const rejected = await models("bob", "reject", "1", ...staging, "--json");
    assertEquals(JSON.parse(rejected.stdout).decision, "rejected");
    const json = JSON.parse(
      (await models("ada", "promote", "1", "production", ...staging, "--json")).stdout,
    );
    assertEquals([json.isPassed, json.isPromoted, json.checks.at(-1).check], [
      false,
      false,
      "approvals",
    ]);

    const before = await models("ada", "at", "production", "2020-01-01");
    assertStringIncludes(
      before.stdout,
      "flowers@production pointed to no version at 2020-01-01T00",
    );
    const now = new Date().toISOString();
    const after = await models("ada", "at", "production", now, "--json");
    assertEquals(JSON.parse(after.stdout), {
      model: "flowers",
      alias: "production",
      time: now,
      version: 1,
    });
    const card = await models("ada", "card", "--out", "card.md", ...staging);
    assertEquals(card.code, 0, card.stderr);
    const text = await Deno.readTextFile(join(folder, "card.md"));
    for (
      const part of [
        "## Intended use\n\nFlowers of these three species",
        "| pushed from | dev, version 1 of dev.duckdb, ",
        "| bob | admin | rejected |",
        "| refused |",
      ]
    ) assertStringIncludes(text, part);
    assertEquals((await models("ada", "card", ...staging)).stdout, text);
  }));

Deno.test("models says what was asked wrongly, and exits with 2", () =>
  withProject(async ({ models }) => {
    const cases: readonly (readonly [args: readonly string[], part: string])[] = [
      [["promot", "1", "next"], 'did you mean "promote"?'],
      [["promote", "1"], "usage is deno task models promote REF ALIAS"],
      [["promote", "9", "next"], 'Cannot find "9" of model "flowers"'],
      [["promote", "1", "v3"], 'Cannot set alias "v3"'],
      [["promote", "1", "next", "--force"], "Cannot use --force without --reason"],
      [["promote", "1", "next", "--set", "release.minimums={acuracy: 0.5}"], "release.minimums"],
      [["promote", "1", "next", "--set", "release.approvals.role=boss"], "release.approvals.role"],
      [["promote", "1", "next", "--set", "release.gates=[{name: A B, sql: x}]"], "small letters"],
      [["list", "--force"], 'Cannot use --force with "models list"'],
      [["approve"], "usage is deno task models approve REF"],
      [["reject", "@nobody"], 'Cannot find "@nobody"'],
      [["at", "production"], "usage is deno task models at ALIAS TIME"],
      [["at", "production", "yesterday"], 'Cannot use time "yesterday"'],
      [["at", "production", "2026-13-45"], 'Cannot use time "2026-13-45"'],
      [["at", "production", "2999-01-01"], "it has not come yet"],
      [["at", "nobody", "2020-01-01"], 'Cannot find "@nobody"'],
      [["push", "1"], "without --to: there are dev, staging, production"],
      [["push", "1", "--to", "stagin"], 'did you mean "staging"?'],
      [["push", "1", "--to", "dev"], "dev has the same store"],
      [["card", "1", "--out", "none/card.md"], "there is no such folder"],
    ];
    for (const [args, part] of cases) {
      const { code, stdout, stderr } = await models("ada", ...args);
      assertEquals(code, 2, `${args.join(" ")}: ${stdout}${stderr}`);
      assertStringIncludes(stderr, part);
      assertMatch(stderr, /^Cannot [^]*[^.]\n$/);
    }
  }));

Deno.test("models promotes, pushes and describes no version of which a byte has changed", () =>
  withProject(async ({ folder, models }) => {
    {
      await using store = await openStore(join(folder, ".geophone/dev.duckdb"));
      const [{ hash }] = await store.query<{ hash: string }>(
        "select evidence_hash as hash from core.model_versions",
      );
      await flipArtifact(store, hash);
    }
    for (
      const args of [
        ["promote", "1", "next"],
        ["promote", "1", "next", "--force", "--reason", "x"],
        ["approve", "1"],
        ["push", "1", "--to", "staging"],
        ["card", "1"],
      ]
    ) {
      const { code, stderr } = await models("ada", ...args);
      assertEquals(code, 1, args.join(" "));
      assertStringIncludes(stderr, 'Cannot use model "flowers" version 1: its evidence changed');
    }
  }));
