/**
 * Profile and drift of one window against its training rows, beside Evidently when it is installed
 * (`sh bench/peers.sh evidently`):
 * `deno run -A bench/profile_drift.ts [--rows=100000,1000000] [--columns=40] [--peers]`.
 *
 * Each measurement is a process of its own, so that its memory is its own. Ours reads the rows from the
 * store and writes every row of `profile` and `drift_metrics`; the training rows are measured before,
 * as in use. Evidently's `DataSummaryPreset` and `DataDriftPreset` get both tables in memory.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { ProfileParams } from "../runtime/monitors/definition.ts";
import { refreshMonitors } from "../runtime/monitors/refresh.ts";
import { openStore, type Store } from "../runtime/store/store.ts";
import { formatTable } from "../runtime/terminal.ts";

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "100000,1000000" },
    columns: { type: "string", default: "40" },
    peers: { type: "boolean", default: false },
    /** What a process of its own does, with the store at this path. */
    child: { type: "string" },
    store: { type: "string", default: "" },
  },
});

/** Seconds of the work itself, and the largest resident memory of the process. */
interface Measurement {
  readonly seconds: number;
  readonly mebibytes: number;
}

const DAY_MS = 86_400_000;

/** Both tables in memory, the report as plain data in the end. */
const evidently = `
import json, resource, sys, time
import numpy as np, pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset, DataSummaryPreset
rows, columns = int(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
draw = lambda shift: pd.DataFrame({f"c{j}": np.round(
    rng.standard_normal(rows) + (shift if j % 10 == 0 else 0), 4) for j in range(columns)})
definition = DataDefinition(numerical_columns=[f"c{j}" for j in range(columns)])
reference, current = draw(0), draw(0.3)
start = time.perf_counter()
report = Report([DataSummaryPreset(), DataDriftPreset()])
snapshot = report.run(Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition))
snapshot.dict()
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "mebibytes": peak}))
`;

const columns = Number(values.columns);
const definition = ProfileParams.parse({});

if (values.child === "prepare") {
  await prepare(Number(values.rows));
  console.log("{}");
} else if (values.child === "measure") {
  console.log(JSON.stringify(await measure()));
} else {
  const lines: unknown[][] = [];
  for (const rows of values.rows.split(",").map(Number)) {
    lines.push(toLine("geophone", rows, await runOurs(rows)));
    if (!values.peers) continue;
    const python = ".geophone/peers/evidently/bin/python";
    lines.push(
      toLine("evidently 0.7.23", rows, await run(python, "-c", evidently, `${rows}`, `${columns}`)),
    );
  }
  console.log(formatTable(["", "rows", "columns", "seconds", "peak MiB"], lines));
}

function toLine(name: string, rows: number, { seconds, mebibytes }: Measurement): unknown[] {
  return [name, rows, columns, Number(seconds.toFixed(2)), Math.round(mebibytes)];
}

async function runOurs(rows: number): Promise<Measurement> {
  const folder = await Deno.makeTempDir();
  const child = (what: string) =>
    run(
      Deno.execPath(),
      "run",
      "-A",
      import.meta.filename!,
      `--child=${what}`,
      `--store=${folder}/profile.duckdb`,
      `--rows=${rows}`,
      `--columns=${columns}`,
    );
  try {
    await child("prepare");
    return await child("measure");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(program: string, ...args: string[]): Promise<Measurement> {
  const { stdout, stderr, success } = await new Deno.Command(program, { args }).output();
  if (!success) {
    throw new Error(`Cannot measure with ${program}: ${new TextDecoder().decode(stderr)}`);
  }
  return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
}

/** As many training rows as current ones; a tenth of the columns has shifted. */
async function prepare(rows: number): Promise<void> {
  await using store = await openStore(values.store, { publish: false });
  const names = JSON.stringify(Array.from({ length: columns }, (_, j) => `c${j}`));
  const end = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  await store.query(
    `insert into core.model_versions select 'bench', 1, '', 'run', ?::json::varchar[], ['a', 'b'],
       '{}', '{"predictions": {"predictions": "bench"}}', '', now(), null`,
    [names],
  );
  // Box–Muller with a hash for a seed: the same rows every time.
  const draw = (seed: string) =>
    `list_transform(range(${columns}), lambda j : round(
      sqrt(-2 * ln((hash(r, j, '${seed}') % 1000003 + 1) / 1000004))
        * cos(2 * pi() * (hash(j, r, '${seed}') % 999983) / 999983)
      + case when '${seed}' = 'now' and j % 10 = 0 then 0.3 else 0 end, 4))`;
  await store.query(
    `insert into core.held_out_predictions
     select 'bench', r, null, r, ${draw("then")}, r % 2, [0.7, 0.3] from range(${rows}) t(r)`,
  );
  await store.query(
    `insert into core.inferences by name select 'r' || r as request_id, 0 as row,
       ?::timestamp - to_seconds(1 + r % 80000) as request_time, 'bench' as model, 1 as version,
       ${draw("now")} as features, 'a' as label, 0.7 as confidence, [0.7, 0.3] as probabilities
     from range(${rows}) t(r)`,
    [new Date(end)],
  );
  // The baseline is measured once, by the first refresh of a version: here that of a day before.
  await store.query(
    `insert into core.inferences by name select * replace ('e' || row as request_id,
       request_time - interval 3 day as request_time) from core.inferences limit 100`,
  );
  await refresh(store, new Date(end - DAY_MS));
  await store.query("delete from core.inferences where request_id like 'e%'");
  await store.query("checkpoint");
}

async function measure(): Promise<Measurement> {
  await using store = await openStore(values.store, { publish: false });
  let mebibytes = 0;
  const look = () => mebibytes = Math.max(mebibytes, Deno.memoryUsage().rss / 2 ** 20);
  const timer = setInterval(look, 20);
  const startedAt = performance.now();
  await refresh(store, new Date());
  const seconds = (performance.now() - startedAt) / 1000;
  clearInterval(timer);
  look();
  return { seconds, mebibytes };
}

async function refresh(store: Store, now: Date): Promise<void> {
  const about = { model: "bench", version: 1, definition, now };
  const { state, message } = await refreshMonitors(store, about);
  if (state !== "SUCCESS") throw new Error(`Cannot refresh: it is ${state}; ${message}`);
}
