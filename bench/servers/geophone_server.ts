/** Our server as `deno task serve` runs it, over a store that bench/serving.ts has made. */
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";

const [port, path, durability] = Deno.args;
await using store = await openStore(path, { thread: true });
const served = await serve({
  store,
  model: "bench",
  quiet: true,
  serving: { port: Number(port), durability: durability as "commit" | "async" },
});
await served.finished;
