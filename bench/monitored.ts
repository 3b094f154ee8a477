/**
 * What the server's callers notice of its monitors, at worst: `deno run -A bench/monitored.ts
 * [--rows=2000000] [--seconds=15] [--callers=16] [--rounds=3]`.
 *
 * The store holds thirty days of rows of which no window was computed yet, so that the monitors have
 * work all the while; the same server without monitors takes the same load before and after, each on
 * a copy of its own. Needs `wrk`.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { openStore } from "../runtime/store/store.ts";
import { formatTable } from "../runtime/terminal.ts";
import { buildModel, columnNames, registerModel } from "./model.ts";
import { fillInferences } from "./rows.ts";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "2000000" },
    seconds: { type: "string", default: "15" },
    callers: { type: "string", default: "16" },
    rounds: { type: "string", default: "3" },
  },
});
const PORT = 8766;
const url = `http://127.0.0.1:${PORT}/predict`;
const folder = await Deno.makeTempDir();
const record = Object.fromEntries(columnNames().map((name, j) => [name, (j + 0.5) / 10]));
await Deno.writeTextFile(
  `${folder}/load.lua`,
  `wrk.method = "POST"
wrk.body = [==[${JSON.stringify({ records: [record] })}]==]
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency)
  io.write(string.format("figures %f %f %f %f %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000,
    summary.errors.status + summary.errors.timeout + summary.errors.read + summary.errors.write))
end
`,
);

interface Figures {
  readonly server: string;
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly windows: number;
}

async function measure(server: "plain" | "monitored"): Promise<Figures> {
  const path = `${folder}/copy.duckdb`;
  await Deno.copyFile(`${folder}/bench.duckdb`, path);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--v8-flags=--max-semi-space-size=4", "--config"],
      new URL("../deno.json", import.meta.url).pathname,
      new URL("./servers/geophone_server.ts", import.meta.url).pathname,
      ...[String(PORT), path, "commit", server],
    ],
    stdin: "null",
    stdout: "null",
  }).spawn();
  try {
    await waitFor();
    const { stdout } = await new Deno.Command("wrk", {
      args: [
        ...["-t1", `-c${options.callers}`, `-d${options.seconds}s`, "--timeout", "10s"],
        ...["-s", `${folder}/load.lua`, url],
      ],
    }).output();
    const found = /figures (\S+) (\S+) (\S+) (\S+) (\d+)/.exec(new TextDecoder().decode(stdout));
    if (found === null) throw new Error("Cannot measure the server: wrk gave no figures");
    const [rate, p50, p99, max, errors] = found.slice(1).map(Number);
    if (errors > 0) throw new Error(`Cannot measure the server: ${errors} requests failed`);
    return { server, rate, p50, p99, max, windows: await countWindows(child, path) };
  } finally {
    await end(child);
    for (const suffix of ["", ".wal"]) await Deno.remove(`${path}${suffix}`).catch(() => {});
  }
}

async function end(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGTERM");
  } catch {
    // It has ended.
  }
  await child.status;
}

/** How many windows were computed until the load ended. */
async function countWindows(child: Deno.ChildProcess, path: string): Promise<number> {
  await end(child);
  await using store = await openStore(path, { publish: false });
  const [{ n }] = await store.query<{ n: number }>(
    "select count(*) as n from monitor_windows where state = 'done'",
  );
  return n;
}

async function waitFor(): Promise<void> {
  const body = JSON.stringify({ records: [record] });
  for (let i = 0; i < 3000; i++) {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    }).catch(() => null);
    await answer?.body?.cancel();
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("Cannot measure the server: it does not answer");
}

try {
  {
    await using store = await openStore(`${folder}/bench.duckdb`, { publish: false });
    await registerModel(store, buildModel());
    await fillInferences(store, Number(options.rows));
  }
  const all: Figures[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const server of ["plain", "monitored"] as const) all.push(await measure(server));
  }
  console.log(formatTable(
    ["server", "requests/s", "p50 ms", "p99 ms", "max ms", "windows computed"],
    all.map(({ server, rate, p50, p99, max, windows }) => [
      server,
      Math.round(rate),
      p50.toFixed(2),
      p99.toFixed(2),
      max.toFixed(1),
      windows,
    ]),
  ));
  const middle = (server: string) => {
    const values = all.filter((one) => one.server === server).map(({ p99 }) => p99);
    return values.sort((a, b) => a - b)[values.length >> 1];
  };
  console.log(
    `\nmonitors make the p99 ${(middle("monitored") / middle("plain")).toFixed(2)} times as long`,
  );
} finally {
  await Deno.remove(folder, { recursive: true });
}
