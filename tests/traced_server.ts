/**
 * A process that traces, for tests: it serves a test model, prints its URL, and when its standard input
 * ends judges what was predicted, asking `JUDGE` by HTTP, and ends. `traced_server.ts STORE JUDGE`.
 */
import { judgeSample, JudgingParams } from "../judges/judging.ts";
import { definePlugin } from "../plugins/plugin.ts";
import { openStore } from "../runtime/store/store.ts";
import { serve } from "../server.ts";
import { registerTestModel } from "./model_fixture.ts";

const [path, judgeUrl] = Deno.args;
const store = await openStore(path, { thread: true });
await registerTestModel(store);
const served = await serve({ store, model: "rocks", serving: { port: 0, log: "json" } });
await Deno.stdout.write(new TextEncoder().encode(`${served.url}\n`));
for await (const _ of Deno.stdin.readable);
await served.shutdown();
const judge = definePlugin({
  kind: "judge",
  name: "asker",
  summary: "asks over HTTP",
  version: "asker-1",
  probe: () => Promise.resolve({ ready: true, detail: "" }),
  async judge({ row }) {
    if (row > 0) return { status: "error", kind: "unreachable", message: "No such row" };
    const score = Number(await (await fetch(judgeUrl)).text());
    return { status: "scored", score, tokensIn: 12, tokensOut: 1 };
  },
});
await judgeSample(store, {
  judges: [judge],
  model: "rocks",
  version: 1,
  params: JudgingParams.parse({ samplingRate: 1 }),
  seed: 1,
  signal: new AbortController().signal,
});
await store.close();
