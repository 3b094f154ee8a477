/** A process that archives traces, for tests that kill it: `archive_child.ts STORE FOLDER`. */
import { openStore } from "../../../runtime/store/store.ts";
import { archiveTraces } from "../../../runtime/traces/archive.ts";

const [path, folder] = Deno.args;
const store = await openStore(path);
const { signal } = new AbortController();
await archiveTraces(store, { folder, before: new Date("2026-02-01"), signal });
await store.close();
