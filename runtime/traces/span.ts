/**
 * A span as the store keeps it, whoever made it, and the exact JSON of its attributes: 64-bit integers
 * and doubles stay apart.
 *
 * @see https://opentelemetry.io/docs/specs/otel/trace/api/
 * @module
 */

/** A value of an attribute; a `bigint` is an integer of 64 bits, a `number` a double. */
export type AttributeValue =
  | string
  | boolean
  | number
  | bigint
  | null
  | readonly AttributeValue[]
  | { readonly [key: string]: AttributeValue };

/** Attributes by name. */
export type SpanAttributes = Readonly<Record<string, AttributeValue>>;

/** Kinds by their number in OTLP. */
export const spanKinds = [
  "unspecified",
  "internal",
  "server",
  "client",
  "producer",
  "consumer",
] as const;

/** States by their number in OTLP. */
export const spanStatuses = ["unset", "ok", "error"] as const;

/** Something that happened within a span. */
export interface SpanEvent {
  readonly name: string;
  /** Microseconds of Unix time. */
  readonly us: number;
  readonly attributes: SpanAttributes;
}

/** Another span that a span has to do with. */
export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes: SpanAttributes;
}

/** One span that has ended. */
export interface SpanRecord {
  /** 32 lower-case hex digits. */
  readonly traceId: string;
  /** 16 lower-case hex digits. */
  readonly spanId: string;
  readonly parentId: string | null;
  readonly name: string;
  readonly kind: typeof spanKinds[number];
  /** Microseconds of Unix time. */
  readonly startedUs: number;
  readonly endedUs: number;
  readonly status: typeof spanStatuses[number];
  readonly statusMessage: string | null;
  readonly attributes: SpanAttributes;
  readonly events: readonly SpanEvent[];
  readonly links: readonly SpanLink[];
  /** What made it, such as `service.name`. */
  readonly resource: SpanAttributes;
  /** The library that made it. */
  readonly scope: string | null;
  readonly scopeVersion: string | null;
}

/** Values within values; protobuf's own parsers stop at 100 messages. */
export const MAX_DEPTH = 32;

/** Sets a property of any name, `__proto__` as well. */
export function setOwn(
  into: Record<string, AttributeValue>,
  key: string,
  value: AttributeValue,
): void {
  Object.defineProperty(into, key, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  });
}

/** A random id of so many bytes, in hex: 16 for a trace, 8 for a span. */
export function makeId(bytes: 8 | 16): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toHex();
}

/** Engines have both for exact numbers; TypeScript's library does not know them yet. */
const exactJson = JSON as unknown as {
  rawJSON(text: string): unknown;
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  stringify(value: unknown, replacer: (key: string, value: unknown) => unknown): string;
};

/**
 * JSON in which an integer has no point and a double has one, or an exponent. What JSON has no number
 * for is a text: `NaN`, `Infinity`, `-Infinity`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseExact, writeExact } from "./span.ts";
 *
 * const text = writeExact({ n: 2n ** 63n - 1n, x: 1 });
 * assertEquals(text, '{"n":9223372036854775807,"x":1.0}');
 * assertEquals(parseExact(text), { n: 2n ** 63n - 1n, x: 1 });
 * ```
 */
export function writeExact(value: unknown): string {
  return exactJson.stringify(value, (_, value) => {
    if (typeof value === "bigint") return exactJson.rawJSON(String(value));
    if (typeof value !== "number") return value;
    if (!Number.isFinite(value)) return String(value);
    // -0 has no other text either.
    const text = Object.is(value, -0) ? "-0" : String(value);
    return exactJson.rawJSON(/^-?\d+$/.test(text) ? `${text}.0` : text);
  });
}

/** Reads JSON with integers as `bigint`, such as {@linkcode writeExact} gives. @throws {SyntaxError} */
export function parseExact(text: string): unknown {
  return exactJson.parse(
    text,
    (_, value, { source }) =>
      typeof value === "number" && source !== undefined && /^-?\d+$/.test(source)
        ? BigInt(source)
        : value,
  );
}
