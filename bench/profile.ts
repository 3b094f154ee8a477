/**
 * Where the time of a prediction goes on the server's main thread: a sampling profile of 64 callers
 * in the same process, so that HTTP itself is left out:
 * `deno run -A bench/profile.ts [--requests=100000] [--durability=commit] [--top=0]`.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { Session } from "node:inspector";
import { openStore } from "../runtime/store/store.ts";
import { formatTable } from "../runtime/terminal.ts";
import { createApp } from "../server.ts";
import { buildModel, columnNames, MODEL, registerModel } from "./model.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "100000" },
    durability: { type: "string", default: "commit" },
    top: { type: "string", default: "0" },
  },
});
const requests = Number(values.requests);

const folder = await Deno.makeTempDir();
const store = await openStore(`${folder}/profile.duckdb`, { thread: true, publish: false });
await registerModel(store, buildModel());
const app = await createApp({
  store,
  model: MODEL,
  quiet: true,
  serving: { durability: values.durability as "commit" | "async" },
});

const body = JSON.stringify({
  records: [Object.fromEntries(columnNames().map((name, j) => [name, j + 0.5]))],
});
const headers = { "content-type": "application/json", "content-length": String(body.length) };

async function ask(count: number): Promise<void> {
  let left = count;
  await Promise.all(Array.from({ length: 64 }, async () => {
    while (left-- > 0) {
      const response = await app.fetch(
        new Request("http://localhost/predict", { method: "POST", body, headers }),
      );
      const text = await response.text();
      if (response.status !== 200) throw new Error(text);
    }
  }));
}

/** What the profiler gives of a function. */
interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; lineNumber: number };
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const session = new Session();
session.connect();
const post = <T>(method: string, params: object = {}) =>
  new Promise<T>((resolve, reject) =>
    session.post(
      method,
      params,
      (error: unknown, result: unknown) => error ? reject(error) : resolve(result as T),
    )
  );

/** Part of the server that a function belongs to; the first that matches. */
const areas: readonly (readonly [name: string, pattern: RegExp])[] = [
  ["waiting for the disk", /^\(idle\)/],
  ["garbage collection", /^\(garbage collector\)/],
  ["the profiler", /inspector/],
  ["inference log: encoding", /step_codec|inference_log|journal/],
  ["inference log: writing", /op_write|sync_data|post_message|database_thread/],
  ["model", /onnxruntime|onnx_session|predictor|batcher|served_model/],
  ["reading the body", /records\.ts|json\.ts|zod|22_body|op_str/],
  ["writing the answer", /answers\.ts|routes\/predict/],
  ["request and response objects", /ext:deno_(fetch|web|http|webidl)|op_http|op_now/],
  ["routing", /hono/],
  ["metrics and statistics", /prom-client|metrics|statistics|histogram/],
  ["the exchange", /serving\//],
];

await ask(20_000);
await post("Profiler.enable");
await post("Profiler.setSamplingInterval", { interval: 200 });
await post("Profiler.start");
const startedAt = performance.now();
await ask(requests);
const ms = performance.now() - startedAt;
const { profile } = await post<{ profile: Profile }>("Profiler.stop");

const names = new Map(profile.nodes.map(({ id, callFrame }) => {
  const file = callFrame.url.split("/").slice(-2).join("/");
  const place = callFrame.url.startsWith("ext:") ? callFrame.url : file;
  return [id, `${callFrame.functionName || "(anonymous)"} ${place}:${callFrame.lineNumber + 1}`];
}));
const byFunction = new Map<string, number>();
const byArea = new Map<string, number>();
profile.samples.forEach((id, i) => {
  const name = names.get(id)!;
  const area = areas.find(([, pattern]) => pattern.test(name))?.[0] ?? "the rest";
  byFunction.set(name, (byFunction.get(name) ?? 0) + profile.timeDeltas[i]);
  byArea.set(area, (byArea.get(area) ?? 0) + profile.timeDeltas[i]);
});
const total = [...byArea.values()].reduce((sum, time) => sum + time, 0);
const toRows = (times: Map<string, number>) =>
  [...times].sort((a, b) => b[1] - a[1]).map(([name, time]) => [
    name,
    (time / requests).toFixed(2),
    `${(100 * time / total).toFixed(1)} %`,
  ]);
console.log(
  `${Math.round(requests / ms * 1000)} requests/s, ${(ms / requests * 1000).toFixed(1)} µs each\n`,
);
console.log(formatTable(["where", "µs/request", "share"], toRows(byArea)));
if (Number(values.top) > 0) {
  console.log(
    `\n${
      formatTable(
        ["function", "µs/request", "share"],
        toRows(byFunction).slice(0, Number(values.top)),
      )
    }`,
  );
}
await app.close();
await store.close();
await Deno.remove(folder, { recursive: true });
