/**
 * Journals that processes left behind: what is in them goes into the tables before anybody reads these.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { describeError } from "../errors.ts";
import { type Frame, readFrames } from "./journal_frames.ts";
import { isDiskFailure } from "./store_file.ts";

/** Frames, by their first and last number, that the tables held once and no longer do. */
export interface LostFrames {
  readonly from: number;
  readonly to: number;
}

/** What became of a journal that was left behind. */
export interface Recovery {
  readonly journal: string;
  readonly frames: number;
  /** Why a part of it could not be read or applied; that part is kept as `<file>.damaged`. */
  readonly damage: string | null;
  /** What the tables have lost since they held it; `null` when they have lost nothing. */
  readonly lost: LostFrames | null;
}

/** Gives in one sentence what became of a journal. */
export function describeRecovery({ journal, frames, damage, lost }: Recovery): string {
  const parts = [`Recovered ${frames} frames of journal "${journal}"`];
  if (damage !== null) parts.push(`the rest is kept as "${journal}.damaged": ${damage}`);
  if (lost !== null) {
    parts.push(
      `frames ${lost.from} to ${lost.to}, which the store held once, are lost with its write-ahead log; ` +
        "restore a backup to have them back",
    );
  }
  return parts.join("; ");
}

/**
 * Gives the frames of every journal beside a store that no living process writes to `apply`, journal
 * by journal and file by file, and removes what was applied.
 *
 * A last frame that is not whole was never acknowledged and is dropped. Any other that cannot be read
 * is damage: its file stays under another name, and the rest goes on.
 *
 * @throws {Error} when the disk does not take what is in a journal: that file stays as it is.
 */
export async function recoverJournals(
  storePath: string,
  apply: (id: string, frames: readonly Frame[]) => Promise<LostFrames | null>,
): Promise<Recovery[]> {
  const recoveries: Recovery[] = [];
  for (const { id, path } of await listFiles(storePath)) {
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path, { read: true, write: true });
    } catch (error) {
      // Another process has just taken it over.
      if (error instanceof Deno.errors.NotFound) continue;
      throw error;
    }
    try {
      if (!await file.tryLock(true)) continue;
      const { frames, damage } = readFrames(await readAll(file));
      let failure = damage;
      let lost: LostFrames | null = null;
      try {
        if (frames.length > 0) lost = await apply(id, frames);
      } catch (error) {
        failure = describeError(error);
        if (isDiskFailure(failure)) {
          throw new Error(
            `Cannot recover journal "${path}": ${failure}; make room or mend the disk, and start again`,
            { cause: error },
          );
        }
      }
      if (failure === null) await Deno.remove(path);
      else await Deno.rename(path, `${path}.damaged`);
      if (frames.length > 0 || failure !== null) {
        recoveries.push({ journal: basename(path), frames: frames.length, damage: failure, lost });
      }
    } finally {
      file.close();
    }
  }
  return recoveries;
}

/** A journal's file beside a store. */
export interface JournalFile {
  readonly name: string;
  readonly bytes: number;
  /** `left`: no living process writes it; whoever opens the store takes it over. */
  readonly state: "in use" | "left" | "damaged";
}

/** Lists the journals beside a store, damaged ones included, and changes nothing. */
export async function listJournals(storePath: string): Promise<JournalFile[]> {
  const folder = dirname(storePath);
  const files: JournalFile[] = [];
  for (const { path } of await listFiles(storePath)) {
    const file = await Deno.open(path, { read: true, write: true });
    try {
      const state = await file.tryLock(true) ? "left" : "in use";
      files.push({ name: basename(path), bytes: (await file.stat()).size, state });
    } finally {
      file.close();
    }
  }
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.startsWith(`${basename(storePath)}.journal-`) || !name.endsWith(".damaged")) continue;
    files.push({ name, bytes: (await Deno.stat(`${folder}/${name}`)).size, state: "damaged" });
  }
  return files;
}

async function listFiles(storePath: string): Promise<{ id: string; path: string }[]> {
  const prefix = `${basename(storePath)}.journal-`;
  const found: { id: string; path: string; number: number }[] = [];
  for await (const { name } of Deno.readDir(dirname(storePath))) {
    if (!name.startsWith(prefix)) continue;
    const [, id, number] = /^([0-9a-f]{12})-(\d+)$/.exec(name.slice(prefix.length)) ?? [];
    if (id !== undefined) {
      found.push({ id, path: `${dirname(storePath)}/${name}`, number: Number(number) });
    }
  }
  return found.sort((a, b) => a.id < b.id ? -1 : a.id > b.id ? 1 : a.number - b.number);
}

async function readAll(file: Deno.FsFile): Promise<Uint8Array> {
  const { size } = await file.stat();
  const bytes = new Uint8Array(size);
  let at = 0;
  while (at < size) {
    const count = await file.read(bytes.subarray(at));
    if (count === null) break;
    at += count;
  }
  return bytes.subarray(0, at);
}
