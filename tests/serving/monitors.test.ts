import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { AlertingParams } from "../../runtime/alerts/params.ts";
import { createApp, type GeophoneApp } from "../../server.ts";
import type { Store } from "../../runtime/store/store.ts";
import { addRows, day, openMonitored, plainRows, refreshAt } from "../runtime/monitors/fixture.ts";

// deno-lint-ignore no-explicit-any -- JSON of an answer
type Json = any;

async function withMonitors(
  action: (get: (query?: string) => Promise<Json>, app: GeophoneApp) => Promise<void>,
  prepare: (store: Store) => Promise<void> = fill,
): Promise<void> {
  const baseline = plainRows(200).map((row) => ({ ...row, truth: row.label }));
  await using store = await openMonitored(baseline);
  await prepare(store);
  const target = () => Promise.resolve({ model: "rocks", version: 1 });

  const rules = { alerts: [], params: AlertingParams.parse({}), target };
  await using app = await createApp({ store, model: "rocks", quiet: true, rules });
  await action(async (query = "") => await (await app.request(`/monitors${query}`)).json(), app);
}

async function fill(store: Store): Promise<void> {
  await addRows(store, plainRows(40), { requestId: "a", from: day(1) });
  await addRows(store, plainRows(60, { gr: 500, slice: "P-130" }), {
    requestId: "b",
    from: day(2),
  });
  await refreshAt(store, day(3));
  await store.query(
    `insert into core.estimate_windows values
       ('rocks', 1, '1 day', $1, $2, 'd', 60, 0, null, $2)`,
    [day(2), day(3)],
  );
  await store.query(
    `insert into core.estimates by name select 'rocks' as model, 1 as version, '1 day' as granularity,
       $1::timestamp as window_start, $2::timestamp as window_end, s.slice as slice,
       'accuracy' as metric, 60 as rows, 0 as labeled_rows, 0.8 as estimate, 0.7 as low, 0.9 as high
     from (values (null), ('P-130')) s(slice)`,
    [day(2), day(3)],
  );
}

Deno.test("GET /monitors gives the latest window of every column with its drift, and the estimates", () =>
  withMonitors(async (get) => {
    const { model, version, columns, estimates, is_truncated } = await get();
    assertEquals([model, version, is_truncated], ["rocks", 1, false]);
    assert(columns.every(({ window_start }: Json) => window_start === columns[0].window_start));
    const [table] = columns;
    assertEquals([table.column, table.kind, table.count], [":table", "table", 60]);
    const gr = columns.find(({ column }: Json) => column === "GR");
    assertEquals([gr.count, gr.granularity, gr.min], [60, "1 day", 500]);
    assertEquals([gr.drift.is_drifted, gr.drift.current_count], [true, 60]);
    assertEquals(columns.filter(({ column }: Json) => column === "GR").length, 1, "no slices");
    assertEquals(estimates.map(({ metric, estimate, low }: Json) => [metric, estimate, low]), [
      ["accuracy", 0.8, 0.7],
    ]);
  }));

Deno.test("GET /monitors?since=&column= gives the windows of one column that end later, the newest first", () =>
  withMonitors(async (get) => {
    const of = async (query: string) =>
      (await get(query)).columns.map(({ column, count }: Json) => [column, count]);
    assertEquals(await of("?column=GR&since=2026-11-01"), [["GR", 60], ["GR", 40]]);
    assertEquals(await of("?column=GR&since=2026-11-02T00:00Z"), [["GR", 60]]);
    assertEquals(await of("?column=GR&since=2026-12-01"), []);
    assertEquals(await of("?column=XX"), []);
    assertEquals((await get("?column=GR")).estimates, []);
  }));

Deno.test("GET /monitors never answers more than its limit, and says that it left something out", () =>
  withMonitors(async (get) => {
    const { columns, is_truncated } = await get("?limit=2");
    assertEquals([columns.length, is_truncated], [2, true]);
  }));

Deno.test("GET /monitors gives no number where a distance has no end", () =>
  withMonitors(async (get) => {
    const [{ drift }] = (await get("?column=GR")).columns;
    assertEquals([drift.is_drifted, drift.current_count, drift.wasserstein_distance], [
      true,
      40,
      null,
    ]);
  }, async (store) => {
    const [row] = plainRows(1);
    const rows = Array.from({ length: 40 }, (_, i) => ({
      ...row,
      features: [i % 2 ? 1.7e308 : -1.7e308, 2.5, 0.1],
    }));
    await addRows(store, rows, { requestId: "a", from: day(1) });
    await refreshAt(store, day(3));
  }));

Deno.test("GET /monitors refuses parameters that are wrong", () =>
  withMonitors(async (_get, app) => {
    for (
      const [query, said] of [
        ["limit=0", 'limit "0" is not a number up to 5000'],
        ["limit=5001", "is not a number up to"],
        ["since=yesterday", "is not a time such as"],
        ["since=2026-13-01", "is not a time such as"],
        ["since=2026-02-30", "is not a time such as"],
        ["since=2025-02-29T12:00Z", "is not a time such as"],
        ["colum=GR", 'did you mean "column"?'],
        ["column=", 'column "" is not a name'],
      ]
    ) {
      const response = await app.request(`/monitors?${query}`);
      const { error } = await response.json();
      assertEquals([response.status, error.code], [400, "invalid_query"], query);
      assertStringIncludes(error.message, said);
    }
  }, () => Promise.resolve()));
