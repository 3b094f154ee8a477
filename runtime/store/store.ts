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
import { describeError, UsageError } from "../errors.ts";
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
import { holdDatabase, type LocalDatabase, releaseDatabase } from "./held_databases.ts";
import { journalSteps } from "./journal.ts";
import { recoverJournals, type Recovery } from "./journal_recovery.ts";
import { walPath } from "./store_file.ts";
import { connectToOwner, publishOwner } from "./store_owner.ts";

export type * from "./database_contract.ts";

/** A project's database, with who holds it. */
export interface Store extends Database, AsyncDisposable {
  readonly path: string;
  /** Whether this process holds the file now. */
  readonly isOwner: boolean;
  /** Calls `listener` after each committed write this process sees; gives a function that stops it. */
  onCommit(listener: () => void): () => void;
  /**
   * Calls `settle` before every call, so that rows a writer has not brought into the tables yet are
   * there for whoever looks. Gives the writer its own way past it.
   */
  holdBack(settle: () => Promise<void>): WriteThrough;
  /** What was found of journals that other processes left behind when this one took the file. */
  readonly recoveries: readonly Recovery[];
  /** Stops the read-only queries that this process runs for others, with the reason they are given. */
  interruptReads(reason: string): void;
}

/** The way to a store for a writer that others wait for. */
export interface WriteThrough {
  /** As the store's own, without waiting for anybody. */
  transaction(steps: readonly Step[]): Promise<void>;
  /** Has nothing to settle any more. */
  release(): void;
}

/** How to open a store. */
export interface StoreOptions {
  /** Publish a loopback endpoint while this process holds the file; default true. */
  readonly publish?: boolean;
  /** Create the file when it is missing; default true. */
  readonly create?: boolean;
  /** Hold the file in a thread of its own, so that a server answers while it commits; default false. */
  readonly thread?: boolean;
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
  const store = new SharedStore(path, {
    publish: options.publish !== false && path !== ":memory:",
    thread: options.thread === true,
  });
  await store.connect();
  return store;
}

/**
 * Makes a missing file whole before it has its name: DuckDB writes its headers one by one, and a
 * process that is killed meanwhile would leave a file that nobody can open.
 */
async function createFile(path: string): Promise<void> {
  if (await exists(path)) return;
  if (await exists(walPath(path)) && !await exists(path)) {
    throw new Error(
      `Cannot create store "${path}": its write-ahead log "${
        walPath(path)
      }" is there and the file ` +
        "itself is not; put the file back, or move the log away to begin with an empty store",
    );
  }
  await Deno.mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${crypto.randomUUID().slice(0, 8)}.new`;
  try {
    const database = await openDatabase(draft);
    if (typeof database === "string") {
      throw new Error(`Cannot open "${draft}": ${database} holds it`);
    }
    await database.query("checkpoint").finally(() => database.close());
  } catch (error) {
    for (const file of [draft, walPath(draft)]) await Deno.remove(file).catch(() => {});
    throw new Error(`Cannot create store "${path}": ${describeError(error)}`, { cause: error });
  }
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

function exists(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

/** Frames of one transaction of a recovery. */
const RECOVERED_FRAMES = 64;

/** How long a process waits for an owner that is just starting or just leaving. */
const OWNER_WAIT_MS = 3_000;

class SharedStore implements Store {
  #database: Database | undefined;
  /** The same, when this process holds it. */
  #held: LocalDatabase | undefined;
  #connecting: Promise<Database> | undefined;
  #unpublish: (() => Promise<void>) | undefined;
  #stopListening: () => void = () => {};
  #isClosed = false;
  #recoveries: readonly Recovery[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #writers = new Set<() => Promise<void>>();

  constructor(
    readonly path: string,
    readonly options: { readonly publish: boolean; readonly thread: boolean },
  ) {}

  get isOwner(): boolean {
    return this.#held !== undefined;
  }

  /** Opens or borrows the database; a second call joins the first. */
  connect(): Promise<Database> {
    if (this.#isClosed) throw new Error(`Cannot use store "${this.path}": it is closed`);
    if (this.#database) return Promise.resolve(this.#database);
    return this.#connecting ??= this.#open().finally(() => this.#connecting = undefined);
  }

  async #open(): Promise<Database> {
    const { publish, thread } = this.options;
    const deadline = Date.now() + OWNER_WAIT_MS;
    for (;;) {
      const held = await holdDatabase(this.path, { thread });
      if (typeof held !== "string") {
        try {
          this.#recoveries = await this.#recover(held);
        } catch (error) {
          await releaseDatabase(held);
          throw error;
        }
        this.#database = this.#held = held;
        this.#stopListening = held.onCommit(() => this.#listeners.forEach((listen) => listen()));
        if (publish) this.#unpublish = await publishOwner(this.path, this);
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

  /** Brings into the tables what processes that were killed had only in their journals. */
  async #recover(held: Database): Promise<readonly Recovery[]> {
    if (this.path === ":memory:") return [];
    return await recoverJournals(this.path, async (id, frames) => {
      const [row] = await held.query<{ sequence: number }>(
        "select max(sequence) as sequence from core.journals where journal = ?",
        [id],
      );
      const last = row.sequence ?? 0;
      const due = frames.filter((frame) => frame.sequence > last);
      for (let start = 0; start < due.length; start += RECOVERED_FRAMES) {
        await held.transaction(
          journalSteps(id, due.slice(start, start + RECOVERED_FRAMES)),
        );
      }
      // Files of a journal go when the tables hold them: what lies between was in the tables once.
      const first = due[0]?.sequence ?? last + 1;
      return first > last + 1 ? { from: last + 1, to: first - 1 } : null;
    });
  }

  get recoveries(): readonly Recovery[] {
    return this.#recoveries;
  }

  query<R extends Row = Row>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    return this.#useSettled((database) => database.query<R>(sql, params));
  }

  readColumns(sql: string, params?: readonly SqlValue[]): Promise<ColumnResult> {
    return this.#useSettled((database) => database.readColumns(sql, params));
  }

  queryReadOnly(sql: string, limits?: ReadLimits): Promise<ReadResult> {
    return this.#useSettled((database) => database.queryReadOnly(sql, limits));
  }

  transaction(steps: readonly Step[]): Promise<void> {
    return this.#useSettled((database) => database.transaction(steps));
  }

  async #useSettled<T>(action: (database: Database) => Promise<T>): Promise<T> {
    for (const settle of this.#writers) await settle();
    return await this.#use(action);
  }

  /** Answers whatever its writers have to settle: they may be what is wrong. */
  check(): Promise<string | null> {
    return this.#use((database) => database.check());
  }

  holdBack(settle: () => Promise<void>): WriteThrough {
    this.#writers.add(settle);
    return {
      transaction: (steps) => this.#use((database) => database.transaction(steps)),
      release: () => void this.#writers.delete(settle),
    };
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
    this.#stopListening();
    if (this.#held) await releaseDatabase(this.#held);
    this.#database = this.#held = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
