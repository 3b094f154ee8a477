/**
 * How processes share one database: the owner's loopback endpoint, and the client that borrows it.
 *
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import { decodeJson, encodeJson } from "../transport.ts";
import { describeError, UsageError } from "../errors.ts";
import type { Database } from "./database_contract.ts";
import { RemoteDatabase, type RemoteMethod, remoteMethods } from "./remote_database.ts";

/** The owner ended before it heard the call, so that the call can be repeated elsewhere. */
class OwnerGoneError extends Error {
  override readonly name = "OwnerGoneError";
}

interface Owner {
  readonly url: string;
  readonly token: string;
  readonly pid: number;
}

/** A borrower gives the owner this long to answer one call. */
const CALL_TIMEOUT_MS = 120_000;

/** Publishes `database` beside the file at `path`; gives the function that takes it back. */
export async function publishOwner(
  path: string,
  database: Database,
): Promise<() => Promise<void>> {
  const token = crypto.randomUUID() + crypto.randomUUID();
  const abort = new AbortController();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    signal: abort.signal,
    onListen() {},
  }, (request) => answer(request, token, database));
  const owner: Owner = { url: `http://127.0.0.1:${server.addr.port}`, token, pid: Deno.pid };
  const file = ownerFile(path);
  const draft = `${file}.${Deno.pid}`;
  await Deno.writeTextFile(draft, JSON.stringify(owner), { mode: 0o600 });
  await Deno.rename(draft, file);
  return async () => {
    const current = await readOwner(path);
    if (current?.token === token) await Deno.remove(file).catch(() => {});
    abort.abort();
    await server.finished;
  };
}

async function answer(request: Request, token: string, database: Database): Promise<Response> {
  const given = new TextEncoder().encode(request.headers.get("authorization") ?? "");
  const wanted = new TextEncoder().encode(`Bearer ${token}`);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
    return new Response("Unauthorized", { status: 401 });
  }
  try {
    const call = decodeJson(await request.text()) as {
      method: RemoteMethod;
      args: unknown[];
    };
    if (!remoteMethods.includes(call.method)) {
      return new Response("Not found", { status: 404 });
    }
    const method = database[call.method] as (...args: unknown[]) => Promise<unknown>;
    return new Response(encodeJson({ value: await method.apply(database, call.args) ?? null }));
  } catch (error) {
    return new Response(
      encodeJson({ error: describeError(error), isUsage: error instanceof UsageError }),
      { status: 400 },
    );
  }
}

/** Borrows the database at `path` from its owner, or gives nothing when no owner answers. */
export async function connectToOwner(path: string): Promise<Database | undefined> {
  const owner = await readOwner(path);
  if (!owner) return undefined;
  const database = new BorrowedDatabase(path, owner);
  try {
    await database.query("select 1");
    return database;
  } catch {
    return undefined;
  }
}

class BorrowedDatabase extends RemoteDatabase {
  readonly #path: string;
  readonly #owner: Owner;

  constructor(path: string, owner: Owner) {
    super();
    this.#path = path;
    this.#owner = owner;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  protected async call(method: RemoteMethod, args: readonly unknown[]): Promise<unknown> {
    let response: Response;
    try {
      response = await fetch(this.#owner.url, {
        method: "POST",
        headers: { authorization: `Bearer ${this.#owner.token}` },
        body: encodeJson({ method, args }),
        signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
      });
    } catch (error) {
      // Refused means never heard; anything later may have been committed and is not repeated.
      if (/refused|error trying to connect/i.test(describeError(error))) {
        throw new OwnerGoneError(`Cannot reach the owner of "${this.#path}"`, { cause: error });
      }
      throw new Error(
        `Cannot finish a call to the owner of "${this.#path}" (PID ${this.#owner.pid})`,
        { cause: error },
      );
    }
    const text = await response.text();
    if (response.status === 401 || response.status === 404) {
      throw new OwnerGoneError(`Cannot reach the owner of "${this.#path}": ${text}`);
    }
    const reply = decodeJson(text) as { value?: unknown; error?: string; isUsage?: boolean };
    if (reply.error !== undefined) {
      throw reply.isUsage ? new UsageError(reply.error) : new Error(reply.error);
    }
    return reply.value;
  }
}

function ownerFile(path: string): string {
  return `${path}.owner.json`;
}

async function readOwner(path: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(ownerFile(path)));
  } catch {
    return undefined;
  }
}
