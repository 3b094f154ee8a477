/**
 * A hundred alerts over ten million inference rows: `deno run -A bench/alerts.ts [--rows N]`.
 *
 * The store is filled by SQL: requests of twenty records each, spread over thirty days, one in fifty
 * of them labeled. The alerts are the shipped ones, again and again under other names until there are
 * a hundred; each is evaluated, judged and recorded as a schedule does it.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { loadAlerts } from "../plugins/alerts/load.ts";
import { evaluateAlerts } from "../runtime/alerts/engine.ts";
import { openStore, type Store } from "../runtime/store/store.ts";
import { formatTable } from "../runtime/terminal.ts";
import { buildModel, CLASSES, columnNames, MODEL, registerModel } from "./model.ts";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "10000000" },
    alerts: { type: "string", default: "100" },
  },
});
const rows = Number(options.rows);
const PER_REQUEST = 20;

async function fill(store: Store): Promise<void> {
  const requests = Math.ceil(rows / PER_REQUEST);
  await store.query("set preserve_insertion_order = true");
  await store.query(
    `insert into core.requests by name
     select 'r' || i as request_id, now() at time zone 'UTC' - to_seconds(2592000.0 * (1 - i / ?)) as
       request_time, 'POST' as method, '/predict' as endpoint,
       case when i % 200 = 0 then 500 else 200 end as status_code, '${MODEL}' as model, 1 as version,
       ${PER_REQUEST} as row_count, 1 + i % 17 as duration_ms
     from range(?) t(i)`,
    [requests, requests],
  );
  const values = columnNames().map((_, j) => `(hash(i * 16 + ${j}) % 10000) / 10000.0`);
  await store.query(
    `insert into core.inferences by name
     select 'r' || (i // ${PER_REQUEST}) as request_id, i % ${PER_REQUEST} as row,
       now() at time zone 'UTC' - to_seconds(2592000.0 * (1 - (i // ${PER_REQUEST}) / ?)) as request_time,
       '${MODEL}' as model, 1 as version, [${values}] as features,
       ${JSON.stringify(CLASSES).replaceAll('"', "'")}[1 + i % 3] as label,
       0.34 + 0.66 * ((i * 7919) % 1000) / 1000.0 as confidence,
       [0.4, 0.3, 0.3]::float[] as probabilities, 's' || (i % 5) as slice
     from range(?) t(i)`,
    [requests, rows],
  );
  await store.query(
    `insert into core.labels by name select request_id, row, label, request_time as created_at
     from core.inferences where hash(request_id || row) % 50 = 0`,
  );
  await store.query("checkpoint");
}

const folder = await Deno.makeTempDir();
try {
  await using store = await openStore(`${folder}/bench.duckdb`, { publish: false });
  await registerModel(store, buildModel());
  await fill(store);
  const shipped = await loadAlerts(new URL("../plugins/alerts/", import.meta.url));
  const alerts = Array.from({ length: Number(options.alerts) }, (_, i) => ({
    ...shipped[i % shipped.length],
    name: `${shipped[i % shipped.length].name}_${Math.floor(i / shipped.length)}`,
  }));
  const before = Deno.memoryUsage().rss;
  const start = performance.now();
  const outcomes = await evaluateAlerts(store, alerts, { model: MODEL, version: 1 });
  const seconds = (performance.now() - start) / 1000;
  const times = await store.query<{ alert: string; ms: number; state: string }>(
    `select alert, round(ms, 1) as ms, state from alerts where alert like '%_0' order by ms desc limit 10`,
  );
  console.log(
    `${alerts.length} alerts over ${rows.toLocaleString("en")} rows: ${seconds.toFixed(2)} s, ` +
      `${outcomes.filter(({ state }) => state === "error").length} errors, memory ` +
      `${Math.round(before / 2 ** 20)} to ${Math.round(Deno.memoryUsage().rss / 2 ** 20)} MiB\n`,
  );
  console.log(formatTable(["slowest", "ms", "state"], times.map((row) => Object.values(row))));
} finally {
  await Deno.remove(folder, { recursive: true });
}
