/**
 * How large a store is, and what of it goes with which requests.
 *
 * @module
 */
import type { Store } from "../store/store.ts";

const GIB = 2 ** 30;

/** Bytes of the blocks of a store that hold something. */
export async function readUsedBytes(store: Store): Promise<number> {
  const [row] = await store.query<{ bytes: number }>(
    `select used_blocks * block_size as bytes from pragma_database_size()
     where database_name = current_database()`,
  );
  return row.bytes;
}

/** Bytes that a table's rows have on disk, and its rows with those that wait to be freed. */
interface TableSize {
  readonly bytes: number;
  readonly rows: number;
  readonly storedRows: number;
}

/** Rows of requests and of what hangs on them are in these. */
const growing = [
  "requests",
  "inferences",
  "payloads",
  "shadow_inferences",
  "labels",
  "judgements",
] as const;

async function readSizes(store: Store): Promise<Map<string, TableSize>> {
  const sizes = new Map<string, TableSize>();
  for (const table of growing) {
    const [row] = await store.query<{ bytes: number; rows: number; stored: number }>(
      `select (select count(distinct block_id) from pragma_storage_info('core.${table}')
           where persistent and block_id >= 0) * (select block_size from pragma_database_size()
           where database_name = current_database()) as bytes,
         (select count(*) from core.${table}) as rows,
         (select estimated_size from duckdb_tables() where schema_name = 'core'
           and database_name = current_database() and table_name = '${table}') as stored`,
    );
    sizes.set(table, { bytes: row.bytes, rows: row.rows, storedRows: row.stored });
  }
  return sizes;
}

/** Bytes of rows that are still there: those of deleted ones are freed by and by. */
function liveBytes({ bytes, rows, storedRows }: TableSize): number {
  return storedRows === 0 ? 0 : bytes * Math.min(1, rows / storedRows);
}

/** Bytes that some rows by table have on disk, about. */
export async function estimateBytes(
  store: Store,
  counts: Readonly<Partial<Record<string, number>>>,
): Promise<number> {
  let bytes = 0;
  for (const [table, size] of await readSizes(store)) {
    if (size.rows > 0) {
      bytes += liveBytes(size) * (counts[table] ?? 0) / size.rows;
    }
  }
  return Math.round(bytes);
}

/** Where a store that is too large is cut. */
export interface SizeCutoff {
  /** Requests before this go; `null` when none has to. */
  readonly before: Date | null;
  /** Why that is not enough, `null` when it is. */
  readonly problem: string | null;
}

/**
 * Time before which requests go so that the store fits `limit`: as large a share of their rows as
 * there is too much of their bytes. `isFree` is a condition on the requests that may go.
 */
export async function findSizeCutoff(
  store: Store,
  { maxGiB, isFree }: { readonly maxGiB: number; readonly isFree: string },
): Promise<SizeCutoff> {
  const limit = maxGiB * GIB;
  // What is in the log alone has no blocks yet.
  await store.query("checkpoint");
  const used = await readUsedBytes(store);
  if (used <= limit) return { before: null, problem: null };
  const sizes = [...(await readSizes(store)).values()];
  const others = used - sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  if (others > limit) {
    const problem =
      `Cannot keep the store below ${maxGiB} GiB: models, runs and other tables that always stay have ` +
      `${(others / GIB).toFixed(3)} GiB; raise retention.maxGiB`;
    return { before: null, problem };
  }
  const live = sizes.reduce((sum, size) => sum + liveBytes(size), 0);
  const excess = others + live - limit;
  if (excess <= 0) return { before: null, problem: null };
  const [{ cutoff }] = await store.query<{ cutoff: string | null }>(
    `with seconds as (select time_bucket(interval 1 second, request_time) as second,
         sum(1 + row_count) as rows
       from core.requests where ${isFree} group by all),
     running as (select second, sum(rows) over (order by second) as total from seconds)
     select min(second) + interval 1 second as cutoff from running
     where total >= ? * (select sum(1 + row_count) from core.requests)
     or second = (select max(second) from seconds)`,
    [excess / live],
  );
  return { before: cutoff === null ? null : new Date(cutoff), problem: null };
}
