/** Our server as `deno task serve` runs it, over a store that a benchmark has made. */
import { ProfileParams } from "../../runtime/monitors/definition.ts";
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";

const [port, path, durability, monitored] = Deno.args;
await using store = await openStore(path, { thread: true });
const served = await serve({
  store,
  model: "bench",
  quiet: true,
  ...(monitored === "monitored"
    ? {
      monitors: {
        definition: ProfileParams.parse({}),
        target: () => Promise.resolve({ model: "bench", version: 1 }),
      },
    }
    : {}),
  serving: { port: Number(port), durability: durability as "commit" | "async" },
});
await served.finished;
