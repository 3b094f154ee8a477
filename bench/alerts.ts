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
import { openStore } from "../runtime/store/store.ts";
import { formatTable } from "../runtime/terminal.ts";
import { buildModel, MODEL, registerModel } from "./model.ts";
import { fillInferences } from "./rows.ts";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "10000000" },
    alerts: { type: "string", default: "100" },
  },
});
const rows = Number(options.rows);
const folder = await Deno.makeTempDir();
try {
  await using store = await openStore(`${folder}/bench.duckdb`, { publish: false });
  await registerModel(store, buildModel());
  await fillInferences(store, rows);
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
