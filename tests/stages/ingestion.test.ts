import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parse } from "@std/yaml";
import { las } from "../../plugins/sources/las.ts";
import { csv, json, parquet } from "../../plugins/sources/table.ts";
import type { Context } from "../../runtime/stage.ts";
import { UsageError } from "../../runtime/errors.ts";
import { ingestion } from "../../stages/ingestion.ts";
import { openTestContext, type TestContext } from "../stage_context.ts";

const sources = [las, csv, parquet, json];
const root = new URL("../..", import.meta.url).pathname;

/** Files by name in a folder that is the context's `baseDir`. */
async function withFiles(
  files: Record<string, string>,
  action: (context: TestContext, dir: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${dir}/${name}`, text);
    }
    await using context = await openTestContext(sources, { baseDir: dir });
    await action(context, dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const run = (params: unknown, context: Context) =>
  ingestion.run(undefined, ingestion.params.parse(params), context);

const tablesOf = async (context: Context) =>
  (await context.store.query<{ name: string }>(
    "select table_name as name from duckdb_tables() where schema_name = 'bronze' order by 1",
  )).map(({ name }) => name);

const GARDEN = "plant,height,wet,born\nfern,12,true,2020-01-02\nmoss,,false,2020-02-03\n";

Deno.test("ingestion gives the labelled rows of the issue when it reads the real wells", async () => {
  await using context = await openTestContext(sources);
  const config = parse(await Deno.readTextFile(`${root}config/wells.yaml`));
  const bronze = await run(config.ingestion, context);
  const counts = await context.store.query(
    `select _label as label, count(*) as rows from ${bronze.train.table}
     where _label is not null group by 1 order by 2 desc`,
  );
  assertEquals(counts, [
    { label: "sandstone", rows: 4201 },
    { label: "heterolithic", rows: 3257 },
    { label: "siltstone", rows: 1114 },
    { label: "anhydrite", rows: 1055 },
    { label: "mudstone", rows: 807 },
    { label: "limestone", rows: 225 },
    { label: "volcanic", rows: 200 },
  ]);
  assertEquals([bronze.train.rows, bronze.production?.rows], [12_718, 45_053]);
  assertEquals(bronze.production?.sources.map(({ rows }) => rows), [26_033, 4_951, 14_069]);
  assertEquals(bronze.train.columns.length, 25);
  assertEquals(bronze.train.columns[4], { name: "DT", type: "number", unit: "us/ft", nulls: 1868 });
  assertEquals(bronze.intervals?.rows, 185);
  // Row 1830 lies at 279.9588 m, above the first interval.
  assertEquals(
    await context.store.query(
      "select _source, _group, _label, DEPT from bronze.test_train where _row in (1830, 1831) order by _row",
    ),
    [[279.9588, null], [280.1112, "siltstone"]].map(([DEPT, _label]) => ({
      _source: "data/P-129.las.gz",
      _group: "P-129",
      _label,
      DEPT,
    })),
  );
  assertStringIncludes(ingestion.describe!(bronze), "train 12,718 rows, 25 columns from 1 file");
  assert(context.findings.some((f) => f.check === "las_undeclared_null"));
  assert(await ingestion.isCurrent!(bronze, ingestion.params.parse(config.ingestion), context));
});

Deno.test("ingestion keeps numbers, texts and times apart when it reads a CSV", () =>
  withFiles({ "garden.csv": GARDEN }, async (context) => {
    const { train, production, intervals } = await run({ train: ["garden.csv"] }, context);
    assertEquals([production, intervals, context.findings], [null, null, []]);
    assertEquals(train.columns, [
      { name: "plant", type: "text", nulls: 0 },
      { name: "height", type: "number", nulls: 1 },
      { name: "wet", type: "number", text: "_text_wet", nulls: 0 },
      { name: "born", type: "time", nulls: 0 },
    ]);
    assertEquals(await context.store.query(`select * from ${train.table}`), [
      {
        _source: "garden.csv",
        _row: 0,
        _group: null,
        _label: null,
        plant: "fern",
        height: 12,
        wet: 1,
        _text_wet: "true",
        born: "2020-01-02T00:00:00.000Z",
      },
      {
        _source: "garden.csv",
        _row: 1,
        _group: null,
        _label: null,
        plant: "moss",
        height: null,
        wet: 0,
        _text_wet: "false",
        born: "2020-02-03T00:00:00.000Z",
      },
    ]);
    assertEquals(await tablesOf(context), [`test_train_${train.contentHash.slice(0, 12)}`]);
  }));

Deno.test("ingestion gives the same rows from CSV, Parquet and JSON", () =>
  withFiles({ "a.csv": GARDEN }, async (context, dir) => {
    for (const [name, format] of [["a.parquet", "parquet"], ["a.json", "json"]]) {
      await context.store.query(
        `copy (select * from read_csv('${dir}/a.csv')) to '${dir}/${name}' (format ${format})`,
      );
    }
    const read = async (uri: string) => {
      const { train } = await run({ train: [uri] }, context);
      return await context.store.query(`select * exclude (_source) from ${train.table}`);
    };
    const expected = await read("a.csv");
    assertEquals(await read("a.parquet"), expected);
    assertEquals(await read("a.json"), expected);
  }));

Deno.test("ingestion unites sources by name, keeps their groups and converts units", () =>
  withFiles({
    "a.las": "~V\nVERS. 2.0:\n~W\nNULL. -1:\n~C\nDEPT.M:\nGR.GAPI:\n~A\n1 80\n2 90\n",
    "b.las": "~V\nVERS. 2.0:\n~W\nNULL. -1:\n~C\nDEPT.FT:\nSP.MV:\n~A\n10 5\n20 6\n30 7\n",
  }, async (context) => {
    const { train } = await run(
      { train: [{ uri: "a.las", group: "A" }, { uri: "b.las", group: "B" }] },
      context,
    );
    assertEquals(train.columns, [
      { name: "DEPT", type: "number", unit: "M", nulls: 0 },
      { name: "GR", type: "number", unit: "GAPI", nulls: 3 },
      { name: "SP", type: "number", unit: "MV", nulls: 2 },
    ]);
    assertEquals(train.sources.map(({ uri, rows }) => [uri, rows]), [["a.las", 2], ["b.las", 3]]);
    assertEquals(
      await context.store.query(
        `select _group, DEPT from ${train.table} where _row = 1 order by 1`,
      ),
      [{ _group: "A", DEPT: 2 }, { _group: "B", DEPT: 6.096 }],
    );
    assert(context.findings.some((f) => f.check === "unit" && f.message.includes("from FT to M")));
  }));

Deno.test("ingestion counts cells that are no number in a column of numbers", () => {
  const rows = Array.from({ length: 50 }, (_, i) => `${i},a`);
  rows[7] = "oops,a";
  return withFiles({ "x.csv": ["n,t", ...rows].join("\n") }, async (context) => {
    const { train } = await run({ train: ["x.csv"] }, context);
    assertEquals(train.columns[0], {
      name: "n",
      type: "number",
      text: "_text_n",
      nulls: 1,
    });
    assertStringIncludes(
      context.findings[0].message,
      '1 cells of n that are no number, first "oops" in row 8',
    );
  });
});

const LOG = "d,x\n" + Array.from({ length: 10 }, (_, i) => `${i},${i * i}`).join("\n");
const label = (intervals: Record<string, unknown> = {}) => ({
  train: ["log.csv"],
  intervals: {
    uri: "intervals.csv",
    top: "top",
    base: "base",
    value: "text",
    order: "d",
    classes: ["sand", "clay"],
    ...intervals,
  },
});

Deno.test("ingestion labels rows in [top, base) and reports gaps, overlaps and unknown texts", () =>
  withFiles({
    "log.csv": LOG,
    "intervals.csv": "top,base,text\n1,3,Sandy clay\n2.5,4,grey CLAY\n6,8,lava\n8,9,sand\n",
  }, async (context) => {
    const { train } = await run(label(), context);
    const rows = await context.store.query(`select _label from ${train.table} order by _row`);
    assertEquals(rows.map((row) => row._label), [
      null,
      "sand",
      "sand",
      "clay",
      null,
      null,
      null,
      null,
      "sand",
      null,
    ]);
    assertEquals(context.findings.map((f) => f.message.split(";")[0]), [
      "1 of 4 intervals of intervals.csv contain none of the classes",
      "1 intervals of intervals.csv overlap the one before or are empty",
    ]);
    assertEquals(context.findings[0].rows, [{ top: 6, base: 8, text: "lava" }]);
  }));

Deno.test("ingestion names the way out when intervals do not fit", () =>
  withFiles({
    "log.csv": LOG,
    "other.csv": LOG,
    "intervals.csv": "top,base,text\n1,3,sand\n",
  }, async (context) => {
    const fails = async (params: unknown, part: string) => {
      const error = await assertRejects(() => run(params, context), UsageError);
      assertStringIncludes(error.message, part);
    };
    await fails(label({ value: "txt" }), 'did you mean "text"?');
    await fails(label({ order: "depth" }), "it has d, x");
    await fails({ ...label(), train: ["log.csv", "other.csv"] }, "intervals.group");
    await fails(label({ group: "A" }), 'no group "A"');
    assertEquals(await tablesOf(context), []);
  }));

Deno.test("ingestion repeats to the same table, and isCurrent() notices a changed file", () =>
  withFiles({ "x.csv": "a,b\n1,x\n" }, async (context, dir) => {
    const params = ingestion.params.parse({ train: ["x.csv"] });
    const first = await run(params, context);
    assertEquals(await run(params, context), first);
    assert(await ingestion.isCurrent!(first, params, context));
    await Deno.writeTextFile(`${dir}/x.csv`, "a,b\n2,x\n3,y\n");
    assertEquals(await ingestion.isCurrent!(first, params, context), false);
    const second = await run(params, context);
    assertEquals(await context.store.query("select a from bronze.test_train"), [{ a: 2 }, {
      a: 3,
    }]);
    assertEquals((await tablesOf(context)).length, 2);
    await context.store.query(`drop view bronze.test_train`);
    await context.store.query(`drop table ${second.train.table}`);
    assertEquals(await ingestion.isCurrent!(second, params, context), false);
    await Deno.remove(`${dir}/x.csv`);
    assertEquals(await ingestion.isCurrent!(first, params, context), false);
  }));

Deno.test("ingestion names file and line, and leaves nothing, when an input is bad", () =>
  withFiles({
    "ragged.csv": "a,b\n" + "1,2\n".repeat(30_000) + "3\n4,5\n",
    "one.csv": "a;b\n1;2\n",
    "colon.csv": "a:b\n1:2\n",
    "short.las": "~V\nVERS. 2.0:\n~W\nNULL. -1:\n~C\nDEPT.M:\nGR.GAPI:\n~A\n1 80\n2\n",
    "head.csv": "a,b\n",
    "reserved.csv": "_label,b\n1,2\n",
    "bad.json": "{",
    "x.doc": "x",
  }, async (context) => {
    await Deno.writeFile(
      `${context.baseDir}/latin.csv`,
      Uint8Array.from(`a,b\n${"1,2\n".repeat(30_000)}1,\xe9\n`, (char) => char.charCodeAt(0)),
    );
    const fails = async (uri: string, ...parts: string[]) => {
      const error = await assertRejects(() => run({ train: [uri] }, context), Error);
      for (const part of parts) assertStringIncludes(error.message, part);
    };
    await fails("missing.csv", "missing.csv", "there is no such file");
    await fails("ragged.csv", "line 30002 has 1 cells and the header has 2");
    await fails("colon.csv", "one column");
    await fails("short.las", "line 10 has 1 values for the 2 columns");
    await fails("head.csv", "it holds no rows");
    await fails("reserved.csv", '"_label" has a reserved name');
    await fails("bad.json", 'Cannot read "bad.json"');
    await fails("latin.csv", "line 30002 is not UTF-8", "save the file as UTF-8");
    await fails("x.doc", "no source takes this kind of file", ".las.gz");
    await fails("https://x/y.csv", "only files are read");
    const twice = () => run({ train: ["one.csv", "one.csv"] }, context);
    await assertRejects(twice, UsageError, "names it twice");
    await assertRejects(
      () => run({ train: [{ uri: "one.csv", source: "exel" }] }, context),
      RangeError,
      "there are las, csv, parquet, json",
    );
    assertEquals(await tablesOf(context), []);
  }));

Deno.test("ingestion keeps the text of cells that numbers would not say, beside the numbers", () =>
  withFiles({
    "a.csv": "y,flag,code,word\n1,TRUE,01,yes\n0,false,02,no\n1,,01,yes\n",
    "b.csv": "y,flag,code,word\n1,t,03,no\n0,f,03,no\n",
  }, async (context) => {
    const one = await run({ train: ["a.csv"] }, context);
    assertEquals(one.train.columns, [
      { name: "y", type: "number", nulls: 0 },
      { name: "flag", type: "number", text: "_text_flag", nulls: 1 },
      { name: "code", type: "text", nulls: 0 },
      { name: "word", type: "text", nulls: 0 },
    ]);
    const cells = await context.store.query(
      `select flag, _text_flag, code, word from ${one.train.table} order by _row`,
    );
    assertEquals(cells.map((row) => Object.values(row)), [
      [1, "TRUE", "01", "yes"],
      [0, "false", "02", "no"],
      [null, null, "01", "yes"],
    ]);
    const both = await run({ train: ["a.csv", "b.csv"] }, context);
    assertEquals(both.train.columns[1], { name: "flag", type: "text", nulls: 1 });
    assertEquals(
      (await context.store.query(
        `select flag from ${both.train.table} order by _source, _row`,
      )).map(({ flag }) => flag),
      ["TRUE", "false", null, "t", "f"],
    );
  }));

Deno.test("ingestion warns of headers that are blank or repeated", () =>
  withFiles({ "x.csv": "a,b,A,,y\n1,2,3,4,p\n1,2,3,4,q\n" }, async (context) => {
    const { train } = await run({ train: ["x.csv"] }, context);
    assertEquals(train.columns.map(({ name }) => name), ["a", "b", "A_1", "column3", "y"]);
    assertEquals(context.findings.map(({ check, subject, message }) => [check, subject, message]), [
      [
        "header",
        "a",
        "Columns 1, 3 of x.csv are all called a; all but the first are read as A_1: give each its own name in the file",
      ],
      [
        "header",
        "column3",
        "Column 4 of x.csv has no name and is called column3; give it one in the file",
      ],
    ]);
  }));

Deno.test("ingestion gives two runs at once the same table", () =>
  withFiles({
    "log.csv": LOG,
    "log.las": "~V\nVERS. 2.0:\n~W\nNULL. -1:\n~C\nD.M:\nX.GAPI:\n~A\n1 80\n2 90\n",
    "intervals.csv": "top,base,text\n1,3,sand\n4,6,clay\n",
  }, async (context) => {
    for (const params of [label(), { train: ["log.las"], production: ["log.las"] }]) {
      const runs = Array.from(
        { length: 4 },
        (_, i) => run(params, { ...context, runId: `run-${i}` }),
      );
      const [first, ...others] = await Promise.all(runs);
      for (const other of others) assertEquals(other, first);
    }
    assert((await tablesOf(context)).every((name) => name.startsWith("test_")));
  }));
