/** The unchanged `mlflow` client against a server. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { verifyAudit } from "../../runtime/audit.ts";
import { registerVersion, setAlias } from "../../runtime/registry/model_registry.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createWebhook } from "../../runtime/webhooks/mod.ts";
import { serve } from "../../server.ts";
import { buildTestModel, testRecord } from "../model_fixture.ts";
import "../webhook_receiver.ts";
import { canInstall, type RunScript, say, withClient } from "./python.ts";

const client = {
  name: "mlflow",
  packages: ["mlflow-skinny==3.17.2"],
  probe: "import mlflow; assert mlflow.__version__ == '3.17.2'",
};

/** A run as a pipeline records it, with the version that it registered. */
async function recordPipelineRun(store: Store): Promise<Uint8Array> {
  const bytes = buildTestModel();
  const at = new Date("2026-01-02T03:04:05Z");
  await store.transaction([
    {
      sql:
        "insert into core.runs values ('run-1', 'rocks', 'dev', 7, 'done', ?, 'abc', 'ada', ?, ?, null)",
      params: [JSON.stringify({ training: { trainer: "boosting" } }), at, at],
    },
    {
      sql: "insert into core.metrics values ('run-1', 'evaluation', 'accuracy', 0.9, 0, ?)",
      params: [at],
    },
  ]);
  const report = { scores: { accuracy: 0.9 } };
  const version = await registerVersion(store, { bytes, report, runId: "run-1" });
  await setAlias(store, { model: "rocks", alias: "production", version: 1, reason: "test" });
  assertEquals(version.version, 1);
  return buildTestModel({ seed: 2 });
}

Deno.test({
  name: "the unchanged mlflow client tracks, stores, registers and serves",
  ignore: !canInstall(client.name),
  fn: () =>
    withClient(client, async (runScript) => {
      const dir = await Deno.makeTempDir();
      try {
        await checkClient(runScript, dir);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    }),
});

/** Runs the check against a server whose store is in `dir`. */
async function checkClient(runScript: RunScript, dir: string): Promise<void> {
  await using store = await openStore(join(dir, "store.duckdb"), { publish: false });
  const onnx = join(dir, "core.onnx");
  await Deno.writeFile(onnx, await recordPipelineRun(store));
  // A client cannot allow itself to be told on this machine; who has the store can.
  await createWebhook(store, {
    name: "loopback",
    url: "http://127.0.0.1:9/",
    events: ["registered_model.created"],
    allowsLocal: true,
  }, { by: "test" });
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  try {
    const { code, said } = await runScript("./mlflow_check.py", [onnx], {
      PYTHONWARNINGS: "ignore",
      MLFLOW_TRACKING_URI: served.url,
      MLFLOW_HTTP_REQUEST_MAX_RETRIES: "1",
      MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR: "false",
      MLFLOW_DISABLE_TELEMETRY: "true",
      DO_NOT_TRACK: "true",
      HOME: dir,
    });
    assertEquals(code, 0, said.slice(-3000));
    say(said.split("\n").filter((line) => /^ok|steps passed/.test(line)).join("\n"));
    assertStringIncludes(said, "steps passed with mlflow 3.17.2");

    await served.app.refresh();
    const response = await served.app.request("/predict", {
      method: "POST",
      body: JSON.stringify({ records: [testRecord(1)] }),
    });
    assertEquals((await response.json()).version, 2, "the alias that the client moved is served");
  } finally {
    await served.shutdown();
  }
  const changes = await store.query(
    "select from_version, to_version, reason from alias_history where model = 'rocks' order by change",
  );
  assertEquals(changes, [
    { from_version: null, to_version: 1, reason: "test" },
    { from_version: 1, to_version: 2, reason: "set by an MLflow client" },
  ]);
  const { entries, firstBroken } = await verifyAudit(store);
  assert(entries > 40, "every change is on record");
  assertEquals(firstBroken, null);
  const [{ calls, failures }] = await store.query<{ calls: number; failures: number }>(
    `select count(*) as calls, count(*) filter (where status_code >= 500) as failures
     from requests where endpoint like '/api/2.0/mlflow%'`,
  );
  assert(calls > 600, "every request is on record");
  assertEquals(failures, 0);
}
