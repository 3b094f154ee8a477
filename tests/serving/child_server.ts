/** A server in a process of its own, for tests that end it: `child_server.ts STORE PARAMS` prints its URL. */
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";
import { registerTestModel } from "../model_fixture.ts";

const store = await openStore(Deno.args[0], { thread: true });
await registerTestModel(store);
const serving = { ...JSON.parse(Deno.args[1] ?? "{}"), port: 0 };
const served = await serve({ store, model: "rocks", quiet: true, serving });
await Deno.stdout.write(new TextEncoder().encode(`${served.url}\n`));
await served.finished;
await store.close();
