import { assertEquals } from "@std/assert";
import { tableFromIPC } from "apache-arrow";
import type { ReadResult } from "../../../runtime/store/database_contract.ts";
import { sqlFormatNames, sqlFormats } from "../../../runtime/sql_formats/mod.ts";
import { findKinds } from "../../../runtime/sql_formats/types.ts";

/** Values that forms tend to get wrong, as the store gives them. */
export const tricky: ReadResult = {
  columns: ["n", "x", "ok", "s", "at", "tags", "m", "raw", "big", "day"],
  types: [
    "BIGINT",
    "DOUBLE",
    "BOOLEAN",
    "VARCHAR",
    "TIMESTAMP",
    "DOUBLE[]",
    "MAP(VARCHAR, DOUBLE)",
    "BLOB",
    "UBIGINT",
    "DATE",
  ],
  rows: [
    [
      1,
      0.1,
      true,
      'a "b", c',
      "2024-02-29T10:00:00.123Z",
      [1, null, 2.5],
      { "a b": 1 },
      Uint8Array.of(0, 255),
      "18446744073709551615",
      "2024-02-29T00:00:00.000Z",
    ],
    [null, null, null, null, null, null, null, null, null, null],
    [
      "-9223372036854775808",
      NaN,
      false,
      "",
      "1969-12-31T23:59:59.999Z",
      [],
      {},
      new Uint8Array(),
      0,
      "1969-12-31T00:00:00.000Z",
    ],
    [
      -1,
      Infinity,
      false,
      "zwei\nZeilen\r=1+1 é 🦀",
      "9999-12-31T00:00:00.000Z",
      [NaN],
      { a: null },
      Uint8Array.of(1),
      7,
      "2000-01-01T00:00:00.000Z",
    ],
  ],
  isTruncated: true,
};

/** RFC 4180, for what the tests read back; `null` is an empty cell without quotes. */
function parseCsv(text: string): (string | null)[][] {
  const rows: (string | null)[][] = [[]];
  const cell = /("(?:[^"]|"")*"|[^,\n]*)(,|\n)/gy;
  for (const [, raw, end] of text.matchAll(cell)) {
    const value = raw === "" ? null : raw.replace(/^"|"$/g, "").replaceAll('""', '"');
    rows.at(-1)!.push(value);
    if (end === "\n") rows.push([]);
  }
  return rows.slice(0, -1);
}

Deno.test("sqlFormats.csv quotes as RFC 4180 says and tells null from an empty text", async () => {
  const rows = parseCsv(String(await sqlFormats.csv.write(tricky)));
  assertEquals(rows.length, 5);
  assertEquals(rows[0], [...tricky.columns]);
  assertEquals(rows[1][3], 'a "b", c');
  assertEquals(rows[1].slice(5, 9), ["[1,null,2.5]", '{"a b":1}', "AP8=", "18446744073709551615"]);
  assertEquals(rows[2], new Array(10).fill(null));
  assertEquals(rows[3].slice(1, 4), ["NaN", "false", ""]);
  assertEquals(rows[4].slice(1, 4), ["Infinity", "false", "zwei\nZeilen\r=1+1 é 🦀"]);
});

Deno.test("sqlFormats.json and ndjson give the same objects, bytes as base64 and no NaN", async () => {
  const array = JSON.parse(String(await sqlFormats.json.write(tricky)));
  const lines = String(await sqlFormats.ndjson.write(tricky)).trimEnd().split("\n");
  assertEquals(lines.map((line) => JSON.parse(line)), array);
  assertEquals(array[0].raw, "AP8=");
  assertEquals([array[2].x, array[2].s, array[3].x], [null, "", null]);
  assertEquals(Object.values(array[1]), new Array(10).fill(null));
});

Deno.test("sqlFormats give an empty result its columns where the form has any", async () => {
  const empty = { ...tricky, rows: [] };
  assertEquals(await sqlFormats.json.write(empty), "[]\n");
  assertEquals(await sqlFormats.ndjson.write(empty), "");
  assertEquals(await sqlFormats.csv.write(empty), `${tricky.columns.join(",")}\n`);
  const table = tableFromIPC(await sqlFormats.arrow.write(empty) as Uint8Array);
  assertEquals([table.numRows, table.schema.fields.length], [0, 10]);
});

Deno.test("sqlFormats.arrow types every column and keeps nulls, NaN, 64 bits and lists", async () => {
  const table = tableFromIPC(await sqlFormats.arrow.write(tricky) as Uint8Array);
  assertEquals(table.schema.fields.map(({ type }) => String(type)), [
    "Int64",
    "Float64",
    "Bool",
    "Utf8",
    "Timestamp<MICROSECOND, UTC>",
    "List<Float64>",
    "Utf8",
    "Binary",
    "Uint64",
    "Date32<DAY>",
  ]);
  assertEquals(table.schema.metadata.get("is_truncated"), "true");
  const column = (name: string) => [...table.getChild(name)!];
  assertEquals(column("n"), [1n, null, -(2n ** 63n), -1n]);
  assertEquals(column("x"), [0.1, null, NaN, Infinity]);
  const micros = table.getChild("at")!.data[0].values as BigInt64Array;
  assertEquals([...micros].map((at) => Number(at / 1000n)), [
    Date.parse("2024-02-29T10:00:00.123Z"),
    0,
    -1,
    Date.parse("9999-12-31T00:00:00Z"),
  ]);
  assertEquals(micros[3] % 1000n, 0n);
  assertEquals(column("ok"), [true, null, false, false]);
  assertEquals(column("s"), tricky.rows.map((row) => row[3]));
  assertEquals(column("big"), [2n ** 64n - 1n, null, 0n, 7n]);
  assertEquals(column("tags").map((list) => list && [...list]), [[1, null, 2.5], null, [], [NaN]]);
  assertEquals(column("m"), ['{"a b":1}', null, "{}", '{"a":null}']);
  assertEquals(column("raw").map((bytes) => bytes && [...bytes]), [[0, 255], null, [], [1]]);
});

Deno.test("findKinds() reads every type name of the store, and infers what has none", () => {
  const named = (type: string, value: unknown = null) =>
    findKinds({ columns: ["a"], rows: [[value]], isTruncated: false, types: [type] })[0];
  for (
    const [type, value, kind] of [
      ["UTINYINT", 1, "int64"],
      ["FLOAT", 1, "float64"],
      ["DECIMAL(18,3)", 1.5, "float64"],
      ["TIMESTAMP WITH TIME ZONE", null, "timestamp"],
      ["TIMESTAMP_NS", null, "timestamp"],
      ["HUGEINT", "9223372036854775807", "int64"],
      ["HUGEINT", "9223372036854775808", "text"],
      ["STRUCT(a INTEGER)", { a: 1 }, "text"],
      ["ENUM('x[]', 'BOOLEAN')", "x[]", "text"],
      ["UUID", "x", "text"],
      ["JSON", "{}", "text"],
      ["INTERVAL", {}, "text"],
    ] as const
  ) assertEquals(named(type, value).kind, kind, type);
  assertEquals(named("INTEGER[][3]"), {
    kind: "list",
    of: { kind: "list", of: { kind: "int64" } },
  });
  const infer = (...values: unknown[]) =>
    findKinds({ columns: ["a"], rows: values.map((v) => [v]), isTruncated: false })[0];
  assertEquals(infer(1, null), { kind: "int64" });
  assertEquals(infer(1, 0.5), { kind: "float64" });
  assertEquals(infer(2 ** 60), { kind: "float64" });
  assertEquals(infer(true, null), { kind: "bool" });
  assertEquals(infer(true, 1), { kind: "text" });
  assertEquals(infer(null), { kind: "text" });
  assertEquals(infer([true], []), { kind: "list", of: { kind: "bool" } });
  assertEquals(infer(Uint8Array.of(1)), { kind: "bytes" });
});

Deno.test("sqlFormats write without a word what does not fit an inferred type as text", async () => {
  const mixed = { columns: ["a"], rows: [[1], ["two"], [{ b: [3] }]], isTruncated: false };
  for (const name of sqlFormatNames) {
    const written = await sqlFormats[name].write(mixed);
    if (typeof written === "string") continue;
    assertEquals([...tableFromIPC(written).getChild("a")!], ["1", "two", '{"b":[3]}']);
  }
});
