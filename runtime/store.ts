/**
 * The one embedded database of a project, whoever holds it: {@linkcode openStore} opens the DuckDB
 * file, or talks to the process that owns it; both answer the same interface.
 *
 * DuckDB locks its file for one process. The owner publishes a loopback endpoint beside the file
 * (`<file>.owner.json`, mode 0600), so that a command, a notebook and the server work at once.
 *
 * @module
 */
import { dirname } from "node:path";
import { UsageError } from "./errors.ts";
import { openDatabase } from "./database.ts";
import type {
  ColumnResult,
  Database,
  ReadLimits,
  ReadResult,
  Row,
  SqlValue,
  Step,
} from "./database_contract.ts";
import { connectToOwner, publishOwner } from "./store_owner.ts";

export type * from "./database_contract.ts";

/** A project's database, with who holds it. */
export interface Store extends Database, AsyncDisposable {
  readonly path: string;
  /** Whether this process holds the file now. */
  readonly isOwner: boolean;
  /** Calls `listener` after each committed write this process sees; gives a function that stops it. */
  onCommit(listener: () => void): () => void;
  /** Stops the read-only queries that this process runs for others, with the reason they are given. */
  interruptReads(reason: string): void;
}

/** How to open a store. */
export interface StoreOptions {
  /** Publish a loopback endpoint while this process holds the file; default true. */
  readonly publish?: boolean;
  /** Create the file when it is missing; default true. */
  readonly create?: boolean;
}

/**
 * Opens the store at `path`, creating file and folders when needed, or borrows it from its owner.
 *
 * @throws {Error} when another program holds the file without an endpoint, when the file is not a
 * DuckDB database, or when a newer Geophone wrote it.
 */
export async function openStore(path: string, options: StoreOptions = {}): Promise<Store> {
  if (options.create === false && path !== ":memory:") {
    await Deno.stat(path).catch(() => {
      throw new UsageError(
        `Cannot open store "${path}": there is none yet; run "deno task pipeline" first`,
      );
    });
  }
  if (path !== ":memory:") await createFile(path);
  const store = new SharedStore(path, options.publish !== false && path !== ":memory:");
  await store.connect();
  return store;
}

/**
 * Makes a missing file whole before it has its name: DuckDB writes its headers one by one, and a
 * process that is killed meanwhile would leave a file that nobody can open.
 */
async function createFile(path: string): Promise<void> {
  if (await Deno.stat(path).then(() => true, () => false)) return;
  await Deno.mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${crypto.randomUUID().slice(0, 8)}.new`;
  const database = await openDatabase(draft);
  if (typeof database === "string") throw new Error(`Cannot create store "${path}": ${database}`);
  await database.query("checkpoint");
  await database.close();
  try {
    // Unlike a rename, a link never replaces the file that another process has just made.
    await Deno.link(draft, path);
  } catch (error) {
    // Some file systems have no links: there a rename has to do.
    if (!(error instanceof Deno.errors.AlreadyExists)) await Deno.rename(draft, path);
  } finally {
    await Deno.remove(draft).catch(() => {});
  }
}

/** How long a process waits for an owner that is just starting or just leaving. */
const OWNER_WAIT_MS = 3_000;

class SharedStore implements Store {
  #database: Database | undefined;
  #connecting: Promise<Database> | undefined;
  #unpublish: (() => Promise<void>) | undefined;
  #isClosed = false;
  readonly #listeners = new Set<() => void>();

  constructor(readonly path: string, readonly publish: boolean) {}

  get isOwner(): boolean {
    return this.#database !== undefined && "isHeld" in this.#database;
  }

  /** Opens or borrows the database; a second call joins the first. */
  connect(): Promise<Database> {
    if (this.#isClosed) throw new Error(`Cannot use store "${this.path}": it is closed`);
    if (this.#database) return Promise.resolve(this.#database);
    return this.#connecting ??= this.#open().finally(() => this.#connecting = undefined);
  }

  async #open(): Promise<Database> {
    const deadline = Date.now() + OWNER_WAIT_MS;
    for (;;) {
      const held = await openDatabase(this.path);
      if (typeof held !== "string") {
        this.#database = held;
        held.onCommit(() => this.#listeners.forEach((listener) => listener()));
        if (this.publish) this.#unpublish = await publishOwner(this.path, held);
        return held;
      }
      const borrowed = await connectToOwner(this.path);
      if (borrowed) return this.#database = borrowed;
      if (Date.now() > deadline) {
        throw new Error(
          `Cannot open store "${this.path}": ${held} holds it and offers no endpoint; ` +
            "close that program, or name another file with --set store=…",
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Runs `action`; when the owner has gone before it heard us, takes the file over and repeats. */
  async #use<T>(action: (database: Database) => Promise<T>): Promise<T> {
    const database = this.#database ?? await this.connect();
    try {
      return await action(database);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "OwnerGoneError") throw error;
      if (this.#database === database) this.#database = undefined;
      return await action(await this.connect());
    }
  }

  query<R extends Row = Row>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    return this.#use((database) => database.query<R>(sql, params));
  }

  readColumns(sql: string, params?: readonly SqlValue[]): Promise<ColumnResult> {
    return this.#use((database) => database.readColumns(sql, params));
  }

  queryReadOnly(sql: string, limits?: ReadLimits): Promise<ReadResult> {
    return this.#use((database) => database.queryReadOnly(sql, limits));
  }

  transaction(steps: readonly Step[]): Promise<void> {
    return this.#use((database) => database.transaction(steps));
  }

  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  interruptReads(reason: string): void {
    this.#database?.interruptReads?.(reason);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#unpublish?.();
    await this.#database?.close();
    this.#database = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
