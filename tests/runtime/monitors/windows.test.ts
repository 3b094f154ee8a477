import { assertEquals, assertThrows } from "@std/assert";
import {
  granularities,
  isClosed,
  parseWindowing,
  windowBefore,
  windowOf,
  windowSql,
  windowsSql,
} from "../../../runtime/monitors/windows.ts";
import { openStore } from "../../../runtime/store/store.ts";

const times = [
  "1969-12-31T23:59:59Z",
  "1999-12-27T00:00:00Z",
  "2000-02-29T12:00:00Z",
  "2024-02-29T23:59:59.999Z",
  "2026-01-01T00:00:00Z",
  "2026-03-29T01:30:00Z",
  "2026-11-25T13:07:31Z",
];

Deno.test("windowOf() gives what DuckDB's time_bucket gives, leap days and times before 1970 included", async () => {
  await using store = await openStore(":memory:");
  for (const granularity of granularities) {
    const sql = windowSql({ kind: "time", granularity }, "t");
    for (const text of times) {
      const [{ start, end }] = await store.query<{ start: string; end: string }>(
        `select ${sql} as start, start + interval '${granularity}' as "end"
         from (select ?::timestamp as t)`,
        [new Date(text)],
      );
      const window = windowOf(granularity, new Date(text));
      assertEquals([window.start.toISOString(), window.end.toISOString()], [start, end], text);
    }
  }
});

Deno.test("windowBefore() gives the window that ends where this one begins", () => {
  for (const granularity of granularities) {
    const window = windowOf(granularity, new Date("2024-03-01T00:00:00Z"));
    assertEquals(windowBefore(granularity, window).end, window.start);
  }
});

Deno.test("windowsSql() counts rows into windows and never splits what came at one time", async () => {
  await using store = await openStore(":memory:");
  // Requests of 3, 4 and 5 rows, and one of 2 a day later.
  await store.query(
    `create table t as select timestamp '2026-01-01' + to_hours(i) as t
     from (values (0, 3), (1, 4), (2, 5), (24, 2)) r(i, n), range(r.n)`,
  );
  const list = async (text: string) =>
    (await store.query<{ window_start: string; window_end: string | null; rows: number }>(
      windowsSql(parseWindowing(text), "t", "t"),
    )).map(({ window_start, window_end, rows }) => [
      window_start.slice(8, 13),
      window_end?.slice(8, 23) ?? null,
      rows,
    ]);
  assertEquals(await list("1 day"), [["01T00", "02T00:00:00.000", 12], [
    "02T00",
    "03T00:00:00.000",
    2,
  ]]);
  assertEquals(await list("5 rows"), [
    ["01T00", "01T02:00:00.000", 7],
    ["01T02", "02T00:00:00.000", 5],
    ["02T00", null, 2],
  ]);
  assertEquals(await list("2 chunks"), [["01T00", "01T02:00:00.000", 7], [
    "01T02",
    "02T00:00:00.001",
    7,
  ]]);
});

Deno.test("isClosed() takes a window without an end as open", () => {
  assertEquals(isClosed({ end: null }, { now: new Date(), latenessMs: 0 }), false);
});

Deno.test("parseWindowing() refuses what is no windowing", () => {
  for (const text of ["", "0 rows", "1 days", "2 day", "1.5 chunks", "rows"]) {
    assertThrows(() => parseWindowing(text), RangeError, `Cannot read windows "${text}"`);
  }
});
