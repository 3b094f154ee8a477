/** A database that is somewhere else: what both a thread and another process are asked. */
import type {
  ColumnResult,
  Database,
  ReadLimits,
  ReadResult,
  Row,
  SqlValue,
  Step,
} from "./database_contract.ts";

/** Methods of a database that travel. */
export const remoteMethods = [
  "query",
  "readColumns",
  "queryReadOnly",
  "transaction",
  "check",
] as const;

/** One of {@linkcode remoteMethods}. */
export type RemoteMethod = typeof remoteMethods[number];

/** Asks by {@linkcode RemoteDatabase.call}, however that travels. */
export abstract class RemoteDatabase implements Database {
  /** Asks the database, and gives what it answers. */
  protected abstract call(method: RemoteMethod, args: readonly unknown[]): Promise<unknown>;

  abstract close(): Promise<void>;

  query<R extends Row = Row>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    return this.call("query", [sql, params ?? []]) as Promise<R[]>;
  }

  readColumns(sql: string, params?: readonly SqlValue[]): Promise<ColumnResult> {
    return this.call("readColumns", [sql, params ?? []]) as Promise<ColumnResult>;
  }

  queryReadOnly(sql: string, limits?: ReadLimits): Promise<ReadResult> {
    return this.call("queryReadOnly", [sql, limits ?? {}]) as Promise<ReadResult>;
  }

  async transaction(steps: readonly Step[]): Promise<void> {
    await this.call("transaction", [steps]);
  }

  check(): Promise<string | null> {
    return this.call("check", []) as Promise<string | null>;
  }
}
