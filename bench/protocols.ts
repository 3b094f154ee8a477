/**
 * How long a request takes in each protocol, against a server of its own with its inference table on
 * disk: `deno run -A bench/protocols.ts [--rows=1000] [--columns=10] [--rounds=60]`.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { openStore } from "../runtime/store/store.ts";
import { serve } from "../server.ts";
import { buildModel, columnNames, MODEL, registerModel } from "./model.ts";

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "1000" },
    columns: { type: "string", default: "10" },
    rounds: { type: "string", default: "60" },
  },
});
const rows = Number(values.rows);
const columns = Number(values.columns);
const rounds = Number(values.rounds);

const names = columnNames(columns);

/** One way to ask for the same predictions; making and reading of bodies count, as for a client. */
interface Way {
  readonly name: string;
  readonly path: string;
  make(): { body: BodyInit; headers?: Record<string, string> };
  read(response: Response): Promise<number>;
}

const X = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i) * 10);
const records = Array.from(
  { length: rows },
  (_, i) => Object.fromEntries(names.map((name, j) => [name, X[i * columns + j]])),
);

function makeBinary(): { body: Uint8Array<ArrayBuffer>; headers: Record<string, string> } {
  const bytes = X.byteLength;
  const head = new TextEncoder().encode(JSON.stringify({
    inputs: [{
      name: "input",
      shape: [rows, columns],
      datatype: "FP32",
      parameters: { binary_data_size: bytes },
    }],
    parameters: { binary_data_output: true },
  }));
  const body = new Uint8Array(head.length + bytes);
  body.set(head);
  body.set(new Uint8Array(X.buffer), head.length);
  return { body, headers: { "inference-header-content-length": String(head.length) } };
}

async function readBinary(response: Response): Promise<number> {
  const bytes = await response.bytes();
  const length = Number(response.headers.get("inference-header-content-length"));
  const { outputs } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, length)));
  return outputs[2].shape[0];
}

const ways: Way[] = [
  {
    name: "/predict, JSON records",
    path: "/predict",
    make: () => ({ body: JSON.stringify({ records }) }),
    read: async (response) => (await response.json()).predictions.length,
  },
  {
    name: "OIP infer, JSON",
    path: `/v2/models/${MODEL}/infer`,
    make: () => ({
      body: JSON.stringify({
        inputs: [{ name: "input", shape: [rows, columns], datatype: "FP32", data: [...X] }],
      }),
    }),
    read: async (response) => (await response.json()).outputs[0].shape[0],
  },
  {
    name: "OIP infer, binary",
    path: `/v2/models/${MODEL}/infer`,
    make: makeBinary,
    read: readBinary,
  },
  {
    name: "/invocations, dataframe_split",
    path: "/invocations",
    make: () => ({
      body: JSON.stringify({
        dataframe_split: {
          columns: names,
          data: Array.from({ length: rows }, (_, i) => [
            ...X.subarray(i * columns, (i + 1) * columns),
          ]),
        },
      }),
    }),
    read: async (response) => (await response.json()).predictions.length,
  },
  {
    name: "/predict/stream, a line a record",
    path: "/predict/stream",
    make: () => ({ body: records.map((record) => JSON.stringify(record)).join("\n") }),
    read: async (response) => (await response.text()).split("\n").length - 1,
  },
];

/** Milliseconds of one request, its body made before and its answer read. */
async function ask(url: string, way: Way): Promise<number> {
  const startedAt = performance.now();
  const { body, headers = {} } = way.make();
  const response = await fetch(url + way.path, {
    method: "POST",
    body,
    // Nothing is compressed, here or there.
    headers: { "accept-encoding": "identity", ...headers },
  });
  if (response.status !== 200) {
    throw new Error(`Cannot measure "${way.name}": ${await response.text()}`);
  }
  const count = await way.read(response);
  if (count !== rows) throw new Error(`Cannot measure "${way.name}": it gives ${count} rows`);
  return performance.now() - startedAt;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

/** Measures every way in turn, round by round, so that what disturbs one disturbs all. */
async function measure(url: string): Promise<number[]> {
  const times = ways.map(() => [] as number[]);
  for (let round = -10; round < rounds; round++) {
    for (const [i, way] of ways.entries()) {
      const ms = await ask(url, way);
      if (round >= 0) times[i].push(ms);
    }
  }
  return times.map(median);
}

function report(title: string, medians: readonly number[]): void {
  console.log(`\n${title}: ${rows} rows of ${columns} columns, median of ${rounds} requests`);
  for (const [i, { name }] of ways.entries()) {
    const ratio = (medians[0] / medians[i]).toFixed(2);
    console.log(
      `${name.padEnd(34)} ${medians[i].toFixed(2).padStart(8)} ms ${ratio.padStart(7)} x /predict`,
    );
  }
}

const folder = await Deno.makeTempDir();
try {
  await using store = await openStore(`${folder}/store.duckdb`, { thread: true });
  await registerModel(store, buildModel("linear", columns));
  for (
    const [durability, title] of [
      ["commit", "answered when every row is on disk"],
      ["async", "answered before that"],
    ] as const
  ) {
    // So much room that no request waits for the tables.
    const serving = { port: 0, maxBatchRows: 1024, queueRows: 10_000_000, durability };
    const served = await serve({ store, model: MODEL, quiet: true, serving });
    report(title, await measure(served.url));
    await served.shutdown();
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
