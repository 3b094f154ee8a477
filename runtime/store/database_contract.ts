/**
 * What a database answers, whether this process holds it or borrows it from its owner.
 *
 * @module
 */

/** A value that crosses into SQL. `Date` is a UTC timestamp. */
export type SqlValue = string | number | bigint | boolean | null | Date | Uint8Array;

/** One row, by column name; timestamps are ISO strings, integers are numbers. */
export type Row = Record<string, unknown>;

/** A step of a transaction: a statement, columns to append to a table, or such appends as bytes. */
export type Step =
  | { readonly sql: string; readonly params?: readonly SqlValue[] }
  | AppendStep
  | FramesStep;

/** Columns of equal length to append to a table, such as `core.requests`; those left out are NULL. */
export interface AppendStep {
  readonly append: string;
  readonly columns: Readonly<Record<string, ColumnValues>>;
}

/** Appends that `encodeSteps` has made bytes of; those to one table are done together. */
export interface FramesStep {
  readonly frames: readonly Uint8Array[];
}

/** Values of one column to append: `NaN` in a typed array is stored as NULL. */
export type ColumnValues = Float64Array | readonly unknown[] | NumberLists;

/** A column of lists of numbers, one after the other: list i has `lengths[i]` of the values. */
export interface NumberLists {
  readonly values: Float64Array | Float32Array;
  readonly lengths: Uint32Array;
}

/** A result by column. Numeric columns are float64 with `NaN` for NULL; others keep their values. */
export interface ColumnResult {
  readonly rows: number;
  readonly columns: Readonly<Record<string, Float64Array | readonly (string | null)[]>>;
}

/** What both a held and a borrowed database answer. */
export interface Database {
  /** Runs one statement and gives its rows. */
  query<R extends Row = Row>(sql: string, params?: readonly SqlValue[]): Promise<R[]>;
  /** Runs one `SELECT` and gives it by column: the way to a matrix. */
  readColumns(sql: string, params?: readonly SqlValue[]): Promise<ColumnResult>;
  /**
   * Runs one `SELECT` of a stranger: read-only, without files or network, bounded in time and rows.
   * @throws {UsageError} when it is not one `SELECT`.
   */
  queryReadOnly(sql: string, limits?: ReadLimits): Promise<ReadResult>;
  /** Runs all steps or none. */
  transaction(steps: readonly Step[]): Promise<void>;
  /**
   * Why the database takes no more writes, in words without a path; `null` when it would take one.
   * @throws {Error} when it does not answer at all.
   */
  check(): Promise<string | null>;
  /** Stops running read-only queries; a borrowed database has none of its own. */
  interruptReads?(reason: string): void;
  close(): Promise<void>;
}

/** Bounds of a read-only query. */
export interface ReadLimits {
  /** Milliseconds; default 30,000. */
  readonly timeoutMs?: number;
  /** Rows; default 10,000. */
  readonly maxRows?: number;
  /** Size of all values together; default 64 MiB. More is an error, not a part. */
  readonly maxBytes?: number;
  /** Shows only this model version's rows in the views, and all requests to its model. */
  readonly scope?: { readonly model: string; readonly version: number };
}

/** Rows of a read-only query, and whether more were left out. */
export interface ReadResult {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  readonly isTruncated: boolean;
  /** DuckDB's name of each column's type, such as `BIGINT` or `DOUBLE[]`. */
  readonly types?: readonly string[];
}
