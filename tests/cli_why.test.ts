import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { openStore } from "../runtime/store/store.ts";
import { ROOT, runCli, withProjectFolder } from "./cli_runner.ts";
import { registerTestModel } from "./model_fixture.ts";

Deno.test("why ranks what explains an alert in words and as JSON, and says how it is asked wrongly", async () => {
  await withProjectFolder(async (folder) => {
    const path = join(folder, "store.duckdb");
    await using store = await openStore(path, { publish: false });
    await registerTestModel(store, { model: "wells" });
    // The last hour has a new key whose requests fail.
    await store.query(
      `insert into core.requests by name select 'r' || range as request_id, 'POST' as method,
         now() at time zone 'UTC' - case when range < 300 then interval 3 hour
           else interval 10 minute end as request_time,
         '/predict' as endpoint, case when range >= 350 then 500 else 200 end as status_code,
         'wells' as model, 1 as version, 1 as row_count, 2.0 as duration_ms,
         case when range >= 350 then 'nightly' else 'app' end as requester
       from range(400)`,
    );
    await store.close();
    const why = (...args: string[]) => runCli(["why", ...args, "--set", `store=${path}`], ROOT);
    const told = await why("error_rate");
    assertEquals(told.code, 0, told.stderr);
    assertStringIncludes(told.stdout, "error_rate: 50 % of the requests failed, before 0 %");
    assertStringIncludes(told.stdout, "requester nightly, which is new, has 100 % of the change");
    assertStringIncludes(told.stdout, "statuses 500 (50)");
    const { suspects } = JSON.parse((await why("error_rate", "--json")).stdout);
    assertEquals([suspects[0].kind, suspects[0].subject], ["requester", "nightly"]);

    const unknown = await why("eror_rate");
    assertEquals(unknown.code, 2);
    assertStringIncludes(unknown.stderr, 'did you mean "error_rate"');
    const few = await why("low_confidence");
    assertEquals(few.code, 2);
    assertStringIncludes(few.stderr, 'Cannot say why "low_confidence" fires');
    const never = await why("error_rate", "--window", "0s");
    assertStringIncludes(never.stderr, "Cannot use --window of no time");
  });
});
