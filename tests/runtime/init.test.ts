import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parse } from "@std/yaml";
import { las } from "../../plugins/sources/las.ts";
import { csv } from "../../plugins/sources/table.ts";
import { UsageError } from "../../runtime/errors.ts";
import { type InitOptions, writeConfig } from "../../runtime/init.ts";
import { ingestion } from "../../stages/ingestion.ts";
import { preprocessing } from "../../stages/preprocessing.ts";
import { openTestContext, type TestContext } from "../stage_context.ts";

const PENGUINS = `species,island,length,mass,sex,id,"on, off"
Adelie,A,39.1,3750,male,1,1
Adelie,A,39.5,3800,female,2,1
Gentoo,B,47.3,,female,3,1
Gentoo,B,46.1,5000,male,4,1
`;

async function withTable(
  text: string,
  action: (
    init: (options: InitOptions) => ReturnType<typeof writeConfig>,
    context: TestContext,
    dir: string,
  ) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    const name = text.startsWith("~") ? "my log.las" : "my birds.csv";
    await Deno.writeTextFile(`${dir}/${name}`, text);
    await using context = await openTestContext([csv, las], { baseDir: dir });
    await action(
      (options) => writeConfig(name, { baseDir: dir, ...options }, context),
      context,
      dir,
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("writeConfig() writes a config that the first two stages accept", () =>
  withTable(PENGUINS, async (init, context, dir) => {
    const summary = await init({ target: "species", group: "Island", order: "id" });
    assertEquals(summary, {
      path: `${dir}/config/my_birds.yaml`,
      name: "my_birds",
      rows: 4,
      classes: [{ name: "Adelie", rows: 2 }, { name: "Gentoo", rows: 2 }],
      features: ["length", "mass", "on, off"],
      notes: [],
    });
    const text = await Deno.readTextFile(summary.path);
    assertStringIncludes(text, "    length: {} # 39.1 to 47.3\n");
    assertStringIncludes(text, "    mass: {} # 3750 to 5000, 1 missing\n");
    assertStringIncludes(text, '    "on, off": {} # 1 to 1, constant: remove it\n');
    assertStringIncludes(text, "  # sex is text and no feature\n");
    const config = parse(text);
    assertEquals([config.version, config.name], [1, "my_birds"]);
    const bronze = await ingestion.run(
      undefined,
      ingestion.params.parse(config.ingestion),
      context,
    );
    const silver = await preprocessing.run(
      bronze,
      preprocessing.params.parse(config.preprocessing),
      context,
    );
    assertEquals([silver.train.rows, silver.hasGroups, silver.order], [4, true, { column: "id" }]);
    const tables = await context.store.query(
      "select table_name from duckdb_tables() where schema_name <> 'core' and table_name like '%init%'",
    );
    assertEquals(tables, []);
  }));

Deno.test("writeConfig() gives units of a log", () =>
  withTable(
    "~V\nVERS. 2.0:\n~W\nNULL. -1:\n~C\nDEPT.M:\nGR.GAPI:\nK.:\n~A\n1 8 0\n2 9 1\n3 7 0\n4 5 1\n",
    async (init) => {
      const { path, name } = await init({ target: "K", order: "DEPT" });
      assertEquals(name, "my_log");
      const text = await Deno.readTextFile(path);
      assertStringIncludes(text, "order: DEPT # 1 to 4 M");
      assertStringIncludes(text, "GR: {} # 5 to 9 GAPI");
      assertStringIncludes(text, "windows of neighboring rows");
    },
  ));

Deno.test("writeConfig() leaves classes of one row out and says so", () =>
  withTable(`${PENGUINS}Chinstrap,B,50,4000,male,5,1\n`, async (init) => {
    const { path, notes } = await init({ target: "species" });
    assertEquals(notes, ['Class "Chinstrap" has one row and is left out']);
    const config = parse(await Deno.readTextFile(path));
    assertEquals(config.preprocessing.dropClasses, ["Chinstrap"]);
  }));

Deno.test("writeConfig() never overwrites a config unless it is forced to", () =>
  withTable(PENGUINS, async (init, _context, dir) => {
    await Deno.mkdir(`${dir}/config`);
    await Deno.writeTextFile(`${dir}/config/my_birds.yaml`, "mine");
    await assertRejects(() => init({ target: "species" }), UsageError, "--force");
    assertEquals(await Deno.readTextFile(`${dir}/config/my_birds.yaml`), "mine");
    await init({ target: "species", force: true });
  }));

Deno.test("writeConfig() writes nothing and says why when a column will not do", () =>
  withTable(PENGUINS, async (init, _context, dir) => {
    const fails = async (
      options: InitOptions,
      part: string,
      type: ErrorConstructor | RangeErrorConstructor | typeof UsageError = RangeError,
    ) => {
      const error = await assertRejects(() => init(options), type as typeof Error);
      assertStringIncludes(error.message, part);
    };
    await fails({ target: "specis" }, 'did you mean "species"?', UsageError);
    await fails({ target: "species", group: "iland" }, 'did you mean "island"?', UsageError);
    await fails({ target: "species", order: "time_of_day" }, "it has species, island", UsageError);
    await fails({ target: "species", order: "sex" }, "it is text");
    await fails({ target: "species", group: "Species" }, "it is the target", UsageError);
    await fails({ target: "species", order: "species" }, "it is the target", UsageError);
    await fails({ target: "species", group: "id", order: "ID" }, "it is the group", UsageError);
    await fails({ target: "length" }, "regression target");
    await fails({ target: "on, off" }, "one class");
    assertEquals(await Deno.stat(`${dir}/config`).then(() => true, () => false), false);
  }));

Deno.test("writeConfig() names classes as the file writes them", () =>
  withTable("y,x\nTRUE,1\nFALSE,2\nTRUE,3\nFALSE,4\n", async (init) => {
    const { classes } = await init({ target: "y" });
    assertEquals(classes, [{ name: "FALSE", rows: 2 }, { name: "TRUE", rows: 2 }]);
  }));
