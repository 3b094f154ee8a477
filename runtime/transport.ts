/** JSON that carries what JSON lacks: typed arrays, dates, big integers and non-finite numbers. */

const TAG = "$geophone";

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
    if (original instanceof Float64Array) return { [TAG]: "f64", value: toBase64(original) };
    if (original instanceof Float32Array) return { [TAG]: "f32", value: toBase64(original) };
    if (original instanceof Uint8Array) return { [TAG]: "u8", value: toBase64(original) };
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
      case "f64":
        return new Float64Array(fromBase64(value.value).buffer);
      case "f32":
        return new Float32Array(fromBase64(value.value).buffer);
      case "u8":
        return fromBase64(value.value);
      case "bigint":
        return BigInt(value.value);
      default:
        return Number(value.value);
    }
  });
}

function toBase64(values: ArrayBufferView): string {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).toBase64();
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(text);
}
