/** Numbers of tensors, as bytes or as JSON. */
import { HttpError } from "../http_error.ts";

/** Numbers in a form that holds them; float32 as it came, all else in double precision. */
export type Numbers = Float32Array | Float64Array;

interface NumericType {
  /** Bytes of one element. */
  readonly size: number;
  /** Reads elements from little-endian bytes whose length is a multiple of `size`. */
  readonly decode: (bytes: Uint8Array<ArrayBuffer>) => Numbers;
  /** Whether JSON may give this number; left out: any. */
  readonly isValid?: (value: number) => boolean;
}

/** Datatypes that are numbers. A record has no use for BOOL and BYTES, so no input takes them. */
const numericTypes: Readonly<Record<string, NumericType>> = {
  INT8: integer(1, (b) => new Int8Array(b), [-(2 ** 7), 2 ** 7 - 1]),
  INT16: integer(2, (b) => new Int16Array(b), [-(2 ** 15), 2 ** 15 - 1]),
  INT32: integer(4, (b) => new Int32Array(b), [-(2 ** 31), 2 ** 31 - 1]),
  INT64: integer(8, (b) => Float64Array.from(new BigInt64Array(b), Number), [-(2 ** 63), 2 ** 63]),
  UINT8: integer(1, (b) => new Uint8Array(b), [0, 2 ** 8 - 1]),
  UINT16: integer(2, (b) => new Uint16Array(b), [0, 2 ** 16 - 1]),
  UINT32: integer(4, (b) => new Uint32Array(b), [0, 2 ** 32 - 1]),
  UINT64: integer(8, (b) => Float64Array.from(new BigUint64Array(b), Number), [0, 2 ** 64]),
  FP16: { size: 2, decode: (bytes) => new Float64Array(new Float16Array(own(bytes))) },
  BF16: { size: 2, decode: decodeBfloat16 },
  FP32: { size: 4, decode: decodeFloat32 },
  FP64: { size: 8, decode: (bytes) => new Float64Array(own(bytes)) },
};

/** The datatypes that {@linkcode decodeNumbers} takes. */
export const numericTypeNames: readonly string[] = Object.keys(numericTypes);

/** Whether a datatype is numeric. */
export function isNumeric(datatype: string): boolean {
  return Object.hasOwn(numericTypes, datatype);
}

/**
 * Gives the `count` numbers of a tensor's bytes: float32 without a copy when they are aligned.
 * @throws {HttpError} when there are too many bytes or too few.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeNumbers } from "./tensors.ts";
 *
 * const bytes = new Uint8Array(Float32Array.of(1.5, NaN).buffer);
 * const numbers = decodeNumbers("input", "FP32", bytes, 2);
 * assertEquals(numbers, Float32Array.of(1.5, NaN));
 * assertEquals(numbers.buffer, bytes.buffer);
 * ```
 */
export function decodeNumbers(
  name: string,
  datatype: string,
  bytes: Uint8Array<ArrayBuffer>,
  count: number,
): Numbers {
  const { size, decode } = numericTypes[datatype];
  if (bytes.length !== count * size) {
    throw badTensor(
      name,
      `it has ${bytes.length} bytes where its shape and datatype ${datatype} ask for ${
        count * size
      }`,
    );
  }
  return decode(bytes);
}

/**
 * Gives the `count` numbers of a tensor's JSON data, flat or nested row by row.
 * @throws {HttpError} when there are too many values or too few, or one is no number of its datatype.
 */
export function readNumbers(
  name: string,
  datatype: string,
  data: unknown,
  shape: readonly number[],
): Float64Array {
  if (!Array.isArray(data)) {
    throw badTensor(name, '"data" is no array; give the values row by row, flat or nested');
  }
  const count = shape.reduce((a, b) => a * b, 1);
  const isValid = numericTypes[datatype].isValid ?? (() => true);
  const numbers = new Float64Array(count);
  let at = 0;
  const take = (values: readonly unknown[], depth: number): void => {
    const isNested = depth < shape.length - 1 && Array.isArray(values[0]);
    if (isNested && values.length !== shape[depth]) throw wrongCount();
    for (const value of values) {
      if (isNested && Array.isArray(value)) {
        const start = at;
        take(value, depth + 1);
        if (at - start !== count / sizeOf(shape, depth)) throw wrongCount();
      } else if (typeof value !== "number" || !isValid(value)) throw wrongValue(value);
      else if (at === count) throw wrongCount();
      else numbers[at++] = value;
    }
  };
  const wrongCount = () =>
    badTensor(name, `"data" is not of shape [${shape.join(", ")}], ${count} values`);
  const wrongValue = (value: unknown) =>
    badTensor(
      name,
      value === null
        ? "null is no value of the protocol; send the tensor in binary, where NaN is a missing value"
        : `value ${at} is ${JSON.stringify(value)?.slice(0, 40)}, not of datatype ${datatype}`,
    );
  take(data, 0);
  if (at !== count) throw wrongCount();
  return numbers;
}

/** Gives the refusal of a tensor. */
export function badTensor(name: string, state: string): HttpError {
  return new HttpError(`Cannot read tensor "${name.slice(0, 64)}": ${state}`, "invalid_input", {
    details: [{ field: name, message: state }],
  });
}

/** Number of parts of a tensor along the axes up to `depth`. */
function sizeOf(shape: readonly number[], depth: number): number {
  return shape.slice(0, depth + 1).reduce((a, b) => a * b, 1);
}

function integer(
  size: number,
  view: (bytes: ArrayBuffer) => ArrayLike<number>,
  [low, high]: readonly [number, number],
): NumericType {
  return {
    size,
    decode: (bytes) => new Float64Array(view(own(bytes))),
    isValid: (value) => Number.isInteger(value) && value >= low && value <= high,
  };
}

/** The bytes in memory of their own, where typed arrays of every type can begin. */
function own(bytes: Uint8Array<ArrayBuffer>): ArrayBuffer {
  // Not `slice`, which gives a view when the bytes are a Buffer.
  return new Uint8Array(bytes).buffer;
}

function decodeFloat32(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const { buffer, byteOffset, length } = bytes;
  if (byteOffset % 4 === 0) return new Float32Array(buffer, byteOffset, length / 4);
  return new Float32Array(own(bytes));
}

/** A bfloat16 is the upper half of a float32. */
function decodeBfloat16(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const halves = new Uint16Array(own(bytes));
  return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
}
