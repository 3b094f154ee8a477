import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { readSignature, type Signature } from "../../runtime/registry/signature.ts";
import { HttpError } from "../../serving/http_error.ts";
import { parseJson } from "../../serving/json.ts";
import { makeLayout, readRecords } from "../../serving/records.ts";
import { buildTestModel, testRecord } from "../model_fixture.ts";

const plain = readSignature(buildTestModel());
const ordered = readSignature(buildTestModel({ isWindowed: true }));
const limits = { maxRows: 100 };

function read(body: unknown, signature: Signature = plain) {
  return readRecords(body, makeLayout(signature), limits);
}

function refuse(body: unknown, signature: Signature = plain): HttpError {
  return assertThrows(() => read(body, signature), HttpError);
}

const good = { GR: 1.25, RHOB: null, NPHI: 0.1 };

Deno.test("readRecords() gives the same rows when records come as records or as columns", () => {
  const records = Array.from({ length: 9 }, (_, i) => testRecord(i, true));
  const columns = Object.fromEntries(
    ["DEPT", "GR", "RHOB", "NPHI"].map((name) => [name, records.map((record) => record[name])]),
  );
  const a = read({ records, slice: "P-129" }, ordered);
  assertEquals(read({ columns, slice: "P-129" }, ordered), a);
  assertEquals(a.rows.order, Float64Array.from(records, (record) => record.DEPT!));
  assertEquals(a.values[1], 1.5);
  assert(Number.isNaN(a.values[3 * 3 + 1]));
  assertEquals(a.slice, "P-129");
});

Deno.test("readRecords() keeps full precision for the table and float32 for the model", () => {
  const { values, rows } = read({ records: [{ GR: 0.1, RHOB: null, NPHI: 3 }] });
  assertEquals(values, Float64Array.of(0.1, NaN, 3));
  assertEquals(rows.X.data, Float32Array.of(0.1, NaN, 3));
});

Deno.test("readRecords() takes one record without a position as a sequence of length one", () => {
  const one = read({ records: [good] }, ordered);
  assertEquals(one.rows.order, Float64Array.of(0));
  assertEquals(one.order, undefined);
});

for (
  const [name, body, message, record] of [
    [
      "an absent feature",
      { records: [good, { GR: 1, NPHI: 2 }] },
      'record 1 lacks "RHOB"; send null',
      1,
    ],
    ["an unknown feature", { records: [{ ...good, NHPI: 1 }] }, 'did you mean "NPHI"?', 0],
    ["a string", { records: [{ ...good, GR: "12" }] }, 'record 0, "GR": the text "12"', 0],
    ["a boolean", { records: [{ ...good, GR: true }] }, 'record 0, "GR": true where a number', 0],
    ["a nested value", { records: [{ ...good, GR: [1] }] }, 'record 0, "GR": an array', 0],
    ["1e999", parseJson('{"records":[{"GR":1e999,"RHOB":1,"NPHI":1}]}'), "not finite", 0],
    ["a number beyond float32", { records: [{ ...good, GR: 1e39 }] }, "too large for float32", 0],
    ["a record that is no object", { records: [good, 7] }, "record 1 is 7, not an object", 1],
    ["a record that is an array", { records: [[1, 2, 3]] }, "record 0 is an array", 0],
    [
      "a prototype key",
      parseJson('{"records":[{"GR":1,"RHOB":1,"NPHI":1,"__proto__":2}]}'),
      "__proto__",
      0,
    ],
    ["no records", { records: [] }, "there are none", undefined],
    ["neither form", {}, 'give one of "records" and "columns"', undefined],
    ["both forms", { records: [good], columns: {} }, "only one", undefined],
    ["an array as body", [good], "must be an object", undefined],
    ["null as body", null, "must be an object", undefined],
    ["a misspelled form", { record: [good] }, 'did you mean "records"?', undefined],
    [
      "an unknown option",
      { records: [good], include_probabilities: true },
      "include_probabilities",
      undefined,
    ],
    ["a slice that is no text", { records: [good], slice: 3 }, "slice", undefined],
    ["a slice of control characters", { records: [good], slice: "a\u0000" }, "control", undefined],
    ["records that are no array", { records: {} }, "array of records", undefined],
    [
      "ragged columns",
      { columns: { GR: [1, 2], RHOB: [1], NPHI: [1, 2] } },
      'column "RHOB" has 1 values',
      undefined,
    ],
    ["empty columns", { columns: { GR: [], RHOB: [], NPHI: [] } }, "there are none", undefined],
    ["an absent column", { columns: { GR: [1], NPHI: [1] } }, 'no column "RHOB"', undefined],
    [
      "an unknown column",
      { columns: { GR: [1], RHOB: [1], NPHI: [1], X: [1] } },
      'unknown column "X"',
      undefined,
    ],
    ["no column at all", { columns: {} }, 'no column "GR"', undefined],
    [
      "a column that is no array",
      { columns: { GR: 1, RHOB: [1], NPHI: [1] } },
      "not an array",
      undefined,
    ],
    [
      "text in a column",
      { columns: { GR: [1, "x"], RHOB: [1, 1], NPHI: [1, 1] } },
      'record 1, "GR"',
      1,
    ],
  ] as const
) {
  Deno.test(`readRecords() answers 422 that names the thing when it gets ${name}`, () => {
    const error = refuse(body);
    assertEquals(error.status, 422);
    assertStringIncludes(error.message, message);
    if (record !== undefined) assertEquals(error.details?.[0].record, record);
  });
}

Deno.test("readRecords() wants the order column when more than one record is looked along", () => {
  const records = [good, good];
  assertStringIncludes(refuse({ records }, ordered).message, 'record 0 lacks "DEPT"');
  const half = [{ ...good, DEPT: 1 }, good];
  assertStringIncludes(refuse({ records: half }, ordered).message, 'record 1 lacks "DEPT"');
  const unknown = [{ ...good, DEPT: 1 }, { ...good, DEPT: null }];
  assertStringIncludes(refuse({ records: unknown }, ordered).message, "needs every position");
  const columns = { GR: [1, 2], RHOB: [1, 2], NPHI: [1, 2] };
  assertStringIncludes(refuse({ columns }, ordered).message, 'no column "DEPT"');
});

Deno.test("readRecords() answers 413 when there are too many records", () => {
  const error = refuse({ records: new Array(101).fill(good) });
  assertEquals(error.status, 413);
  assertStringIncludes(error.message, "the limit is 100");
});

Deno.test("readRecords() lists no more than ten details", () => {
  assertEquals(refuse({ records: new Array(50).fill({}) }).details?.length, 10);
});

for (
  const [text, position, part] of [
    ["", 0, "it is empty"],
    ['{"a": 1,}', 8, 'unexpected "}"'],
    ['{"a": [1, 2', 11, "ends too early"],
    ['{"a": NaN}', 6, "send null"],
    ['{"a": -Infinity}', 6, "send null"],
    ["{'a': 1}", 1, 'unexpected "\'"'],
    ['{"a": "b\n"}', 8, "unexpected"],
    ['{"a": "\\x"}', 7, "unexpected"],
    ["[1] 2", 4, 'unexpected "2"'],
    ["[01]", 2, 'unexpected "1"'],
    ["[1,]", 3, 'unexpected "]"'],
    ["[,1]", 1, 'unexpected ","'],
    ["{,}", 1, 'unexpected ","'],
    ["tru", 0, 'unexpected "t"'],
    ["[".repeat(100_000), 100_000, "ends too early"],
  ] as const
) {
  Deno.test(`parseJson() names the position when it gets ${JSON.stringify(text.slice(0, 20))}`, () => {
    const error = assertThrows(() => parseJson(text), HttpError);
    assertEquals(error.status, 400);
    assertEquals(error.details?.[0].position, position);
    assertStringIncludes(error.message, part);
  });
}

Deno.test("parseJson() gives line and column when the error is on a later line", () => {
  const error = assertThrows(() => parseJson('{\n  "a": 1\n  "b": 2\n}'), HttpError);
  assertStringIncludes(error.message, "line 3, column 3");
});
