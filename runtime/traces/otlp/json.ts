/**
 * The JSON form of OTLP: reading requests, and writing stored spans as one.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 * @module
 */
import {
  type AttributeValue,
  MAX_DEPTH,
  parseExact,
  setOwn,
  type SpanAttributes,
  spanKinds,
  type SpanRecord,
  spanStatuses,
} from "../span.ts";
import { makeRawSpan, type RawGroup, type RawSpan } from "./message.ts";

type Json = Readonly<Record<string, unknown>>;

/** Reads a request. @throws {SyntaxError} when the text is none. */
export function readJson(text: string): RawGroup[] {
  const request = toObject(parseExact(text), "The request");
  return list(request, "resourceSpans").flatMap((resourceSpans) => {
    const resource = readAttributes(object(resourceSpans, "resource"));
    return list(resourceSpans, "scopeSpans").map((scopeSpans) => {
      const scope = object(scopeSpans, "scope");
      return {
        resource,
        scope: readText(scope, "name"),
        scopeVersion: readText(scope, "version"),
        spans: list(scopeSpans, "spans").map(readSpan),
      };
    });
  });
}

function readSpan(span: Json): RawSpan {
  const status = object(span, "status");
  return {
    ...makeRawSpan(),
    traceId: readText(span, "traceId"),
    spanId: readText(span, "spanId"),
    parentId: readText(span, "parentSpanId"),
    name: readText(span, "name"),
    kind: readEnum(span, "kind"),
    startNs: readInteger(span.startTimeUnixNano, "startTimeUnixNano", 64),
    endNs: readInteger(span.endTimeUnixNano, "endTimeUnixNano", 64),
    attributes: readAttributes(span),
    events: list(span, "events").map((event) => ({
      ns: readInteger(event.timeUnixNano, "timeUnixNano", 64),
      name: readText(event, "name"),
      attributes: readAttributes(event),
    })),
    links: list(span, "links").map((link) => ({
      traceId: readText(link, "traceId"),
      spanId: readText(link, "spanId"),
      attributes: readAttributes(link),
    })),
    code: readEnum(status, "code"),
    message: readText(status, "message"),
  };
}

function readAttributes(owner: Json, name = "attributes", depth = 0): SpanAttributes {
  const attributes: Record<string, AttributeValue> = {};
  for (const entry of list(owner, name)) {
    setOwn(attributes, readText(entry, "key"), readValue(entry.value, depth));
  }
  return attributes;
}

function readValue(given: unknown, depth: number): AttributeValue {
  if (depth > MAX_DEPTH) throw new SyntaxError(`Values lie more than ${MAX_DEPTH} deep`);
  if (given === undefined || given === null) return null;
  const value = toObject(given, "A value");
  if (isGiven(value.stringValue)) return readText(value, "stringValue");
  if (isGiven(value.boolValue)) {
    if (typeof value.boolValue === "boolean") return value.boolValue;
    throw new SyntaxError('"boolValue" is no boolean');
  }
  if (isGiven(value.intValue)) return readInteger(value.intValue, "intValue", -64);
  if (isGiven(value.doubleValue)) return readDouble(value.doubleValue);
  if (isGiven(value.arrayValue)) {
    return list(object(value, "arrayValue"), "values", (entry) => readValue(entry, depth + 1));
  }
  if (isGiven(value.kvlistValue)) {
    return readAttributes(object(value, "kvlistValue"), "values", depth + 1);
  }
  if (isGiven(value.bytesValue)) return { bytesValue: readText(value, "bytesValue") };
  return null;
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** An integer of so many bits, signed when negative: JSON has it as a number or as a text. */
function readInteger(value: unknown, name: string, bits: 64 | -64): bigint {
  if (!isGiven(value)) return 0n;
  const isWritten = typeof value === "string" && /^-?\d{1,20}$/.test(value);
  if (typeof value !== "bigint" && !isWritten) {
    throw new SyntaxError(`"${name}" is no integer`);
  }
  const integer = BigInt(value as string | bigint);
  const fits = (bits < 0 ? BigInt.asIntN(64, integer) : BigInt.asUintN(64, integer)) === integer;
  if (!fits) throw new SyntaxError(`"${name}" does not fit 64 bits`);
  return integer;
}

function readDouble(value: unknown): number {
  if (typeof value === "number" || typeof value === "bigint") return Number(value);
  if (typeof value === "string" && value.trim() !== "") {
    const number = Number(value);
    if (!Number.isNaN(number) || value === "NaN") return number;
  }
  throw new SyntaxError('"doubleValue" is no number');
}

/** An enumeration by number, or by name as protobuf's own JSON has it. */
function readEnum(owner: Json, name: string): number {
  const value = owner[name];
  if (typeof value === "string" && !/^\d+$/.test(value)) {
    const names: readonly string[] = name === "kind" ? spanKinds : spanStatuses;
    return names.indexOf(value.replace(/^(SPAN_KIND|STATUS_CODE)_/, "").toLowerCase());
  }
  return Number(readInteger(value, name, -64));
}

function object(owner: Json, name: string): Json {
  return isGiven(owner[name]) ? toObject(owner[name], `"${name}"`) : {};
}

function toObject(value: unknown, what: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new SyntaxError(`${what} is no object`);
}

function list<T = Json>(
  owner: Json,
  name: string,
  read: (entry: unknown) => T = (entry) => toObject(entry, `An entry of "${name}"`) as T,
): T[] {
  const value = owner[name];
  if (!isGiven(value)) return [];
  if (Array.isArray(value)) return value.map(read);
  throw new SyntaxError(`"${name}" is no list`);
}

/** A text, in which half a character is none. */
function readText(owner: Json, name: string): string {
  const value = owner[name];
  if (!isGiven(value)) return "";
  if (typeof value === "string") return value.toWellFormed();
  throw new SyntaxError(`"${name}" is no text`);
}

/** Writes spans as a request, in groups of their resource and scope. */
export function writeJson(spans: readonly SpanRecord[]): string {
  const groups = new Map<string, SpanRecord[]>();
  for (const span of spans) {
    const key = JSON.stringify([span.scope, span.scopeVersion, writeAttributes(span.resource)]);
    const group = groups.get(key);
    if (group) group.push(span);
    else groups.set(key, [span]);
  }
  return JSON.stringify({
    resourceSpans: [...groups.values()].map((group) => ({
      resource: { attributes: writeAttributes(group[0].resource) },
      scopeSpans: [{
        scope: {
          ...(group[0].scope === null ? {} : { name: group[0].scope }),
          ...(group[0].scopeVersion === null ? {} : { version: group[0].scopeVersion }),
        },
        spans: group.map(writeSpan),
      }],
    })),
  });
}

function writeSpan(span: SpanRecord): Json {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentId === null ? {} : { parentSpanId: span.parentId }),
    name: span.name,
    kind: spanKinds.indexOf(span.kind),
    startTimeUnixNano: toNs(span.startedUs),
    endTimeUnixNano: toNs(span.endedUs),
    attributes: writeAttributes(span.attributes),
    events: span.events.map(({ name, us, attributes }) => ({
      timeUnixNano: toNs(us),
      name,
      attributes: writeAttributes(attributes),
    })),
    links: span.links.map(({ attributes, ...link }) => ({
      ...link,
      attributes: writeAttributes(attributes),
    })),
    status: {
      code: spanStatuses.indexOf(span.status),
      ...(span.statusMessage === null ? {} : { message: span.statusMessage }),
    },
  };
}

function writeAttributes(attributes: SpanAttributes): Json[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: writeValue(value) }));
}

function writeValue(value: AttributeValue): Json {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value === "bigint") return { intValue: String(value) };
  if (typeof value === "number") return { doubleValue: value };
  if (value === null) return {};
  if (Array.isArray(value)) return { arrayValue: { values: value.map(writeValue) } };
  const entries = Object.entries(value);
  const [[key, bytes] = []] = entries;
  if (entries.length === 1 && key === "bytesValue" && typeof bytes === "string") {
    return { bytesValue: bytes };
  }
  return { kvlistValue: { values: writeAttributes(value as SpanAttributes) } };
}

function toNs(us: number): string {
  return String(BigInt(us) * 1000n);
}
