/**
 * Reads and writes messages of protobuf, as far as OTLP has it.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 * @module
 */

/** One field of a message, as its wire type gives it. */
export type Field =
  | { readonly number: number; readonly type: "varint" | "fixed64"; readonly value: bigint }
  | { readonly number: number; readonly type: "fixed32"; readonly value: number }
  | { readonly number: number; readonly type: "bytes"; readonly value: Uint8Array };

const WIRE_TYPES = ["varint", "fixed64", "bytes", null, null, "fixed32"] as const;

/** Longest varint: ten bytes hold 64 bits. */
const VARINT_BYTES = 10;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Gives the fields of a message in their order, the unknown among them.
 * @throws {SyntaxError} when the bytes are no message.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readFields } from "./wire.ts";
 *
 * assertEquals([...readFields(Uint8Array.of(0x08, 0x96, 0x01))], [
 *   { number: 1, type: "varint", value: 150n },
 * ]);
 * ```
 */
export function* readFields(bytes: Uint8Array): Generator<Field> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = 0;
  const readVarint = (): bigint => {
    let value = 0n;
    for (let i = 0; i < VARINT_BYTES; i++) {
      if (offset >= bytes.length) throw truncated();
      const byte = bytes[offset++];
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new SyntaxError("A varint has more than ten bytes");
  };
  const take = (length: number): number => {
    if (length > bytes.length - offset) throw truncated();
    offset += length;
    return offset - length;
  };
  while (offset < bytes.length) {
    const tag = readVarint();
    const number = Number(tag >> 3n);
    const type = WIRE_TYPES[Number(tag & 7n)] ?? null;
    if (type === null || number === 0 || number > MAX_FIELD) {
      throw new SyntaxError(`There is no field ${number} of wire type ${tag & 7n}`);
    }
    if (type === "varint") yield { number, type, value: readVarint() };
    else if (type === "fixed64") yield { number, type, value: view.getBigUint64(take(8), true) };
    else if (type === "fixed32") yield { number, type, value: view.getUint32(take(4), true) };
    else {
      const length = readVarint();
      const start = take(length > BigInt(bytes.length) ? bytes.length + 1 : Number(length));
      yield { number, type, value: bytes.subarray(start, offset) };
    }
  }
}

/** Largest number of a field. */
const MAX_FIELD = 2 ** 29 - 1;

/** A field as a message or bytes. @throws {SyntaxError} when it has another type. */
export function asBytes(field: Field): Uint8Array {
  if (field.type === "bytes") return field.value;
  throw new SyntaxError(`Field ${field.number} has wire type ${field.type}, not bytes`);
}

/** A field as text. @throws {SyntaxError} when it has another type, or is no UTF-8. */
export function asText(field: Field): string {
  try {
    return decoder.decode(asBytes(field));
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
    throw new SyntaxError(`Field ${field.number} is no UTF-8`, { cause: error });
  }
}

/** A field as an integer of 64 bits. @throws {SyntaxError} when it has another type. */
export function asInteger(field: Field, type: "varint" | "fixed64"): bigint {
  if (field.type === type) return field.value;
  throw new SyntaxError(`Field ${field.number} has wire type ${field.type}, not ${type}`);
}

function truncated(): SyntaxError {
  return new SyntaxError("It ends within a field");
}

/** A field of wire type bytes, for a message or a text. */
export function writeBytes(number: number, value: Uint8Array | string): Uint8Array<ArrayBuffer> {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return concat([writeVarint(number, 2, BigInt(bytes.length)), bytes]);
}

/** A field of wire type varint. */
export function writeInteger(number: number, value: number): Uint8Array<ArrayBuffer> {
  return writeVarint(number, 0, BigInt(value));
}

/** One after the other. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function writeVarint(number: number, type: number, value: bigint): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  for (let rest of [BigInt(number << 3 | type), BigInt.asUintN(64, value)]) {
    for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
    bytes.push(Number(rest));
  }
  return Uint8Array.from(bytes);
}
