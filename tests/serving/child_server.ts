/** A server in a process of its own, for tests that end it: `child_server.ts STORE` prints its URL. */
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";
import { registerTestModel } from "../model_fixture.ts";

const store = await openStore(Deno.args[0], { thread: true });
await registerTestModel(store);
const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
await Deno.stdout.write(new TextEncoder().encode(`${served.url}\n`));
await served.finished;
await store.close();
