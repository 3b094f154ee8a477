/**
 * Our prediction server, every request on disk, beside others that log nothing:
 * `deno run -A bench/serving.ts [--seconds=8] [--only=geophone,fastapi] [--model=linear|trees]`.
 *
 * `sh bench/peers.sh` installs the others; who is not installed is left out. `wrk` gives the load of
 * 64 callers in step with the server, `vegeta` (where it is) that of callers who do not wait for one
 * another, so that a stall is seen by all who come during it.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { openStore } from "../runtime/store/store.ts";
import { formatTable } from "../runtime/terminal.ts";
import { buildModel, columnNames, type ModelKind, registerModel } from "./model.ts";

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "8" },
    only: { type: "string", default: "" },
    model: { type: "string", default: "linear" },
    rates: { type: "string", default: "500,2000,8000" },
    vegeta: { type: "string", default: "vegeta" },
  },
});
const seconds = Number(options.seconds);
const here = new URL("./servers/", import.meta.url).pathname;
const peers = new URL("../.geophone/peers/", import.meta.url).pathname;
const config = new URL("../deno.json", import.meta.url).pathname;

const PORT = 8765;
const names = columnNames();
const folder = await Deno.makeTempDir();

const bytes = buildModel(options.model as ModelKind);
const modelFile = `${folder}/model.onnx`;
await Deno.writeFile(modelFile, bytes);
const storeFile = `${folder}/bench.duckdb`;
{
  await using store = await openStore(storeFile, { publish: false });
  await registerModel(store, bytes);
}

/** A server to measure. */
interface Peer {
  readonly name: string;
  readonly command: readonly string[];
  readonly path: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Folder that is there when it is installed. */
  readonly needs?: string;
  /** Gives a body of some rows. */
  readonly body?: (rows: number) => string;
  /** Prepares what it serves. */
  readonly prepare?: () => Promise<void>;
}

const row = Object.fromEntries(names.map((name, j) => [name, j + 0.5]));
const records = (rows: number) => JSON.stringify({ records: new Array(rows).fill(row) });
const ours = (durability: string) => [
  ...[Deno.execPath(), "run", "-A", "--config", config, `${here}geophone_server.ts`],
  ...[String(PORT), storeFile, durability],
];

const all: readonly Peer[] = [
  { name: "geophone", command: ours("commit"), path: "/predict" },
  { name: "geophone, async", command: ours("async"), path: "/predict" },
  {
    name: "deno echo",
    command: [Deno.execPath(), "run", "-A", `${here}echo_server.ts`, String(PORT)],
    path: "/predict",
  },
  {
    name: "node",
    command: ["node", `${here}node_server.mjs`, String(PORT)],
    env: { PEER: `${peers}node` },
    needs: "node/node_modules",
    path: "/predict",
  },
  {
    name: "fastapi",
    command: [
      ...[`${peers}fastapi/bin/uvicorn`, "--app-dir", here, "--log-level", "warning"],
      ...["--no-access-log", "--port", String(PORT), "fastapi_server:app"],
    ],
    needs: "fastapi",
    path: "/predict",
  },
  {
    name: "litserve",
    command: [`${peers}litserve/bin/python`, `${here}litserve_server.py`, String(PORT)],
    needs: "litserve",
    path: "/predict",
  },
  {
    name: "bentoml",
    command: [
      ...[`${peers}bentoml/bin/bentoml`, "serve", "bentoml_server:Bench"],
      ...["--port", String(PORT), "--host", "127.0.0.1"],
    ],
    cwd: here,
    env: { BENTOML_DO_NOT_TRACK: "True", PATH: `${peers}bentoml/bin:${Deno.env.get("PATH")}` },
    needs: "bentoml",
    path: "/predict",
  },
  {
    name: "mlserver",
    command: [`${peers}mlserver/bin/mlserver`, "start", `${folder}/mlserver`],
    env: { PYTHONPATH: here },
    needs: "mlserver",
    path: "/v2/models/bench/infer",
    body: (rows) =>
      JSON.stringify({
        inputs: [{
          name: "input",
          shape: [rows, names.length],
          datatype: "FP32",
          data: Array.from({ length: rows }, () => Object.values(row)).flat(),
        }],
      }),
    async prepare() {
      await Deno.mkdir(`${folder}/mlserver`, { recursive: true });
      await Deno.writeTextFile(
        `${folder}/mlserver/settings.json`,
        JSON.stringify({ http_port: PORT, parallel_workers: 0, debug: false }),
      );
      await Deno.writeTextFile(
        `${folder}/mlserver/model-settings.json`,
        JSON.stringify({ name: "bench", implementation: "mlserver_runtime.OnnxRuntime" }),
      );
    },
  },
  {
    name: "mlflow",
    command: [
      ...[`${peers}mlflow/bin/mlflow`, "models", "serve", "-m", `${folder}/mlflow`],
      ...["--env-manager", "local", "--port", String(PORT), "--host", "127.0.0.1"],
    ],
    env: { PATH: `${peers}mlflow/bin:${Deno.env.get("PATH")}` },
    needs: "mlflow",
    path: "/invocations",
    body: (rows) =>
      JSON.stringify({ inputs: Array.from({ length: rows }, () => Object.values(row)) }),
    async prepare() {
      const { code, stderr } = await new Deno.Command(`${peers}mlflow/bin/python`, {
        args: [`${here}mlflow_model.py`, modelFile, `${folder}/mlflow`],
      }).output();
      if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
    },
  },
];

/** What was measured of one server. */
interface Figures {
  readonly name: string;
  readonly readyMs: number;
  readonly requests: number;
  readonly p50: number;
  readonly p99: number;
  readonly cpuUs: number;
  readonly batches: number;
  readonly mebibytes: number;
  readonly open: readonly (readonly [rate: number, p50: number, p99: number, success: number])[];
}

async function measure(peer: Peer): Promise<Figures> {
  await peer.prepare?.();
  const body = peer.body ?? records;
  const url = `http://127.0.0.1:${PORT}${peer.path}`;
  const startedAt = performance.now();
  const child = new Deno.Command(peer.command[0], {
    args: peer.command.slice(1),
    env: { MODEL: modelFile, ...peer.env },
    cwd: peer.cwd ?? folder,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await waitFor(url, body(1));
    const readyMs = performance.now() - startedAt;
    await wrk(url, body(1), { callers: 64, seconds: 3 });
    const cpuBefore = cpuSeconds(child.pid);
    const single = await wrk(url, body(1), { callers: 64, seconds });
    const cpu = cpuSeconds(child.pid) - cpuBefore;
    const open = [];
    for (const rate of options.rates.split(",").map(Number)) {
      if (rate > single.rate * 0.8) continue;
      const found = await vegeta(url, body(1), rate);
      if (found) open.push([rate, ...found] as const);
    }
    const batch = await wrk(url, body(1000), { callers: 4, seconds: Math.min(seconds, 5) });
    return {
      name: peer.name,
      readyMs,
      requests: single.rate,
      p50: single.p50,
      p99: single.p99,
      cpuUs: cpu / (single.rate * seconds) * 1e6,
      batches: batch.rate,
      mebibytes: residentMebibytes(child.pid),
      open,
    };
  } finally {
    await end(child);
  }
}

/** Ends a server with the processes it has started, which may outlive it. */
async function end(child: Deno.ChildProcess): Promise<void> {
  const processes = family(child.pid);
  const kill = (signal: Deno.Signal) => {
    for (const pid of processes) {
      try {
        Deno.kill(pid, signal);
      } catch {
        // It has ended.
      }
    }
  };
  kill("SIGTERM");
  const timer = setTimeout(() => kill("SIGKILL"), 10_000);
  await child.status;
  clearTimeout(timer);
  await new Promise((resolve) => setTimeout(resolve, 500));
  kill("SIGKILL");
}

async function waitFor(url: string, body: string): Promise<void> {
  for (let i = 0; i < 6000; i++) {
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      const text = await response.text();
      if (response.ok) return;
      if (i > 2000) throw new Error(text);
    } catch (error) {
      if (i > 5000) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`Cannot measure "${url}": it does not answer`);
}

async function wrk(
  url: string,
  body: string,
  { callers, seconds }: { readonly callers: number; readonly seconds: number },
): Promise<{ rate: number; p50: number; p99: number }> {
  const script = `${folder}/load.lua`;
  await Deno.writeTextFile(
    script,
    `wrk.method = "POST"
wrk.body = [==[${body}]==]
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency)
  io.write(string.format("figures %f %f %f %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status + summary.errors.timeout + summary.errors.read + summary.errors.write))
end
`,
  );
  const { stdout } = await new Deno.Command("wrk", {
    args: ["-t1", `-c${callers}`, `-d${seconds}s`, "--timeout", "10s", "-s", script, url],
  }).output();
  const found = /figures (\S+) (\S+) (\S+) (\d+)/.exec(new TextDecoder().decode(stdout));
  if (!found) throw new Error(`Cannot measure "${url}": wrk gave no figures`);
  const [rate, p50, p99, errors] = found.slice(1).map(Number);
  if (errors > 0) throw new Error(`Cannot measure "${url}": ${errors} requests failed`);
  return { rate, p50, p99 };
}

/** Latency in ms at a rate that does not wait for answers; nothing when vegeta is not installed. */
async function vegeta(
  url: string,
  body: string,
  rate: number,
): Promise<readonly [number, number, number] | undefined> {
  await Deno.writeTextFile(`${folder}/body.json`, body);
  await Deno.writeTextFile(
    `${folder}/target.txt`,
    `POST ${url}\ncontent-type: application/json\n@${folder}/body.json\n`,
  );
  const results = `${folder}/results.bin`;
  try {
    await new Deno.Command(options.vegeta, {
      args: [
        ...["attack", "-targets", `${folder}/target.txt`, "-rate", String(rate)],
        ...["-duration", `${seconds}s`, "-connections", "256", "-max-connections", "256"],
        ...["-output", results],
      ],
    }).output();
    const { stdout } = await new Deno.Command(options.vegeta, {
      args: ["report", "-type=json", results],
    }).output();
    const { latencies, success } = JSON.parse(new TextDecoder().decode(stdout));
    return [latencies["50th"] / 1e6, latencies["99th"] / 1e6, success];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Processes of a server: itself and its children. */
function family(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has just ended.
    }
  }
  const found = [pid];
  for (const one of found) {
    for (const [child, parent] of parents) if (parent === one) found.push(child);
  }
  return found;
}

function cpuSeconds(pid: number): number {
  return family(pid).reduce((sum, one) => {
    const stat = Deno.readTextFileSync(`/proc/${one}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return sum + (Number(fields[11]) + Number(fields[12])) / 100;
  }, 0);
}

function residentMebibytes(pid: number): number {
  return family(pid).reduce((sum, one) => {
    const status = Deno.readTextFileSync(`/proc/${one}/status`);
    return sum + Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
  }, 0);
}

const wanted = options.only === "" ? null : options.only.split(",");
const figures: Figures[] = [];
for (const peer of all) {
  if (wanted !== null && !wanted.includes(peer.name)) continue;
  if (peer.needs && !await Deno.stat(peers + peer.needs).then(() => true, () => false)) {
    console.error(`${peer.name} is not installed: sh bench/peers.sh`);
    continue;
  }
  try {
    figures.push(await measure(peer));
  } catch (error) {
    console.error(`${peer.name}: ${(error as Error).message}`);
  }
}
await Deno.remove(folder, { recursive: true });

const base = figures.find(({ name }) => name === "fastapi");
const times = (value: number, of: number | undefined) =>
  of === undefined ? "" : `${(value / of).toFixed(1)} ×`;
console.log(formatTable(
  [
    ...["server", "ready s", "requests/s", "to fastapi", "p50 ms", "p99 ms", "CPU µs/request"],
    ...["batches of 1,000/s", "to fastapi", "MiB"],
  ],
  figures.map((one) => [
    one.name,
    (one.readyMs / 1000).toFixed(1),
    Math.round(one.requests),
    times(one.requests, base?.requests),
    one.p50.toFixed(1),
    one.p99.toFixed(1),
    Math.round(one.cpuUs),
    one.batches.toFixed(0),
    times(one.batches, base?.batches),
    Math.round(one.mebibytes),
  ]),
));
console.log(`\nOpen loop, ${seconds} s each: p50 / p99 in ms at so many requests/s`);
for (const { name, open } of figures) {
  const cells = open.map(([rate, p50, p99, success]) =>
    `${rate}/s ${p50.toFixed(1)} / ${p99.toFixed(1)}` +
    (success === 1 ? "" : ` (${(success * 100).toFixed(2)} % answered)`)
  );
  console.log(`${name}: ${cells.join(", ") || "not measured"}`);
}
