/**
 * The unchanged `mlflow` client against a server. It comes from PyPI into a virtual environment of
 * its own: in the folder `GEOPHONE_CLIENTS_VENV`, kept for the next run, or in a temporary one.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { registerVersion, setAlias } from "../../runtime/model_registry.ts";
import { openStore, type Store } from "../../runtime/store.ts";
import { serve } from "../../server.ts";
import { buildTestModel, testRecord } from "../model_fixture.ts";

/** The client as its users install it. */
const PACKAGE = "mlflow-skinny==3.17.2";

const INSTALL_MS = 240_000;
const CHECK_MS = 180_000;

async function runBounded(
  command: string,
  args: readonly string[],
  { ms, env = {} }: { readonly ms: number; readonly env?: Record<string, string> },
): Promise<{ readonly code: number; readonly text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(ms),
  }).output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** Gives a Python in `folder` that has the client, or the reason why there is none. */
async function preparePython(folder: string): Promise<{ python: string } | { reason: string }> {
  const python = join(folder, "bin", "python");
  const check = ["-c", "import mlflow; print(mlflow.__version__)"];
  try {
    const found = await runBounded(python, check, { ms: 60_000 });
    if (found.code === 0 && found.text.includes(PACKAGE.split("==")[1])) return { python };
  } catch {
    // Not there yet.
  }
  try {
    const made = await runBounded("python3", ["-m", "venv", folder], { ms: 60_000 });
    if (made.code !== 0) return { reason: `python3 -m venv failed: ${made.text.trim()}` };
    const args = ["-m", "pip", "install", "-q", "--retries", "1", "--timeout", "15", PACKAGE];
    const installed = await runBounded(python, args, { ms: INSTALL_MS });
    if (installed.code !== 0) return { reason: `pip failed: ${installed.text.trim().slice(-300)}` };
    return { python };
  } catch (error) {
    return { reason: `no python3 with venv and pip: ${(error as Error).message}` };
  }
}

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

Deno.test("the unchanged mlflow client tracks, stores, registers and serves", async () => {
  const dir = await Deno.makeTempDir({ prefix: "geophone-clients-" });
  try {
    const kept = Deno.env.get("GEOPHONE_CLIENTS_VENV");
    const prepared = await preparePython(kept ? join(kept, "mlflow") : join(dir, "venv"));
    if ("reason" in prepared) say(`The check with ${PACKAGE} is left out: ${prepared.reason}`);
    else await checkClient(prepared.python, dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Runs the check against a server whose store is in `dir`. */
async function checkClient(python: string, dir: string): Promise<void> {
  await using store = await openStore(join(dir, "store.duckdb"), { publish: false });
  const onnx = join(dir, "core.onnx");
  await Deno.writeFile(onnx, await recordPipelineRun(store));
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  try {
    const script = fileURLToPath(new URL("./mlflow_check.py", import.meta.url));
    const { code, text } = await runBounded(python, ["-W", "ignore", script, onnx], {
      ms: CHECK_MS,
      env: {
        MLFLOW_TRACKING_URI: served.url,
        MLFLOW_HTTP_REQUEST_MAX_RETRIES: "1",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR: "false",
        MLFLOW_DISABLE_TELEMETRY: "true",
        DO_NOT_TRACK: "true",
        HOME: dir,
      },
    });
    assertEquals(code, 0, text.slice(-3000));
    say(text.split("\n").filter((line) => /^ok|steps passed/.test(line)).join("\n"));
    assertStringIncludes(text, "steps passed with mlflow 3.17.2");

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
  const [{ calls, failures }] = await store.query<{ calls: number; failures: number }>(
    `select count(*) as calls, count(*) filter (where status_code >= 500) as failures
     from requests where endpoint like '/api/2.0/mlflow%'`,
  );
  assert(calls > 600, "every request is on record");
  assertEquals(failures, 0);
}
