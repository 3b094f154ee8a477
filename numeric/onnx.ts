/**
 * Writes ONNX models and reads their metadata and fields, without a dependency.
 *
 * @see {@link https://github.com/onnx/onnx/blob/v1.16.0/onnx/onnx.proto} for the field numbers
 * @see {@link https://protobuf.dev/programming-guides/encoding/} for the wire format
 * @module
 */

/** Element types a tensor of a {@linkcode Graph} can have. */
export type ElementType = "float32" | "int64";

/** One axis of a tensor: a length, or a name for a length that is known at run time only. */
export type Dimension = number | string;

/** One attribute of a node; the key says which ONNX type it is written as. */
export type Attribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly ints: ArrayLike<number> }
  | { readonly floats: ArrayLike<number> }
  | { readonly strings: readonly string[] };

/** What {@linkcode Graph.toBytes} writes beside the graph. */
export interface ModelInfo {
  /** Version of the code that wrote the model. */
  readonly producerVersion?: string;
  /** Written as `metadata_props`, sorted by key. */
  readonly metadata?: Readonly<Record<string, string>>;
}

const irVersion = 8;
const opsets = [{ domain: "", version: 17 }, { domain: "ai.onnx.ml", version: 3 }];
const elementTypes: Record<ElementType, number> = { float32: 1, int64: 7 };

const wireTypes = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 };

/** Field numbers of the messages that are written or read here, as `onnx.proto` has them. */
export const fields = {
  model: { irVersion: 1, producerName: 2, producerVersion: 3, graph: 7, opset: 8, metadata: 14 },
  opset: { domain: 1, version: 2 },
  entry: { key: 1, value: 2 },
  graph: { node: 1, name: 2, initializer: 5, input: 11, output: 12 },
  node: { input: 1, output: 2, name: 3, op: 4, attribute: 5, domain: 7 },
  attribute: { name: 1, float: 2, int: 3, string: 4, floats: 7, ints: 8, strings: 9, type: 20 },
  tensor: { dims: 1, type: 2, name: 8, raw: 9 },
  value: { name: 1, type: 2 },
  type: { tensor: 1 },
  tensorType: { element: 1, shape: 2 },
  shape: { dimension: 1 },
  dimension: { value: 1, name: 2 },
};

const attributeTypes = { float: 1, int: 2, string: 3, floats: 6, ints: 7, strings: 8 };

const encoder = new TextEncoder();

/** Appends protobuf fields to a buffer that grows. */
export class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  #reserve(size: number): void {
    const needed = this.#length + size;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }

  /** Negative integers take ten bytes, as two's complement of 64 bits. */
  #varint(value: number): void {
    this.#reserve(10);
    if (value >= 0 && value < 0x80) {
      this.#bytes[this.#length++] = value;
      return;
    }
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest > 0x7fn) {
      this.#bytes[this.#length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  #tag(field: number, wireType: number): void {
    this.#varint(field * 8 + wireType);
  }

  int(field: number, value: number): void {
    this.#tag(field, wireTypes.varint);
    this.#varint(value);
  }

  ints(field: number, values: ArrayLike<number>): void {
    const packed = new Writer();
    for (let i = 0; i < values.length; i++) packed.#varint(values[i]);
    this.bytes(field, packed.finish());
  }

  float(field: number, value: number): void {
    this.#tag(field, wireTypes.fixed32);
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setFloat32(this.#length, value, true);
    this.#length += 4;
  }

  floats(field: number, values: ArrayLike<number>): void {
    this.bytes(field, toLittleEndian(Float32Array.from(values)));
  }

  string(field: number, value: string): void {
    this.bytes(field, encoder.encode(value));
  }

  bytes(field: number, value: Uint8Array): void {
    this.#tag(field, wireTypes.bytes);
    this.#varint(value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  message(field: number, write: (message: Writer) => void): void {
    const message = new Writer();
    write(message);
    this.bytes(field, message.finish());
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }
}

/** Every platform Deno runs on is little-endian, so the memory is already what ONNX wants. */
function toLittleEndian(data: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * An ONNX graph that is put together node by node, in topological order (ir_version 8, opset 17,
 * ai.onnx.ml 3). The same calls give the same bytes.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Graph, readMetadata } from "./onnx.ts";
 *
 * const graph = new Graph();
 * const x = graph.input("x", "float32", ["n", 2]);
 * const offset = graph.constant("offset", [2], new Float32Array([1, 2]));
 * graph.node("Add", [x, offset], ["y"]);
 * graph.output("y", "float32", ["n", 2]);
 * const bytes = graph.toBytes({ producerVersion: "1.0.0", metadata: { stage: "training" } });
 *
 * assertEquals(readMetadata(bytes), { stage: "training" });
 * ```
 *
 * @see {@link https://onnx.ai/onnx/operators/} for operators and their attributes
 */
export class Graph {
  readonly #body = new Writer();
  readonly #initializers = new Writer();
  readonly #inputs = new Writer();
  readonly #outputs = new Writer();
  readonly #tensors = new Set<string>();
  #nodeCount = 0;

  /**
   * Gives a tensor name that starts with `prefix` and is not taken yet: `prefix` itself, else
   * `prefix_2`, `prefix_3`, …
   */
  freshName(prefix: string): string {
    let name = prefix;
    for (let i = 2; this.#tensors.has(name); i++) name = `${prefix}_${i}`;
    return name;
  }

  /**
   * Declares a graph input and gives its name.
   * @throws {RangeError} when the name is taken.
   */
  input(name: string, type: ElementType, dims: readonly Dimension[]): string {
    this.#define(name);
    this.#inputs.message(fields.graph.input, (value) => writeValue(value, name, type, dims));
    return name;
  }

  /**
   * Declares that the tensor `name`, which a node or an input defined, leaves the graph.
   * @throws {RangeError} when no such tensor is defined.
   */
  output(name: string, type: ElementType, dims: readonly Dimension[]): void {
    if (!this.#tensors.has(name)) {
      throw new RangeError(`Cannot add output "${name}": no node defines it`);
    }
    this.#outputs.message(fields.graph.output, (value) => writeValue(value, name, type, dims));
  }

  /**
   * Adds a constant tensor, row-major, float32 or int64, and gives its name. `dims` `[]` makes a
   * scalar.
   * @throws {TypeError} when `data` does not fill `dims`.
   * @throws {RangeError} when the name is taken.
   */
  constant(name: string, dims: readonly number[], data: Float32Array | BigInt64Array): string {
    const size = dims.reduce((product, dim) => product * dim, 1);
    if (data.length !== size) {
      throw new TypeError(
        `Cannot add constant "${name}": ${data.length} values for shape [${dims.join(", ")}]`,
      );
    }
    this.#define(name);
    this.#initializers.message(fields.graph.initializer, (tensor) => {
      tensor.ints(fields.tensor.dims, dims);
      const type = data instanceof Float32Array ? "float32" : "int64";
      tensor.int(fields.tensor.type, elementTypes[type]);
      tensor.string(fields.tensor.name, name);
      tensor.bytes(fields.tensor.raw, toLittleEndian(data));
    });
    return name;
  }

  /**
   * Adds a node and gives the name of its first output. `""` among the inputs leaves out an
   * optional one.
   * @throws {RangeError} when an input is not defined yet or an output's name is taken.
   */
  node(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain: "" | "ai.onnx.ml" = "",
  ): string {
    for (const name of inputs) {
      if (name !== "" && !this.#tensors.has(name)) {
        throw new RangeError(`Cannot add node "${op}": input "${name}" is not defined`);
      }
    }
    for (const name of outputs) this.#define(name);
    const nodeName = `${op}_${this.#nodeCount++}`;
    this.#body.message(fields.graph.node, (node) => {
      for (const name of inputs) node.string(fields.node.input, name);
      for (const name of outputs) node.string(fields.node.output, name);
      node.string(fields.node.name, nodeName);
      node.string(fields.node.op, op);
      for (const [name, attribute] of Object.entries(attributes)) {
        node.message(fields.node.attribute, (w) => writeAttribute(w, name, attribute));
      }
      if (domain !== "") node.string(fields.node.domain, domain);
    });
    return outputs[0];
  }

  /** Gives the model, a serialized `ModelProto`. */
  toBytes(info: ModelInfo = {}): Uint8Array<ArrayBuffer> {
    const model = new Writer();
    model.int(fields.model.irVersion, irVersion);
    model.string(fields.model.producerName, "geophone");
    model.string(fields.model.producerVersion, info.producerVersion ?? "");
    model.bytes(fields.model.graph, this.#graphBytes());
    for (const { domain, version } of opsets) {
      model.message(fields.model.opset, (opset) => {
        opset.string(fields.opset.domain, domain);
        opset.int(fields.opset.version, version);
      });
    }
    const metadata = info.metadata ?? {};
    for (const key of Object.keys(metadata).sort()) {
      model.message(fields.model.metadata, (entry) => {
        entry.string(fields.entry.key, key);
        entry.string(fields.entry.value, metadata[key]);
      });
    }
    return model.finish();
  }

  #define(name: string): void {
    if (this.#tensors.has(name)) {
      throw new RangeError(`Cannot define tensor "${name}": the name is already taken`);
    }
    this.#tensors.add(name);
  }

  #graphBytes(): Uint8Array {
    const name = new Writer();
    name.string(fields.graph.name, "geophone");
    const parts = [this.#body, name, this.#initializers, this.#inputs, this.#outputs];
    return concatenate(parts.map((part) => part.finish()));
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

function writeAttribute(w: Writer, name: string, attribute: Attribute): void {
  w.string(fields.attribute.name, name);
  w.int(fields.attribute.type, attributeType(attribute));
  if ("int" in attribute) w.int(fields.attribute.int, attribute.int);
  else if ("float" in attribute) w.float(fields.attribute.float, attribute.float);
  else if ("string" in attribute) w.string(fields.attribute.string, attribute.string);
  else if ("ints" in attribute) w.ints(fields.attribute.ints, attribute.ints);
  else if ("floats" in attribute) w.floats(fields.attribute.floats, attribute.floats);
  else for (const value of attribute.strings) w.string(fields.attribute.strings, value);
}

function attributeType(attribute: Attribute): number {
  const [kind] = Object.keys(attribute) as (keyof typeof attributeTypes)[];
  return attributeTypes[kind];
}

function writeValue(
  w: Writer,
  name: string,
  elementType: ElementType,
  dims: readonly Dimension[],
): void {
  w.string(fields.value.name, name);
  w.message(fields.value.type, (type) => {
    type.message(fields.type.tensor, (tensor) => {
      tensor.int(fields.tensorType.element, elementTypes[elementType]);
      tensor.message(fields.tensorType.shape, (shape) => writeShape(shape, dims));
    });
  });
}

function writeShape(w: Writer, dims: readonly Dimension[]): void {
  for (const dim of dims) {
    w.message(fields.shape.dimension, (dimension) => {
      if (typeof dim === "number") dimension.int(fields.dimension.value, dim);
      else dimension.string(fields.dimension.name, dim);
    });
  }
}

/** One protobuf field. */
export interface Field {
  readonly number: number;
  /** What a length-delimited field holds. */
  readonly payload?: Uint8Array;
  /** What an integer (≥ 0) or a float32 holds. */
  readonly value?: number;
}

/**
 * Walks over the fields of one protobuf message.
 * @throws {SyntaxError} when the bytes are no such message.
 */
export function* readFields(bytes: Uint8Array): Generator<Field> {
  let position = 0;

  function readVarint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (position >= bytes.length) throw unreadable("it is truncated");
      const byte = bytes[position++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw unreadable("it holds a malformed integer");
  }

  function take(length: number): Uint8Array {
    if (length > bytes.length - position) throw unreadable("it is truncated");
    position += length;
    return bytes.subarray(position - length, position);
  }

  while (position < bytes.length) {
    const tag = readVarint();
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number === 0 || number >= 2 ** 29) throw unreadable("it is not a protobuf message");
    if (wireType === wireTypes.bytes) yield { number, payload: take(readVarint()) };
    else if (wireType === wireTypes.varint) yield { number, value: readVarint() };
    else if (wireType === wireTypes.fixed32) yield { number, value: toFloat(take(4)) };
    else if (wireType !== wireTypes.fixed64) throw unreadable("it is not a protobuf message");
    else {
      take(8);
      yield { number };
    }
  }
}

function toFloat(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
}

/** What an attribute of a node holds. */
export interface AttributeValue {
  /** Values of `ints` or of a single `int`, each ≥ 0. */
  readonly ints: number[];
  readonly floats: number[];
  readonly strings: string[];
}

/** Reads one attribute of a node: its name, and its values by their type. */
export function readAttribute(bytes: Uint8Array): [name: string, value: AttributeValue] {
  let name = "";
  const value: AttributeValue = { ints: [], floats: [], strings: [] };
  const numbers = fields.attribute;
  for (const { number, payload, value: single } of readFields(bytes)) {
    if (number === numbers.name && payload) name = decodeText(payload);
    else if (number === numbers.string || number === numbers.strings) {
      if (payload) value.strings.push(decodeText(payload));
    } else if (number === numbers.int || number === numbers.ints) {
      if (payload) readPackedInts(payload, value.ints);
      else if (single !== undefined) value.ints.push(single);
    } else if (number === numbers.float || number === numbers.floats) {
      if (payload) readPackedFloats(payload, value.floats);
      else if (single !== undefined) value.floats.push(single);
    }
  }
  return [name, value];
}

function readPackedInts(bytes: Uint8Array, into: number[]): void {
  let value = 0;
  let shift = 0;
  for (const byte of bytes) {
    value += (byte & 0x7f) * 2 ** shift;
    shift += 7;
    if (byte >= 0x80) continue;
    into.push(value);
    value = shift = 0;
  }
  if (shift > 0) throw unreadable("it is truncated");
}

function readPackedFloats(bytes: Uint8Array, into: number[]): void {
  if (bytes.length % 4 !== 0) throw unreadable("it is truncated");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 4) into.push(view.getFloat32(at, true));
}

function unreadable(state: string): SyntaxError {
  return new SyntaxError(`Cannot read ONNX model: ${state}`);
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Gives a text of the model.
 * @throws {SyntaxError} when it is not UTF-8.
 */
export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw unreadable("its metadata is not UTF-8 text");
  }
}

function readEntry(bytes: Uint8Array): [key: string, value: string] {
  let key = "";
  let value = "";
  for (const field of readFields(bytes)) {
    if (field.payload === undefined) continue;
    if (field.number === fields.entry.key) key = decodeText(field.payload);
    if (field.number === fields.entry.value) value = decodeText(field.payload);
  }
  return [key, value];
}

/**
 * Gives `metadata_props` of any serialized ONNX `ModelProto`; a model without metadata gives `{}`.
 * The graph itself is not parsed.
 *
 * @throws {SyntaxError} `Cannot read ONNX model: …` when the bytes are empty, truncated inside a
 * field, not a protobuf message, or lack what every model has (an IR version, a graph, an opset).
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { Graph, readMetadata } from "./onnx.ts";
 *
 * assertEquals(readMetadata(new Graph().toBytes({ metadata: { b: "2", a: "1" } })), {
 *   a: "1",
 *   b: "2",
 * });
 * assertThrows(() => readMetadata(new Uint8Array([60, 104])), SyntaxError, "Cannot read ONNX");
 * ```
 *
 * @see {@link https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md}
 */
export function readMetadata(bytes: Uint8Array): Record<string, string> {
  if (bytes.length === 0) throw unreadable("it is empty");
  const seen = new Set<number>();
  const entries = new Map<string, string>();
  for (const { number, payload } of readFields(bytes)) {
    seen.add(number);
    if (number === fields.model.metadata && payload !== undefined) {
      entries.set(...readEntry(payload));
    }
  }
  const { irVersion, graph, opset } = fields.model;
  if (![irVersion, graph, opset].every((number) => seen.has(number))) {
    throw unreadable("it lacks an IR version, a graph or an opset");
  }
  return Object.fromEntries(entries);
}
