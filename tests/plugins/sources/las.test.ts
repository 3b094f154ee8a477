import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { las, type LasFile, parseLas } from "../../../plugins/sources/las.ts";
import golden from "../../oracles/las_golden.json" with { type: "json" };

const encoder = new TextEncoder();
const data = new URL("../../../data/", import.meta.url).pathname;
const parse = (text: string) => parseLas(encoder.encode(text), "x.las");
const fails = (text: string, ...parts: string[]) => {
  const error = assertThrows(() => parse(text), SyntaxError);
  for (const part of ['Cannot read "x.las": ', ...parts]) assertStringIncludes(error.message, part);
};
const checks = (file: LasFile) =>
  file.findings.map(({ check, severity }) => `${severity} ${check}`);

/** A LAS 2.0 file of rows of depth, GR and RHOB. */
function write(
  rows: string,
  { curves = "", version = "2.0", wrap = "NO", well = "" } = {},
): string {
  return `~Version
VERS. ${version} : CWLS LOG ASCII STANDARD
WRAP. ${wrap} : ONE LINE PER DEPTH STEP
~Well
${well || "STRT.M 1 :\nSTOP.M 2 :\nSTEP.M 0.5 :\nNULL. -999.25 :"}
~Curve
DEPT.M : Depth
GR.GAPI : Gamma ray
RHOB.G/C3 : Density
${curves}~Ascii
${rows}`;
}

const ROWS = "1.0 80 2.5\n1.5 81 2.6\n2.0 82 2.7\n";

for (const [name, expected] of Object.entries(golden.files)) {
  Deno.test(`parseLas() gives every value of ${name} that lasio ${golden.lasio} gives`, async () => {
    const file = parseLas(await Deno.readFile(`${data}${name}.las.gz`), name);
    const found = file.columns.map(({ name, values }, j) => {
      assert(values instanceof Float64Array);
      assertEquals(values.length, expected.rows);
      const { unit, description } = file.curves[j];
      const at = [0, values.length >> 1, values.length - 1].map((i) => values[i]);
      return {
        name,
        unit,
        description,
        finite: values.filter(Number.isFinite).length,
        sha256: createHash("sha256").update(toBytes(values)).digest("hex"),
        sample: at.map((value) => Number.isNaN(value) ? null : value),
      };
    });
    assertEquals(found, expected.curves);
    for (const [mnemonic, [unit, value, description]] of Object.entries(expected.well)) {
      const item = file.well.find((i) => i.mnemonic === mnemonic)!;
      assertEquals([item.unit, item.description], [unit, description]);
      // lasio gives numbers as numbers.
      if (item.value !== value) assertEquals(Number(item.value), Number(value));
    }
  });
}

/** Little-endian float64, NaN in one form. */
function toBytes(values: Float64Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * values.length));
  values.forEach((value, i) => view.setFloat64(8 * i, value, true));
  values.forEach((value, i) => {
    if (Number.isNaN(value)) view.setBigUint64(8 * i, 0x7ff8000000000000n, true);
  });
  return new Uint8Array(view.buffer);
}

Deno.test("parseLas() gives the intervals when the only data is a lithology section", async () => {
  const file = parseLas(await Deno.readFile(`${data}P-129_lithology.las.gz`));
  assertEquals(file.version, "3.0");
  assertEquals(file.columns.map(({ name, unit }) => [name, unit]), [
    ["LITHT", "M"],
    ["LITHB", "M"],
    ["LITHD", undefined],
  ]);
  const [top, base, text] = file.columns.map(({ values }) => values);
  assertEquals([top[0], base[0], text[1]], [280, 299.986, "Grey, sandstone, vf-f"]);
  assertEquals([top[184], base[184], text[184]], [1904.471, 1935, "Volcanic"]);
  assertEquals(file.findings, []);
});

Deno.test("parseLas() reports what is wrong with F03-02 and keeps its values", async () => {
  const file = parseLas(await Deno.readFile(`${data}F03-02.las.gz`), "F03-02");
  assertEquals(checks(file), [
    "warning las_order",
    "warning las_step",
    "warning las_undeclared_null",
  ]);
  assertStringIncludes(file.findings[2].message, "looks like an undeclared null");
  assertStringIncludes(file.findings[2].message, "-9999 89976 times");
  assertEquals(file.columns[7].values[0], -9999);
});

Deno.test("parseLas() takes header lines apart when they hold colons, dots and spaces", () => {
  const file = parse(
    write(ROWS, {
      curves: "",
      well: `NULL  .   -999.25 : NULL VALUE
 COMP NAME .  ANY OIL: CO. INC.  : COMPANY: full name
RT.ohm.m 1.5:resistivity
DATE. 2015/03/27 13:00 : LAS Creation date {YYYY/MM/DD hh:mm}
VOID.:
BARE : only a description
RM.[OHMM] 2 : in brackets`,
    }),
  );
  assertEquals(file.well.slice(1), [
    {
      mnemonic: "COMP NAME",
      unit: "",
      value: "ANY OIL: CO. INC.",
      description: "COMPANY: full name",
    },
    { mnemonic: "RT", unit: "ohm.m", value: "1.5", description: "resistivity" },
    {
      mnemonic: "DATE",
      unit: "",
      value: "2015/03/27 13:00",
      description: "LAS Creation date {YYYY/MM/DD hh:mm}",
    },
    { mnemonic: "VOID", unit: "", value: "", description: "" },
    { mnemonic: "BARE", unit: "", value: "", description: "only a description" },
    { mnemonic: "RM", unit: "OHMM", value: "2", description: "in brackets" },
  ]);
});

Deno.test("parseLas() swaps value and description when the version is 1.2", () => {
  const file = parse(
    write(ROWS, {
      version: "1.2",
      well: "STRT.M 1.0 :\nNULL. -999.25 :\nCOMP. COMPANY : ANY OIL",
    }),
  );
  const company = { mnemonic: "COMP", unit: "", value: "ANY OIL", description: "COMPANY" };
  assertEquals(file.well[2], company);
});

Deno.test("parseLas() reads wrapped rows, CRLF, comments, tabs and Fortran exponents", () => {
  const text = write("1.0\n # comment\n 8.0D+01\n2.5E0\n\n1.5\n-999.25\t\n-2.6e-1\n", {
    wrap: "YES",
  })
    .replaceAll("\n", "\r\n");
  const file = parse(text);
  assertEquals(file.columns.map(({ values }) => [...values as Float64Array]), [
    [1, 1.5],
    [80, NaN],
    [2.5, -0.26],
  ]);
});

Deno.test("parseLas() decodes Windows-1252, UTF-16, a byte order mark and gzip", () => {
  const text = write(ROWS, { well: "NULL. -999.25 :\nLATI. 45° 39' : LATITUDE" });
  const latin = Uint8Array.from(text, (char) => char.charCodeAt(0));
  const utf16 = new Uint8Array([
    0xff,
    0xfe,
    ...new Uint8Array(Uint16Array.from(text, (c) => c.charCodeAt(0)).buffer),
  ]);
  for (const bytes of [latin, utf16, encoder.encode(`\ufeff${text}`), gzipSync(text)]) {
    const file = parseLas(bytes);
    assertEquals(file.well[1].value, "45° 39'");
    assertEquals(file.columns[1].values, new Float64Array([80, 81, 82]));
  }
});

Deno.test("parseLas() rounds decimals as the platform does", () => {
  const words = [
    "0.1574800014",
    "1234567890.12345",
    "9007199254740993",
    "-.5",
    "1.",
    "0.1234567890123456789",
    "1e-320",
    "+7",
  ];
  const file = parse(write(words.map((word, i) => `${i} ${word} 1`).join("\n")));
  assertEquals([...file.columns[1].values], words.map(Number));
});

const LAS3 = `~Version
VERS. 3.0 :
WRAP. NO :
DLM. COMMA :
~Well
NULL. -999.25 :
~Log_Definition
DEPT.M : depth {F}
CDES. : core description {S}
DATE. : date {DD/MM/YYYY}
~Log_Data | Log_Definition
1.0,"Sand, fine",01/02/2003
1.5,,-999.25
2.0, Lime ,03/02/2003
~Tops_Definition
TOPT.M : top {F}
TOPN. : name
~Tops | Tops_Definition
545.5,Viking
602.0,Colony
`;

Deno.test("parseLas() reads quoted text, dates and further sections when the version is 3.0", () => {
  const file = parse(LAS3);
  assertEquals(file.columns, [
    { name: "DEPT", unit: "M", values: new Float64Array([1, 1.5, 2]) },
    { name: "CDES", values: ["Sand, fine", null, "Lime"] },
    { name: "DATE", values: ["01/02/2003", null, "03/02/2003"] },
  ]);
  assertEquals(file.tables.map(({ name, columns }) => [name, columns]), [["Tops", [
    { name: "TOPT", unit: "M", values: new Float64Array([545.5, 602]) },
    { name: "TOPN", values: ["Viking", "Colony"] },
  ]]]);
  assertStringIncludes(
    file.findings.find((f) => f.check === "las_sections")!.message,
    "Tops (2 rows)",
  );
});

Deno.test("parseLas() keeps empty last cells when the delimiter is a tab or a comma", () => {
  for (const [name, delimiter] of [["TAB", "\t"], ["COMMA", ","]]) {
    const file = parse(
      write(`1${delimiter}2${delimiter}\n2${delimiter}${delimiter}3\n`, { version: "3.0" })
        .replace("~Well", `DLM. ${name} :\n~Well`),
    );
    assertEquals(file.columns.map(({ values }) => [...values]), [[1, 2], [2, NaN], [NaN, 3]]);
  }
});

Deno.test("parseLas() renames duplicate curves and warns", () => {
  const file = parse(
    write("1 2 3 4 5\n2 3 4 5 6\n", { curves: "GR.GAPI : again\ngr.GAPI : third\n" }),
  );
  assertEquals(file.columns.map(({ name }) => name), ["DEPT", "GR", "RHOB", "GR:2", "gr:3"]);
  assertEquals(file.findings.filter((f) => f.check === "las_duplicate").map((f) => f.subject), [
    "GR:2",
    "gr:3",
  ]);
});

Deno.test("parseLas() counts cells that are no number and names the first line", () => {
  const file = parse(write("1.0 80 2.5\n1.5 bad 2.6\n2.0 worse 2.7\n2.5 83 2.7\n3.0 NaN 2.7\n"));
  assertEquals([...file.columns[1].values], [80, NaN, NaN, 83, NaN]);
  const [finding] = file.findings.filter((f) => f.check === "las_cells");
  assertEquals([finding.severity, finding.subject], ["warning", "GR"]);
  assertStringIncludes(finding.message, '2 cells of GR that are no number, first "bad" in line 15');
});

Deno.test("parseLas() gives a text column when most cells are text", () => {
  const file = parse(write("1.0 SAND 2.5\n1.5 LIME 2.6\n2.0 -999.25 2.7\n"));
  assertEquals(file.columns[1].values, ["SAND", "LIME", null]);
});

Deno.test("parseLas() reports an all-null curve", () => {
  const file = parse(write("1.0 -999.25 2.5\n1.5 -999.25 2.6\n2.0 -999.25 2.6\n"));
  assertEquals(checks(file), ["info las_all_null"]);
});

Deno.test("parseLas() warns when STEP is zero, differs, or the depth goes back", () => {
  const steps = (step: string, rows = ROWS) =>
    checks(parse(write(rows, { well: `NULL. -999.25 :\nSTEP.M ${step} :\nSTOP.M 2.0 :` })));
  assertEquals(steps("0.5"), []);
  assertEquals(steps("0"), ["warning las_step"]);
  assertEquals(steps("0.25"), ["warning las_step"]);
  assertEquals(steps("-999.25"), []);
  const back = steps("0.5", "1.0 80 2.5\n1.5 80 2.5\n1.5 80 2.5\n2.0 80 2.5\n2.5 80 2.5\n");
  assertEquals(back, ["warning las_order"]);
});

Deno.test("parseLas() warns when the data ends before STOP", () => {
  assertEquals(checks(parse(write(ROWS, { well: "NULL. -999.25 :\nSTOP.M 90 :" }))), [
    "warning las_stop",
  ]);
});

Deno.test("parseLas() names the line when a row has a wrong number of values", () => {
  fails(write("1.0 80 2.5\n1.5 81\n"), "line 15 has 2 values for the 3 columns");
  fails(write("1.0 80 2.5\n1.5 81 2.6 9\n"), "line 15 has more values than the 3 columns");
});

Deno.test("parseLas() names the line when a wrapped row is short, long or cut off", () => {
  const wrap = "YES";
  fails(
    write("1.0\n80 2.5\n1.5\n81", { wrap }),
    "starts in line 16 has 2 of 3 values",
    "truncated",
  );
  fails(write("1.0\n80\n1.5\n81 2.5\n", { wrap }), "line 17 should start a wrapped row");
  fails(write("1.0\n80 2.5 9\n", { wrap }), "line 15 has more values");
});

Deno.test("parseLas() says what is missing when the file is empty, a header or no LAS", () => {
  fails("", "the file is empty");
  fails(" \n \n", "the file is empty");
  fails("a,b\n1,2\n", 'no "~" section');
  fails(write(ROWS).split("~Ascii")[0], "no data section (~A)", "~Curve");
  fails(write(""), "holds no rows");
  fails("~V\nVERS. 2.0 :\n~A\n1 2\n", "add a ~Curve section");
  assertThrows(() => parse(write(ROWS, { version: "4.0" })), RangeError, "1.2, 2.0 and 3.0");
});

Deno.test("parseLas() warns when version or NULL are missing", () => {
  const file = parse("~C\nDEPT.M :\n~A\n1\n2\n3\n");
  assertEquals(checks(file), ["warning las_version", "warning las_null"]);
});

Deno.test("las.open() explains a missing file and damaged gzip data", async () => {
  const signal = new AbortController().signal;
  await assertRejects(() => las.open("/nowhere/x.las", { signal }), Error, "there is no such file");
  const path = await Deno.makeTempFile({ suffix: ".las.gz" });
  try {
    const bytes = await Deno.readFile(`${data}P-135.las.gz`);
    await Deno.writeFile(path, bytes.subarray(0, bytes.length >> 1));
    await assertRejects(() => las.open(path, { signal }), SyntaxError, "truncated or damaged");
  } finally {
    await Deno.remove(path);
  }
});
