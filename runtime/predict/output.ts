/**
 * The file that predictions are written to: its format by its ending, and its appearance whole or
 * not at all.
 *
 * @module
 */
import { dirname, extname } from "node:path";
import { UsageError } from "../errors.ts";
import { quoteLiteral } from "../store/sql.ts";
import type { Database } from "../store/store.ts";

/** A format of tables that DuckDB writes. */
export interface Format {
  /** How DuckDB writes it. */
  readonly copy: string;
  /** Whether it knows numbers, so that those of a text file are written as numbers. */
  readonly isTyped: boolean;
}

/** Formats by ending of the output. */
const formats: Readonly<Record<string, Format>> = {
  ".csv": { copy: "format csv, header", isTyped: false },
  ".parquet": { copy: "format parquet", isTyped: true },
  ".json": { copy: "format json, array true", isTyped: true },
  ".ndjson": { copy: "format json", isTyped: true },
};

/**
 * Gives the format that an output's ending means.
 * @throws {UsageError} when it means none.
 */
export function findFormat(output: string): Format {
  const format = formats[extname(output).toLowerCase()];
  if (format) return format;
  throw new UsageError(
    `Cannot write "${output}": the ending must be one of ${Object.keys(formats).join(" ")}`,
  );
}

/**
 * Refuses an output that cannot be written, before anything is predicted.
 * @throws {UsageError} when it is a folder or the input, or there is no folder for it.
 */
export async function checkOutput(input: string, output: string): Promise<void> {
  const there = await Deno.stat(output).catch(() => undefined);
  if (there?.isDirectory) {
    throw new UsageError(`Cannot write "${output}": it is a folder; name a file`);
  }
  const source = await Deno.stat(input).catch(() => undefined);
  if (there && source && there.dev === source.dev && there.ino === source.ino) {
    throw new UsageError(
      `Cannot write "${output}": it is the input, which stays as it is; name another file`,
    );
  }
  const folder = dirname(output);
  const isFolder = await Deno.stat(folder).then((info) => info.isDirectory, () => false);
  if (!isFolder) {
    throw new UsageError(
      `Cannot write "${output}": there is no folder "${folder}"; create it, or name another one`,
    );
  }
  const draft = nameDraft(output);
  try {
    await Deno.writeFile(draft, new Uint8Array());
    await Deno.remove(draft);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const [reason] = (error as Error).message.split(/, writefile|\n/);
    throw new Error(
      `Cannot write "${output}": folder "${folder}" does not take it (${reason}); name another file`,
      { cause: error },
    );
  }
}

/** The file that becomes the output once it is whole. */
function nameDraft(output: string): string {
  return `${output}.${Deno.pid}.part`;
}

/** Folder beside the output for what does not fit in memory meanwhile. */
export function nameSpillFolder(output: string): string {
  return `${output}.${Deno.pid}.spill`;
}

/** How an output is written. */
export interface WriteOptions {
  readonly format: Format;
  /** Whether a file that is there is replaced. */
  readonly overwrites: boolean;
  /** Aborted: the output stays as it was. */
  readonly signal: AbortSignal;
}

/**
 * Writes the rows of a `SELECT`; the output appears whole or not at all.
 * @throws {UsageError} when a file is there that must not be replaced.
 */
export async function writeOutput(
  store: Database,
  select: string,
  output: string,
  { format, overwrites, signal }: WriteOptions,
): Promise<void> {
  const draft = nameDraft(output);
  try {
    signal.throwIfAborted();
    await store.query(`copy (${select}) to ${quoteLiteral(draft)} (${format.copy})`);
    signal.throwIfAborted();
    if (overwrites) await Deno.rename(draft, output);
    else await renameToNew(draft, output);
  } catch (error) {
    await Deno.remove(draft).catch(() => {});
    if (signal.aborted || error instanceof UsageError) throw error;
    const state = (error as Error).message.split("\n")[0].replaceAll(draft, output);
    throw new Error(`Cannot write "${output}": ${state}`, { cause: error });
  }
}

/** Unlike a rename, a link never replaces a file that has come into being meanwhile. */
async function renameToNew(draft: string, output: string): Promise<void> {
  try {
    await Deno.link(draft, output);
    return await Deno.remove(draft);
  } catch (error) {
    const isThere = await Deno.lstat(output).then(() => true, () => false);
    if (error instanceof Deno.errors.AlreadyExists || isThere) {
      throw new UsageError(
        `Cannot write "${output}": another program has made it meanwhile; name another file`,
        { cause: error },
      );
    }
    // Some file systems have no links: there a rename has to do.
    await Deno.rename(draft, output);
  }
}
