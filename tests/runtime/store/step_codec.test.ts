import { assertEquals, assertThrows } from "@std/assert";
import { decodeSteps, encodeSteps, mergeAppends } from "../../../runtime/store/step_codec.ts";
import { openStore } from "../../../runtime/store/store.ts";

const texts = ["a", null, 'quote " and \\', "nul \0 inside", "\ud800 half a pair", "Ω🪨"];
const step = {
  append: "core.readings",
  columns: {
    text: texts,
    same: new Array(6).fill("P-129"),
    none: new Array(6).fill(null),
    flag: [true, false, null, true, false, true],
    time: [
      new Date(0),
      new Date("2026-02-28T23:59:59.999Z"),
      null,
      new Date(-1),
      null,
      new Date(1),
    ],
    number: Float64Array.of(1.5, NaN, -0, Infinity, 5e-324, 2 ** 53),
    list: { values: Float32Array.of(1, 2, NaN, 4), lengths: Uint32Array.of(2, 0, 1, 0, 0, 1) },
    wide: { values: Float64Array.of(0.1), lengths: Uint32Array.of(0, 0, 0, 0, 0, 1) },
  },
};

Deno.test("decodeSteps() gives what encodeSteps() took when columns are of every kind", () => {
  const decoded = decodeSteps(encodeSteps([step, { append: "core.empty", columns: {} }]));
  const { text, ...rest } = step.columns;
  const { text: given, ...others } = decoded[0].columns;
  assertEquals(others, rest);
  assertEquals(given, text);
  assertEquals(decoded[1], { append: "core.empty", columns: {} });
});

Deno.test("decodeSteps() reads a frame that lies anywhere in a buffer", () => {
  const bytes = encodeSteps([{ append: "t", columns: { x: Float64Array.of(1, 2) } }]);
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  assertEquals(decodeSteps(shifted.subarray(3))[0].columns.x, Float64Array.of(1, 2));
});

Deno.test("decodeSteps() throws when the bytes are no frame", () => {
  assertThrows(() => decodeSteps(new Uint8Array(2)), RangeError);
  assertThrows(() => decodeSteps(Uint8Array.of(3, 0, 0, 0, 91, 91, 91, 0)), SyntaxError);
});

Deno.test("mergeAppends() joins the appends of each table in order, absent columns as null", () => {
  const merged = mergeAppends([
    { append: "a", columns: { x: Float64Array.of(1), s: ["p"] } },
    { append: "b", columns: { y: [1] } },
    { append: "a", columns: { x: [2, null], t: ["q", "r"] } },
    { append: "a", columns: { x: Float64Array.of(NaN), s: ["z"], t: [null] } },
  ]);
  assertEquals(merged, [
    {
      append: "a",
      columns: {
        x: [1, 2, null, null],
        s: ["p", null, null, "z"],
        t: [null, "q", "r", null],
      },
    },
    { append: "b", columns: { y: [1] } },
  ]);
});

Deno.test("mergeAppends() keeps numbers and lists in typed arrays, the wider one where they differ", () => {
  const lists = (values: Float32Array | Float64Array) => ({
    values,
    lengths: Uint32Array.of(values.length),
  });
  const [{ columns }] = mergeAppends([
    { append: "a", columns: { x: Float64Array.of(1), l: lists(Float32Array.of(1, 2)) } },
    { append: "a", columns: { x: Float64Array.of(2), l: lists(Float64Array.of(3)) } },
  ]);
  assertEquals(columns, {
    x: Float64Array.of(1, 2),
    l: { values: Float64Array.of(1, 2, 3), lengths: Uint32Array.of(2, 1) },
  });
});

Deno.test("transaction() stores frames as it stores their appends, types and NULLs alike", async () => {
  await using store = await openStore(":memory:");
  for (const table of ["readings", "twins"]) {
    await store.query(`create table core.${table} (
      text varchar, same varchar, none integer, flag boolean, time timestamp, number double,
      list float[], wide double[], missing varchar[])`);
  }
  // Three times 2,048 and some: several of DuckDB's chunks.
  const steps = Array.from({ length: 1100 }, () => step);
  await store.transaction(steps);
  await store.transaction([{
    frames: steps.map((one) => encodeSteps([{ ...one, append: "core.twins" }])),
  }]);
  const read = (table: string) =>
    store.query(
      `select * replace (number::varchar as number, list::varchar as list) from core.${table}`,
    );
  const [rows, twins] = [await read("readings"), await read("twins")];
  assertEquals(rows.length, 6600);
  assertEquals(rows, twins);
  assertEquals(rows.slice(6594, 6597), [
    {
      text: "a",
      same: "P-129",
      none: null,
      flag: true,
      time: "1970-01-01T00:00:00.000Z",
      number: "1.5",
      list: "[1.0, 2.0]",
      wide: [],
      missing: null,
    },
    {
      text: null,
      same: "P-129",
      none: null,
      flag: false,
      time: "2026-02-28T23:59:59.999Z",
      number: null,
      list: "[]",
      wide: [],
      missing: null,
    },
    {
      text: 'quote " and \\',
      same: "P-129",
      none: null,
      flag: null,
      time: null,
      number: "-0.0",
      list: "[NULL]",
      wide: [],
      missing: null,
    },
  ]);
  assertEquals(rows[6597].text, "nul \0 inside");
});

Deno.test("transaction() refuses a value that is not of its column's type, and stores nothing", async () => {
  await using store = await openStore(":memory:");
  await store.query(
    "create table core.readings (n integer, text varchar, moment timestamp, list double[])",
  );
  for (
    const [name, value] of [["n", 1.5], ["n", 2 ** 31], ["n", NaN], ["text", 7], ["moment", "noon"]]
  ) {
    let message = "";
    await store.transaction([
      { append: "core.readings", columns: { n: [1] } },
      { append: "core.readings", columns: { [name as string]: [value] } },
    ]).catch((error) => message = error.message);
    assertEquals(/^Cannot store .*: the column holds/.test(message), true, `${name} ${message}`);
  }
  assertEquals(await store.query("select count(*) as n from core.readings"), [{ n: 0 }]);
  await store.transaction([{ append: "core.readings", columns: { n: [1] } }]);
});
