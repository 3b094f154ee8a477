/**
 * Reads the protobuf form of `ExportTraceServiceRequest`.
 *
 * @see https://github.com/open-telemetry/opentelemetry-proto/tree/v1.9.0/opentelemetry/proto
 * @module
 */
import { type AttributeValue, MAX_DEPTH, setOwn } from "../span.ts";
import { makeRawSpan, type RawGroup, type RawSpan } from "./message.ts";
import { asBytes, asInteger, asText, type Field, readFields } from "./wire.ts";

/** Reads a request. @throws {SyntaxError} when the bytes are none. */
export function readProtobuf(bytes: Uint8Array): RawGroup[] {
  return [...readFields(bytes)].flatMap((field) =>
    field.number === 1 ? readResourceSpans(asBytes(field)) : []
  );
}

function readResourceSpans(bytes: Uint8Array): RawGroup[] {
  const resource: Record<string, AttributeValue> = {};
  const scopes: Uint8Array[] = [];
  for (const field of readFields(bytes)) {
    // A message that comes in parts is all of them.
    if (field.number === 1) addAttributes(resource, asBytes(field), 1);
    else if (field.number === 2) scopes.push(asBytes(field));
  }
  return scopes.map((scope) => ({ resource, ...readScopeSpans(scope) }));
}

function readScopeSpans(bytes: Uint8Array): Omit<RawGroup, "resource"> {
  let scope = "";
  let scopeVersion = "";
  const spans: RawSpan[] = [];
  for (const field of readFields(bytes)) {
    if (field.number === 1) {
      for (const part of readFields(asBytes(field))) {
        if (part.number === 1) scope = asText(part);
        else if (part.number === 2) scopeVersion = asText(part);
      }
    } else if (field.number === 2) spans.push(readSpan(asBytes(field)));
  }
  return { scope, scopeVersion, spans };
}

function readSpan(bytes: Uint8Array): RawSpan {
  const span = makeRawSpan();
  const attributes: Record<string, AttributeValue> = {};
  span.attributes = attributes;
  for (const field of readFields(bytes)) {
    switch (field.number) {
      case 1:
        span.traceId = asBytes(field).toHex();
        break;
      case 2:
        span.spanId = asBytes(field).toHex();
        break;
      case 4:
        span.parentId = asBytes(field).toHex();
        break;
      case 5:
        span.name = asText(field);
        break;
      case 6:
        span.kind = readEnum(field);
        break;
      case 7:
        span.startNs = asInteger(field, "fixed64");
        break;
      case 8:
        span.endNs = asInteger(field, "fixed64");
        break;
      case 9:
        addAttribute(attributes, asBytes(field));
        break;
      case 11:
        span.events.push(readEvent(asBytes(field)));
        break;
      case 13:
        span.links.push(readLink(asBytes(field)));
        break;
      case 15:
        for (const part of readFields(asBytes(field))) {
          if (part.number === 2) span.message = asText(part);
          else if (part.number === 3) span.code = readEnum(part);
        }
    }
  }
  return span;
}

function readEvent(bytes: Uint8Array): RawSpan["events"][number] {
  let ns = 0n;
  let name = "";
  const attributes: Record<string, AttributeValue> = {};
  for (const field of readFields(bytes)) {
    if (field.number === 1) ns = asInteger(field, "fixed64");
    else if (field.number === 2) name = asText(field);
    else if (field.number === 3) addAttribute(attributes, asBytes(field));
  }
  return { ns, name, attributes };
}

function readLink(bytes: Uint8Array): RawSpan["links"][number] {
  let traceId = "";
  let spanId = "";
  const attributes: Record<string, AttributeValue> = {};
  for (const field of readFields(bytes)) {
    if (field.number === 1) traceId = asBytes(field).toHex();
    else if (field.number === 2) spanId = asBytes(field).toHex();
    else if (field.number === 4) addAttribute(attributes, asBytes(field));
  }
  return { traceId, spanId, attributes };
}

/** Adds the `KeyValue`s that are fields of one number of a message. */
function addAttributes(into: Record<string, AttributeValue>, bytes: Uint8Array, number: number) {
  for (const field of readFields(bytes)) {
    if (field.number === number) addAttribute(into, asBytes(field));
  }
}

function addAttribute(into: Record<string, AttributeValue>, bytes: Uint8Array, depth = 0): void {
  let key = "";
  let value: AttributeValue = null;
  for (const field of readFields(bytes)) {
    if (field.number === 1) key = asText(field);
    else if (field.number === 2) value = readValue(asBytes(field), depth);
  }
  setOwn(into, key, value);
}

/** Reads an `AnyValue`; one without a value is `null`. */
function readValue(bytes: Uint8Array, depth: number): AttributeValue {
  if (depth > MAX_DEPTH) throw new SyntaxError(`Values lie more than ${MAX_DEPTH} deep`);
  let value: AttributeValue = null;
  for (const field of readFields(bytes)) {
    if (field.number === 1) value = asText(field);
    else if (field.number === 2) value = asInteger(field, "varint") !== 0n;
    else if (field.number === 3) value = BigInt.asIntN(64, asInteger(field, "varint"));
    else if (field.number === 4) value = toDouble(asInteger(field, "fixed64"));
    else if (field.number === 5) {
      value = [...readFields(asBytes(field))].flatMap((entry) =>
        entry.number === 1 ? [readValue(asBytes(entry), depth + 1)] : []
      );
    } else if (field.number === 6) {
      const list: Record<string, AttributeValue> = {};
      for (const entry of readFields(asBytes(field))) {
        if (entry.number === 1) addAttribute(list, asBytes(entry), depth + 1);
      }
      value = list;
    } else if (field.number === 7) value = { bytesValue: asBytes(field).toBase64() };
  }
  return value;
}

function readEnum(field: Field): number {
  return Number(BigInt.asIntN(32, asInteger(field, "varint")));
}

const doubles = new DataView(new ArrayBuffer(8));

function toDouble(bits: bigint): number {
  doubles.setBigUint64(0, bits);
  return doubles.getFloat64(0);
}
