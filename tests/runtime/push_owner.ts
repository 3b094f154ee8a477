/** Owns a store and serves from it until its input ends: a process for tests of borrowed stores. */
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";

await using store = await openStore(Deno.args[0]);
const served = await serve({
  store,
  model: "rocks",
  environment: "staging",
  serving: { port: 0 },
  quiet: true,
});
await Deno.stdout.write(new TextEncoder().encode(`${served.url}\n`));
await Deno.stdin.readable.pipeTo(new WritableStream());
await served.shutdown();
