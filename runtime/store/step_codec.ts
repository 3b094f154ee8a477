/**
 * Rows to append as bytes: what a journal keeps and what goes to another thread without a copy.
 *
 * A frame is a header in JSON and, behind it, the numbers as they lie in memory (little-endian).
 *
 * @module
 */
import type { AppendStep, ColumnValues } from "./database_contract.ts";

/** How one column stands in a frame; offsets and lengths count from the first number, in bytes. */
type EncodedColumn =
  | { readonly type: "plain"; readonly values: readonly unknown[] }
  | { readonly type: "same"; readonly value: unknown; readonly count: number }
  | { readonly type: "times"; readonly at: number; readonly count: number }
  | { readonly type: "numbers"; readonly at: number; readonly count: number }
  | {
    readonly type: "lists";
    readonly width: 4 | 8;
    readonly at: number;
    readonly count: number;
    readonly lengthsAt: number;
    readonly rows: number;
  };

interface EncodedStep {
  readonly append: string;
  readonly columns: Readonly<Record<string, EncodedColumn>>;
}

/** Numbers begin at multiples of this, so that typed arrays can lie on them. */
const ALIGNMENT = 8;

/**
 * Encodes appends. Values are texts, numbers, booleans, `null` and, in columns of nothing else but
 * `null`, dates.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeSteps, encodeSteps } from "./step_codec.ts";
 *
 * const steps = [{
 *   append: "core.readings",
 *   columns: { well: ["P-129", null], time: [new Date(0), null], value: Float64Array.of(1.5, NaN) },
 * }];
 * assertEquals(decodeSteps(encodeSteps(steps)), steps);
 * ```
 */
export function encodeSteps(steps: readonly AppendStep[]): Uint8Array<ArrayBuffer> {
  const parts: ArrayBufferView[] = [];
  let size = 0;
  const place = (part: ArrayBufferView): number => {
    const at = size;
    parts.push(part);
    size = align(size + part.byteLength);
    return at;
  };
  const encoded: EncodedStep[] = steps.map(({ append, columns }) => ({
    append,
    columns: Object.fromEntries(
      Object.entries(columns).map(([name, values]) => [name, encodeColumn(values, place)]),
    ),
  }));
  const header = new TextEncoder().encode(JSON.stringify(encoded));
  const start = align(4 + header.length);
  const bytes = new Uint8Array(start + size);
  new DataView(bytes.buffer).setUint32(0, header.length, true);
  bytes.set(header, 4);
  let at = start;
  for (const { buffer, byteOffset, byteLength } of parts) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at = align(at + byteLength);
  }
  return bytes;
}

function encodeColumn(
  values: ColumnValues,
  place: (part: ArrayBufferView) => number,
): EncodedColumn {
  if ("lengths" in values) {
    const { values: numbers, lengths } = values;
    return {
      type: "lists",
      width: numbers instanceof Float64Array ? 8 : 4,
      at: place(numbers),
      count: numbers.length,
      lengthsAt: place(lengths),
      rows: lengths.length,
    };
  }
  if (values instanceof Float64Array) {
    return { type: "numbers", at: place(values), count: values.length };
  }
  const [first] = values;
  if (values.some((value) => value instanceof Date)) {
    const times = Float64Array.from(values, (value) => value === null ? NaN : Number(value));
    return { type: "times", at: place(times), count: times.length };
  }
  // What all requests of a moment share, such as the model's name, is written once.
  if (values.length > 1 && values.every((value) => value === first)) {
    return { type: "same", value: first, count: values.length };
  }
  return { type: "plain", values };
}

/**
 * Decodes what {@linkcode encodeSteps} gave; typed arrays lie on the given bytes when these begin at
 * a multiple of 8, and are copies otherwise.
 * @throws {SyntaxError | RangeError} when the bytes are no frame.
 */
export function decodeSteps(bytes: Uint8Array): AppendStep[] {
  const aligned = bytes.byteOffset % ALIGNMENT === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset, byteLength } = aligned;
  const headerLength = new DataView(buffer, byteOffset, byteLength).getUint32(0, true);
  const text = new TextDecoder().decode(aligned.subarray(4, 4 + headerLength));
  const start = byteOffset + align(4 + headerLength);
  return (JSON.parse(text) as EncodedStep[]).map(({ append, columns }) => ({
    append,
    columns: Object.fromEntries(
      Object.entries(columns).map(([name, column]) => [name, decodeColumn(column, buffer, start)]),
    ),
  }));
}

function decodeColumn(column: EncodedColumn, buffer: ArrayBufferLike, start: number): ColumnValues {
  switch (column.type) {
    case "plain":
      return column.values;
    case "same":
      return new Array(column.count).fill(column.value);
    case "times":
      return Array.from(
        new Float64Array(buffer, start + column.at, column.count),
        (time) => Number.isNaN(time) ? null : new Date(time),
      );
    case "numbers":
      return new Float64Array(buffer, start + column.at, column.count);
    case "lists":
      return {
        values: column.width === 8
          ? new Float64Array(buffer, start + column.at, column.count)
          : new Float32Array(buffer, start + column.at, column.count),
        lengths: new Uint32Array(buffer, start + column.lengthsAt, column.rows),
      };
  }
}

/** Puts appends to the same table together, so that each table is appended to once. */
export function mergeAppends(steps: readonly AppendStep[]): AppendStep[] {
  const tables = Map.groupBy(steps, (step) => step.append);
  return [...tables].map(([append, parts]) => {
    if (parts.length === 1) return parts[0];
    const names = new Set(parts.flatMap((part) => Object.keys(part.columns)));
    const columns: Record<string, ColumnValues> = {};
    for (const name of names) {
      columns[name] = joinColumns(
        parts.map((part) => part.columns[name] ?? new Array(countRows(part)).fill(null)),
      );
    }
    return { append, columns };
  });
}

function countRows({ columns }: AppendStep): number {
  const [values] = Object.values(columns);
  if (values === undefined) return 0;
  return "lengths" in values ? values.lengths.length : values.length;
}

function joinColumns(parts: readonly ColumnValues[]): ColumnValues {
  if (parts.every((part) => part instanceof Float64Array)) {
    return joinNumbers(parts, Float64Array);
  }
  if (parts.every((part) => "lengths" in part)) {
    const values = parts.map((part) => part.values);
    return {
      values: values.every((part) => part instanceof Float32Array)
        ? joinNumbers(values, Float32Array)
        : joinNumbers(values, Float64Array),
      lengths: joinNumbers(parts.map((part) => part.lengths), Uint32Array),
    };
  }
  return parts.flatMap((part) => toPlainArray(part));
}

function toPlainArray(values: ColumnValues): unknown[] {
  if ("lengths" in values) {
    throw new TypeError("Cannot join columns: one holds lists of numbers, another something else");
  }
  return values instanceof Float64Array
    ? Array.from(values, (value) => Number.isNaN(value) ? null : value)
    : values as unknown[];
}

type Numbers = Float64Array | Float32Array | Uint32Array;

function joinNumbers<T extends Numbers>(
  parts: readonly Numbers[],
  Store: new (length: number) => T,
): T {
  const joined = new Store(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function align(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}
