/**
 * Unchanged Python clients for checks: each in a virtual environment of its own, from PyPI, in the
 * folder `GEOPHONE_CLIENTS_VENV`, kept for the next run, or in a temporary one.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

/** A client as its users install it. */
export interface PythonClient {
  /** Name of its folder and of the check. */
  readonly name: string;
  /** Requirements, the way pip takes them. */
  readonly packages: readonly string[];
  /** A statement that runs only when all of them are there. */
  readonly probe: string;
}

/** What a program said, and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  /** Standard output and error. */
  readonly said: string;
}

const INSTALL_MS = 240_000;

/** Runs a program of bounded time; one that is not there ends with code -1. */
export async function runProgram(
  program: string,
  args: readonly string[],
  { ms = 150_000, env = {} }: { readonly ms?: number; readonly env?: Record<string, string> } = {},
): Promise<Outcome> {
  try {
    const { code, stdout, stderr } = await new Deno.Command(program, {
      args: [...args],
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(ms),
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    return { code, out, said: out + err };
  } catch (error) {
    return { code: -1, out: "", said: String(error) };
  }
}

const hasPython = (await runProgram("python3", ["-c", "import venv, ensurepip"])).code === 0;

/** Whether clients can be installed here; says why a check is left out when not. */
export function canInstall(name: string): boolean {
  if (!hasPython) skip(name, "there is no python3 with venv and pip");
  return hasPython;
}

/** Runs a script beside this file in a client's environment. */
export type RunScript = (
  script: string,
  args?: readonly string[],
  env?: Record<string, string>,
  ms?: number,
) => Promise<Outcome>;

/**
 * Calls `check` with what runs a script beside this file in the client's environment. A client that
 * cannot be installed leaves the check out, with the reason printed.
 */
export async function withClient(
  client: PythonClient,
  check: (runScript: RunScript) => Promise<void>,
): Promise<void> {
  const kept = Deno.env.get("GEOPHONE_CLIENTS_VENV");
  const folder = kept
    ? `${kept}/${client.name}`
    : await Deno.makeTempDir({ prefix: "geophone-clients-" });
  try {
    const prepared = await prepare(client, folder);
    if ("reason" in prepared) return skip(client.name, prepared.reason);
    await check((script, args = [], env = {}, ms = 180_000) => {
      const path = fileURLToPath(new URL(script, import.meta.url));
      return runProgram(prepared.python, [path, ...args], { ms, env });
    });
  } finally {
    if (!kept) await Deno.remove(folder, { recursive: true });
  }
}

/** Makes the environment unless it is there; gives its interpreter, or why there is none. */
async function prepare(
  { packages, probe }: PythonClient,
  folder: string,
): Promise<{ python: string } | { reason: string }> {
  const python = `${folder}/bin/python`;
  if ((await runProgram(python, ["-c", probe])).code === 0) return { python };
  const made = await runProgram("python3", ["-m", "venv", folder]);
  if (made.code !== 0) return { reason: `no virtual environment: ${made.said.slice(-500)}` };
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
  const installed = await runProgram(python, [...pip, ...packages], { ms: INSTALL_MS });
  if (installed.code !== 0) return { reason: `pip failed: ${installed.said.slice(-500)}` };
  return { python };
}

function skip(name: string, reason: string): void {
  say(`The check with ${name} is left out: ${reason}`);
}

/** Prints a line that a passing test shows, too. */
export function say(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}
