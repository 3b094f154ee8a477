/**
 * The files of a store as a disk gives them back: what is wrong with them, in words that name the way
 * out. Nothing here changes a file.
 *
 * @module
 */

/** DuckDB's write-ahead log of the store at `path`. */
export function walPath(path: string): string {
  return `${path}.wal`;
}

/** A failure of the disk and not of the data: what was tried can be tried again later. */
export function isDiskFailure(message: string): boolean {
  return /no space left|disk quota|read-only file system|input\/output error|too many open files|permission denied/i
    .test(message);
}

/** Whether DuckDB gave up its database, though its file is whole: opened anew, it goes on. */
export function hasEnded(error: unknown): boolean {
  return error instanceof Error && /^FATAL Error|database has been invalidated/.test(error.message);
}

/** Whether the transaction is on disk although an error says that the checkpoint behind it is not. */
export function isCommitted(error: unknown): boolean {
  return error instanceof Error && error.message.includes("COMMIT succeeded and is durable");
}

/**
 * Gives what DuckDB's refusal to open the store at `path` means for a person.
 *
 * @example
 * ```ts
 * import { assertMatch } from "@std/assert";
 * import { explainOpenError } from "./store_file.ts";
 *
 * assertMatch(
 *   explainOpenError("a.duckdb", "IO Error: No space left on device"),
 *   /^Cannot open store "a.duckdb": IO Error: No space left on device; free some space/,
 * );
 * ```
 */
export function explainOpenError(path: string, message: string): string {
  const [line] = message.split("\n");
  const state = `Cannot open store "${path}": ${line}`;
  if (/no space left|disk quota/i.test(line)) return `${state}; free some space and start again`;
  if (/read-only file system|permission denied/i.test(line)) {
    return `${state}; make its folder writable, or name another file with --set store=…`;
  }
  if (/replaying WAL file/i.test(line)) return explainWal(path, line);
  if (/not a valid DuckDB database|could not read enough bytes|corrupt/i.test(line)) {
    return `Cannot open store "${path}": the file is damaged (${line}); restore it from a backup, ` +
      `or move it away with "${walPath(path)}" and run the pipeline again`;
  }
  return `${state}; if the file is damaged, restore it from a backup, or move it away and run the pipeline again`;
}

function explainWal(path: string, state: string): string {
  const wal = walPath(path);
  return `Cannot open store "${path}": its write-ahead log "${wal}" is damaged (${state}); ` +
    `restore both files from a backup, or move "${wal}" away: what was written since the last ` +
    "checkpoint is lost then, but for what journals beside the store still hold";
}

/** Bytes of the entry that names the version of a log; a later version may be laid out otherwise. */
const WAL_VERSION = Uint8Array.of(0x64, 0, 0x62, 0x65, 0, 2, 0xff, 0xff);

/** The entry that ends a transaction: its length, checksum and bytes. */
const WAL_COMMIT = Uint8Array.of(
  ...[5, 0, 0, 0, 0, 0, 0, 0],
  ...[0xe7, 0xfe, 0x7d, 0x72, 0x2f, 0xed, 0x3d, 0x5e],
  ...[0x64, 0, 0x64, 0xff, 0xff],
);

/** Time between two looks at a log that seems to be damaged. */
const REREAD_MS = 50;

/** Length and checksum before the bytes of an entry. */
const WAL_HEAD = 16;

/**
 * Looks at the write-ahead log of the store at `path` before DuckDB does. DuckDB takes an entry whose
 * length leads past the end for one that a crash has cut, and drops it with all that follows, without
 * a word; here a transaction that was committed behind such a place is damage.
 *
 * @throws {Error} when the log has committed transactions that DuckDB would drop.
 */
export async function checkWal(path: string): Promise<void> {
  if (await findDamage(path) === null) return;
  // Another process may have begun the log anew while it was read.
  await new Promise((resolve) => setTimeout(resolve, REREAD_MS));
  const damage = await findDamage(path);
  if (damage !== null) throw new Error(explainWal(path, damage));
}

async function findDamage(path: string): Promise<string | null> {
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(walPath(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  const at = findCut(bytes);
  if (at === null || !includes(bytes, WAL_COMMIT, at)) return null;
  return `byte ${at} of ${bytes.length} is not what was written`;
}

/** Where the first entry that cannot be followed begins; `null` when all can, or are not ours to read. */
function findCut(bytes: Uint8Array): number | null {
  if (bytes.length < WAL_VERSION.length) return null;
  if (!isAt(bytes, WAL_VERSION, 0)) {
    // Bytes that begin like a log of another version are for DuckDB to judge.
    return isAt(bytes, WAL_VERSION.subarray(0, 5), 0) ? null : 0;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = WAL_VERSION.length;
  while (at < bytes.length) {
    if (at + WAL_HEAD > bytes.length) return at;
    const end = at + WAL_HEAD + Number(view.getBigUint64(at, true));
    if (end > bytes.length) return at;
    at = end;
  }
  return null;
}

function includes(bytes: Uint8Array, part: Uint8Array, from: number): boolean {
  for (let at = bytes.indexOf(part[0], from); at >= 0; at = bytes.indexOf(part[0], at + 1)) {
    if (isAt(bytes, part, at)) return true;
  }
  return false;
}

function isAt(bytes: Uint8Array, part: Uint8Array, at: number): boolean {
  return part.every((byte, i) => bytes[at + i] === byte);
}

/** Which file a path named when it was opened, to notice that it names another one or none. */
export class OpenedFile {
  readonly #path: string;
  readonly #identity: string | null;

  private constructor(path: string, identity: string | null) {
    this.#path = path;
    this.#identity = identity;
  }

  /** Remembers the file at `path`; one in memory is always there. */
  static async at(path: string): Promise<OpenedFile> {
    return new OpenedFile(path, path === ":memory:" ? null : await identify(path));
  }

  /** Why nothing may be written any more, `null` when all is well. */
  async loss(): Promise<string | null> {
    if (this.#identity === null) return null;
    const now = await identify(this.#path).catch((error) => {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    });
    if (now === this.#identity) return null;
    return `its file was ${now === null ? "removed" : "replaced"} while it was open`;
  }
}

async function identify(path: string): Promise<string> {
  const { dev, ino } = await Deno.stat(path);
  return `${dev}:${ino}`;
}
