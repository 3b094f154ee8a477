/** Runs the command line as a user does: as a process of its own with the permissions of its task. */
import { join } from "node:path";

/** Folder of the project, with a slash at its end. */
export const ROOT = new URL("../", import.meta.url).pathname;

/** How a command ended. */
export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Arguments for `deno` that run a command of the project. */
export function cliArgs(args: readonly string[]): string[] {
  return ["run", "-q", "--no-prompt", "-P=project", join(ROOT, "cli.ts"), ...args];
}

/** Runs one command in `cwd`, the project's folder unless said otherwise, with more of an environment. */
export async function runCli(
  args: readonly string[],
  cwd = ROOT,
  env: Readonly<Record<string, string>> = {},
): Promise<CliResult> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: cliArgs(args),
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/**
 * Calls `action` with a fresh folder and removes it. The folder lies within the project, since the
 * permission set `project` writes nowhere else.
 */
export async function withProjectFolder(action: (folder: string) => Promise<void>): Promise<void> {
  await Deno.mkdir(join(ROOT, ".geophone"), { recursive: true });
  const folder = await Deno.makeTempDir({ dir: join(ROOT, ".geophone"), prefix: "test_" });
  try {
    await action(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A table of flowers of three species that two measures tell apart, but for a few. */
export function makeFlowers(rows = 300): string {
  let state = 1;
  const random = () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
  const lines = ["Species,Petal length,Petal width,Sepal length,Garden"];
  for (let i = 0; i < rows; i++) {
    const kind = i % 3;
    lines.push([
      ["iris", "rose", "tulip"][kind],
      (1 + 2 * kind + 2.5 * random()).toFixed(2),
      i % 50 === 7 ? "" : (0.2 + 0.8 * kind + random()).toFixed(2),
      (5 + random()).toFixed(2),
      "ABCDE"[Math.floor(5 * random())],
    ].join(","));
  }
  return `${lines.join("\n")}\n`;
}
