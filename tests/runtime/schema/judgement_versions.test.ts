import { assertEquals } from "@std/assert";
import { judgementVersionsSchema } from "../../../runtime/schema/judgement_versions.ts";
import { openStore } from "../../../runtime/store/store.ts";
import { makeEarlierStore } from "./earlier_store.ts";

Deno.test("openStore() gives judgements of an earlier store the version of their prediction, those without one none", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/store.duckdb`;
    await makeEarlierStore(path, judgementVersionsSchema, [
      `insert into core.inferences by name select 'r' as request_id,
      i::integer as row, timestamp '2026-01-02' as request_time, 'rocks' as model, 3 as version,
      [1.0] as features, 'sand' as label, 0.9 as confidence, [0.9]::float[] as probabilities
      from range(2) t(i)`,
      `insert into core.judgements by name select 'r' as request_id,
      i::integer as row, 'rule' as judge, 'rule-1' as judge_version, 'scored' as status,
      0.25 as score, 1 as inclusion_probability, 1 as ms, timestamp '2026-01-02' as created_at
      from range(3) t(i)`,
    ]);
    await using store = await openStore(path, { publish: false });
    assertEquals(
      await store.query("select row, model, version from judgements order by row"),
      [
        { row: 0, model: "rocks", version: 3 },
        { row: 1, model: "rocks", version: 3 },
        { row: 2, model: null, version: null },
      ],
    );
    assertEquals(
      await store.query("select judge, model, version, judged, mean from judge_means"),
      [{ judge: "rule", model: "rocks", version: 3, judged: 2, mean: 0.25 }],
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("view judge_means has no interval around a single score", async () => {
  await using store = await openStore(":memory:");
  await store.query(`insert into core.judgements by name select 'r' as request_id, 0 as row,
    'rocks' as model, 1 as version, 'rule' as judge, 'rule-1' as judge_version,
    'scored' as status, 0.25 as score, 0.5 as inclusion_probability, 1 as ms,
    timestamp '2026-01-02' as created_at`);
  assertEquals(await store.query("select mean, low, high from judge_means"), [
    { mean: 0.25, low: null, high: null },
  ]);
});

Deno.test("view judge_means covers nothing where a judge gave errors alone", async () => {
  await using store = await openStore(":memory:");
  await store.query(`insert into core.judgements by name select 'r' as request_id, 0 as row,
    'rocks' as model, 1 as version, 'rule' as judge, 'rule-1' as judge_version,
    'error' as status, 'timeout' as kind, 0.5 as inclusion_probability, 1 as ms,
    timestamp '2026-01-02' as created_at`);
  assertEquals(await store.query("select judged, scored, coverage, mean from judge_means"), [
    { judged: 1, scored: 0, coverage: 0, mean: null },
  ]);
});
