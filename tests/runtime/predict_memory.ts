/** Predicts a large file that it makes itself, and says how much memory that took. */
import { csv, parquet } from "../../plugins/sources/table.ts";
import { Plugins } from "../../plugins/plugin.ts";
import { predictFile } from "../../runtime/predict/file.ts";
import { Predictor } from "../../runtime/predict/predictor.ts";
import { openStore } from "../../runtime/store/store.ts";
import { buildTestModel } from "../model_fixture.ts";

const [rows, input, output] = Deno.args;

const store = await openStore(":memory:");
await store.query(
  `copy (select i as id, hash(i) % 300 / 1.0 as GR, 1.5 + (i % 20) / 10 as RHOB, (i % 50) / 100 as NPHI,
     i * 0.5 as DEPT, 'w' || (i // 20000) as well, random() as a, random() as b, 'note ' || i as c,
     random() as d from range(${Number(rows)}) t(i) order by hash(i)) to '${input}'`,
);
await store.close();

const predictor = await Predictor.open(buildTestModel({ isWindowed: true }));
const before = Deno.memoryUsage().rss;
let peak = before;
const timer = setInterval(() => peak = Math.max(peak, Deno.memoryUsage().rss), 10);
const summary = await predictFile(predictor, input, output, {
  plugins: new Plugins([csv, parquet]),
  signal: new AbortController().signal,
  group: "well",
});
clearInterval(timer);
await predictor.close();
Deno.stdout.writeSync(
  new TextEncoder().encode(JSON.stringify({ rows: summary.rows, growth: peak - before })),
);
