/**
 * Traces moved out of the store into Parquet files that are Delta tables: `spans` and `llm_calls`,
 * partitioned by the day (UTC) on which they started.
 *
 * An archive is put on record before its first file. Which rows it takes is fixed then, the names of
 * its files follow from it, and the tables know which archives they have: one that was killed is
 * finished by the next, and a row is in the store or in the tables, or for a moment in both.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { withLease } from "../alerts/lease.ts";
import { UsageError } from "../errors.ts";
import { quoteLiteral } from "../store/sql.ts";
import type { Store } from "../store/store.ts";
import { commitDelta, type DeltaField, type DeltaFile, hasTransaction, syncFile } from "./delta.ts";

/** What to archive. */
export interface ArchiveOptions {
  /** Folder of the tables; made when it is not there. */
  readonly folder: string;
  /** Traces that started before go; a later time than now is refused. */
  readonly before: Date;
  readonly signal: AbortSignal;
}

/** What was archived. */
export interface ArchiveResult {
  readonly spans: number;
  readonly calls: number;
  /** Archives of before that were finished first. */
  readonly finished: number;
}

/** A table of the store, and its columns in the archive, but for the day. */
interface ArchivedTable {
  readonly name: "spans" | "llm_calls";
  readonly columns: readonly DeltaField[];
  readonly last: "last_span" | "last_call";
}

const fields = (type: DeltaField["type"], names: string): DeltaField[] =>
  names.split(" ").map((name) => ({ name, type }));

const tables: readonly ArchivedTable[] = [
  {
    name: "spans",
    last: "last_span",
    columns: [
      ...fields("string", "trace_id span_id parent_id name kind"),
      ...fields("timestamp", "started_at ended_at"),
      ...fields(
        "string",
        "status status_message attributes events links resource scope scope_version",
      ),
    ],
  },
  {
    name: "llm_calls",
    last: "last_call",
    columns: [
      ...fields("string", "trace_id span_id"),
      ...fields("timestamp", "started_at"),
      ...fields("double", "ms"),
      ...fields("string", "request_id"),
      ...fields("integer", "row"),
      ...fields("string", "judge judge_version operation provider server model response_model"),
      ...fields("string", "status kind finish_reason"),
      ...fields("long", "tokens_in tokens_out"),
      ...fields("double", "cost temperature"),
      ...fields("long", "seed"),
      ...fields("string", "prompt reply"),
    ],
  },
];

interface Archive extends Record<string, unknown> {
  readonly archive_id: string;
  readonly folder: string;
  readonly before: string;
  readonly last_span: number;
  readonly last_call: number;
}

/**
 * Moves traces into a folder's tables and takes them out of the store. Archives that were begun and
 * not finished are finished first, in their own folders.
 *
 * @throws {UsageError} when `before` lies in the future, since a trace of then may still grow, or
 * another process archives.
 * @throws the signal's reason when it is aborted; the next archive goes on from there.
 */
export async function archiveTraces(store: Store, options: ArchiveOptions): Promise<ArchiveResult> {
  const { before, signal } = options;
  if (before.getTime() > Date.now()) {
    throw new UsageError(
      `Cannot archive traces before "${before.toISOString()}": that is yet to come; name a past time`,
    );
  }
  const archived = await withLease(store, { name: LEASE, signal }, async () => {
    const pending = await store.query<Archive>(
      `select ${columns} from core.trace_archives where ended_at is null order by started_at`,
    );
    for (const archive of pending) await finish(store, archive, signal);
    const begun = await begin(store, resolve(options.folder), before);
    const { spans, calls } = begun === null
      ? { spans: 0, calls: 0 }
      : await finish(store, begun, signal);
    return { spans, calls, finished: pending.length };
  });
  if (archived !== null) return archived;
  throw new UsageError("Cannot archive traces: another process does; wait until it has ended");
}

const LEASE = "archive of traces";

const columns = "archive_id, folder, before, last_span, last_call";

/** Puts an archive on record, `null` when there is nothing to take. */
async function begin(store: Store, folder: string, before: Date): Promise<Archive | null> {
  const id = crypto.randomUUID();
  await store.transaction([{
    sql: `insert into core.trace_archives by name
      select ?::varchar as archive_id, ?::varchar as folder, ?::timestamp as before,
        coalesce(s.last, 0) as last_span, coalesce(c.last, 0) as last_call,
        now() at time zone 'UTC' as started_at
      from (select max(sequence) as last from core.spans where started_at < ?) s,
        (select max(sequence) as last from core.llm_calls where started_at < ?) c
      where s.last is not null or c.last is not null`,
    params: [id, folder, before, before, before],
  }]);
  const [begun] = await store.query<Archive>(
    `select ${columns} from core.trace_archives where archive_id = ?`,
    [id],
  );
  return begun ?? null;
}

async function finish(
  store: Store,
  archive: Archive,
  signal: AbortSignal,
): Promise<{ readonly spans: number; readonly calls: number }> {
  const counts = [];
  for (const table of tables) {
    const folder = join(archive.folder, table.name);
    if (!await hasTransaction(folder, archive.archive_id)) {
      const files = await writeFiles(store, archive, table, { folder, signal });
      if (files.length > 0) {
        await commitDelta(folder, {
          fields: [...table.columns, { name: "date", type: "date" }],
          partitionBy: ["date"],
          files,
          transaction: archive.archive_id,
        });
      }
    }
    const { where, params } = taken(archive, table);
    const [{ rows }] = await store.query<{ rows: number }>(
      `select count(*) as rows from core.${table.name} where ${where}`,
      params,
    );
    counts.push(rows);
  }
  signal.throwIfAborted();
  const [spans, calls] = counts;
  await store.transaction([
    ...tables.map((table) => {
      const { where, params } = taken(archive, table);
      return { sql: `delete from core.${table.name} where ${where}`, params };
    }),
    {
      sql: `update core.trace_archives set ended_at = now() at time zone 'UTC', spans = ?, calls = ?
        where archive_id = ?`,
      params: [spans, calls, archive.archive_id],
    },
  ]);
  return { spans, calls };
}

/** The rows of an archive, the same ones whenever it is asked for. */
function taken(archive: Archive, { last }: ArchivedTable) {
  return {
    where: "started_at < ?::timestamp and sequence <= ?",
    params: [archive.before, archive[last]],
  };
}

async function writeFiles(
  store: Store,
  archive: Archive,
  table: ArchivedTable,
  { folder, signal }: { readonly folder: string; readonly signal: AbortSignal },
): Promise<DeltaFile[]> {
  const { where, params } = taken(archive, table);
  const days = await store.query<{
    readonly day: string;
    readonly rows: number;
    readonly first: number;
    readonly last: number;
    readonly low: string;
    readonly high: string;
  }>(
    `select strftime(started_at, '%Y-%m-%d') as day, count(*) as rows,
       epoch_us(min(started_at)) as first, epoch_us(max(started_at)) as last,
       min(trace_id) as low, max(trace_id) as high
     from core.${table.name} where ${where} group by day order by day`,
    params,
  );
  const files: DeltaFile[] = [];
  for (const { day, rows, first, last, low, high } of days) {
    signal.throwIfAborted();
    const path = `date=${day}/part-${archive.archive_id}.snappy.parquet`;
    const file = join(folder, path);
    await Deno.mkdir(join(folder, `date=${day}`), { recursive: true });
    // What a kill left is written over: nobody has read it.
    await store.query(
      `copy (${writeSelect(table)} where ${where} and started_at >= ?::timestamp
         and started_at < ?::timestamp + interval 1 day order by started_at, sequence)
       to ${quoteLiteral(file)} (format parquet, compression snappy)`,
      [...params, day, day],
    );
    await syncFile(file);
    files.push({
      path,
      partition: { date: day },
      bytes: (await Deno.stat(file)).size,
      stats: {
        numRecords: rows,
        minValues: { trace_id: low, started_at: toMs(Math.floor(first / 1000)) },
        // Statistics of times are in milliseconds: the highest is rounded up.
        maxValues: { trace_id: high, started_at: toMs(Math.ceil(last / 1000)) },
        nullCount: { trace_id: 0, started_at: 0 },
      },
    });
  }
  return files;
}

/** Delta's timestamps are points in time: UTC is said in the file. */
function writeSelect({ name, columns }: ArchivedTable): string {
  const list = columns.map(({ name: column, type }) => {
    if (type === "timestamp") return `${column} at time zone 'UTC' as ${column}`;
    return type === "string" ? `${column}::varchar as ${column}` : column;
  });
  return `select ${list.join(", ")} from core.${name}`;
}

function toMs(ms: number): string {
  return new Date(ms).toISOString();
}
