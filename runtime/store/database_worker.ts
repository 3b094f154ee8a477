/**
 * The thread that holds a database for another one: opens the file it is told, answers its calls.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { type HeldDatabase, openDatabase } from "./database.ts";
import { type Call, type CallMethod, packError, type Reply } from "./database_thread.ts";

let database: HeldDatabase | undefined;

self.onmessage = async ({ data }: MessageEvent<Call>) => {
  const reply = await answer(data);
  self.postMessage(reply);
  // Nothing keeps the thread once its database is closed.
  if (data.method === "close") self.close();
};

async function answer({ id, method, args }: Call): Promise<Reply> {
  try {
    return { id, value: await run(method, args) };
  } catch (error) {
    return { id, error: packError(error) };
  }
}

async function run(method: CallMethod, args: readonly unknown[]): Promise<unknown> {
  if (method === "open") {
    const opened = await openDatabase(args[0] as string);
    if (typeof opened === "string") return opened;
    database = opened;
    // A reply of a write tells of its commit, too; this hears of those of every call.
    opened.onCommit(() => self.postMessage({ commit: true } satisfies Reply));
    return null;
  }
  if (database === undefined) return null;
  const call = database[method] as (...args: unknown[]) => unknown;
  return await call.apply(database, [...args]) ?? null;
}
