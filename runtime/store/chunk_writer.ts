/**
 * Fills DuckDB data chunks. Numbers in typed arrays are copied as they lie in memory, other values
 * one by one.
 *
 * @module
 */
import type { DuckDBDataChunk, DuckDBType } from "@duckdb/node-api";
import type Bindings from "@duckdb/node-bindings";
import type { Vector } from "@duckdb/node-bindings";
import type { ColumnValues, NumberLists } from "./database_contract.ts";

type DuckDB = typeof import("@duckdb/node-api");

/** Part of a column that goes into one chunk. */
interface Part {
  readonly vector: Vector;
  readonly start: number;
  readonly rows: number;
}

/** Writes columns into the chunks of one table. */
export class ChunkWriter {
  readonly #duckdb: DuckDB;
  readonly #bindings: typeof Bindings;

  constructor(duckdb: DuckDB, bindings: typeof Bindings) {
    this.#duckdb = duckdb;
    this.#bindings = bindings;
  }

  /**
   * Gives a chunk with the values `start` to `end` of columns in a table's order; a column that is
   * left out is NULL.
   * @throws {TypeError} when a value is not of its column's type.
   */
  fill(
    types: readonly DuckDBType[],
    columns: readonly (ColumnValues | undefined)[],
    { start, end }: { readonly start: number; readonly end: number },
  ): DuckDBDataChunk {
    const chunk = this.#duckdb.DuckDBDataChunk.create(types, end - start);
    types.forEach((type, j) => this.#column(chunk, j, { type, values: columns[j], start, end }));
    return chunk;
  }

  #column(
    chunk: DuckDBDataChunk,
    column: number,
    { type, values, start, end }: {
      readonly type: DuckDBType;
      readonly values: ColumnValues | undefined;
      readonly start: number;
      readonly end: number;
    },
  ): void {
    const { DuckDBTypeId, JSToDuckDBValueConverter } = this.#duckdb;
    const rows = end - start;
    const part: Part = {
      vector: this.#bindings.data_chunk_get_vector(chunk.chunk, column),
      start,
      rows,
    };
    if (values === undefined) {
      const nulls = new Array<null>(rows).fill(null);
      return chunk.setColumnValuesConverted(column, nulls, JSToDuckDBValueConverter);
    }
    if (isLists(values)) return this.#lists(part, values, type);
    if (type.typeId === DuckDBTypeId.DOUBLE) return this.#numbers(part, values, Float64Array);
    if (type.typeId === DuckDBTypeId.INTEGER) return this.#numbers(part, values, Int32Array);
    if (type.typeId === DuckDBTypeId.VARCHAR && !(values instanceof Float64Array)) {
      return this.#texts(part, values);
    }
    if (type.typeId === DuckDBTypeId.TIMESTAMP && !(values instanceof Float64Array)) {
      return this.#timestamps(part, values);
    }
    const plain = values instanceof Float64Array
      ? Array.from(values.subarray(start, end), (value) => Number.isNaN(value) ? null : value)
      : values.slice(start, end);
    chunk.setColumnValuesConverted(column, plain as never[], JSToDuckDBValueConverter);
  }

  #numbers(
    { vector, start, rows }: Part,
    values: Exclude<ColumnValues, NumberLists>,
    Store: typeof Float64Array | typeof Int32Array,
  ): void {
    const items = new Store(rows);
    for (let i = 0; i < rows; i++) {
      const value = values[start + i] as number | bigint | boolean | null | undefined;
      if (value === null || value === undefined) continue;
      items[i] = Number(value);
      if (items[i] !== Number(value) && (value === value || items instanceof Int32Array)) {
        throw new TypeError(`Cannot store ${String(value)}: the column holds whole numbers`);
      }
    }
    this.#copy(vector, items);
    // Only a typed array has no other way to say that there is no value.
    const isTyped = values instanceof Float64Array;
    this.#validity(vector, rows, (i) => {
      const value = values[start + i];
      return value !== null && value !== undefined && !(isTyped && value !== value);
    });
  }

  #texts({ vector, start, rows }: Part, values: readonly unknown[]): void {
    const { vector_assign_string_element: assign, vector_assign_string_element_len: assignBytes } =
      this.#bindings;
    for (let i = 0; i < rows; i++) {
      const value = values[start + i];
      if (typeof value === "string") {
        // The short form ends at the first NUL.
        if (value.includes("\0")) assignBytes(vector, i, new TextEncoder().encode(value));
        else assign(vector, i, value);
      } else if (value !== null && value !== undefined) {
        throw new TypeError(`Cannot store ${String(value)}: the column holds text`);
      }
    }
    this.#validity(vector, rows, (i) => typeof values[start + i] === "string");
  }

  #timestamps({ vector, start, rows }: Part, values: readonly unknown[]): void {
    const items = new BigInt64Array(rows);
    for (let i = 0; i < rows; i++) {
      const value = values[start + i];
      if (value instanceof Date) items[i] = BigInt(value.getTime()) * 1000n;
      else if (value !== null && value !== undefined) {
        throw new TypeError(`Cannot store ${String(value)}: the column holds points in time`);
      }
    }
    this.#copy(vector, items);
    this.#validity(vector, rows, (i) => values[start + i] instanceof Date);
  }

  #lists({ vector, start, rows }: Part, lists: NumberLists, type: DuckDBType): void {
    const { DuckDBListType, DuckDBTypeId } = this.#duckdb;
    const itemType = type instanceof DuckDBListType ? type.valueType.typeId : undefined;
    if (itemType !== DuckDBTypeId.DOUBLE && itemType !== DuckDBTypeId.FLOAT) {
      throw new TypeError(`Cannot store lists of numbers: the column is ${type}`);
    }
    const { values, lengths } = lists;
    let from = 0;
    for (let i = 0; i < start; i++) from += lengths[i];
    const entries = new BigUint64Array(rows * 2);
    let size = 0;
    for (let i = 0; i < rows; i++) {
      entries[2 * i] = BigInt(size);
      entries[2 * i + 1] = BigInt(lengths[start + i]);
      size += lengths[start + i];
    }
    const part = values.subarray(from, from + size);
    const items = itemType === DuckDBTypeId.DOUBLE
      ? part instanceof Float64Array ? part : Float64Array.from(part)
      : part instanceof Float32Array
      ? part
      : Float32Array.from(part);
    this.#bindings.list_vector_reserve(vector, size);
    this.#bindings.list_vector_set_size(vector, size);
    const child = this.#bindings.list_vector_get_child(vector);
    this.#copy(child, items);
    this.#validity(child, size, (i) => items[i] === items[i]);
    this.#copy(vector, entries);
  }

  #copy(vector: Vector, { buffer, byteOffset, byteLength }: ArrayBufferView): void {
    if (byteLength === 0) return;
    this.#bindings.copy_data_to_vector(vector, 0, buffer as ArrayBuffer, byteOffset, byteLength);
  }

  /** Marks the items for which `isValid` says no as NULL. */
  #validity(vector: Vector, rows: number, isValid: (index: number) => boolean): void {
    let words: Uint32Array<ArrayBuffer> | undefined;
    for (let i = 0; i < rows; i++) {
      if (isValid(i)) continue;
      // DuckDB's masks are 64-bit words, one bit an item; two halves here, as the machine orders them.
      words ??= new Uint32Array(Math.ceil(rows / 64) * 2).fill(0xffffffff);
      words[i >>> 5] &= ~(1 << (i & 31));
    }
    if (words === undefined) return;
    this.#bindings.vector_ensure_validity_writable(vector);
    this.#bindings.copy_data_to_vector_validity(vector, 0, words.buffer, 0, words.byteLength);
  }
}

function isLists(values: ColumnValues): values is NumberLists {
  return "lengths" in values;
}
