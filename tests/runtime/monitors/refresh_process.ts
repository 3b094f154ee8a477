/** Refreshes hourly windows of the store that the argument names, and says so after each batch. */
import { ProfileParams } from "../../../runtime/monitors/definition.ts";
import { refreshMonitors } from "../../../runtime/monitors/refresh.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { day } from "./fixture.ts";

const store = await openStore(Deno.args[0], { publish: false });
await refreshMonitors(store, {
  model: "rocks",
  version: 1,
  definition: ProfileParams.parse({ granularities: ["1 hour"] }),
  now: day(30),
  onProgress: () => Deno.stdout.writeSync(new TextEncoder().encode("batch\n")),
});
await store.close();
