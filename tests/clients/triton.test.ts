/**
 * The unchanged `tritonclient[http]` against a server. Its packages come from PyPI into a virtual
 * environment of their own: in the folder `GEOPHONE_CLIENTS_VENV`, kept for the next run, or in a
 * temporary one.
 */
import { assertEquals } from "@std/assert";
import { openStore } from "../../runtime/store.ts";
import { serve } from "../../server.ts";
import { registerTestModel } from "../model_fixture.ts";

const PACKAGES = ["tritonclient[http]==2.73.0", "numpy"];

/** Longest time of the installation and of the check, each. */
const TIMEOUT_MS = 150_000;

/** Runs a program; gives its exit code and what it said. */
async function run(program: string, args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    out: decoder.decode(stdout),
    said: decoder.decode(stdout) + decoder.decode(stderr),
  };
}

function say(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

async function hasPython(): Promise<boolean> {
  try {
    return (await run("python3", ["-c", "import venv, ensurepip"])).code === 0;
  } catch {
    return false;
  }
}

/** Makes the environment unless it is there; gives its interpreter, or why there is none. */
async function prepare(folder: string): Promise<{ python: string } | { reason: string }> {
  const python = `${folder}/bin/python`;
  const isComplete = async () => {
    try {
      return (await run(python, ["-c", "import numpy, tritonclient.http"])).code === 0;
    } catch {
      return false;
    }
  };
  if (await isComplete()) return { python };
  const made = await run("python3", ["-m", "venv", folder]);
  if (made.code !== 0) return { reason: `no virtual environment: ${made.said.slice(-500)}` };
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
  const installed = await run(python, [...pip, ...PACKAGES]);
  if (installed.code !== 0) return { reason: `pip failed: ${installed.said.slice(-500)}` };
  return { python };
}

const isPossible = await hasPython();
if (!isPossible) {
  say("The check with tritonclient is left out: there is no python3 with venv and pip");
}

Deno.test({
  name: "tritonclient[http] 2.73.0 gets from the server what /predict gives",
  ignore: !isPossible,
  async fn(t) {
    const kept = Deno.env.get("GEOPHONE_CLIENTS_VENV");
    const folder = kept
      ? `${kept}/tritonclient`
      : await Deno.makeTempDir({ prefix: "geophone-clients-" });
    try {
      const client = await prepare(folder);
      if ("reason" in client) {
        return say(`The check with tritonclient is left out: ${client.reason}`);
      }
      for (const isWindowed of [false, true]) {
        await t.step(
          isWindowed ? "a model with windows" : "a model of single rows",
          () => check(client.python, isWindowed),
        );
      }
    } finally {
      if (!kept) await Deno.remove(folder, { recursive: true });
    }
  },
});

async function check(python: string, isWindowed: boolean): Promise<void> {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees", isWindowed });
  const served = await serve({ store, model: "rocks", quiet: true, serving: { port: 0 } });
  try {
    const script = new URL("./tritonclient_check.py", import.meta.url).pathname;
    const address = new URL(served.url).host;
    const { code, out, said } = await run(python, [script, address, "rocks"]);
    assertEquals(code, 0, said);
    say(out.trimEnd());
    assertEquals(out.match(/^ok: /gm)?.length, 12);
  } finally {
    await served.shutdown();
  }
  // Every request of the client is a row, and its rows are inferences.
  const [counts] = await store.query(
    `select count(*) filter (where client_request_id like 'async-%') as async,
       count(*) filter (where status_code >= 500) as failed,
       sum(row_count) filter (where status_code = 200) =
         (select count(*) from inferences) as is_complete
     from requests`,
  );
  assertEquals(counts, { async: 64, failed: 0, is_complete: true });
}
