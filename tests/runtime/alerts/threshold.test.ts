import { assert, assertEquals } from "@std/assert";
import type { Plugin, Threshold } from "../../../plugins/plugin.ts";
import { observe } from "../../../runtime/alerts/observe.ts";
import { holds } from "../../../runtime/alerts/threshold.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { makeAlert } from "./alert_fixture.ts";

const levels =
  "select * from (values ('a', 1.0, 5), ('b', 3.0, 2), ('b', 5.0, null)) t(subject, x, y)";

async function see(sql: string, more: Partial<Plugin<"alert">>) {
  await using store = await openStore(":memory:");
  const { observation } = await observe(store, makeAlert("level", sql, more), {});
  return observation.kind === "rows"
    ? observation.series.map(({ series, value }) => `${series} ${value}`)
    : observation.kind === "error"
    ? observation.reason
    : observation.kind;
}

Deno.test("observe() makes a series of each row past the threshold, and compares with a column", async () => {
  const threshold = { column: "x", operator: "GREATER_THAN", value: 2 } as const;
  assertEquals(await see(levels, { threshold }), ["b 3"]);
  assertEquals(
    await see(levels, { threshold: { ...threshold, value: { column: "y" } } }),
    ["b 3"],
  );
  assertEquals(
    await see(levels, { threshold: { column: "y", operator: "IS_NULL" } }),
    ["b null"],
  );
  assertEquals(
    await see(levels, { threshold, groupBy: ["subject", "y"] }),
    ['subject="b",y="2" 3', 'subject="b",y="null" 5'],
  );
});

Deno.test("observe() compares every aggregation as DuckDB computes it, over all rows or by group", async () => {
  const expected = {
    SUM: 9,
    COUNT: 3,
    COUNT_DISTINCT: 3,
    AVG: 3,
    MEDIAN: 3,
    MIN: 1,
    MAX: 5,
    STDDEV: 2,
  };
  for (const [aggregation, value] of Object.entries(expected)) {
    const threshold = { column: "x", operator: "EQUAL", value, aggregation } as Threshold;
    assertEquals([aggregation, await see(levels, { threshold })], [aggregation, [` ${value}`]]);
  }
  const threshold: Threshold = {
    column: "x",
    aggregation: "AVG",
    operator: "LESS_THAN",
    value: { column: "y", aggregation: "MAX" },
  };
  assertEquals(await see(levels, { threshold, groupBy: ["subject"] }), ['subject="a" 1']);
  // More rows than are compared one by one.
  assertEquals(
    await see("select range as x from range(50000)", {
      threshold: { column: "x", aggregation: "COUNT", operator: "EQUAL", value: 50_000 },
    }),
    [" 50000"],
  );
});

Deno.test("observe() takes an empty query as the header says, also under an aggregate", async () => {
  const none = `${levels} where false`;
  const threshold: Threshold = { column: "x", aggregation: "COUNT", operator: "EQUAL", value: 0 };
  assertEquals(await see(none, { empty: "ok", threshold }), []);
  assertEquals(await see(none, { empty: "no_data", threshold }), "no_data");
  assertEquals(await see(none, { empty: "firing" }), [" null"]);
  assertEquals(await see(none, { empty: "error" }), "the query gave no row");
  // A mean of nulls is no number either.
  const mean: Threshold = { column: "y", aggregation: "AVG", operator: "LESS_THAN", value: 1 };
  assertEquals(
    await see(`${levels} where y is null`, { empty: "no_data", threshold: mean }),
    "no_data",
  );
});

Deno.test("observe() says what is wrong when a column is missing, no number, or there are too many rows", async () => {
  const threshold = { column: "z", operator: "GREATER_THAN", value: 2 } as const;
  assertEquals(
    await see(levels, { threshold }),
    'Cannot find column "z" in the rows: there are subject, x, y',
  );
  assertEquals(
    await see(levels, { groupBy: ["well"] }),
    'Cannot find column "well" in the rows: there are subject, x, y',
  );
  const reason = await see(levels, { threshold: { ...threshold, column: "subject" } });
  assert(String(reason).startsWith('Cannot compare column "subject"'), String(reason));
  const many = await see("select range as z from range(20000)", { threshold });
  assert(String(many).includes("more than 10000"), String(many));
});

Deno.test("holds() has the meaning of each operator", () => {
  const compare = (
    operator: Threshold["operator"],
    left: unknown,
    right: number | string | boolean,
  ) => holds({ column: "x", operator, value: right }, { x: left });
  for (
    const [operator, results] of Object.entries({
      EQUAL: [false, true, false],
      NOT_EQUAL: [true, false, true],
      GREATER_THAN: [false, false, true],
      GREATER_THAN_OR_EQUAL: [false, true, true],
      LESS_THAN: [true, false, false],
      LESS_THAN_OR_EQUAL: [true, true, false],
    })
  ) {
    const actual = [1, 2, 3].map((left) => compare(operator as Threshold["operator"], left, 2));
    assertEquals([operator, ...actual], [operator, ...results]);
    assertEquals(compare(operator as Threshold["operator"], null, 2), false);
    assertEquals(compare(operator as Threshold["operator"], NaN, 2), false);
  }
  assertEquals(compare("EQUAL", "sand", "sand"), true);
  assertEquals(compare("EQUAL", true, true), true);
  assertEquals(compare("GREATER_THAN", "10", 9), true);
});
