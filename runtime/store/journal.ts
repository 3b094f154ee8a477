/**
 * A journal beside a store: appends are on disk, in order, milliseconds before they are in the
 * tables. A write and one `fdatasync` cost a tenth of a DuckDB commit, and no checkpoint is in their
 * way.
 *
 * Files are `<store>.journal-<id>-<number>`, a few mebibytes each, and go when the tables hold what
 * is in them. The writer holds a lock on its files, so that whoever opens the store tells the journals
 * of the living from those that were left behind.
 *
 * @module
 */
import { dirname } from "node:path";
import type { Step } from "./database_contract.ts";
import { describeError } from "../errors.ts";
import { encodeFrame, type Frame, FRAME_HEADER } from "./journal_frames.ts";

/** A file that has grown to this is followed by a new one. */
const SEGMENT_BYTES = 8 * 2 ** 20;

interface Segment {
  readonly path: string;
  readonly file: Deno.FsFile;
  /** Sequence number of its last frame, 0 when it has none. */
  last: number;
  bytes: number;
}

/**
 * The journal of one process.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Journal } from "./journal.ts";
 * import { recoverJournals } from "./journal_recovery.ts";
 *
 * const path = `${await Deno.makeTempDir()}/dev.duckdb`;
 * const journal = await Journal.open(path);
 * await journal.append(Uint8Array.of(1, 2, 3));
 * journal.abandon();
 * const found: Uint8Array[] = [];
 * await recoverJournals(path, (_id, frames) => {
 *   found.push(...frames.map((frame) => frame.payload));
 *   return Promise.resolve(null);
 * });
 * assertEquals(found, [Uint8Array.of(1, 2, 3)]);
 * ```
 */
export class Journal {
  /** Names the journal in the store: which of its frames the tables hold is written under it. */
  readonly id: string;
  readonly #storePath: string;
  readonly #segmentBytes: number;
  #segments: Segment[] = [];
  #sequence = 0;
  #opened = 0;

  private constructor(storePath: string, id: string, segmentBytes: number) {
    this.#storePath = storePath;
    this.id = id;
    this.#segmentBytes = segmentBytes;
  }

  /**
   * Starts a journal beside the store at `storePath`.
   * @throws {Error} when no file can be made there.
   */
  static async open(
    storePath: string,
    options: { readonly segmentBytes?: number } = {},
  ): Promise<Journal> {
    const id = crypto.randomUUID().replaceAll("-", "").slice(0, 12);
    const journal = new Journal(storePath, id, options.segmentBytes ?? SEGMENT_BYTES);
    await journal.#extend();
    return journal;
  }

  /** Bytes on disk that the tables may not hold yet. */
  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /**
   * Writes one frame; resolves with its sequence number when it is on disk. One call at a time.
   * @throws {Error} when the disk does not take it: then nothing of it stays.
   */
  async append(payload: Uint8Array): Promise<number> {
    let segment = this.#segments[this.#segments.length - 1];
    if (segment.bytes >= this.#segmentBytes) segment = await this.#extend();
    const sequence = this.#sequence + 1;
    try {
      await writeAll(segment.file, encodeFrame(sequence, payload));
      await segment.file.syncData();
    } catch (error) {
      await this.#undo(segment);
      throw error;
    }
    segment.bytes += FRAME_HEADER + payload.length;
    segment.last = sequence;
    return this.#sequence = sequence;
  }

  /** Takes back what a failed write has left; a file that cannot be mended is followed by another. */
  async #undo(segment: Segment): Promise<void> {
    try {
      await segment.file.truncate(segment.bytes);
      await segment.file.seek(segment.bytes, Deno.SeekMode.Start);
      await segment.file.syncData();
    } catch {
      segment.bytes = Infinity;
    }
  }

  async #extend(): Promise<Segment> {
    const path = `${this.#storePath}.journal-${this.id}-${++this.#opened}`;
    const file = await Deno.open(path, { createNew: true, write: true, mode: 0o600 })
      .catch((error) => {
        throw new Error(
          `Cannot make journal "${path}": ${
            describeError(error)
          }; the folder of the store must be ` +
            "writable and have room",
          { cause: error },
        );
      });
    const segment = { path, file, last: 0, bytes: 0 };
    try {
      await file.tryLock(true);
      await syncDirectory(dirname(path));
    } catch (error) {
      file.close();
      await Deno.remove(path).catch(() => {});
      throw error;
    }
    this.#segments.push(segment);
    return segment;
  }

  /** Hears that the tables hold every frame up to `sequence`; files of nothing else are removed. */
  async settle(sequence: number): Promise<void> {
    while (this.#segments.length > 1 && this.#segments[0].last <= sequence) {
      await remove(this.#segments.shift()!);
    }
  }

  /** Ends the journal whose frames the tables hold: its files are removed. */
  async close(): Promise<void> {
    for (const segment of this.#segments.splice(0)) await remove(segment);
  }

  /** Lets go of the files as they are: the next who opens the store takes over what is in them. */
  abandon(): void {
    for (const { file } of this.#segments.splice(0)) file.close();
  }
}

/** Gives the steps that bring frames into the tables and remember it, in one transaction. */
export function journalSteps(id: string, frames: readonly Frame[]): Step[] {
  return [
    { frames: frames.map((frame) => frame.payload) },
    {
      sql: "insert or replace into core.journals values (?, ?)",
      params: [id, frames[frames.length - 1].sequence],
    },
  ];
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  let at = 0;
  while (at < bytes.length) at += await file.write(bytes.subarray(at));
}

/** A new file is there after a power failure only when its folder is on disk, too. */
async function syncDirectory(path: string): Promise<void> {
  // Windows has no such thing.
  if (Deno.build.os === "windows") return;
  const folder = await Deno.open(path, { read: true });
  try {
    await folder.sync();
  } finally {
    folder.close();
  }
}

async function remove({ path, file }: Segment): Promise<void> {
  await Deno.remove(path).catch(() => {});
  file.close();
}
