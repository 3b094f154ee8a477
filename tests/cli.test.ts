import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { type CliResult, makeFlowers, ROOT, runCli, withProjectFolder } from "./cli_runner.ts";

const STACK_LINE = /^\s+at .*\w+\.ts:\d+/m;

function assertCode(expected: number, result: CliResult): void {
  const { code, stdout, stderr } = result;
  assertEquals(code, expected, `Expected exit code ${expected}, got ${code}: ${stdout}${stderr}`);
}

Deno.test("every command has a task, and --help that names its options", async () => {
  const overview = await runCli(["help"]);
  assertCode(0, overview);
  for (const args of [[], ["-h"], ["--help"]]) {
    assertEquals((await runCli(args)).stdout, overview.stdout);
  }
  const names = [...overview.stdout.matchAll(/^ {2}deno task (\w+)/gm)].map(([, name]) => name);
  assertEquals(names.length, 25);
  const project = await Deno.readTextFile(join(ROOT, "deno.json"));
  for (const name of names) {
    assertMatch(project, new RegExp(`"${name}": "deno run .*-P=\\w+ cli.ts ${name}"`));
    const help = await runCli([name, "--help"]);
    assertCode(0, help);
    assertMatch(help.stdout, new RegExp(`^deno task ${name}\\b`));
    for (const part of ["Options:", "--help", "--debug", "Examples:"]) {
      assertStringIncludes(help.stdout, part);
    }
    assertEquals(help.stderr, "");
  }
});

Deno.test("every stage has --help that names its parameters", async () => {
  const { stages } = await import("../mod.ts");
  for (const { name, summary } of stages) {
    const help = await runCli(["stage", name, "--help"]);
    assertCode(0, help);
    assertStringIncludes(help.stdout, summary);
    assertStringIncludes(help.stdout, `section "${name}"`);
  }
});

Deno.test("a wrong name exits with 2 and gives the right one, without a stack", async () => {
  await withProjectFolder(async (folder) => {
    const memory = ["--set", `store=${folder}/none.duckdb`];
    const cases: readonly [args: readonly string[], right: string][] = [
      [["pipelin"], 'did you mean "pipeline"?'],
      [["pipeline", "--quik"], 'did you mean "--quick"?'],
      [["pipeline", ...memory, "--from", "trainig"], 'did you mean "training"?'],
      [["pipeline", ...memory, "--only", "trainig"], 'did you mean "training"?'],
      [["stage", "trainig"], 'did you mean "training"?'],
      [["pipeline", ...memory, "--set", "training.trainer=boostng"], "boosting"],
      [["pipeline", ...memory, "--env", "prodution"], "production"],
      [["pipeline", ...memory, "--set", "traning.trainer=prior"], 'did you mean "training"?'],
      [["pipeline", ...memory, "--set", "training.trainr=prior"], 'did you mean "trainer"?'],
      [["pipeline", ...memory, "--set", "training.params.round=9"], 'did you mean "rounds"?'],
      [["plugins", "trainr"], 'did you mean "trainer"?'],
      [["models", ...memory, "lst"], 'did you mean "list"?'],
      [["init", "data/README.md"], "--target"],
      [["pipeline", "--config", "config/well.yaml"], "config/well.yaml"],
      [["notebook", "notebooks/quickstart.ipynb"], "there is no such file"],
    ];
    for (const [args, right] of cases) {
      const result = await runCli(args);
      assertCode(2, result);
      assertStringIncludes(result.stderr, right);
      assertMatch(result.stderr, /^Cannot /);
      assert(!STACK_LINE.test(result.stderr), result.stderr);
    }
  });
});

Deno.test("wrong arguments exit with 2 and say what is wanted", async () => {
  const cases: readonly [args: readonly string[], part: string][] = [
    [["sql"], "usage: deno task sql"],
    [["predict", "one.csv"], "usage: deno task predict IN OUT"],
    [["pipeline", "extra"], "usage: deno task pipeline"],
    [["pipeline", "--config"], "argument missing"],
    [["pipeline", "--only", "training", "--to", "release"], "choose one"],
    [["pipeline", "--from", "release", "--to", "training"], "the order is"],
    [["pipeline", "--seed", "x"], "it must be a number"],
    [["pipeline", "--set", "training"], "write it as section.key=value"],
    [["sql", "select 1", "--json", "--csv"], "choose one"],
    [["sql", "select 1", "--limit", "0"], "positive integer"],
  ];
  for (const [args, part] of cases) {
    const result = await runCli(args);
    assertCode(2, result);
    assertStringIncludes(result.stderr, part);
  }
});

Deno.test("--debug shows the stack of an error and of its cause", async () => {
  const { code, stderr } = await runCli(["notebook", "notebooks/none.ipynb", "--debug"]);
  assertEquals(code, 2);
  assertMatch(stderr, STACK_LINE);
});

Deno.test("a table of flowers goes from init to predictions", async (t) => {
  await withProjectFolder(async (folder) => {
    const store = join(folder, "flowers.duckdb");
    const config = join(folder, "config/flowers.yaml");
    const options = ["--config", config, "--set", `store=${store}`];
    const cli = (...args: string[]) => runCli(args, folder);
    await Deno.writeTextFile(join(folder, "flowers.csv"), makeFlowers());

    await t.step("init writes a config and names the next command", async () => {
      const result = await cli("init", "flowers.csv", "--target", "Species");
      assertCode(0, result);
      assertStringIncludes(result.stdout, "300 rows, 3 features, 3 classes");
      assertStringIncludes(result.stdout, "next: deno task pipeline --config config/flowers.yaml");
      const again = await cli("init", "flowers.csv", "--target", "Species");
      assertCode(2, again);
      assertStringIncludes(again.stderr, "--force");
    });

    await t.step("commands before the first run say what to do", async () => {
      for (const command of [["sql", "select 1"], ["models"], ["alerts"], ["judge"], ["serve"]]) {
        const result = await cli(...command, ...options);
        assertCode(2, result);
        assertStringIncludes(result.stderr, 'run "deno task pipeline" first');
      }
      const doctor = await cli("doctor", ...options);
      assertCode(0, doctor);
      assertStringIncludes(doctor.stdout, "is not there yet");
    });

    await t.step("pipeline fails with 1 and the command that goes on", async () => {
      const wrong = ["--set", "ingestion.train=[none of these.csv]"];
      const result = await cli("pipeline", ...options, ...wrong);
      assertCode(1, result);
      assertStringIncludes(
        result.stdout,
        `deno task pipeline --config ${config} --set store=${store} ` +
          "--set 'ingestion.train=[none of these.csv]' --from ingestion\n",
      );
      assertMatch(result.stderr, /^Cannot finish stage "ingestion": .*none of these\.csv/);
      assert(!STACK_LINE.test(result.stderr), result.stderr);
      const debug = await cli("pipeline", ...options, ...wrong, "--debug");
      assertCode(1, debug);
      assertMatch(debug.stderr, STACK_LINE);
      assertStringIncludes(debug.stderr, "Caused by: ");
      const json = await cli("pipeline", ...options, ...wrong, "--json");
      assertCode(1, json);
      assertEquals(JSON.parse(json.stdout).status, "failed");
    });

    await t.step("pipeline --dry-run changes nothing", async () => {
      const result = await cli("pipeline", ...options, "--dry-run");
      assertCode(0, result);
      assertEquals(result.stdout.match(/would run/g)?.length, 9);
    });

    await t.step("pipeline runs nine stages and releases a version", async () => {
      const result = await cli("pipeline", ...options, "--quick");
      assertCode(0, result);
      for (const part of ["9/9 release", "flowers version 1", "macro-F1", "deno task serve"]) {
        assertStringIncludes(result.stdout, part);
      }
    });

    await t.step("pipeline is served from the cache when nothing has changed", async () => {
      const result = await cli("pipeline", ...options, "--quick");
      assertCode(0, result);
      assertEquals(result.stdout.match(/^.* \d\/9 \w+ +cached/gm)?.length, 9);
      assertStringIncludes(result.stdout, "all stages were served from the cache");
    });

    await t.step("pipeline runs again what a changed parameter touches", async () => {
      const result = await cli(
        "pipeline",
        ...options,
        "--json",
        "--set",
        "evaluation.replicates=300",
      );
      assertCode(0, result);
      const { status, stages } = JSON.parse(result.stdout);
      assertEquals(status, "done");
      const ran = (stages as { stage: string; status: string; reason: string }[])
        .filter(({ status }) => status === "done");
      assertStringIncludes(JSON.stringify(ran), "parameters changed: replicates");
    });

    await t.step("stage runs one stage alone", async () => {
      const result = await cli("stage", "evaluation", ...options);
      assertCode(0, result);
      assertStringIncludes(result.stdout, "skipped");
      assertStringIncludes(result.stdout, "5/9 evaluation");
    });

    await t.step("predict adds prediction, confidence and a probability per class", async () => {
      const result = await cli("predict", "flowers.csv", "out.csv", ...options);
      assertCode(0, result);
      assertStringIncludes(result.stdout, "300 rows predicted by flowers version");
      const [head, ...rows] = (await Deno.readTextFile(join(folder, "out.csv"))).trim().split("\n");
      assertEquals(
        head.split(",").slice(-5),
        ["prediction", "confidence", "probability_iris", "probability_rose", "probability_tulip"],
      );
      assertEquals(rows.length, 300);
      const right = rows.map((row) => row.split(",")).filter((row) => row[0] === row[5]).length;
      assert(right > 240, `${right} of 300 predictions are right`);
      const missing = await cli("predict", "none.csv", "none_out.csv", ...options);
      assertCode(1, missing);
      assertStringIncludes(missing.stderr, "none.csv");
    });

    await t.step("sql prints a table, JSON and CSV, and refuses to write", async () => {
      const query = "select 'a,b' as text, 1.5 as number, null as nothing";
      const table = await cli("sql", query, ...options);
      assertStringIncludes(table.stdout, "a,b      1.5");
      assertStringIncludes(table.stdout, "1 row");
      const json = await cli("sql", query, "--json", ...options);
      assertEquals(JSON.parse(json.stdout), [{ text: "a,b", number: 1.5, nothing: null }]);
      const csv = await cli("sql", query, "--csv", ...options);
      assertEquals(csv.stdout, 'text,number,nothing\n"a,b",1.5,\n');
      const runs = await cli("sql", "select count(*) as n from runs", "--json", ...options);
      assert(JSON.parse(runs.stdout)[0].n >= 4);
      for (const wrong of ["drop view runs", "selec 1", "select * from nowhere"]) {
        const result = await cli("sql", wrong, ...options);
        assertCode(2, result);
        assert(!STACK_LINE.test(result.stderr), result.stderr);
      }
    });

    await t.step("models lists, shows, promotes and rolls back", async () => {
      const list = await cli("models", ...options, "--json");
      const versions = JSON.parse(list.stdout).map(({ version }: { version: number }) => version);
      assert(versions.includes(1), list.stdout);
      assertCode(0, await cli("models", "promote", "1", "spare", "--reason", "a test", ...options));
      const shown = await cli("models", "show", "spare", ...options);
      assertStringIncludes(shown.stdout, "flowers version 1");
      const history = await cli("models", "history", "--json", ...options);
      assertStringIncludes(history.stdout, '"reason":"a test"');
      assertCode(2, await cli("models", "show", "nobody", ...options));
    });

    await t.step("alerts evaluates every alert", async () => {
      const result = await cli("alerts", ...options);
      assertCode(0, result);
      assertStringIncludes(result.stdout, "data_drift");
      const json = JSON.parse((await cli("alerts", "--json", ...options)).stdout);
      assertEquals(json.failed_sinks, {});
      const wrong = await cli("alerts", "data_drft", ...options);
      assertCode(2, wrong);
      assertStringIncludes(wrong.stderr, 'did you mean "data_drift"?');
    });

    await t.step("judge asks the judges that can answer", async () => {
      const result = await cli("judge", "rule", ...options);
      assertCode(0, result);
      assertStringIncludes(result.stdout, "judged");
      const wrong = await cli("judge", "rul", ...options);
      assertCode(2, wrong);
      assertStringIncludes(wrong.stderr, 'did you mean "rule"?');
    });

    await t.step("doctor and plugins answer", async () => {
      const doctor = await cli("doctor", ...options);
      assertCode(0, doctor);
      assertStringIncludes(doctor.stdout, "DuckDB v");
      const plugins = await cli("plugins", "trainer", ...options);
      assertCode(0, plugins);
      assertStringIncludes(plugins.stdout, "boosting");
      const json = JSON.parse((await cli("plugins", "--json", ...options)).stdout);
      assert(json.some(({ kind }: { kind: string }) => kind === "judge"));
    });
  });
});
