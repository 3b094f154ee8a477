import { assertEquals } from "@std/assert";
import { DuckDBInstance } from "@duckdb/node-api";
import { estimateMethodsSchema } from "../../../runtime/schema/estimate_methods.ts";
import { migrations } from "../../../runtime/schema/mod.ts";
import { openStore } from "../../../runtime/store/store.ts";

Deno.test("openStore() says of estimates of an earlier store that CBPE made them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/store.duckdb`;
    const instance = await DuckDBInstance.create(path);
    const connection = await instance.connect();
    for (const { statements } of migrations) {
      if (statements === estimateMethodsSchema) break;
      for (const sql of statements) await connection.run(sql);
    }
    const window = `'rocks' as model, 1 as version, '1 day' as granularity,
      timestamp '2026-01-02' as window_start, timestamp '2026-01-03' as window_end`;
    await connection.run(`insert into core.estimate_windows by name select ${window},
      'd' as definition, 5 as rows, 0 as labeled_rows, timestamp '2026-01-03' as estimated_at`);
    await connection.run(`insert into core.estimates by name select ${window},
      'accuracy' as metric, 5 as rows, 0 as labeled_rows, 0.9 as estimate, 0.8 as high, 0.85 as floor`);
    connection.closeSync();
    instance.closeSync();
    await using store = await openStore(path, { publish: false });
    assertEquals(
      await store.query(
        "select metric, estimate, is_below_contract, method, outside_share from estimates",
      ),
      [{
        metric: "accuracy",
        estimate: 0.9,
        is_below_contract: true,
        method: "cbpe",
        outside_share: null,
      }],
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
