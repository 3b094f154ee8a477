import { assert, assertEquals, assertRejects } from "@std/assert";
import { matrix } from "../../../numeric/matrix.ts";
import { csv, json, parquet } from "../../../plugins/sources/table.ts";
import { Plugins } from "../../../plugins/plugin.ts";
import { UsageError } from "../../../runtime/errors.ts";
import { expandBlocks, type RowBlock } from "../../../runtime/predict/chunks.ts";
import { predictFile, type PredictFileOptions } from "../../../runtime/predict/file.ts";
import { expandRows, Predictor } from "../../../runtime/predict/predictor.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { buildTestModel } from "../../model_fixture.ts";

const spec = {
  inputs: [{ name: "a", range: [-2, 2] as const }, { name: "b" }],
  outliers: "null",
  windows: {
    radii: [0, 0.7, 3],
    statistics: ["mean", "std", "gradient", "before", "after"],
    log: [1],
  },
} as const;

function makeRandom(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
}

/** Rows of some groups, each ascending and with equal and unknown positions, unknown ones last. */
function makeRows(seed: number, groupSizes: readonly number[]): RowBlock {
  const random = makeRandom(seed);
  const order: number[] = [];
  const groups: number[] = [];
  groupSizes.forEach((size, group) => {
    const positions = Array.from({ length: size }, () => Math.round(random() * size * 2) / 4 + 1e6);
    positions.sort((a, b) => a - b);
    const unknown = Math.floor(size * 0.1);
    order.push(...positions.slice(0, size - unknown), ...new Array(unknown).fill(NaN));
    groups.push(...new Array(size).fill(group));
  });
  const n = order.length;
  return {
    ordinals: Float64Array.from({ length: n }, (_, i) => i),
    values: Float64Array.from({ length: 2 * n }, () => random() < 0.1 ? NaN : 5 * random() - 2.5),
    order: Float64Array.from(order),
    groups: Float64Array.from(groups),
  };
}

async function* cutBlocks(rows: RowBlock, size: number): AsyncGenerator<RowBlock> {
  for (let at = 0; at < rows.ordinals.length; at += size) {
    yield {
      ordinals: rows.ordinals.slice(at, at + size),
      values: rows.values.slice(2 * at, 2 * (at + size)),
      order: rows.order!.slice(at, at + size),
      groups: rows.groups!.slice(at, at + size),
    };
  }
  yield { ordinals: new Float64Array(), values: new Float64Array(), order: new Float64Array() };
}

Deno.test("expandBlocks() gives bit for bit the features of all rows at once, whatever the blocks", async () => {
  for (
    const [seed, sizes] of [[1, [400]], [2, [3, 1, 150, 40, 1, 1, 90]], [3, [0, 250]]] as const
  ) {
    const rows = makeRows(seed, sizes);
    const n = rows.ordinals.length;
    const expected = expandRows({
      X: matrix(n, 2, Float32Array.from(rows.values)),
      order: rows.order!,
      groups: Int32Array.from(rows.groups!),
    }, spec);
    for (const size of [1, 2, 7, 33, 128, 1000]) {
      let at = 0;
      for await (
        const { ordinals, features, values } of expandBlocks(cutBlocks(rows, size), spec)
      ) {
        assertEquals(ordinals, rows.ordinals.slice(at, at + ordinals.length));
        assertEquals(values, rows.values.slice(2 * at, 2 * (at + ordinals.length)));
        const bits = (data: Float32Array) => new Uint32Array(data.slice().buffer);
        assertEquals(
          bits(features.data),
          bits(expected.data.subarray(at * features.cols, (at + features.rows) * features.cols)),
          `seed ${seed}, blocks of ${size}, from row ${at}`,
        );
        at += ordinals.length;
      }
      assertEquals(at, n);
    }
  }
});

Deno.test("expandBlocks() keeps few rows when windows are short, and gives none of no rows", async () => {
  const rows = makeRows(4, [5000]);
  let largest = 0;
  for await (const { ordinals } of expandBlocks(cutBlocks(rows, 100), spec)) {
    largest = Math.max(largest, ordinals.length);
  }
  assert(largest < 200, `${largest} rows at once`);
  async function* none(): AsyncGenerator<RowBlock> {}
  for await (const _ of expandBlocks(none(), spec)) throw new Error("There is nothing to give");
});

const listFiles = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

async function withFolder(
  action: (
    dir: string,
    predict: (
      input: string,
      output: string,
      options?: Partial<PredictFileOptions>,
    ) => ReturnType<typeof predictFile>,
    query: (sql: string) => Promise<Record<string, unknown>[]>,
  ) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  await using store = await openStore(":memory:");
  const predictor = await Predictor.open(buildTestModel({ isWindowed: true, kind: "trees" }));
  try {
    await action(
      dir,
      (input, output, options = {}) =>
        predictFile(predictor, `${dir}/${input}`, `${dir}/${output}`, {
          plugins: new Plugins([csv, json, parquet]),
          signal: new AbortController().signal,
          ...options,
        }),
      (sql) => store.query(sql),
    );
  } finally {
    await predictor.close();
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("predictFile() writes the same bytes for every size of chunks, of unsorted groups", () =>
  withFolder(async (dir, predict, query) => {
    await query(
      `copy (select 'w' || (hash(i) % 5) as well, if(i % 97 = 0, null, (hash(i * 3) % 4000) / 2.0) as DEPT,
         hash(i * 7) % 300 as GR, if(i % 11 = 0, null, 1.5 + (i % 20) / 10) as RHOB, (i % 50) / 100 as NPHI
       from range(3000) t(i)) to '${dir}/in.csv' (header)`,
    );
    const bytes = [];
    const steps: string[] = [];
    for (const chunkRows of [5000, 1000, 333, 50]) {
      const summary = await predict("in.csv", `${chunkRows}.csv`, {
        group: "well",
        chunkRows,
        onProgress: ({ rows, predicted }) => steps.push(`${predicted}/${rows}`),
      });
      assertEquals([summary.rows, steps[0], steps.at(-1)], [3000, "0/3000", "3000/3000"]);
      bytes.push(await Deno.readTextFile(`${dir}/${chunkRows}.csv`));
    }
    assertEquals(bytes[0].split("\n").length, 3002);
    for (const other of bytes.slice(1)) {
      assert(other === bytes[0], "an answer depends on the chunks");
    }
  }));

Deno.test("predictFile() replaces no file when it must not, also one that came meanwhile", () =>
  withFolder(async (dir, predict) => {
    await Deno.writeTextFile(`${dir}/in.csv`, "DEPT,GR\n1,50\n2,60\n");
    const refused = await assertRejects(
      () =>
        predict("in.csv", "out.csv", {
          overwrites: false,
          onProgress: () => Deno.writeTextFileSync(`${dir}/out.csv`, "mine"),
        }),
      UsageError,
    );
    assertEquals(
      refused.message,
      `Cannot write "${dir}/out.csv": another program has made it meanwhile; name another file`,
    );
    assertEquals(await Deno.readTextFile(`${dir}/out.csv`), "mine");
    await predict("in.csv", "new.csv", { overwrites: false });
    const names = listFiles(dir);
    assertEquals(names, ["in.csv", "new.csv", "out.csv"]);
  }));

Deno.test("predictFile() leaves nothing behind when it is aborted between two chunks", () =>
  withFolder(async (dir, predict) => {
    const lines = Array.from({ length: 400 }, (_, i) => `${i},${i % 90}\n`).join("");
    await Deno.writeTextFile(`${dir}/in.csv`, `DEPT,GR\n${lines}`);
    const abort = new AbortController();
    const seen: number[] = [];
    await assertRejects(
      () =>
        predict("in.csv", "out.csv", {
          signal: abort.signal,
          chunkRows: 50,
          onProgress({ predicted }) {
            seen.push(predicted);
            if (predicted > 100) abort.abort(new Error("Enough"));
          },
        }),
      Error,
      "Enough",
    );
    assert(seen.at(-1)! < 400, `${seen}`);
    assertEquals(listFiles(dir), ["in.csv"]);
  }));

Deno.test("predictFile() takes more memory when texts are longer than it usually has room for", () =>
  withFolder(async (dir, predict, query) => {
    await query(
      `copy (select i as DEPT, 50 as GR, repeat(chr(97 + (i % 26)::integer), 1000000) as note
       from range(250) t(i)) to '${dir}/in.parquet'`,
    );
    assertEquals((await predict("in.parquet", "out.parquet")).rows, 250);
    assertEquals(
      await query(
        `select sum(length(note)) as n, count(prediction) as k from '${dir}/out.parquet'`,
      ),
      [{ n: 250_000_000, k: 250 }],
    );
    assertEquals(listFiles(dir), ["in.parquet", "out.parquet"]);
  }));

/** Rows of the memory test; `GEOPHONE_BIG_FILE_ROWS=2000000` is the large form of it. */
const ROWS = Number(Deno.env.get("GEOPHONE_BIG_FILE_ROWS") ?? 200_000);

/** Bytes by which a process may grow. */
const MAX_GROWTH = 400 * 2 ** 20;

Deno.test(`predictFile() takes less than 400 MiB more when a file has ${ROWS} rows`, async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    for (const input of ["in.csv", "in.parquet"]) {
      await t.step(input, async () => {
        const script = new URL("../predict_memory.ts", import.meta.url).pathname;
        const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
          args: [
            "run",
            "-q",
            "-P=test",
            script,
            String(ROWS),
            `${dir}/${input}`,
            `${dir}/out.parquet`,
          ],
          stdin: "null",
        }).output();
        const decoder = new TextDecoder();
        assertEquals(code, 0, decoder.decode(stderr));
        const { rows, growth } = JSON.parse(decoder.decode(stdout));
        assertEquals(rows, ROWS);
        assert(growth < MAX_GROWTH, `${Math.round(growth / 2 ** 20)} MiB`);
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
