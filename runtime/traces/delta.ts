/**
 * A Delta table that only grows, as far as an archive needs one: its log, and commits that happen
 * whole or not at all.
 *
 * @see https://github.com/delta-io/delta/blob/master/PROTOCOL.md
 * @module
 */
import { join } from "node:path";

/** A column, and its type in Delta. */
export interface DeltaField {
  readonly name: string;
  readonly type: "string" | "long" | "integer" | "double" | "timestamp" | "date";
}

/** A data file that a commit adds. */
export interface DeltaFile {
  /** Below the table's folder, with `/`. */
  readonly path: string;
  readonly partition: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly stats: unknown;
}

/** What a commit needs. */
export interface DeltaCommit {
  readonly fields: readonly DeltaField[];
  readonly partitionBy: readonly string[];
  readonly files: readonly DeltaFile[];
  /** Name of the transaction: a table that has it already is not changed. */
  readonly transaction: string;
}

const LOG = "_delta_log";

/** Commits of others that a commit may have to come after. */
const ATTEMPTS = 100;

/**
 * Adds files to a table, making it when it is not there. A commit is one file that comes into being
 * with its whole content, under a name that nobody has: a kill leaves it there or not.
 *
 * @throws {Error} when the table's columns are others.
 */
export async function commitDelta(folder: string, commit: DeltaCommit): Promise<void> {
  await Deno.mkdir(join(folder, LOG), { recursive: true });
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { version, schema, transactions } = await readLog(folder);
    if (transactions.has(commit.transaction)) return;
    const wanted = writeSchema(commit.fields);
    if (schema !== null && schema !== wanted) {
      throw new Error(
        `Cannot archive in "${folder}": its table has other columns; archive in another folder`,
      );
    }
    const actions = [...version < 0 ? describeTable(commit, wanted) : [], ...addFiles(commit)];
    const text = actions.map((action) => `${JSON.stringify(action)}\n`).join("");
    if (await createWhole(logFile(folder, version + 1), text)) return;
  }
  throw new Error(
    `Cannot archive in "${folder}": others write to its table all the time; try again`,
  );
}

/** Whether a table has a transaction of this name. */
export async function hasTransaction(folder: string, transaction: string): Promise<boolean> {
  return (await readLog(folder)).transactions.has(transaction);
}

interface DeltaLog {
  /** Of the last commit, -1 when there is none. */
  readonly version: number;
  readonly schema: string | null;
  readonly transactions: ReadonlySet<string>;
}

async function readLog(folder: string): Promise<DeltaLog> {
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(join(folder, LOG))) {
      if (/^\d{20}\.json$/.test(name)) names.push(name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  let schema: string | null = null;
  const transactions = new Set<string>();
  for (const name of names.sort()) {
    const text = await Deno.readTextFile(join(folder, LOG, name));
    for (const line of text.split("\n")) {
      if (line === "") continue;
      const { metaData, txn } = JSON.parse(line);
      if (metaData) schema = metaData.schemaString;
      if (txn) transactions.add(txn.appId);
    }
  }
  return {
    version: names.length === 0 ? -1 : Number(names.at(-1)!.slice(0, 20)),
    schema,
    transactions,
  };
}

function logFile(folder: string, version: number): string {
  return join(folder, LOG, `${String(version).padStart(20, "0")}.json`);
}

function writeSchema(fields: readonly DeltaField[]): string {
  return JSON.stringify({
    type: "struct",
    fields: fields.map(({ name, type }) => ({ name, type, nullable: true, metadata: {} })),
  });
}

/** What the first commit says of the table. Readers of version 1 and writers of version 2 know it. */
function describeTable({ partitionBy }: DeltaCommit, schemaString: string): object[] {
  return [
    { protocol: { minReaderVersion: 1, minWriterVersion: 2 } },
    {
      metaData: {
        id: crypto.randomUUID(),
        format: { provider: "parquet", options: {} },
        schemaString,
        partitionColumns: partitionBy,
        configuration: { "delta.appendOnly": "true" },
        createdTime: Date.now(),
      },
    },
  ];
}

function addFiles({ files, transaction }: DeltaCommit): object[] {
  const now = Date.now();
  return [
    { txn: { appId: transaction, version: 1, lastUpdated: now } },
    ...files.map(({ path, partition, bytes, stats }) => ({
      add: {
        path,
        partitionValues: partition,
        size: bytes,
        modificationTime: now,
        dataChange: true,
        stats: JSON.stringify(stats),
      },
    })),
    {
      commitInfo: {
        timestamp: now,
        operation: "WRITE",
        operationParameters: { mode: "Append" },
        isBlindAppend: true,
        engineInfo: "geophone",
      },
    },
  ];
}

/** Makes a file with its content on disk; `false` when there is one of this name. */
async function createWhole(path: string, text: string): Promise<boolean> {
  const draft = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  await Deno.writeTextFile(draft, text, { createNew: true });
  try {
    await syncFile(draft);
    // Unlike a rename, a link never replaces what somebody else has made.
    await Deno.link(draft, path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw error;
  } finally {
    await Deno.remove(draft).catch(() => {});
  }
}

/** Brings a file to the disk. */
export async function syncFile(path: string): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  await file.syncData();
}
