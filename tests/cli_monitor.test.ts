import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { ROOT, runCli, withProjectFolder } from "./cli_runner.ts";
import { registerTestModel, testClasses } from "./model_fixture.ts";

/** A store whose model `wells` made fifty predictions on each of two days past; the second moved. */
async function fillStore(path: string): Promise<void> {
  await using store = await openStore(path, { publish: false });
  await registerTestModel(store, { model: "wells" });
  for (const [daysAgo, gr] of [[3, 50], [2, 90]]) {
    await store.query(
      `insert into core.inferences by name select ?::varchar as request_id, range::integer as row,
         date_trunc('day', now() at time zone 'UTC') - to_days(?::integer) + to_minutes(range)
           as request_time, 'wells' as model, 1 as version,
         [? + range % 10, 2.5, null]::double[] as features, ? as label, 0.8 as confidence,
         [0.8, 0.1, 0.1]::float[] as probabilities from range(50)`,
      [`r${daysAgo}`, daysAgo, gr, testClasses[0]],
    );
  }
}

Deno.test("monitor computes closed windows, and monitor profile shows the latest one", async () => {
  await withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await fillStore(path);
    const monitor = (...args: string[]) =>
      runCli(["monitor", ...args, "--set", `store=${path}`], ROOT);
    const before = await monitor("profile");
    assertEquals(before.code, 0);
    assertStringIncludes(
      before.stdout,
      'no window of wells version 1 has been computed: "deno task monitor" computes those that have closed',
    );
    await monitor("--once");
    const text = await monitor("profile");
    assertMatch(text.stdout, /^1 day, [\d-]+ 00:00 to [\d-]+ 00:00 UTC: 50 rows, no labels$/m);
    assertMatch(text.stdout, /^GR +0 +94\.5 +94\.5 .* ks +1 .* yes$/m);
    assertMatch(text.stdout, /^NPHI +100 .* 0 reference values, it takes 30$/m);
    assertMatch(text.stdout, /^cost of profile: 100 of 100 rows in [\d,]+ ms$/m);
    assertMatch(text.stdout, /^cost of estimates of 1 day: 100 of 100 rows in [\d,]+ ms$/m);
    const { model, version, profiles } = JSON.parse((await monitor("profile", "--json")).stdout);
    assertEquals([model, version, profiles.length, profiles[0].rows], ["wells", 1, 1, 50]);
    assertEquals(profiles[0].columns[0].column, "GR");
  });
});

Deno.test("monitor refuses an action it does not know, and profile as a daemon", async () => {
  const wrong = await runCli(["monitor", "profil"], ROOT);
  assertEquals(wrong.code, 2);
  assertStringIncludes(
    wrong.stderr,
    'Cannot find action of monitor "profil"; did you mean "profile"?',
  );
  const daemon = await runCli(["monitor", "profile", "--daemon"], ROOT);
  assertEquals(daemon.code, 2);
  assertStringIncludes(daemon.stderr, "Cannot use --once or --daemon with profile: it only reads");
});

Deno.test("monitor names a metric that fails, evaluates the alerts and ends with 1", async () => {
  await withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await fillStore(path);
    const { code, stdout, stderr } = await runCli([
      "monitor",
      "--set",
      `store=${path}`,
      "--set",
      // What the rows hold is known when they are read.
      'monitoring.profile.metrics=[{"name": "bad", "kind": "aggregate", "sql": "sum(request_id::integer)"}]',
    ], ROOT);
    assertEquals(code, 1);
    assertMatch(stderr, /^warning: the profile is not whole: metric "bad": .*Could not convert/m);
    assertStringIncludes(stdout, "data_drift");
  });
});

Deno.test("monitor, serve and pipeline refuse an expression that no window can compute before they begin", async () => {
  await withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await fillStore(path);
    for (const command of ["monitor", "serve", "pipeline"]) {
      const { code, stdout, stderr } = await runCli([
        command,
        "--set",
        `store=${path}`,
        "--set",
        'monitoring.profile.slices=["slice", "NOSUCH > 1"]',
      ], ROOT);
      assertEquals([code, stdout], [2, ""], stderr);
      assertStringIncludes(
        stderr,
        'Cannot compute "NOSUCH > 1" of monitoring.profile.slices[1]: Referenced column "NOSUCH" ' +
          "not found in FROM clause; write SQL over GR, ",
      );
    }
  });
});

Deno.test("monitor profile says what precision a lower rate costs, and which rate a budget gives next", async () => {
  await withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await fillStore(path);
    const set = (...values: string[]) => values.flatMap((value) => ["--set", value]);
    const options = set(
      `store=${path}`,
      "monitoring.sampling.profile.rate=0.5",
      "monitoring.sampling.profile.budget.rows=10",
    );
    await runCli(["monitor", "--once", ...options], ROOT);
    const { stdout } = await runCli(["monitor", "profile", ...options], ROOT);
    assertMatch(stdout, /^1 day, .* UTC: about \d+ rows, no labels$/m);
    assertMatch(
      stdout,
      /^cost of profile: \d+ of 100 rows in [\d,]+ ms; budget 10 rows a window; at a rate of 0\.5 standard errors are 1\.41\d* times as wide; next rate 0\.\d+$/m,
    );
    const wrong = await runCli(
      ["monitor", "profile", ...set("monitoring.sampling.profile.rate=0")],
      ROOT,
    );
    assertEquals(wrong.code, 2);
    assertStringIncludes(wrong.stderr, "monitoring.sampling.profile.rate");
  });
});
