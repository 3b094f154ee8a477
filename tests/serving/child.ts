/** Servers and disks that tests break: processes of their own, and file systems as small as needed. */
import { assert } from "@std/assert";
import { openStore } from "../../runtime/store/store.ts";
import { testRecord } from "../model_fixture.ts";

const PATHS = { config: "../../deno.json", server: "./child_server.ts" };

/** A server in a process of its own. */
export interface ChildServer {
  readonly url: string;
  /** Ends it with a signal; gives how it ended. */
  end(signal?: Deno.Signal): Promise<Deno.CommandStatus>;
}

/** Starts a server on the store at `path`; with a `version` of the test model of its own. */
export async function startChild(path: string, serving: unknown = {}): Promise<ChildServer> {
  const [config, server] = [PATHS.config, PATHS.server]
    .map((file) => new URL(file, import.meta.url).pathname);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", config, server, path, JSON.stringify(serving)],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    assert(!done, "Expected the server to start");
    text += new TextDecoder().decode(value);
  }
  return {
    url: text.trim(),
    async end(signal = "SIGKILL") {
      child.kill(signal);
      const status = await child.status;
      await reader.cancel();
      return status;
    },
  };
}

/** The i-th body of a request for one prediction. */
export function predictInit(i: number): RequestInit {
  return { method: "POST", body: JSON.stringify({ records: [testRecord(i)] }) };
}

/** Asks for a prediction; gives the status, the id and the code of an error. */
export async function askOnce(
  url: string,
  i = 0,
): Promise<{ status: number; id: string; code: string | null }> {
  const response = await fetch(`${url}/predict`, predictInit(i));
  const body = await response.json();
  return {
    status: response.status,
    id: body.request_id ?? body.error.request_id,
    code: body.error?.code ?? null,
  };
}

/** Fails unless the store at `path` has every acknowledged request and its prediction exactly once. */
export async function assertAllThere(path: string, acknowledged: readonly string[]): Promise<void> {
  await using store = await openStore(path, { publish: false });
  const rows = await store.query<{ id: string; requests: number; inferences: number }>(
    `select r.request_id as id, count(distinct r.rowid) as requests, count(distinct i.rowid) as inferences
     from core.requests r left join core.inferences i using (request_id)
     where endpoint = '/predict' and status_code = 200 group by 1`,
  );
  const found = new Map(rows.map((row) => [row.id, row]));
  for (const { id, requests, inferences } of rows) {
    assert(requests === 1 && inferences === 1, `${id}: ${requests} requests, ${inferences} rows`);
  }
  for (const id of acknowledged) assert(found.has(id), `${id} was acknowledged and is lost`);
}

const isRoot = Deno.build.os === "linux" && (await tryRun("id", "-u")) === "0";

async function tryRun(program: string, ...args: string[]): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command(program, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null;
  }
}

/** A file system of its own, that a test may fill. */
export interface SmallDisk {
  readonly folder: string;
  /** Takes all room that is left but some bytes, with a file. */
  fill(left?: number): Promise<void>;
  /** Gives it back. */
  free(): Promise<void>;
  /** Lets nothing be written, or takes that back. */
  setReadOnly(isReadOnly: boolean): Promise<void>;
}

/** Calls `action` with a disk of some MiB; where none may be mounted, says so and leaves it out. */
export async function withSmallDisk(
  mebibytes: number,
  action: (disk: SmallDisk) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "geophone-disk-" });
  const mounted = isRoot
    ? await tryRun("mount", "-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", folder)
    : null;
  try {
    if (mounted === null) {
      const line = "A check with a full disk is left out: no file system may be mounted here\n";
      Deno.stderr.writeSync(new TextEncoder().encode(line));
      return;
    }
    const ballast = `${folder}/ballast`;
    await action({
      folder,
      async fill(left = 0) {
        using file = await Deno.open(ballast, { create: true, append: true });
        for (const size of [2 ** 20, 2 ** 14, 2 ** 12]) {
          const block = new Uint8Array(size);
          while (await file.write(block).then((count) => count === size, () => false));
        }
        await file.truncate((await file.stat()).size - left);
      },
      free: () => Deno.remove(ballast),
      async setReadOnly(isReadOnly) {
        const mode = `remount,${isReadOnly ? "ro" : "rw"}`;
        assert(await tryRun("mount", "-o", mode, folder) !== null, mode);
      },
    });
  } finally {
    if (mounted !== null) await tryRun("umount", "-l", folder);
    await Deno.remove(folder, { recursive: true });
  }
}
