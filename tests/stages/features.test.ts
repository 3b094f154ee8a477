import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { parseParams } from "../../runtime/config.ts";
import { UsageError } from "../../runtime/errors.ts";
import { features } from "../../stages/features.ts";
import { readGold, rowsOutside } from "../../stages/rows.ts";
import { withSilver } from "./fixture.ts";

const params = (values: unknown = {}) => features.params.parse(values);

Deno.test("features() keeps the columns and stratifies folds when rows have no order", () =>
  withSilver({}, async (context, silver) => {
    const gold = await features.run(silver, params(), context);
    assertEquals(gold.features, ["heat", "flow", "noise"]);
    assertEquals(gold.classes, ["busy", "calm", "hot"]);
    assertEquals(gold.split, { kind: "stratified", folds: 5, embargo: 0 });
    const rows = await readGold(context.store, gold);
    assertEquals(rows.X.rows, 600);
    assertEquals([...new Set(rows.fold)].sort(), [0, 1, 2, 3, 4]);
    assertEquals(rows.X.data.filter(Number.isNaN).length, Math.ceil(600 / 17));
  }));

Deno.test("features() splits by whole groups when there are as many as folds", () =>
  withSilver({ sites: 6 }, async (context, silver) => {
    const gold = await features.run(silver, params(), context);
    assertEquals(gold.split.kind, "group");
    const [{ mixed }] = await context.store.query(
      `select count(*) as mixed from (select _group from ${gold.table} group by _group having count(distinct _fold) > 1)`,
    );
    assertEquals(mixed, 0);
  }));

Deno.test("features() keeps windows of training rows clear of held-out rows when blocked", () =>
  withSilver({ isOrdered: true }, async (context, silver) => {
    const gold = await features.run(
      silver,
      params({ windows: { radii: [1, 2], statistics: ["mean"] }, split: { folds: 4, blocks: 20 } }),
      context,
    );
    assertEquals(gold.split, { kind: "blocked", folds: 4, embargo: 2 });
    assertEquals(gold.features.length, 9);
    assert(gold.features.includes("heat_mean_2"));
    const rows = await readGold(context.store, gold);
    for (let fold = 0; fold < 4; fold++) {
      const train = rowsOutside(rows, gold, [fold]);
      const held = [...rows.fold.keys()].filter((i) => rows.fold[i] === fold);
      const nearest = Math.min(
        ...[...train].map((i) =>
          Math.min(...held.map((j) => Math.abs(rows.order[i] - rows.order[j])))
        ),
      );
      assert(nearest > 2, `a training row lies ${nearest} from a held-out row`);
    }
  }));

Deno.test("features() gives the same table for the same input and another for another seed", () =>
  withSilver({}, async (context, silver) => {
    const first = await features.run(silver, params(), context);
    const again = await features.run(silver, params(), context);
    assertEquals(first, again);
    const other = await features.run(silver, params(), { ...context, seed: 7 });
    assert(other.contentHash !== first.contentHash);
  }));

Deno.test("features() explains what is missing when windows or blocks are asked for without order", () =>
  withSilver({}, async (context, silver) => {
    const windows = () => features.run(silver, params({ windows: { radii: [1] } }), context);
    await assertRejects(windows, TypeError, "set preprocessing.order");
    const blocks = () => features.run(silver, params({ split: { kind: "blocked" } }), context);
    await assertRejects(blocks, TypeError, "set preprocessing.order");
    const groups = () => features.run(silver, params({ split: { kind: "group" } }), context);
    await assertRejects(groups, TypeError, "set preprocessing.group");
  }));

Deno.test("features.isCurrent() is false once the table is gone", () =>
  withSilver({}, async (context, silver) => {
    const gold = await features.run(silver, params(), context);
    assert(await features.isCurrent!(gold, params(), context));
    await context.store.transaction([
      { sql: "drop view gold.test" },
      { sql: `drop table ${gold.table}` },
    ]);
    assertEquals(await features.isCurrent!(gold, params(), context), false);
  }));

Deno.test("features() refuses a radius or a statistic that is named twice", () => {
  for (const [key, value] of [["radii", [1, 1]], ["statistics", ["mean", "mean"]]] as const) {
    const error = assertThrows(
      () => parseParams(features.params, { windows: { [key]: value } }, "features"),
      UsageError,
    );
    assertStringIncludes(error.message, "twice; remove one of them");
  }
});

Deno.test("features() names the key to change when components, folds or blocks do not fit", () =>
  withSilver({ rows: 60, isOrdered: true }, async (context, silver) => {
    const fails = async (values: unknown, ...parts: string[]) => {
      const error = await assertRejects(
        () => features.run(silver, params(values), context),
        UsageError,
      );
      for (const part of parts) assertStringIncludes(error.message, part);
    };
    await fails({ pca: 99 }, "there are 3 features of 60 rows", "lower features.pca to at most 3");
    await fails({ split: { blocks: 2, folds: 5 } }, "raise features.split.blocks");
    await fails({ split: { embargo: 1e6 } }, "without fold 0", "lower features.split.embargo");
    await context.store.query(`update ${silver.train.table} set _order = 1`);
    await fails({}, "1 different value", "set preprocessing.order to another column");
    await context.store.query(`delete from ${silver.train.table} where _row > 3`);
    await fails({ split: { kind: "stratified" } }, "Cannot split 4 rows into 5 folds", "lower");
  }));

Deno.test("features() warns when trainers that stop early would have no rows", () =>
  withSilver({ rows: 60, isOrdered: true }, async (context, silver) => {
    const split = { kind: "blocked", folds: 3, blocks: 3, embargo: 1 };
    await features.run(silver, params({ split }), context);
    assertEquals(context.findings.filter((f) => f.check === "embargo"), []);
    const tight = { ...split, blocks: 12, embargo: 2.4 };
    await features.run(silver, params({ split: tight }), context);
    const [finding] = context.findings.filter((f) => f.check === "embargo");
    assertStringIncludes(finding.message, "cannot train without folds 2 and 0");
    assertStringIncludes(finding.message, "lower features.split.embargo");
  }));

Deno.test("features() refuses more folds than groups with the way out", () =>
  withSilver({ sites: 3 }, async (context, silver) => {
    await assertRejects(
      () => features.run(silver, params({ split: { kind: "group" } }), context),
      UsageError,
      "there are 3 groups; lower features.split.folds",
    );
  }));

Deno.test("features() warns when windows hold no neighbor", () =>
  withSilver({ isOrdered: true, sites: 2 }, async (context, silver) => {
    const order = { column: "time", unit: "h" };
    await features.run({ ...silver, order }, params({ windows: { radii: [0.2, 1] } }), context);
    const findings = context.findings.filter((f) => f.check === "windows");
    assertEquals(findings.length, 1);
    assertStringIncludes(findings[0].message, "no neighbor within 0.2 h");
    assertStringIncludes(findings[0].message, "rows are 0.5 h apart");
  }));
