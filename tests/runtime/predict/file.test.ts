import { assert, assertEquals, assertRejects } from "@std/assert";
import { matrix } from "../../../numeric/matrix.ts";
import { las } from "../../../plugins/sources/las.ts";
import { csv, json, parquet } from "../../../plugins/sources/table.ts";
import { Plugins } from "../../../plugins/plugin.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { predictFile, type PredictFileOptions } from "../../../runtime/predict/file.ts";
import { Predictor } from "../../../runtime/predict/predictor.ts";
import { quoteLiteral } from "../../../runtime/store/sql.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { buildTestModel, testClasses } from "../../model_fixture.ts";

interface Bench {
  readonly dir: string;
  /** Writes `text` as `name`, when there is any, predicts it into `output` and gives the summary. */
  predict(
    name: string,
    text: string | null,
    output: string,
    options?: Partial<PredictFileOptions>,
  ): ReturnType<typeof predictFile>;
  /** Rows of a written file, as DuckDB reads it. */
  read(output: string): Promise<Record<string, unknown>[]>;
  query(sql: string): Promise<Record<string, unknown>[]>;
  readonly predictor: Predictor;
}

async function withBench(
  isWindowed: boolean,
  action: (bench: Bench) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  const predictor = await Predictor.open(buildTestModel({ isWindowed }));
  await using store = await openStore(":memory:");
  try {
    await action({
      dir,
      predictor,
      query: (sql) => store.query(sql),
      async predict(name, text, output, options = {}) {
        if (text !== null) await Deno.writeTextFile(`${dir}/${name}`, text);
        return await predictFile(predictor, name, `${dir}/${output}`, {
          plugins: new Plugins([csv, json, parquet, las]),
          signal: new AbortController().signal,
          baseDir: dir,
          ...options,
        });
      },
      read: (output) => store.query(`select * from ${quoteLiteral(`${dir}/${output}`)}`),
    });
  } finally {
    await predictor.close();
    await Deno.remove(dir, { recursive: true });
  }
}

const listFiles = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

const TABLE = `well,id,GR,RHOB,NPHI,day,note
A,00012,42.5,2.45,0.21,2024-02-29,first
A,00013,,2.6,0.1,2024-03-01,"a, ""b"""
B,99999999999,120,1.9,0.4,2024-03-02,
`;

Deno.test("predictFile() adds prediction, confidence and probabilities and leaves the columns as they were", () =>
  withBench(false, async ({ predict, read, dir, predictor }) => {
    const summary = await predict("in.csv", TABLE, "out.csv");
    const rows = await read("out.csv");
    const { probabilities, labels } = await predictor.predict({
      X: matrix(3, 3, Float32Array.of(42.5, 2.45, 0.21, NaN, 2.6, 0.1, 120, 1.9, 0.4)),
    });
    rows.forEach((row, i) => {
      const expected = probabilities.data.subarray(3 * i, 3 * i + 3);
      assertEquals(row.prediction, testClasses[labels[i]]);
      assertEquals(row.confidence, expected[labels[i]]);
      assertEquals(testClasses.map((name) => row[`probability_${name}`]), [...expected]);
    });
    assertEquals(Object.keys(rows[0]).slice(-5), [
      "prediction",
      "confidence",
      ...testClasses.map((name) => `probability_${name}`),
    ]);
    const lines = (await Deno.readTextFile(`${dir}/out.csv`)).trim().split("\n");
    assertEquals(lines[0].startsWith("well,id,GR,RHOB,NPHI,day,note,prediction"), true);
    assertEquals(
      lines.slice(1).map((line) => line.slice(0, line.search(/,(sandstone|siltstone|anhydrite),/))),
      [
        "A,00012,42.5,2.45,0.21,2024-02-29,first",
        'A,00013,,2.6,0.1,2024-03-01,"a, ""b"""',
        "B,99999999999,120,1.9,0.4,2024-03-02,",
      ],
    );
    assertEquals([summary.rows, summary.missing], [3, []]);
    assertEquals(Object.keys(summary.counts), testClasses);
    assertEquals(Object.values(summary.counts).reduce((a, b) => a + b), 3);
    assertEquals(listFiles(dir), ["in.csv", "out.csv"]);
  }));

Deno.test("predictFile() gives the same answers in CSV, Parquet, JSON and NDJSON, whatever the ending's case", () =>
  withBench(false, async ({ predict, read }) => {
    const answers = [];
    for (const output of ["out.csv", "out.PARQUET", "out.json", "out.ndjson"]) {
      await predict("in.csv", TABLE, output);
      const rows = await read(output);
      answers.push(rows.map(({ prediction, confidence }) => ({ prediction, confidence })));
    }
    assertEquals(answers[0].length, 3);
    for (const answer of answers.slice(1)) assertEquals(answer, answers[0]);
  }));

Deno.test("predictFile() keeps the order of rows over many batches", () =>
  withBench(false, async ({ predict, read }) => {
    const n = 25_001;
    const text = "i,GR\n" + Array.from({ length: n }, (_, i) => `${i},${i % 300}\n`).join("");
    const { rows } = await predict("in.csv", text, "out.parquet");
    assertEquals(rows, n);
    const written = await read("out.parquet");
    assertEquals(written.length, n);
    written.forEach((row, i) => {
      if (row.i !== i || row.confidence !== written[i % 300].confidence) {
        throw new Error(`Row ${i}`);
      }
    });
  }));

Deno.test("predictFile() keeps columns of any name, those of its own tables included", () =>
  withBench(true, async ({ predict, read }) => {
    const text =
      "DEPT,GR,label,p0,answer_row,c0,o,id,place\n3,50,a,1,7,x,y,z,0\n1,60,b,2,8,q,r,s,1\n";
    await predict("in.csv", text, "out.csv");
    const rows = await read("out.csv");
    assertEquals(
      rows.map(({ label, p0, answer_row, c0, o, id, place }) =>
        [label, p0, answer_row, c0, o, id, place].join()
      ),
      ["a,1,7,x,y,z,0", "b,2,8,q,r,s,1"],
    );
  }));

Deno.test("predictFile() counts absent and textual inputs as missing and says so", () =>
  withBench(false, async ({ predict, read }) => {
    const { missing } = await predict("in.csv", "GR,NPHI\n50,high\n60,low\n", "out.csv");
    assertEquals(missing, ["RHOB", "NPHI"]);
    await predict("same.csv", "GR,RHOB,NPHI\n50,,\n60,,\n", "same.csv.csv");
    const [a, b] = await Promise.all([read("out.csv"), read("same.csv.csv")]);
    assertEquals(a.map((row) => row.confidence), b.map((row) => row.confidence));
  }));

Deno.test("predictFile() reports cells that are no number and treats infinity as missing", () =>
  withBench(false, async ({ predict, read }) => {
    const cells = [...Array.from({ length: 30 }, () => "50"), "oops", "inf"];
    const text = "GR,RHOB\n" + cells.map((cell) => `${cell},2.4\n`).join("");
    const { findings } = await predict("in.csv", text, "out.csv");
    assertEquals(findings.map(({ check, subject }) => [check, subject]), [
      ["cells", "GR"],
      ["infinite", "GR"],
    ]);
    assert(
      findings[1].message.includes(
        "1 values of GR are infinite or beyond ±3.4e38, first in row 32",
      ),
    );
    const rows = await read("out.csv");
    assertEquals(rows[30].GR, "oops");
    assertEquals(rows[30].confidence, rows[31].confidence);
    assert(rows[30].confidence !== rows[0].confidence);
  }));

Deno.test("predictFile() reads a column by an alias or another case, and fills gaps from the next", () =>
  withBench(false, async ({ predict, read }) => {
    await predict("a.csv", "GR,RHOB,NPHI\n50,2.4,0.2\n60,2.5,0.3\n", "a.parquet");
    const { missing } = await predict(
      "b.csv",
      "gr,DEN,DEN2,NPHI\n50,2.4,9,0.2\n60,,2.5,0.3\n",
      "b.parquet",
      { aliases: { RHOB: ["DEN", "DEN2"] } },
    );
    assertEquals(missing, []);
    const [a, b] = await Promise.all([read("a.parquet"), read("b.parquet")]);
    assertEquals(a.map((row) => row.confidence), b.map((row) => row.confidence));
  }));

function makeLas(depths: readonly number[], depthUnit: string, density: [string, number]): string {
  const [unit, factor] = density;
  return [
    "~Version",
    "VERS. 2.0 :",
    "WRAP. NO :",
    "~Well",
    `STRT.${depthUnit} ${depths[0]} :`,
    `STOP.${depthUnit} ${depths.at(-1)} :`,
    `STEP.${depthUnit} 0 :`,
    "NULL. -999.25 :",
    "WELL. X :",
    "~Curve",
    `DEPT.${depthUnit} :`,
    "GR.gAPI :",
    `RHOB.${unit} :`,
    "~ASCII",
    ...depths.map((depth, i) => `${depth} ${40 + 20 * i} ${(2 + i / 10) * factor}`),
    "",
  ].join("\n");
}

Deno.test("predictFile() converts units of inputs and of the order column", () =>
  withBench(true, async ({ predict, read }) => {
    const meters = [100, 101, 102, 103, 104];
    await predict("m.las", makeLas(meters, "m", ["g/cm3", 1]), "m.parquet");
    const feet = meters.map((depth) => depth / 0.3048);
    await predict("ft.las", makeLas(feet, "ft", ["kg/m3", 1000]), "ft.parquet");
    const [m, ft] = await Promise.all([read("m.parquet"), read("ft.parquet")]);
    m.forEach((row, i) => {
      const difference = Math.abs((row.confidence as number) - (ft[i].confidence as number));
      assert(difference < 1e-5, `row ${i} differs by ${difference}`);
    });
    assertEquals(ft[0].RHOB, 2000);
    await assertRejects(
      () => predict("bad.las", makeLas(meters, "m", ["furlong", 1]), "bad.parquet"),
      RangeError,
      'Cannot bring column "RHOB" to unit "g/cm3"',
    );
  }));

Deno.test("predictFile() needs the order column when the model looks along it", () =>
  withBench(true, async ({ predict, dir }) => {
    await assertRejects(
      () => predict("in.csv", "DEPTH,GR\n1,50\n", "out.csv"),
      UsageError,
      'it lacks the column "DEPT"; did you mean "DEPTH"?',
    );
    await assertRejects(
      () => predict("in.csv", "DEPT,GR\ntop,50\nbase,60\n", "out.csv"),
      UsageError,
      'its order column "DEPT" is text',
    );
    assertEquals(listFiles(dir), ["in.csv"]);
  }));

Deno.test("predictFile() keeps windows within groups", () =>
  withBench(true, async ({ predict, read }) => {
    const part = (well: string, gr: number) =>
      [0, 1, 2].map((i) => `${well},${100 + i},${gr + 10 * i}\n`).join("");
    const header = "well,DEPT,GR\n";
    await predict("a.csv", header + part("A", 20), "a.parquet", { group: "well" });
    const both = header + part("B", 200) + part("A", 20);
    await predict("ab.csv", both, "ab.parquet", { group: "well" });
    await predict("mixed.csv", both, "mixed.parquet");
    const confidences = async (name: string) => (await read(name)).map((row) => row.confidence);
    assertEquals((await confidences("ab.parquet")).slice(3), await confidences("a.parquet"));
    assert((await confidences("mixed.parquet"))[3] !== (await confidences("a.parquet"))[0]);
    await assertRejects(
      () => predict("in.csv", both, "out.csv", { group: "wel" }),
      UsageError,
      'it lacks the column "wel"; did you mean "well"?',
    );
  }));

Deno.test("predictFile() refuses a file that has none of the inputs or a column it would add", () =>
  withBench(false, async ({ predict, dir }) => {
    await assertRejects(
      () => predict("in.csv", "a,b\n1,2\n", "out.csv"),
      UsageError,
      "it has none of the columns GR, RHOB, NPHI as numbers; it has a, b",
    );
    for (const name of ["prediction", "Confidence", "probability_sandstone"]) {
      await assertRejects(
        () => predict("in.csv", `GR,${name}\n1,2\n`, "out.csv"),
        UsageError,
        `it already has a column "${name}"; rename or drop it`,
      );
    }
    assertEquals(listFiles(dir), ["in.csv"]);
  }));

Deno.test("predictFile() names the endings it writes when the output has another", () =>
  withBench(false, async ({ predict }) => {
    for (const output of ["out.xlsx", "out", "out.csv.gz"]) {
      await assertRejects(
        () => predict("in.csv", TABLE, output),
        UsageError,
        "the ending must be one of .csv .parquet .json .ndjson",
      );
    }
  }));

Deno.test("predictFile() writes a header when the table has no rows", () =>
  withBench(true, async ({ predict, read, query, dir }) => {
    await query(
      `copy (select 1.5 as DEPT, 2.5 as GR where false) to '${dir}/in.parquet' (format parquet)`,
    );
    const { rows, counts } = await predict("in.parquet", null, "out.csv");
    assertEquals([rows, counts], [0, { sandstone: 0, siltstone: 0, anhydrite: 0 }]);
    assertEquals(
      await Deno.readTextFile(`${dir}/out.csv`),
      "DEPT,GR,prediction,confidence,probability_sandstone,probability_siltstone,probability_anhydrite\n",
    );
    assertEquals(await read("out.csv"), []);
  }));

Deno.test("predictFile() leaves the output as it was when it fails on the way", () =>
  withBench(false, async ({ predict, dir }) => {
    await Deno.writeTextFile(`${dir}/out.csv`, "before");
    const aborted = { signal: AbortSignal.abort(new Error("Stop it")) };
    await assertRejects(() => predict("in.csv", TABLE, "out.csv", aborted), Error, "Stop it");
    await assertRejects(
      () => predict("bad.csv", "GR,RHOB\n1,2\n1,2,3\n", "out.csv"),
      Error,
      "line 3",
    );
    await Deno.mkdir(`${dir}/folder.csv`);
    const folder = await assertRejects(() => predict("in.csv", TABLE, "folder.csv"), Error);
    assert(folder.message.startsWith(`Cannot write "${dir}/folder.csv": `), folder.message);
    await assertRejects(() => predict("in.csv", TABLE, "missing/out.csv"), Error, "Cannot write");
    assertEquals(await Deno.readTextFile(`${dir}/out.csv`), "before");
    assertEquals(listFiles(dir), ["bad.csv", "folder.csv", "in.csv", "out.csv"]);
  }));

Deno.test("predictFile() writes the cells of a CSV as the text they were", () =>
  withBench(false, async ({ predict, read, dir }) => {
    const text = "GR,ok,when,stamp,code,flag,half\n" +
      '42.50,yes,01/02/2024,2024-02-29T10:00:00Z,NA,TRUE,"1,5"\n' +
      "1e2,no,13/02/2024,2024-03-01T00:00:00Z,007,false,\n";
    await predict("in.csv", text, "out.csv");
    const [header, ...lines] = (await Deno.readTextFile(`${dir}/out.csv`)).trim().split("\n");
    assert(header.startsWith("GR,ok,when,stamp,code,flag,half,prediction,"));
    const expected = text.trim().split("\n").slice(1);
    lines.forEach((line, i) => assertEquals(line.slice(0, expected[i].length), expected[i]));
    await predict("in.csv", null, "out.json");
    const rows = await read("out.json");
    assertEquals(rows.map((row) => [row.GR, row.ok, row.when, row.code]), [
      [42.5, "yes", "01/02/2024", "NA"],
      [100, "no", "13/02/2024", "007"],
    ]);
  }));

Deno.test("predictFile() names the trouble with an output before it predicts", () =>
  withBench(false, async ({ predict, dir }) => {
    await Deno.writeTextFile(`${dir}/in.csv`, TABLE);
    await Deno.symlink(`${dir}/in.csv`, `${dir}/link.csv`);
    for (const output of ["in.csv", "link.csv", "../" + dir.split("/").at(-1) + "/in.csv"]) {
      await assertRejects(
        () => predict("in.csv", null, output),
        UsageError,
        "it is the input, which stays as it is; name another file",
      );
    }
    assertEquals(await Deno.readTextFile(`${dir}/in.csv`), TABLE);
    const missing = await assertRejects(() => predict("in.csv", null, "no/out.csv"), UsageError);
    assert(missing.message.includes(`there is no folder "${dir}/no"; create it`), missing.message);
    const refused = await assertRejects(
      () => predict("in.csv", null, `${"x".repeat(300)}.csv`),
      Error,
      `folder "${dir}" does not take it (File name too long`,
    );
    assert(!refused.message.includes(".part"), refused.message);
    assertEquals(listFiles(dir), ["in.csv", "link.csv"]);
  }));

Deno.test("predictFile() counts values outside their range, and warns above 5 %", () =>
  withBench(false, async ({ predict }) => {
    const lines = Array.from(
      { length: 40 },
      (_, i) => `${i === 0 ? -5 : 50},${i % 2 ? -9999 : 2.4},0.2`,
    );
    const { findings } = await predict("in.csv", `GR,RHOB,NPHI\n${lines.join("\n")}\n`, "out.csv");
    assertEquals(findings.map(({ severity, message }) => `${severity}: ${message}`), [
      "info: 1 of 40 values of GR lie outside [0, 300] gAPI; they count as missing",
      "warning: 20 of 40 values of RHOB lie outside [1, 3.5] g/cm3; they count as missing",
    ]);
  }));

Deno.test("predictFile() reads times in the unit of the model's order", () =>
  withBench(true, async ({ predictor, predict, read }) => {
    const { signature } = predictor;
    const order = signature.order as { column: string; unit: string };
    try {
      order.unit = "h";
      const rows = (cells: readonly string[]) =>
        "DEPT,GR\n" + cells.map((cell, i) => `${cell},${20 + 90 * i}\n`).join("");
      const times = ["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 12:00"];
      await predict("times.csv", rows(times), "times.parquet");
      await predict("hours.csv", rows(["0", "1", "12"]), "hours.parquet");
      const confidences = async (name: string) => (await read(name)).map((row) => row.confidence);
      assertEquals(await confidences("times.parquet"), await confidences("hours.parquet"));
      order.unit = "m";
      await assertRejects(
        () => predict("times.csv", null, "x.csv"),
        UsageError,
        'Cannot count the times of "DEPT" in "m"',
      );
    } finally {
      order.unit = "m";
    }
  }));
