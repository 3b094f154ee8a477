/** JSON that carries what JSON lacks: typed arrays, dates, big integers and non-finite numbers. */

const TAG = "$geophone";

/** Typed arrays by the names under which they travel. */
const arrays = {
  f64: Float64Array,
  f32: Float32Array,
  i32: Int32Array,
  u32: Uint32Array,
  u8: Uint8Array,
} as const;

/**
 * Encodes a value as JSON text; {@linkcode decodeJson} gives it back.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { decodeJson, encodeJson } from "./transport.ts";
 *
 * const value = { x: new Float64Array([1, NaN]), at: new Date(0), n: 2n, r: Infinity };
 * assertEquals(decodeJson(encodeJson(value)), value);
 * ```
 */
export function encodeJson(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key, plain) {
    // JSON.stringify calls toJSON first; the holder still has the original.
    const original = this[key];
    if (original instanceof Date) return { [TAG]: "date", value: original.getTime() };
    if (ArrayBuffer.isView(original)) {
      return { [TAG]: nameArray(original), value: toBase64(original) };
    }
    if (typeof original === "bigint") return { [TAG]: "bigint", value: String(original) };
    if (typeof original === "number" && !Number.isFinite(original)) {
      return { [TAG]: "number", value: String(original) };
    }
    return plain;
  });
}

/** Decodes what {@linkcode encodeJson} wrote. @throws {SyntaxError} on anything but JSON. */
export function decodeJson(text: string): unknown {
  return JSON.parse(text, (_key, value) => {
    if (typeof value !== "object" || value === null || !(TAG in value)) return value;
    switch (value[TAG]) {
      case "date":
        return new Date(value.value);
      case "bigint":
        return BigInt(value.value);
      case "number":
        return Number(value.value);
      default:
        return new arrays[value[TAG] as keyof typeof arrays](
          Uint8Array.fromBase64(value.value).buffer,
        );
    }
  });
}

function nameArray(array: ArrayBufferView): string {
  const found = Object.entries(arrays).find(([, Type]) => array.constructor === Type);
  if (found) return found[0];
  throw new TypeError(`Cannot send a ${array.constructor.name}: it has no form in JSON`);
}

function toBase64(values: ArrayBufferView): string {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).toBase64();
}
