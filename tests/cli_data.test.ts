/** The commands that bring data in and out of the store. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { tableFromIPC } from "apache-arrow";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { createApp } from "../server.ts";
import { ROOT, runCli, withProjectFolder } from "./cli_runner.ts";
import { registerTestModel, testRecord } from "./model_fixture.ts";

const listFiles = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

/** A store with the request `r1` of two records, in a folder of its own, that nobody holds. */
function withStore(
  action: (
    folder: string,
    cli: (...args: string[]) => ReturnType<typeof runCli>,
  ) => Promise<void>,
): Promise<void> {
  return withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    {
      await using store = await openStore(path);
      await registerTestModel(store);
      await using app = await createApp({ store, model: "rocks", quiet: true });
      const response = await app.request("/predict", {
        method: "POST",
        headers: { "x-request-id": "r1" },
        body: JSON.stringify({ records: [testRecord(0), testRecord(1)] }),
      });
      await response.body?.cancel();
    }
    await action(folder, (...args) => runCli([...args, "--set", `store=${path}`]));
  });
}

Deno.test("sql writes every form to a file, whole or not at all", () =>
  withStore(async (folder, cli) => {
    const query = "select row, confidence > 0 as is_sure from inferences order by row";
    for (
      const [format, expected] of [
        ["csv", "row,is_sure\n0,true\n1,true\n"],
        ["ndjson", '{"row":0,"is_sure":true}\n{"row":1,"is_sure":true}\n'],
        ["json", '[\n{"row":0,"is_sure":true},\n{"row":1,"is_sure":true}\n]\n'],
      ]
    ) {
      const out = join(folder, `out.${format}`);
      const result = await cli("sql", query, "--format", format, "--out", out);
      assertEquals([result.code, result.stdout], [0, ""], result.stderr);
      assertEquals(result.stderr, `wrote 2 rows to ${out}\n`);
      assertEquals(await Deno.readTextFile(out), expected);
      const printed = await cli("sql", query, "--format", format);
      assertEquals(printed.stdout, expected);
    }
    const out = join(folder, "out.arrows");
    const limited = await cli("sql", query, "--format", "arrow", "--out", out, "--limit", "1");
    assertStringIncludes(limited.stderr, "note: only the first 1 rows; use --limit for more");
    const table = tableFromIPC(await Deno.readFile(out));
    assertEquals([table.numRows, table.schema.metadata.get("is_truncated")], [1, "true"]);

    await Deno.mkdir(join(folder, "sub"));
    const before = listFiles(folder);
    for (
      const [args, message] of [
        [
          ["--format", "xml"],
          'Cannot find format "xml": there are table, json, ndjson, csv, arrow',
        ],
        [["--format", "arow"], 'did you mean "arrow"?'],
        [["--format", "csv", "--json"], "Cannot print json and csv at once: choose one"],
        [["--csv", "--json"], "choose one"],
        [["--out", join(folder, "no/out.csv")], "there is no such folder"],
        [["--out", join(folder, "sub")], "it is a folder; name a file"],
        [["--out", "/elsewhere/out.csv"], "writes inside the project folder alone"],
        [["--out", join(folder, `${"x".repeat(300)}.csv`)], "File name too long"],
        [["--limit", "0"], "positive integer"],
        [["--limit", "many"], "must be a number"],
      ] as const
    ) {
      const result = await cli("sql", query, ...args);
      assertEquals(result.code, 2, result.stderr);
      assertStringIncludes(result.stderr, message);
    }
    const wrong = await cli("sql", "selec 1", "--format", "csv", "--out", join(folder, "out.csv"));
    assertEquals(wrong.code, 2);
    assertEquals(await Deno.readTextFile(join(folder, "out.csv")), "row,is_sure\n0,true\n1,true\n");
    assertEquals(listFiles(folder), before);
  }));

Deno.test("sql does not print Arrow to a terminal", async () => {
  // `script` gives a command a terminal; without it there is none to try.
  const hasScript = await new Deno.Command("script", { args: ["--version"] }).output()
    .then(({ code }) => code === 0, () => false);
  if (!hasScript) return;
  const command = `${Deno.execPath()} run -q --no-prompt -P=project ${
    join(ROOT, "cli.ts")
  } sql 'select 1' --format arrow`;
  const { stdout } = await new Deno.Command("script", {
    args: ["-qec", command, "/dev/null"],
    stdin: "null",
  }).output();
  assertStringIncludes(new TextDecoder().decode(stdout), "Cannot print arrow to a terminal");
});

Deno.test("labels come from a file and from a query, checked first, also while the store is held", () =>
  withStore(async (folder, cli) => {
    const file = join(folder, "cores.csv");
    await Deno.writeTextFile(file, "request_id,row,label\nr1,0,sandstone\nr1,1,Sandston\n");
    const check = await cli("labels", file, "--check");
    assertEquals(check.code, 0, check.stderr);
    assertEquals(
      check.stdout,
      "2 labels: 2 new, 0 corrected, 0 same, 0 of records never predicted\n" +
        '  "Sandston" (1) is no class of rocks version 1; did you mean "sandstone"?\n' +
        "nothing was stored: leave --check away\n",
    );
    const refused = await cli("labels", file);
    assertEquals(refused.code, 2);
    assertStringIncludes(refused.stderr, "or allow new classes by --allow-new-classes");
    const stored = await cli("labels", file, "--allow-new-classes", "--source", "lab", "--json");
    assertEquals(JSON.parse(stored.stdout), {
      is_stored: true,
      total: 2,
      new: 2,
      corrected: 0,
      same: 0,
      missing: 0,
      first_missing: [],
      new_classes: [
        { label: "Sandston", model: "rocks", version: 1, labels: 1, nearest: "sandstone" },
      ],
      ignored_columns: [],
    });
    // This process holds the store now, and reads the file for the command.
    await using store = await openStore(join(folder, "store.duckdb"));
    const sql = "select request_id, row, 'siltstone' as label from inferences";
    const corrected = await cli("labels", "--sql", sql);
    assertStringIncludes(corrected.stdout, "2 labels: 0 new, 2 corrected, 0 same");
    const again = await cli("labels", file, "--allow-new-classes");
    assertStringIncludes(again.stdout, "2 labels: 0 new, 2 corrected, 0 same");
    assertEquals(await store.query("select row, label from labels order by row"), [
      { row: 0, label: "sandstone" },
      { row: 1, label: "Sandston" },
    ]);
    assertEquals(await store.query("select count(*) as n from label_history"), [{ n: 6 }]);

    await Deno.writeTextFile(file, "request_id,label\nr2,sandstone\nr1,sandstone\n");
    for (
      const [args, message] of [
        [[], "Cannot store labels of nothing: name a file, or give --sql"],
        [[file, "--sql", sql], "at once: choose one"],
        [[file], 'nothing was predicted for "r2" row 0; none was stored; correct them, or leave'],
        [["--sql", "delete from core.labels"], "only SELECT is allowed"],
        [["--sql", "select 1 as label"], 'lacks the column "request_id"'],
      ] as const
    ) {
      const result = await cli("labels", ...args);
      assertEquals(result.code, 2, result.stderr);
      assertStringIncludes(result.stderr, message);
    }
    const gone = await cli("labels", join(folder, "gone.csv"));
    assert(gone.code !== 0 && gone.stderr.includes("there is no such file"), gone.stderr);
    const partial = await cli("labels", file, "--allow-missing");
    assertStringIncludes(partial.stdout, '  nothing was predicted for "r2" row 0\nstored 0\n');
  }));
