import { assert, assertEquals, assertRejects } from "@std/assert";
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
