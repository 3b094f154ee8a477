import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { runCli, withProjectFolder } from "./cli_runner.ts";
import { registerTestModel } from "./model_fixture.ts";

Deno.test("models compare prints what the labels say of two versions, as text and as JSON", () =>
  withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    const compare = (...args: string[]) =>
      runCli(["models", "compare", ...args, "--set", `store=${path}`, "--set", "name=rocks"]);
    {
      await using store = await openStore(path);
      await registerTestModel(store, { seed: 1 });
      await registerTestModel(store, { seed: 2, alias: "challenger" });
      const at = new Date();
      await store.transaction([
        {
          sql: `insert into core.shadow_inferences (request_id, row, request_time, model,
              champion_version, shadow_version, champion_label, shadow_label, ms)
            select 'r' || i, 0, ?, 'rocks', 1, 2, if(i < 30, 'sandstone', 'siltstone'), 'sandstone', 1
            from range(50) t(i)`,
          params: [at],
        },
        {
          sql: `insert into core.labels (request_id, row, label, created_at)
            select 'r' || i, 0, 'sandstone', ? from range(50) t(i)`,
          params: [at],
        },
      ]);
    }
    const text = await compare("production", "challenger");
    assertEquals(text.code, 0, text.stderr);
    assertStringIncludes(text.stdout, "20 were right by the challenger alone, 0 by the champion");
    assertStringIncludes(text.stdout, "challenger is better");
    const json = JSON.parse((await compare("1", "2", "--json")).stdout);
    assertEquals([json.design, json.champion.accuracy.value], ["paired", 0.6]);
    const usage = await compare("production");
    assertEquals([usage.code, usage.stdout], [2, ""]);
    assertStringIncludes(usage.stderr, "models compare CHAMPION CHALLENGER");
  }));
