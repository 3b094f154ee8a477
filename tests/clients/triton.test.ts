/** The unchanged `tritonclient[http]` against a server. */
import { assertEquals } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";
import { registerTestModel } from "../model_fixture.ts";
import { canInstall, type RunScript, say, withClient } from "./python.ts";

const client = {
  name: "tritonclient",
  packages: ["tritonclient[http]==2.73.0", "numpy"],
  probe: "import numpy, tritonclient.http",
};

Deno.test({
  name: "tritonclient[http] 2.73.0 gets from the server what /predict gives",
  ignore: !canInstall(client.name),
  fn: (t) =>
    withClient(client, async (runScript) => {
      for (const isWindowed of [false, true]) {
        await t.step(
          isWindowed ? "a model with windows" : "a model of single rows",
          () => check(runScript, isWindowed),
        );
      }
    }),
});

async function check(runScript: RunScript, isWindowed: boolean): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees", isWindowed });
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  try {
    const address = new URL(served.url).host;
    const { code, out, said } = await runScript("./tritonclient_check.py", [address, "rocks"]);
    assertEquals(code, 0, said);
    say(out.trimEnd());
    assertEquals(out.match(/^ok: /gm)?.length, 12);
  } finally {
    await served.shutdown();
  }
  // Every request of the client is a row, and its rows are inferences.
  const [counts] = await store.query(
    `select count(*) filter (where client_request_id like 'async-%') as async,
       count(*) filter (where status_code = 500) as failed,
       count(*) filter (where status_code in (503, 504)) as refused,
       sum(row_count) filter (where status_code = 200) =
         (select count(*) from inferences) as is_complete
     from requests`,
  );
  // It asks twice what was unloaded, and once for an answer within a microsecond.
  assertEquals(counts, { async: 64, failed: 0, refused: 3, is_complete: true });
}
