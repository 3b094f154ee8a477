import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parse } from "@std/yaml";
import { las } from "../../plugins/sources/las.ts";
import { csv, json, parquet } from "../../plugins/sources/table.ts";
import { UsageError } from "../../runtime/errors.ts";
import type { Context } from "../../runtime/stage.ts";
import { ingestion } from "../../stages/ingestion.ts";
import { preprocessing, type Silver } from "../../stages/preprocessing.ts";
import { openTestContext, type TestContext } from "../stage_context.ts";

const root = new URL("../..", import.meta.url).pathname;

interface Files {
  readonly train: string;
  readonly production?: string;
}

/** Ingests the files and gives a function that preprocesses them. */
async function withTable(
  files: Files,
  action: (
    preprocess: (params: unknown) => Promise<Silver>,
    context: TestContext,
  ) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${dir}/${name}.${text.startsWith("~") ? "las" : "csv"}`, text);
    }
    await using context = await openTestContext([las, csv], { baseDir: dir });
    const uris = (role: keyof Files) =>
      files[role] === undefined ? [] : [`${role}.${files[role].startsWith("~") ? "las" : "csv"}`];
    const params = { train: uris("train"), production: uris("production") };
    const bronze = await ingestion.run(undefined, ingestion.params.parse(params), context);
    context.findings.length = 0;
    await action(
      (params) => preprocessing.run(bronze, preprocessing.params.parse(params), context),
      context,
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const silverTables = async (context: Context) =>
  (await context.store.query("select * from duckdb_tables() where schema_name = 'silver'")).length;

const messages = (context: TestContext) =>
  context.findings.map(({ severity, message }) => `${severity}: ${message}`);

const GARDEN = `plant,site,day,height,width,wet,note
fern,b,2020-01-03,12,1,true,x
moss,b,2020-01-01,2,2,false,y
fern,a,2020-01-02,14,3,true,z
moss,a,2020-01-01,3,,true,x
,a,2020-01-04,9,9,true,x
`;

Deno.test("preprocessing gives silver wells, and the gate keeps F03-02 out", async () => {
  await using context = await openTestContext([las]);
  const config = parse(await Deno.readTextFile(`${root}config/wells.yaml`));
  const bronze = await ingestion.run(undefined, ingestion.params.parse(config.ingestion), context);
  context.findings.length = 0;
  const params = preprocessing.params.parse(config.preprocessing);
  const silver = await preprocessing.run(bronze, params, context);
  assertEquals(silver.classes, [
    { name: "anhydrite", rows: 1055 },
    { name: "heterolithic", rows: 3257 },
    { name: "limestone", rows: 225 },
    { name: "mudstone", rows: 807 },
    { name: "sandstone", rows: 4201 },
    { name: "siltstone", rows: 1114 },
    { name: "volcanic", rows: 200 },
  ]);
  assertEquals([silver.train.rows, silver.train.leftOut], [10_859, { "no target": 1_859 }]);
  assertEquals(silver.production?.rows, 30_984);
  assertEquals(silver.production?.quarantined, ["F03-02"]);
  assertEquals(silver.production?.leftOut, { quarantined: 14_069 });
  assertEquals(silver.features.length, 10);
  assertEquals([silver.target, silver.order, silver.hasGroups], [
    "_label",
    { column: "DEPT", unit: "m" },
    false,
  ]);
  assertEquals(
    context.findings.filter((f) => f.check === "schema" && f.subject?.startsWith("P-")).map((f) =>
      f.message
    ),
    [
      "Group P-130 of the production rows has no value of RT_HRLT, RLA1",
      "Group P-135 of the production rows has no value of DRHO, PEF, RT_HRLT, RLA1",
    ],
  );
  const errors = context.findings.filter((f) => f.severity === "error");
  assertEquals(errors.map((f) => f.subject), ["RHOB", "DT"]);
  assertStringIncludes(errors[0].message, "its 14069 rows are left out");
  assertEquals(errors[0].rows?.length, 5);
  assertEquals(
    await context.store.query(
      `select count(*) as n from (select _order, lag(_order) over () as before from ${silver.train.table})
       where _order <= before`,
    ),
    [{ n: 0 }],
  );
  assert(await preprocessing.isCurrent!(silver, params, context));
  assertStringIncludes(preprocessing.describe!(silver), "train 10,859 rows (1,859 left out)");
});

Deno.test("preprocessing takes every numeric column when only a target is named", () =>
  withTable({ train: GARDEN }, async (preprocess, context) => {
    const silver = await preprocess({ target: "plant" });
    assertEquals(silver.features, [
      { name: "height", log: false },
      { name: "width", log: false },
      { name: "wet", log: false },
    ]);
    assertEquals([silver.order, silver.hasGroups, silver.production], [null, false, null]);
    assertEquals(silver.train.leftOut, { "no target": 1 });
    assertEquals(
      await context.store.query(`select * from ${silver.train.table} where _row = 3`),
      [{
        _source: "train.csv",
        _row: 3,
        _group: null,
        _order: null,
        _label: "moss",
        height: 3,
        width: null,
        wet: 1,
      }],
    );
  }));

Deno.test("preprocessing sorts by group and time when both are named", () =>
  withTable({ train: GARDEN }, async (preprocess, context) => {
    const silver = await preprocess({ target: "Plant", group: "site", order: "day" });
    assertEquals([silver.target, silver.hasGroups], ["plant", true]);
    assertEquals(silver.order, { column: "day", unit: "s" });
    assertEquals(
      await context.store.query(`select _group, _order, _row from ${silver.train.table}`),
      [
        { _group: "a", _order: Date.UTC(2020, 0, 1) / 1000, _row: 3 },
        { _group: "a", _order: Date.UTC(2020, 0, 2) / 1000, _row: 2 },
        { _group: "b", _order: Date.UTC(2020, 0, 1) / 1000, _row: 1 },
        { _group: "b", _order: Date.UTC(2020, 0, 3) / 1000, _row: 0 },
      ],
    );
  }));

const NUMBERS = "y,a,b\n0,1,10\n0,5,-999\n1,-3,30\n1,100,40\n";

for (
  const [outliers, expected] of [
    ["null", [1, 5, null, null]],
    ["clip", [1, 5, 0, 10]],
    ["keep", [1, 5, -3, 100]],
  ] as const
) {
  Deno.test(`preprocessing counts outliers when outliers is ${outliers}`, () =>
    withTable({ train: NUMBERS }, async (preprocess, context) => {
      const silver = await preprocess({
        target: "y",
        features: { a: { range: [0, 10] }, b: {} },
        outliers,
        nullValues: [-999],
      });
      const rows = await context.store.query(
        `select a, b from ${silver.train.table} order by _row`,
      );
      assertEquals(rows.map((row) => row.a), [...expected]);
      assertEquals(rows[1].b, null);
      assertEquals(silver.classes, [{ name: "0", rows: 2 }, { name: "1", rows: 2 }]);
      assertStringIncludes(messages(context)[0], "2 of 4 values of a");
    }));
}

const las2 = (curves: string, rows: string) =>
  `~V\nVERS. 2.0:\n~W\nNULL. -1:\n~C\nDEPT.M:\n${curves}\n~A\n${rows}\n`;

Deno.test("preprocessing converts units and resolves aliases row by row", () =>
  withTable({
    train: las2("NPHI.V/V:\nRHOB.G/C3:\nK.:", "1 0.1 2.5 0\n2 0.2 2.6 1\n3 0.3 2.7 0\n4 0.4 2.8 1"),
    production: las2("POR.%:\nRHOB.K/M3:", "1 25 2650"),
  }, async (preprocess, context) => {
    const silver = await preprocess({
      target: "K",
      order: "DEPT",
      orderUnit: "ft",
      features: { NPHI: { aliases: ["POR"] }, RHOB: { unit: "kg/m3" } },
    });
    assertEquals(silver.features, [
      { name: "NPHI", unit: "V/V", log: false },
      { name: "RHOB", unit: "kg/m3", log: false },
    ]);
    assertEquals(silver.order, { column: "DEPT", unit: "ft" });
    assertEquals(
      await context.store.query(`select NPHI, RHOB from ${silver.train.table} limit 1`),
      [
        { NPHI: 0.1, RHOB: 2500 },
      ],
    );
    assertEquals(
      await context.store.query(`select _order, NPHI, RHOB from ${silver.production!.table}`),
      [{ _order: 1 / 0.3048, NPHI: 0.25, RHOB: 2650 }],
    );
    assertStringIncludes(messages(context)[0], "read from POR");
    const wrong = () => preprocess({ target: "K", features: { NPHI: { unit: "mV" }, RHOB: {} } });
    await assertRejects(wrong, RangeError, 'Cannot bring feature "NPHI" to unit "mV"');
  }));

Deno.test("preprocessing fills a feature with nulls and warns when production lacks it", () =>
  withTable({ train: NUMBERS, production: "a,c\n1,2\n" }, async (preprocess, context) => {
    const silver = await preprocess({ target: "y" });
    assertEquals(
      await context.store.query(`select a, b, _label from ${silver.production!.table}`),
      [
        { a: 1, b: null, _label: null },
      ],
    );
    assertEquals(messages(context), [
      "warning: The production rows lack feature b; all its values are missing",
      "warning: Group production.csv of the production rows has no value of b",
    ]);
  }));

Deno.test("preprocessing names the column and its nearest when one is missing", () =>
  withTable({ train: GARDEN }, async (preprocess, context) => {
    const fails = async (
      params: unknown,
      part: string,
      type: typeof UsageError | typeof TypeError,
    ) => {
      const error = await assertRejects(() => preprocess(params), type as typeof UsageError);
      assertStringIncludes(error.message, part);
    };
    await fails({ target: "plnt" }, 'did you mean "plant"?', UsageError);
    await fails({}, "set preprocessing.target to one of plant, site", UsageError);
    await fails({ target: "_label" }, "set ingestion.intervals", UsageError);
    await fails({ target: "day" }, "it is a time", TypeError);
    await fails({ target: "plant", features: ["heigth"] }, 'did you mean "height"?', UsageError);
    await fails({ target: "plant", features: ["note"] }, "it is text", TypeError);
    await fails({ target: "plant", features: ["wet", "WET"] }, "named twice", UsageError);
    await fails({ target: "wet", features: ["wet"] }, "it is the target", UsageError);
    await fails({ target: "plant", group: "sit" }, 'did you mean "site"?', UsageError);
    await fails({ target: "plant", order: "note" }, "it is text", TypeError);
    await fails({ target: "plant", dropClasses: ["ferns"] }, 'did you mean "fern"?', UsageError);
    assertEquals(await silverTables(context), 0);
  }));

const column = (values: readonly (string | number)[]) =>
  `y,x\n${values.map((value, i) => `${value},${i}`).join("\n")}\n`;

for (
  const [name, values, part] of [
    ["is empty", ["", "", ""], "no row has a value"],
    ["has one class", ["a", "a", "a"], 'all rows are of one class, "a"'],
    ["has a class of one row", ["a", "a", "b", "b", "rare"], 'dropClasses=["rare"]'],
    ["holds fractions", [0.5, 1.5, 2.25], "regression target"],
    ["holds many values", Array.from({ length: 101 }, (_, i) => i), "more than 100 different"],
  ] as const
) {
  Deno.test(`preprocessing refuses a target that ${name}`, () =>
    withTable({ train: column(values) }, async (preprocess, context) => {
      const error = await assertRejects(() => preprocess({ target: "y" }), RangeError);
      assertStringIncludes(error.message, 'Cannot train on target "y": ');
      assertStringIncludes(error.message, part);
      assertEquals(await silverTables(context), 0);
    }));
}

Deno.test("preprocessing leaves dropped classes out", () =>
  withTable({ train: column(["a", "a", "b", "b", "rare"]) }, async (preprocess) => {
    const { classes, train } = await preprocess({ target: "y", dropClasses: ["rare"] });
    assertEquals(classes, [{ name: "a", rows: 2 }, { name: "b", rows: 2 }]);
    assertEquals([train.rowsLeftOut, train.leftOut], [1, { "dropped class": 1 }]);
  }));

const WELLS = `well,depth,gr,y
A,1,10,0
A,2,20,1
B,1,-5,0
B,1,,1
B,0,900,1
`;

for (
  const [expectation, state] of [
    [{ check: "not_null", column: "gr" }, '"not_null": 1 of 3 values of gr'],
    [{ check: "in_range", column: "gr", min: 0, max: 400 }, '"in_range [0, 400]": 2 of 2'],
    [{ check: "in_range", column: "gr", min: 0, mostly: 0.6 }, '"in_range [0, Infinity]": 1 of 2'],
    [{ check: "unique", column: "depth" }, '"unique": 2 of 3'],
    [{ check: "increasing", column: "depth" }, '"increasing": 2 of 2'],
    [{ check: "min_rows", min: 3 }, "Group A of the train rows has 2 rows and needs 3"],
    [{ check: "has_columns", columns: ["gr", "none"] }, "none"],
  ] as const
) {
  Deno.test(`preprocessing judges ${JSON.stringify(expectation)} by group`, () =>
    withTable({ train: WELLS, production: WELLS }, async (preprocess, context) => {
      const params = (severity: string) => ({
        target: "y",
        group: "well",
        features: ["gr"],
        expectations: [{ ...expectation, severity }],
      });
      if ("columns" in expectation) {
        await assertRejects(() => preprocess(params("error")), UsageError, 'column "none"');
        return;
      }
      const error = await assertRejects(() => preprocess(params("error")), Error);
      assertStringIncludes(error.message, "Cannot preprocess the training rows: ");
      assertEquals(await silverTables(context), 0);
      const spoken = messages(context).filter((m) => m.startsWith("error"));
      assert(spoken.length > 0);
      assertStringIncludes(spoken.join("\n"), state);
      if (expectation.check !== "min_rows") {
        const shown = context.findings.find((f) => f.severity === "error")!.rows!;
        assert(shown.length > 0 && shown.length <= 5);
      }
      const silver = await preprocess(params("warning"));
      assertEquals(silver.train.rows, 5);
    }));
}

Deno.test("preprocessing quarantines the failing group of production and goes on", () =>
  withTable({
    train: "well,gr,y\nA,1,0\nA,2,1\nA,3,0\nA,4,1\n",
    production: "well,gr\nX,1\nX,2\nY,-99\nY,3\n",
  }, async (preprocess, context) => {
    const silver = await preprocess({
      target: "y",
      group: "well",
      features: { gr: { range: [0, 10] } },
      expectations: [{ check: "in_range", column: "gr", mostly: 0.9, severity: "error" }],
    });
    assertEquals(silver.production?.quarantined, ["Y"]);
    assertEquals([silver.production?.rows, silver.production?.rowsLeftOut], [2, 2]);
    assertEquals(context.findings[0].severity, "error");
    assertStringIncludes(context.findings[0].message, "Group Y");
    assertStringIncludes(context.findings[0].message, "its 2 rows are left out");
    assertEquals(context.findings[0].rows, [
      { _source: "production.csv", _row: 2, _order: null, gr: -99 },
    ]);
  }));

Deno.test("preprocessing repeats to the same table and another parameter gives another", () =>
  withTable({ train: NUMBERS }, async (preprocess, context) => {
    const first = await preprocess({ target: "y" });
    assertEquals(await preprocess({ target: "y" }), first);
    assertEquals(await silverTables(context), 1);
    await preprocess({ target: "y", nullValues: [-999] });
    assertEquals(await silverTables(context), 2);
    assertEquals(await context.store.query("select count(b) as n from silver.test_train"), [{
      n: 3,
    }]);
  }));

for (
  const [name, labels, classes] of [
    ["yes and no", ["yes", "no"], ["no", "yes"]],
    ["t and f", ["t", "f"], ["f", "t"]],
    ["T and F", ["T", "F"], ["F", "T"]],
    ["True and False", ["True", "False"], ["False", "True"]],
    ["numbers with zeros before", ["01", "02"], ["01", "02"]],
    ["numbers with signs", ["+1", "-1"], ["+1", "-1"]],
    ["whole numbers", ["1", "0"], ["0", "1"]],
  ] as const
) {
  Deno.test(`preprocessing keeps the names of classes that are ${name}`, () =>
    withTable({ train: column([...labels, ...labels, ...labels]) }, async (preprocess) => {
      const silver = await preprocess({ target: "y" });
      assertEquals(silver.classes.map((c) => c.name), [...classes]);
    }));
}

Deno.test("preprocessing names the classes of a BOOLEAN true and false", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using context = await openTestContext([json, parquet], { baseDir: dir });
    for (const [name, format] of [["x.json", "json"], ["x.parquet", "parquet"]]) {
      await context.store.query(
        `copy (select i % 2 = 0 as y, i as x from range(6) as r(i)) to '${dir}/${name}' (format ${format})`,
      );
      const params = ingestion.params.parse({ train: [name] });
      const bronze = await ingestion.run(undefined, params, context);
      const silver = await preprocessing.run(
        bronze,
        preprocessing.params.parse({ target: "y" }),
        context,
      );
      assertEquals(silver.classes.map((c) => c.name), ["false", "true"]);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("preprocessing counts numbers beyond float32 as missing and names their rows", () =>
  withTable(
    { train: "y,a,b\np,1,1\nq,inf,2\np,-1e39,3\nq,1,-inf\n" },
    async (preprocess, context) => {
      const { train } = await preprocess({ target: "y", outliers: "keep" });
      assertEquals(train.columns.map(({ nulls }) => nulls), [2, 1]);
      assertEquals(messages(context), [
        "warning: 2 values of a in the train rows are infinite or beyond ±3.4e38, first in " +
        "train.csv row 2, train.csv row 3; they count as missing: correct them in the file",
        "warning: 1 values of b in the train rows are infinite or beyond ±3.4e38, first in " +
        "train.csv row 4; they count as missing: correct them in the file",
      ]);
    },
  ));

Deno.test("preprocessing shows the offending rows when an expectation stops the run", () =>
  withTable({ train: WELLS }, async (preprocess) => {
    const error = await assertRejects(() =>
      preprocess({
        target: "y",
        group: "well",
        order: "depth",
        features: ["gr"],
        expectations: [{ check: "in_range", column: "gr", min: 0, max: 400, severity: "error" }],
      })
    );
    assertEquals(
      (error as Error).message,
      'Cannot preprocess the training rows: group B breaks "in_range [0, 400]": 2 of 2 values of gr ' +
        "offend, 0 % hold and 100 % must, such as train.csv row 3 (depth 1): gr = -5, train.csv row 5 " +
        "(depth 0): gr = 900; correct the rows, or change preprocessing.expectations",
    );
  }));

Deno.test("preprocessing counts a time in the declared unit", () =>
  withTable({ train: GARDEN }, async (preprocess, context) => {
    for (
      const [orderUnit, seconds] of [["s", 1], ["min", 60], ["h", 3600], ["d", 86_400]] as const
    ) {
      const silver = await preprocess({ target: "plant", order: "day", orderUnit });
      assertEquals(silver.order, { column: "day", unit: orderUnit });
      const [{ first }] = await context.store.query(
        `select min(_order) as first from ${silver.train.table}`,
      );
      assertEquals(first, Date.UTC(2020, 0, 1) / 1000 / seconds);
    }
    await assertRejects(
      () => preprocess({ target: "plant", order: "day", orderUnit: "m" }),
      UsageError,
      "set preprocessing.orderUnit to one of ms, s, min, h, d",
    );
  }));

Deno.test("preprocessing warns of features that are empty or the target again", () =>
  withTable({
    train: "y,copy,code,none,fine,well\n" +
      Array.from(
        { length: 12 },
        (_, i) => `${i % 3},${i % 3},${[7, 9, 8][i % 3]},,${i % 4},${i % 2}`,
      )
        .join("\n"),
  }, async (preprocess, context) => {
    const silver = await preprocess({
      target: "y",
      group: "well",
      features: ["copy", "code", "none", "fine"],
    });
    assertEquals(silver.train.columns[2].nulls, 12);
    assertEquals(messages(context), [
      "warning: The train rows have no value of feature none; all its values are missing",
      "warning: Feature none has no value in any training row; remove it from preprocessing.features",
      "warning: Feature copy leaks the target y: each of its 3 values stands for exactly one class; " +
      "remove it from preprocessing.features",
      "warning: Feature code leaks the target y: each of its 3 values stands for exactly one class; " +
      "remove it from preprocessing.features",
    ]);
  }));

Deno.test("preprocessing refuses one column as two of target, group and order", () =>
  withTable({ train: WELLS }, async (preprocess) => {
    for (
      const [params, part] of [
        [{ target: "y", group: "Y" }, 'Cannot group by "Y": it is the target'],
        [{ target: "y", order: "y" }, 'Cannot order by "y": it is the target'],
        [
          { target: "y", group: "depth", order: "depth" },
          'Cannot order by "depth": it is the group',
        ],
      ] as const
    ) await assertRejects(() => preprocess(params), UsageError, part);
  }));

Deno.test("preprocessing gives two runs at once the same table", () =>
  withTable({ train: GARDEN }, async (preprocess, context) => {
    const [first, ...others] = await Promise.all(
      Array.from({ length: 4 }, () => preprocess({ target: "plant" })),
    );
    for (const other of others) assertEquals(other, first);
    assertEquals(await silverTables(context), 1);
  }));
