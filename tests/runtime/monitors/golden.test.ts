import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Store } from "../../../runtime/store/store.ts";
import golden from "../../oracles/monitors.json" with { type: "json" };
import { addRows, day, type FixtureRow, openMonitored, refreshAt } from "./fixture.ts";

const days = golden.days as unknown as Record<string, FixtureRow[]>;

/** Day 1 and 3 have rows, day 2 has none, day 4 has a single one. */
async function openGolden(): Promise<Store> {
  const store = await openMonitored(golden.baseline as unknown as FixtureRow[]);
  for (const [number, rows] of Object.entries(days)) {
    await addRows(store, rows, { requestId: `day${number}`, from: day(Number(number), 3) });
  }
  const slices = ["slice", "NPHI > 0.15"];
  const { state, message, windows } = await refreshAt(store, day(6), { slices });
  assertEquals([state, message, windows], ["SUCCESS", null, 3]);
  return store;
}

/** Compares numbers to nine digits, and everything else as it is. */
function assertClose(actual: unknown, expected: unknown, path: string): void {
  if (typeof expected === "number") {
    assert(typeof actual === "number", `${path}: ${actual} is not ${expected}`);
    assertAlmostEquals(actual, expected, Math.max(1e-12, 1e-9 * Math.abs(expected)), path);
  } else if (expected !== null && typeof expected === "object") {
    for (const [key, value] of Object.entries(expected)) {
      assertClose((actual as Record<string, unknown> | null)?.[key], value, `${path}.${key}`);
    }
  } else assertEquals(actual ?? null, expected, path);
}

Deno.test("profile has what numpy says of nulls, NaN, zeros, constants and categories", async () => {
  await using store = await openGolden();
  for (const [number, columns] of Object.entries(golden.profile)) {
    for (const [name, expected] of Object.entries(columns)) {
      const [row] = await store.query(
        `select * from profile where window_start = ? and column_name = ? and slice_key is null
           and log_type = 'INPUT'`,
        [day(Number(number)), name],
      );
      assertClose(row, expected, `${number} ${name}`);
    }
  }
  const [gr] = await store.query(
    "from profile where column_name = 'GR' and window_start = ? and slice_key is null",
    [day(1)],
  );
  assertClose(gr.percent_null, 100 * (gr.num_nulls as number) / 150, "percent_null");
  assertEquals((gr.window as { end: string }).end, day(2).toISOString());
});

Deno.test("profile has what numpy says of slices by value and by predicate", async () => {
  await using store = await openGolden();
  const read = async (key: string, value: string, column: string) =>
    (await store.query(
      `from profile where window_start = ? and slice_key = ? and slice_value = ?
         and column_name = ?`,
      [day(1), key, value, column],
    ))[0];
  for (const [name, expected] of Object.entries(golden.slices.A)) {
    assertClose(await read("slice", "A", name), expected, `A ${name}`);
  }
  assertClose(await read("NPHI > 0.15", "True", "GR"), golden.slices.True, "predicate");
  assert(await read("NPHI > 0.15", "False", "GR"));
});

Deno.test("profile of the table has what scikit-learn says of labeled rows", async () => {
  await using store = await openGolden();
  for (const [number, expected] of Object.entries(golden.quality)) {
    const [row] = await store.query(
      `from profile where window_start = ? and column_name = ':table' and slice_key is null`,
      [day(Number(number))],
    );
    assertClose(row, expected, number);
    const matrix = row.confusion_matrix as { label: string; prediction: string; count: number }[];
    const rows = days[number].filter(({ truth }) => truth !== null);
    for (const { label, prediction, count } of matrix) {
      assertEquals(
        count,
        rows.filter((r) => r.truth === label && r.label === prediction).length,
      );
    }
  }
});

Deno.test("drift_metrics has what scipy says of numbers and categories, the unseen one included", async () => {
  await using store = await openGolden();
  for (const [key, columns] of Object.entries(golden.drift)) {
    const [number, type] = key.split(" ");
    for (const [name, expected] of Object.entries(columns)) {
      const [row] = await store.query(
        `from drift_metrics where window_start = ? and drift_type = ? and column_name = ?
           and slice_key is null`,
        [day(Number(number)), type, name],
      );
      assertClose(row, expected, `${key} ${name}`);
      const isText = name === ":prediction" || name === ":label";
      const others = isText
        ? ["ks_test", "wasserstein_distance", "population_stability_index"]
        : ["chi_squared_test", "tv_distance", "l_infinity_distance"];
      assertEquals(others.map((other) => row[other]), [null, null, null], `${key} ${name}`);
    }
  }
  const [row] = await store.query(
    "from drift_metrics where window_start = ? and drift_type = 'CONSECUTIVE' and column_name = 'GR'",
    [day(3)],
  );
  // The empty day between has no window: the one before is the first.
  assertEquals((row.window_cmp as { start: string }).start, day(1).toISOString());
  assertEquals(row.is_drifted, true);
});

Deno.test("drift_metrics says why a single row is compared with nothing", async () => {
  await using store = await openGolden();
  const rows = await store.query(
    `from drift_metrics where window_start = ? and slice_key is null and column_name <> ':table'`,
    [day(4)],
  );
  assertEquals(rows.length, 2 * 9);
  for (const row of rows) {
    assertEquals([row.is_drifted, row.ks_test, row.js_distance], [null, null, null]);
    assert(/^\d+ current values, it takes 30$/.test(row.reason as string), String(row.reason));
  }
  const [{ labels }] = await store.query(
    "select count(*) as labels from profile where window_start = ? and accuracy is not null",
    [day(4)],
  );
  assertEquals(labels, 0);
});
