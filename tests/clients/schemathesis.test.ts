/** Schemathesis, which makes requests from `/openapi.json`, against a server. */
import { assert, assertEquals } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { serve } from "../../server.ts";
import { registerTestModel } from "../model_fixture.ts";
import { canInstall, type RunScript, say, withClient } from "./python.ts";

const client = {
  name: "schemathesis",
  packages: ["schemathesis==4.32.5"],
  probe: "import schemathesis",
};

/** Length of each of the two runs; set GEOPHONE_FUZZ_SECONDS for longer ones. */
const SECONDS = Number(Deno.env.get("GEOPHONE_FUZZ_SECONDS") ?? 30);
const SEED = Deno.env.get("GEOPHONE_FUZZ_SEED") ?? "1";

Deno.test({
  name: "schemathesis 4.32.5 finds nothing that /openapi.json does not say, with and without keys",
  ignore: !canInstall(client.name),
  fn: (t) =>
    withClient(client, async (runScript) => {
      await t.step("without keys", () => check(runScript, null));
      await t.step("with a key", () => check(runScript, "a-key-of-the-test"));
    }),
});

async function check(runScript: RunScript, apiKey: string | null): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees" });
  await registerTestModel(store, { kind: "trees", seed: 2, alias: "challenger" });
  const served = await serve({
    store,
    model: "rocks",
    quiet: true,
    serving: { port: 0 },
    ...(apiKey === null ? {} : { apiKey }),
  });
  try {
    const args = [served.url, String(SECONDS), SEED, ...(apiKey === null ? [] : [apiKey])];
    const ms = (SECONDS + 120) * 1000;
    const { code, said } = await runScript("./schemathesis_check.py", args, {}, ms);
    assertEquals(code, 0, said);
    say(said.match(/\d+ generated, .*/)?.[0] ?? said);
    await assertOnRecord(served.app, store, apiKey);
  } finally {
    await served.shutdown();
  }
}

/** Every answer that is counted is a row, and none of them is a failure of ours. */
async function assertOnRecord(
  app: { request(path: string, init?: RequestInit): Promise<Response> },
  store: { query(sql: string): Promise<Record<string, unknown>[]> },
  apiKey: string | null,
): Promise<void> {
  const init = apiKey === null ? {} : { headers: { "x-api-key": apiKey } };
  const text = await (await app.request("/metrics", init)).text();
  const answered = [...text.matchAll(/^geophone_requests_total\{route="([^"]+)".*\} (\d+)$/gm)]
    .filter(([, route]) => !/^\/(health|ready|metrics|ping|version|v2\/health\/\w+)$/.test(route))
    .reduce((sum, [, , count]) => sum + Number(count), 0);
  const [{ rows, failed }] = await store.query(
    `select count(*) as rows,
       count(*) filter (where status_code >= 500 and status_code not in (503, 504)) as failed
     from requests where request_id not like '%#%'`,
  );
  assert(answered > 500, `${answered} answers`);
  assertEquals({ rows, failed }, { rows: answered, failed: 0 });
}
