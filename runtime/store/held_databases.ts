/**
 * The databases that this process holds. DuckDB's lock keeps other processes out, but not a second
 * thread of this one, and two instances on one file destroy it: so each file is opened once here,
 * whoever asks.
 *
 * @module
 */
import { type HeldDatabase, openDatabase } from "./database.ts";
import { openDatabaseThread, type ThreadDatabase } from "./database_thread.ts";

/** A database of this process, in this thread or another. */
export type LocalDatabase = HeldDatabase | ThreadDatabase;

interface Holding {
  readonly opening: Promise<LocalDatabase | string>;
  users: number;
  closing: Promise<void> | undefined;
}

const holdings = new Map<string, Holding>();

/**
 * Gives the database in the file at `path`, in a thread of its own on request when this process does
 * not hold it yet; or the words that name another process holding it. {@linkcode releaseDatabase}
 * gives it back.
 *
 * @throws {Error} when the file is no DuckDB database or was written by a newer Geophone.
 */
export async function holdDatabase(
  path: string,
  { thread }: { readonly thread: boolean },
): Promise<LocalDatabase | string> {
  const open = thread ? openDatabaseThread : openDatabase;
  // Every store in memory is a database of its own.
  if (path === ":memory:") return await open(path);
  const key = await Deno.realPath(path);
  while (holdings.get(key)?.closing) await holdings.get(key)?.closing;
  const holding: Holding = holdings.get(key) ??
    { opening: open(path), users: 0, closing: undefined };
  holdings.set(key, holding);
  holding.users++;
  const opened = await holding.opening.catch((error) => {
    holdings.delete(key);
    throw error;
  });
  if (typeof opened === "string") holdings.delete(key);
  return opened;
}

/** Closes a database after its last user. */
export async function releaseDatabase(database: LocalDatabase): Promise<void> {
  for (const [key, holding] of holdings) {
    if (await holding.opening.catch(() => null) !== database) continue;
    holding.users--;
    if (holding.users > 0) return;
    holding.closing = database.close().finally(() => holdings.delete(key));
    return await holding.closing;
  }
  await database.close();
}
