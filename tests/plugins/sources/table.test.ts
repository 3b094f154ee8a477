import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { gzipSync } from "node:zlib";
import { csv, json, parquet } from "../../../plugins/sources/table.ts";
import { openStore } from "../../../runtime/store/store.ts";

const signal = new AbortController().signal;

async function withFile(
  name: string,
  content: string | Uint8Array,
  action: (path: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "it's " });
  try {
    const path = `${dir}/${name}`;
    await Deno.writeFile(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
    await action(path);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function read(source: typeof csv | typeof json | typeof parquet, path: string) {
  await using store = await openStore(":memory:");
  const table = await source.open(path, { signal });
  if (!("select" in table)) throw new TypeError("Cannot read without a select");
  return await store.query(table.select);
}

for (const delimiter of [",", ";", "\t", "|"]) {
  Deno.test(`csv.open() finds the delimiter ${JSON.stringify(delimiter)}`, () => {
    const text = 'id,name,when\n1,"a, b; c|\td",2020-01-02\n2,NA,\n'.replaceAll(
      /,(?! )/g,
      delimiter,
    );
    return withFile("x.csv", text, async (path) => {
      assertEquals(await read(csv, path), [
        { id: 1, name: "a, b; c|\td", when: "2020-01-02T00:00:00.000Z" },
        { id: 2, name: null, when: null },
      ]);
    });
  });
}

Deno.test("csv.open() reads gzip, and decimal commas between semicolons", async () => {
  await withFile("x.csv.gz", gzipSync("a,b\n1,2\n"), async (path) => {
    assertEquals(await read(csv, path), [{ a: 1, b: 2 }]);
  });
  await withFile("x.csv", "a;b\n1,5;x\n2,25;y\n", async (path) => {
    assertEquals(await read(csv, path), [{ a: 1.5, b: "x" }, { a: 2.25, b: "y" }]);
  });
});

Deno.test("csv.open() takes a quote inside a cell as it is, and heads longer than one look", () => {
  const rows = Array.from({ length: 9_000 }, (_, i) => `${i},5\u2033 pipe ${i} é`).join("\n");
  return withFile("x.csv", `id,what\n${rows}\n`, async (path) => {
    assertEquals((await read(csv, path)).length, 9_000);
  });
});

Deno.test("csv.open() takes only numbers, dates and times for other than text", () =>
  withFile("x.csv", "a,b,c,d,e\nyes,t,01,12:30,1.50\nno,f,02,09:15,NA\n", async (path) => {
    assertEquals(await read(csv, path), [
      { a: "yes", b: "t", c: "01", d: "12:30", e: 1.5 },
      { a: "no", b: "f", c: "02", d: "09:15", e: null },
    ]);
    await using store = await openStore(":memory:");
    const opened = await csv.open(path, { signal });
    assert("select" in opened && opened.texts !== undefined);
    const { texts } = opened;
    assertEquals(await store.query(texts), [
      { a: "yes", b: "t", c: "01", d: "12:30", e: "1.50" },
      { a: "no", b: "f", c: "02", d: "09:15", e: "NA" },
    ]);
  }));

Deno.test("csv.open() names blank headers as DuckDB does", async () => {
  for (const columns of [3, 10, 11, 101]) {
    const header = Array.from({ length: columns }, (_, j) => j === 1 ? "" : `c${j}`).join(",");
    const row = Array.from({ length: columns }, (_, j) => j).join(",");
    await withFile("x.csv", `${header}\n${row}\n`, async (path) => {
      const [name] = Object.keys((await read(csv, path))[0]).slice(1);
      const { findings } = await csv.open(path, { signal });
      assertEquals(findings.map(({ subject }) => subject), [name]);
    });
  }
});

Deno.test("open() refuses gzip data that is cut or damaged anywhere", async () => {
  const rows = Array.from({ length: 50_000 }, (_, i) => `${i},${i % 7}`).join("\n");
  const whole = gzipSync(`a,b\n${rows}\n`);
  const flipped = Uint8Array.from(whole);
  flipped[flipped.length - 6] ^= 1;
  const broken = [
    whole.subarray(0, whole.length / 2),
    whole.subarray(0, whole.length - 8),
    flipped,
    new TextEncoder().encode("a,b\n1,2\n"),
  ];
  for (const [source, name] of [[csv, "x.csv.gz"], [json, "x.ndjson.gz"]] as const) {
    for (const bytes of broken) {
      await withFile(name, bytes, async (path) => {
        const error = await assertRejects(() => source.open(path, { signal }), SyntaxError);
        assertEquals(
          error.message,
          `Cannot read "${path}": its gzip data is truncated or damaged; copy the file again`,
        );
      });
    }
  }
  await withFile("x.csv.gz", whole, async (path) => {
    assertEquals((await read(csv, path)).length, 50_000);
  });
});

Deno.test("csv.open() says what a file is that is no UTF-8 text", async () => {
  const bytes = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
  const wide = (text: string) => bytes([...text].map((char) => `${char}\0`).join(""));
  const cases: readonly [content: Uint8Array, state: string][] = [
    [bytes("\xff\xfe" + "a\0,\0b\0\n\0"), "it is UTF-16 text; save it as UTF-8"],
    [bytes("\xfe\xff" + "\0a\0,\0b"), "it is UTF-16 text; save it as UTF-8"],
    [wide("a,b\n1,2\n"), "it seems to be UTF-16 text; save it as UTF-8"],
    [bytes("a,b\n1,\0\x01,\x02\xff\xfe,,,,,\n"), "it is binary data and no text"],
    [bytes("PK\x03\x04\x14\0"), "it is a spreadsheet or a ZIP archive"],
    [gzipSync("a,b\n1,2\n"), "it is gzip data; give it a name that ends with .gz"],
    [bytes("a,b\n1,x\n2,caf\xe9\n"), "line 3 is not UTF-8 but perhaps Latin-1"],
  ];
  for (const [content, state] of cases) {
    await withFile("x.csv", content, async (path) => {
      const error = await assertRejects(() => csv.open(path, { signal }), SyntaxError);
      assertStringIncludes(error.message, `Cannot read "${path}": ${state}`);
    });
  }
  await withFile("x.csv", bytes("\xef\xbb\xbfa,b\n1,2\n"), async (path) => {
    assertEquals(await read(csv, path), [{ a: 1, b: 2 }]);
    assertEquals((await csv.open(path, { signal })).findings, []);
  });
});

Deno.test("csv.open() refuses a file of one column and names the delimiters", () =>
  withFile("x.csv", "a:b:c\n1:2:3\n", async (path) => {
    const error = await assertRejects(() => csv.open(path, { signal }), SyntaxError);
    assertStringIncludes(error.message, '"a:b:c" is one column; separate columns by comma');
  }));

Deno.test("csv.open() names the line when a row is ragged", () =>
  withFile("x.csv", 'a,b,c\n1,"two\nlines",3\n4,5\n6,7,8\n', async (path) => {
    const error = await assertRejects(() => csv.open(path, { signal }), SyntaxError);
    assertStringIncludes(error.message, "line 4 has 2 cells and the header has 3");
  }));

Deno.test("open() of every file source explains a missing, empty or folder path", async () => {
  for (const source of [csv, json, parquet]) {
    await assertRejects(() => source.open("/no/x.csv", { signal }), Error, "there is no such file");
    await assertRejects(() => source.open("/tmp", { signal }), Error, "it is a folder");
    await withFile("x.csv", "", async (path) => {
      await assertRejects(() => source.open(path, { signal }), SyntaxError, "the file is empty");
    });
  }
});

Deno.test("json.open() reads an array and lines; parquet.open() reads what DuckDB wrote", async () => {
  const rows = [{ a: 1, b: "x" }, { a: 2, b: "y" }];
  await withFile("x.json", JSON.stringify(rows), async (path) => {
    assertEquals(await read(json, path), rows);
  });
  await withFile("x.ndjson", rows.map((row) => JSON.stringify(row)).join("\n"), async (path) => {
    assertEquals(await read(json, path), rows);
    await using store = await openStore(":memory:");
    const target = path.replace("ndjson", "parquet");
    await store.query(`copy (select 1 as a, 'x' as b) to '${target.replaceAll("'", "''")}'`);
    assertEquals(await read(parquet, target), rows.slice(0, 1));
  });
});
