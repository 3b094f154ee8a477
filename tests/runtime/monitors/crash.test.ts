import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { openStore, type Store } from "../../../runtime/store/store.ts";
import { ROOT } from "../../cli_runner.ts";
import { addModel } from "../../plugins/alerts/rows.ts";
import { addRows, day, plainRows, refreshAt } from "./fixture.ts";

const HOURS = 150;
const process = new URL("./refresh_process.ts", import.meta.url).pathname;

/** Windows in each table, and how many rows each of them has there. */
async function countWindows(store: Store): Promise<Record<string, number[]>> {
  const tables = ["core.monitor_windows", "core.profile_metrics", "core.drift_metrics"];
  const counts: Record<string, number[]> = {};
  for (const table of tables) {
    const rows = await store.query<{ rows: number }>(
      `select count(*) as rows from ${table} where window_start is not null
       group by window_start order by window_start`,
    );
    counts[table] = rows.map(({ rows }) => rows);
  }
  return counts;
}

Deno.test("refreshMonitors() leaves whole windows when it is killed, and the next one goes on", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "store.duckdb");
    {
      await using store = await openStore(path, { publish: false });
      await addModel(store);
      for (let hour = 0; hour < HOURS; hour++) {
        await addRows(store, plainRows(31), { requestId: `r${hour}`, from: day(1, hour) });
      }
    }
    for (const batches of [1, 2]) {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", process, path],
        cwd: ROOT,
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      let seen = "";
      while (seen.split("\n").length <= batches) {
        const { value, done } = await reader.read();
        assert(!done, "the process ended before it was killed");
        seen += value;
      }
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
    }
    await using store = await openStore(path, { publish: false });
    const counts = await countWindows(store);
    const windows = counts["core.monitor_windows"].length;
    assert(windows >= 24 && windows < HOURS, `${windows} windows`);
    assertEquals(counts["core.profile_metrics"], new Array(windows).fill(10));
    // The first window has none before it.
    assertEquals(counts["core.drift_metrics"], [10, ...new Array(windows - 1).fill(20)]);
    const { state, windows: rest } = await refreshAt(store, day(30), { granularities: ["1 hour"] });
    assertEquals([state, windows + rest], ["SUCCESS", HOURS]);
    const states = await store.query(
      "select state, count(*) as refreshes from monitor_refreshes group by state order by state",
    );
    assertEquals(states, [{ state: "FAILED", refreshes: 2 }, { state: "SUCCESS", refreshes: 1 }]);
    assertEquals((await countWindows(store))["core.profile_metrics"], new Array(HOURS).fill(10));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
