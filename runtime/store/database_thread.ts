/**
 * A database held by a thread of its own, so that its commits and conversions keep no request
 * waiting. Both sides of the wire are here and in `database_worker.ts`.
 *
 * @module
 */
import { describeError, UsageError } from "../errors.ts";
import { RemoteDatabase, type RemoteMethod } from "./remote_database.ts";

/** What the thread is asked to do. */
export type CallMethod = RemoteMethod | "open" | "interruptReads" | "close";

/** A question to the thread. */
export interface Call {
  readonly id: number;
  readonly method: CallMethod;
  readonly args: readonly unknown[];
}

/** An answer of the thread, or the news of a commit. */
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: PackedError }
  | { readonly commit: true };

/** An error as it travels: the class survives, the stack becomes text. */
export interface PackedError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly isUsage: boolean;
  readonly cause: string | undefined;
}

/** Makes an error fit to travel. */
export function packError(error: unknown): PackedError {
  const { name, message, stack, cause } = error instanceof Error ? error : new Error(String(error));
  return {
    name,
    message,
    stack,
    isUsage: error instanceof UsageError,
    cause: cause === undefined ? undefined : describeError(cause),
  };
}

/** Classes that a caller tells apart; all others are plain errors. */
const classes: Readonly<Record<string, new (message: string, options?: ErrorOptions) => Error>> = {
  TypeError,
  RangeError,
  SyntaxError,
};

function unpackError({ name, message, stack, isUsage, cause }: PackedError): Error {
  const options = cause === undefined ? undefined : { cause: new Error(cause) };
  const error = new (isUsage ? UsageError : classes[name] ?? Error)(message, options);
  if (stack !== undefined) error.stack = stack;
  return error;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Opens the file at `path` in a thread of its own, or gives the words that name the process holding
 * it.
 *
 * @throws {Error} as `openDatabase` does.
 */
export async function openDatabaseThread(path: string): Promise<ThreadDatabase | string> {
  const database = new ThreadDatabase(path);
  try {
    const holder = await database.open();
    if (holder === null) return database;
    await database.close();
    return holder;
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** A database that a thread of this process holds. */
export class ThreadDatabase extends RemoteDatabase {
  readonly #path: string;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<() => void>();
  #calls = 0;
  #failure: Error | null = null;
  #closing: Promise<void> | undefined;

  constructor(path: string) {
    super();
    this.#path = path;
    this.#worker = new Worker(new URL("./database_worker.ts", import.meta.url), {
      type: "module",
      name: "database",
    });
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#hear(data);
    this.#worker.onerror = (event) => {
      // Otherwise the process ends with what its thread ended with.
      event.preventDefault();
      this.#fail(event.message);
    };
  }

  /** Opens the file; gives the words that name another process holding it, or `null`. */
  open(): Promise<string | null> {
    return this.call("open", [this.#path]) as Promise<string | null>;
  }

  interruptReads(reason: string): void {
    this.call("interruptReads", [reason]).catch(() => {});
  }

  /** Calls `listener` after each commit; gives a function that stops it. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    return this.#closing ??= this.call("close", []).then(() => {}, () => {})
      .finally(() => this.#worker.terminate());
  }

  protected call(method: CallMethod, args: readonly unknown[]): Promise<unknown> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const id = ++this.#calls;
      this.#waiting.set(id, { resolve, reject });
      try {
        this.#worker.postMessage({ id, method, args } satisfies Call);
      } catch (error) {
        this.#waiting.delete(id);
        reject(error as Error);
      }
    });
  }

  #hear(reply: Reply): void {
    if ("commit" in reply) return this.#listeners.forEach((listener) => listener());
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if ("error" in reply) waiting?.reject(unpackError(reply.error));
    else waiting?.resolve(reply.value);
  }

  /** The thread has ended by itself: nobody who waits for it will hear more. */
  #fail(message: string): void {
    this.#failure = new Error(
      `Cannot use store "${this.#path}": the thread that holds it has ended (${message}); restart`,
    );
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }
}
