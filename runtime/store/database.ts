/**
 * The DuckDB file held by this process. The only module that imports DuckDB, and only when a file is
 * opened.
 *
 * @module
 */
import type { DuckDBConnection, DuckDBInstance, DuckDBResult } from "@duckdb/node-api";
import type Bindings from "@duckdb/node-bindings";
import { ChunkWriter } from "./chunk_writer.ts";
import { UsageError } from "../errors.ts";
import { migrations, SCHEMA_VERSION } from "../schema/mod.ts";
import {
  assertOneSelect,
  DEFAULT_MAX_BYTES,
  measureBytes,
  narrowViews,
  tooLarge,
} from "./read_only.ts";
import { quoteIdentifier } from "./sql.ts";
import { decodeSteps, mergeAppends } from "./step_codec.ts";
import { checkWal, explainOpenError, hasEnded, isCommitted, OpenedFile } from "./store_file.ts";
import type {
  ColumnResult,
  ColumnValues,
  Database,
  ReadLimits,
  ReadResult,
  Row,
  SqlValue,
  Step,
} from "./database_contract.ts";
import { toNumber, toPlain } from "./values.ts";

type DuckDB = typeof import("@duckdb/node-api");

/** DuckDB's own chunk size: rows per appended data chunk. */
const CHUNK_ROWS = 2048;

/**
 * Opens the file at `path`, or gives the words that name the process holding it.
 *
 * @throws {Error} when the file or its write-ahead log is damaged, the file is no DuckDB database, or
 * a newer Geophone wrote it.
 */
export async function openDatabase(path: string): Promise<HeldDatabase | string> {
  const duckdb = await import("@duckdb/node-api");
  const { default: bindings } = await import("@duckdb/node-bindings");
  const opened = await openInstance(duckdb, path);
  if (typeof opened === "string") return opened;
  const database = new HeldDatabase({ duckdb, bindings }, path, opened);
  try {
    await database.migrate();
  } catch (error) {
    await database.close();
    throw error;
  }
  return database;
}

/** A file that DuckDB has opened: reads on one connection, writes on another. */
interface Opened {
  readonly instance: DuckDBInstance;
  readonly reader: DuckDBConnection;
  readonly writer: DuckDBConnection;
  readonly file: OpenedFile;
}

async function openInstance(duckdb: DuckDB, path: string): Promise<Opened | string> {
  if (path !== ":memory:") await checkWal(path);
  let instance: DuckDBInstance;
  try {
    instance = await duckdb.DuckDBInstance.create(path, {
      threads: "2",
      memory_limit: `${memoryLimitMiB()}MiB`,
    });
  } catch (error) {
    const message = (error as Error).message;
    if (/could not set lock|conflicting lock|being used by another process/i.test(message)) {
      return message.match(/held in (.*? \(PID \d+\))/)?.[1] ?? "another process";
    }
    throw new Error(explainOpenError(path, message), { cause: error });
  }
  const reader = await instance.connect();
  const writer = await instance.connect();
  // Timestamps are UTC without a zone; now() in a query must mean the same.
  await writer.run("set global TimeZone = 'UTC'");
  return { instance, reader, writer, file: await OpenedFile.at(path) };
}

/** A query may use a quarter of the machine, between half a gibibyte and eight. */
function memoryLimitMiB(): number {
  try {
    const mebibytes = Deno.systemMemoryInfo().total / 2 ** 20;
    return Math.floor(Math.min(8192, Math.max(512, mebibytes / 4)));
  } catch {
    // Not permitted to look.
    return 2048;
  }
}

/** A database this process holds: reads on one connection, writes in order on another. */
export class HeldDatabase implements Database {
  readonly #duckdb: DuckDB;
  readonly #chunks: ChunkWriter;
  readonly #path: string;
  #opened: Opened;
  /** Whether DuckDB has given the database up: the next call opens it anew. */
  #isEnded = false;
  #isReleased = false;
  /** Calls of readers that are with DuckDB now. */
  readonly #reading = new Set<Promise<unknown>>();
  readonly #listeners = new Set<() => void>();
  readonly #columns = new Map<string, readonly string[]>();
  /** Stops each read-only query that runs now. */
  readonly #reads = new Set<(reason: string) => void>();
  #writing: Promise<unknown> = Promise.resolve();

  constructor(
    { duckdb, bindings }: { readonly duckdb: DuckDB; readonly bindings: typeof Bindings },
    path: string,
    opened: Opened,
  ) {
    this.#duckdb = duckdb;
    this.#chunks = new ChunkWriter(duckdb, bindings);
    this.#path = path;
    this.#opened = opened;
  }

  /**
   * Brings an empty or older file to the current schema, in one transaction: a process that is killed
   * meanwhile leaves the file as it was.
   * @throws {Error} when a newer Geophone wrote the file.
   */
  async migrate(): Promise<void> {
    const [{ count }] = await this.query<{ count: number }>(
      "select count(*) as count from duckdb_tables() where schema_name = 'core' and table_name = 'schema_version'",
    );
    const [{ version }] = count === 0 ? [{ version: 0 }] : await this.query<{ version: number }>(
      "select max(version) as version from core.schema_version",
    );
    if (version > SCHEMA_VERSION) {
      throw new Error(
        `Cannot open store "${this.#path}": it has schema ${version} and this Geophone knows ${SCHEMA_VERSION}; update Geophone`,
      );
    }
    const due = migrations.filter((migration) => migration.version > version);
    if (due.length === 0) return;
    await this.transaction(due.flatMap(({ statements }) => statements.map((sql) => ({ sql }))));
  }

  /** Stops the read-only queries that run now, with a reason for those who wait for them. */
  interruptReads(reason: string): void {
    for (const stop of this.#reads) stop(reason);
  }

  /** Calls `listener` after each commit; gives a function that stops it. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async query<R extends Row = Row>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    const statement = firstWord(sql);
    if (statement !== "select" && statement !== "with" && statement !== "from") {
      return await this.#exclusive(async () => {
        this.#forgetColumns(sql);
        const rows = await this.#rows<R>(this.#writer, sql, params);
        this.#notify();
        return rows;
      });
    }
    return await this.#read(() => this.#rows<R>(this.#reader, sql, params));
  }

  async #rows<R>(
    connection: DuckDBConnection,
    sql: string,
    params?: readonly SqlValue[],
  ): Promise<R[]> {
    const reader = await connection.runAndReadAll(sql, this.#bind(params));
    return reader.getRowObjectsJS().map((row) => {
      const plain: Row = {};
      for (const key in row) plain[key] = toPlain(row[key]);
      return plain as R;
    });
  }

  readColumns(sql: string, params?: readonly SqlValue[]): Promise<ColumnResult> {
    return this.#read(() => this.#readColumns(sql, params));
  }

  async #readColumns(sql: string, params?: readonly SqlValue[]): Promise<ColumnResult> {
    const { DuckDBTypeId } = this.#duckdb;
    const result = await this.#reader.run(sql, this.#bind(params));
    const chunks = await result.fetchAllChunks();
    const rows = chunks.reduce((sum, chunk) => sum + chunk.rowCount, 0);
    const textual = new Set([DuckDBTypeId.VARCHAR, DuckDBTypeId.ENUM, DuckDBTypeId.UUID]);
    const columns: Record<string, Float64Array | (string | null)[]> = {};
    result.columnNames().forEach((name, j) => {
      const type = result.columnTypeId(j);
      if (textual.has(type)) {
        columns[name] = chunks.flatMap((c) => c.getColumnValues(j) as (string | null)[]);
        return;
      }
      const out = new Float64Array(rows);
      let offset = 0;
      for (const chunk of chunks) {
        // Asked once: each time it is a call into DuckDB.
        const { rowCount } = chunk;
        if (type === DuckDBTypeId.DOUBLE) {
          const vector = chunk.getColumnVector(j) as unknown as {
            items: Float64Array;
            validity: { itemValid(index: number): boolean };
          };
          for (let i = 0; i < rowCount; i++) {
            out[offset + i] = vector.validity.itemValid(i) ? vector.items[i] : NaN;
          }
        } else {
          const values = chunk.convertColumnValues(j, this.#duckdb.JSDuckDBValueConverter);
          for (let i = 0; i < values.length; i++) out[offset + i] = toNumber(values[i]);
        }
        offset += rowCount;
      }
      columns[name] = out;
    });
    return { rows, columns };
  }

  queryReadOnly(sql: string, limits: ReadLimits = {}): Promise<ReadResult> {
    return this.#read(() => this.#queryReadOnly(sql, limits));
  }

  async #queryReadOnly(sql: string, limits: ReadLimits): Promise<ReadResult> {
    const { timeoutMs = 30_000, scope } = limits;
    const connection = await this.#opened.instance.connect();
    let stopped: string | null = null;
    const stop = (reason: string) => {
      stopped = reason;
      connection.interrupt();
    };
    this.#reads.add(stop);
    const timer = setTimeout(() => stop(`it ran longer than ${timeoutMs / 1000} s`), timeoutMs);
    try {
      await assertOneSelect(connection, sql, { decides: scope !== undefined });
      if (scope) await narrowViews(connection, scope);
      await connection.run("begin transaction read only");
      return await this.#readBounded(await connection.stream(sql), limits);
    } catch (error) {
      if (error instanceof UsageError || hasEnded(error)) throw error;
      if (stopped !== null) throw new UsageError(`Cannot finish the query: ${stopped}`);
      const { message } = error as Error;
      if (/^out of memory/i.test(message)) {
        throw new UsageError(
          `Cannot answer the query: it needs more than ${memoryLimitMiB()} MiB; filter or aggregate first`,
          { cause: error },
        );
      }
      throw new UsageError(`Cannot run the query: ${message}`, { cause: error });
    } finally {
      clearTimeout(timer);
      this.#reads.delete(stop);
      connection.closeSync();
    }
  }

  /** Converts value by value, so that a result too large for this process is never held by it. */
  async #readBounded(
    result: DuckDBResult,
    { maxRows = 10_000, maxBytes = DEFAULT_MAX_BYTES }: ReadLimits,
  ): Promise<ReadResult> {
    const columns = result.deduplicatedColumnNames();
    const types = result.columnTypes().map(String);
    const convert = this.#duckdb.JSDuckDBValueConverter;
    const rows: unknown[][] = [];
    let bytes = 0;
    for (;;) {
      const chunk = await result.fetchChunk();
      if (!chunk || chunk.rowCount === 0) return { columns, types, rows, isTruncated: false };
      const vectors = columns.map((_, j) => chunk.getColumnVector(j));
      for (let i = 0; i < chunk.rowCount; i++) {
        if (rows.length === maxRows) return { columns, types, rows, isTruncated: true };
        const row = vectors.map((vector) => {
          const value = toPlain(convert(vector.getItem(i), vector.type, convert));
          bytes += measureBytes(value);
          if (bytes > maxBytes) throw tooLarge(maxBytes);
          return value;
        });
        rows.push(row);
      }
    }
  }

  transaction(steps: readonly Step[]): Promise<void> {
    return this.#exclusive(async () => {
      await this.#writer.run("begin transaction");
      try {
        for (const step of steps) {
          if ("sql" in step) {
            this.#forgetColumns(step.sql);
            await this.#writer.run(step.sql, this.#bind(step.params));
          } else {
            const appends = "append" in step
              ? [step]
              : mergeAppends(step.frames.flatMap((frame) => decodeSteps(frame)));
            for (const { append, columns } of appends) await this.#append(append, columns);
          }
        }
        await this.#writer.run("commit");
      } catch (error) {
        await this.#writer.run("rollback").catch(() => {});
        this.#columns.clear();
        if (!isCommitted(error)) throw error;
        // Another time it would be there twice. Only the checkpoint behind it failed, and ended DuckDB.
        this.#isEnded = true;
      }
      this.#notify();
    });
  }

  async #append(table: string, columns: Readonly<Record<string, ColumnValues>>): Promise<void> {
    const names = Object.keys(columns);
    const rows = names.length === 0 ? 0 : countValues(columns[names[0]]);
    for (const name of names) {
      const count = countValues(columns[name]);
      if (count !== rows) {
        throw new TypeError(
          `Cannot append to ${table}: column "${name}" has ${count} values, not ${rows}`,
        );
      }
    }
    if (rows === 0) return;
    const [schemaName, tableName] = splitTable(table);
    const order = await this.#columnNames(schemaName, tableName);
    const unknown = names.find((name) => !order.includes(name));
    if (order.length === 0 || unknown !== undefined) {
      throw new RangeError(
        order.length === 0
          ? `Cannot append to ${table}: there is no such table`
          : `Cannot append to ${table}: it has no column "${unknown}"`,
      );
    }
    const appender = await this.#writer.createAppender(tableName, schemaName);
    try {
      const types = order.map((_, j) => appender.columnType(j));
      const ordered = order.map((name) => columns[name]);
      for (let start = 0; start < rows; start += CHUNK_ROWS) {
        const end = Math.min(rows, start + CHUNK_ROWS);
        appender.appendDataChunk(this.#chunks.fill(types, ordered, { start, end }));
        // A chunk takes milliseconds to fill: what else this thread does goes on in between.
        if (end < rows) await new Promise((resolve) => setTimeout(resolve, 0));
      }
      appender.flushSync();
    } catch (error) {
      // What it could not append it cannot append in closing either.
      try {
        appender.closeSync();
      } catch { /* The first error is the one to tell. */ }
      throw error;
    }
    appender.closeSync();
  }

  /** Columns of a table in order, none when it does not exist. */
  async #columnNames(schemaName: string, tableName: string): Promise<readonly string[]> {
    const table = quoteIdentifier(schemaName, tableName);
    const known = this.#columns.get(table);
    if (known) return known;
    try {
      // Binding a statement is ten times faster than asking the catalog.
      const statement = await this.#writer.prepare(`select * from ${table} limit 0`);
      const names = Array.from(
        { length: statement.columnCount },
        (_, j) => statement.columnName(j),
      );
      statement.destroySync();
      this.#columns.set(table, names);
      return names;
    } catch (error) {
      if (/does not exist/.test((error as Error).message)) return [];
      throw error;
    }
  }

  /** Forgets the columns of all tables before a statement that could change them. */
  #forgetColumns(sql: string): void {
    if (!["insert", "update", "delete"].includes(firstWord(sql))) this.#columns.clear();
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {});
    this.#release();
  }

  async check(): Promise<string | null> {
    const loss = await this.#opened.file.loss();
    if (loss === null) await this.query("select 1");
    return loss;
  }

  get #reader(): DuckDBConnection {
    return this.#opened.reader;
  }

  get #writer(): DuckDBConnection {
    return this.#opened.writer;
  }

  /** One writer at a time, and none once the file is not the one that was opened. */
  #exclusive<T>(action: () => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      await this.#revive();
      await this.#assertThere();
      return await this.#noticeEnd(action);
    });
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const next = this.#writing.catch(() => {}).then(action);
    this.#writing = next.catch(() => {});
    return next;
  }

  /** Runs a reader's call, and once more when DuckDB ended during it. */
  async #read<T>(action: () => Promise<T>): Promise<T> {
    for (let isFirst = true;; isFirst = false) {
      if (this.#isEnded) await this.#inTurn(() => this.#revive());
      const call = this.#noticeEnd(action);
      this.#reading.add(call);
      try {
        return await call;
      } catch (error) {
        if (!isFirst || !this.#isEnded) throw error;
      } finally {
        this.#reading.delete(call);
      }
    }
  }

  async #noticeEnd<T>(action: () => Promise<T>): Promise<T> {
    const opened = this.#opened;
    try {
      return await action();
    } catch (error) {
      // What was in memory alone cannot be opened anew.
      if (hasEnded(error) && opened === this.#opened && this.#path !== ":memory:") {
        this.#isEnded = true;
      }
      throw error;
    }
  }

  /** Opens the file anew when DuckDB has ended; its log has every transaction that was committed. */
  async #revive(): Promise<void> {
    if (!this.#isEnded) return;
    await this.#assertThere();
    // A second instance must not be on the file while calls keep the first one.
    await Promise.allSettled(this.#reading);
    this.#release();
    const opened = await openInstance(this.#duckdb, this.#path);
    if (typeof opened === "string") {
      throw new Error(
        `Cannot use store "${this.#path}": ${opened} has taken it meanwhile; end that program`,
      );
    }
    this.#opened = opened;
    this.#isReleased = this.#isEnded = false;
    this.#columns.clear();
  }

  async #assertThere(): Promise<void> {
    const loss = await this.#opened.file.loss();
    if (loss === null) return;
    throw new Error(
      `Cannot use store "${this.#path}": ${loss}; end this process, put the file back and start again`,
    );
  }

  #release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    const { reader, writer, instance } = this.#opened;
    for (const part of [reader, writer, instance]) part.closeSync();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  #bind(params: readonly SqlValue[] = []) {
    const { blobValue, DuckDBTimestampValue } = this.#duckdb;
    return params.map((value) =>
      value instanceof Date
        ? new DuckDBTimestampValue(BigInt(value.getTime()) * 1000n)
        : value instanceof Uint8Array
        ? blobValue(value)
        : typeof value === "number" && Number.isInteger(value) && Math.abs(value) > 2 ** 31 - 1
        ? BigInt(value)
        : value
    );
  }
}

function firstWord(sql: string): string {
  return /^\s*(?:--[^\n]*\n\s*)*(\w+)/.exec(sql)?.[1].toLowerCase() ?? "";
}

function splitTable(table: string): [string, string] {
  const dot = table.indexOf(".");
  return dot < 0 ? ["main", table] : [table.slice(0, dot), table.slice(dot + 1)];
}

function countValues(values: ColumnValues): number {
  return "lengths" in values ? values.lengths.length : values.length;
}
