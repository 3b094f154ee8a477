import { assertEquals } from "@std/assert";
import { estimateMethodsSchema } from "../../../runtime/schema/estimate_methods.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { makeEarlierStore } from "./earlier_store.ts";

Deno.test("openStore() says of estimates of an earlier store that CBPE made them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/store.duckdb`;
    const window = `'rocks' as model, 1 as version, '1 day' as granularity,
      timestamp '2026-01-02' as window_start, timestamp '2026-01-03' as window_end`;
    await makeEarlierStore(path, estimateMethodsSchema, [
      `insert into core.estimate_windows by name select ${window},
      'd' as definition, 5 as rows, 0 as labeled_rows, timestamp '2026-01-03' as estimated_at`,
      `insert into core.estimates by name select ${window},
      'accuracy' as metric, 5 as rows, 0 as labeled_rows, 0.9 as estimate, 0.8 as high, 0.85 as floor`,
    ]);
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
