import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import * as ort from "onnxruntime-node";
import { Graph, readMetadata } from "../../numeric/onnx.ts";

/** `y = x + offset` and `n`, the length of the first axis as int64. */
function makeModel(metadata: Record<string, string> = {}): Uint8Array<ArrayBuffer> {
  const graph = new Graph();
  const x = graph.input("x", "float32", ["n", 2]);
  const offset = graph.constant("offset", [2], new Float32Array([1, -0.5]));
  graph.output(graph.node("Add", [x, offset], ["y"]), "float32", ["n", 2]);
  graph.node("Shape", [x], ["n"], { start: { int: 0 }, end: { int: 1 } });
  graph.output("n", "int64", [1]);
  return graph.toBytes({ producerVersion: "1.2.3", metadata });
}

Deno.test("Graph writes a model that onnxruntime runs when nodes, constants and outputs are given", async () => {
  const session = await ort.InferenceSession.create(makeModel());
  const x = new ort.Tensor("float32", new Float32Array([1, 2, 3, 4, NaN, 0]), [3, 2]);
  const { y, n } = await session.run({ x });
  assertEquals(y.dims, [3, 2]);
  assertEquals(y.data, new Float32Array([2, 1.5, 4, 3.5, NaN, -0.5]));
  assertEquals(n.data, new BigInt64Array([3n]));
});

Deno.test("Graph writes every attribute type so that onnxruntime reads it when negative numbers and lists occur", async () => {
  const graph = new Graph();
  const x = graph.input("x", "float32", ["n", 3]);
  const halves = graph.constant("halves", [2], new BigInt64Array([1n, 2n]));
  graph.node("Split", [x, halves], ["a", "b"], { axis: { int: -1 } });
  graph.node("LeakyRelu", ["a"], ["leaky"], { alpha: { float: 0.25 } });
  graph.node("Transpose", ["b"], ["turned"], { perm: { ints: [1, 0] } });
  graph.node(
    "Scaler",
    ["b"],
    ["scaled"],
    { offset: { floats: [1, 2] }, scale: { floats: [10, 100] } },
    "ai.onnx.ml",
  );
  graph.node("Cast", ["a"], ["whole"], { to: { int: 7 } });
  graph.node(
    "LabelEncoder",
    ["whole"],
    ["named"],
    {
      keys_int64s: { ints: [-300, 5] },
      values_floats: { floats: [7, 8] },
      default_float: { float: -1 },
    },
    "ai.onnx.ml",
  );
  graph.output("leaky", "float32", ["n", 1]);
  graph.output("turned", "float32", [2, "n"]);
  graph.output("scaled", "float32", ["n", 2]);
  graph.output("named", "float32", ["n", 1]);
  const session = await ort.InferenceSession.create(graph.toBytes());
  const rows = new Float32Array([-300, 1, 2, 5, 3, 4]);
  const out = await session.run({ x: new ort.Tensor("float32", rows, [2, 3]) });
  assertEquals(out.leaky.data, new Float32Array([-75, 5]));
  assertEquals(out.turned.data, new Float32Array([1, 3, 2, 4]));
  assertEquals(out.scaled.data, new Float32Array([0, 0, 20, 200]));
  assertEquals(out.named.data, new Float32Array([7, 8]));
});

Deno.test("Graph.toBytes() gives equal bytes when the same graph is built again with metadata in another order", () => {
  assertEquals(makeModel({ a: "1", b: "2" }), makeModel({ b: "2", a: "1" }));
  assertNotEquals(makeModel({ a: "1" }), makeModel({ a: "2" }));
});

Deno.test("Graph rejects a definition when names clash, inputs are missing or data does not fill its shape", () => {
  const graph = new Graph();
  graph.input("x", "float32", ["n", 2]);
  assertThrows(() => graph.input("x", "float32", [1]), RangeError, "already taken");
  assertThrows(() => graph.node("Neg", ["z"], ["y"]), RangeError, `input "z" is not defined`);
  assertThrows(() => graph.node("Neg", ["x"], ["x"]), RangeError, "already taken");
  assertThrows(() => graph.output("y", "float32", [1]), RangeError, "no node defines it");
  assertThrows(() => graph.constant("c", [2, 2], new Float32Array(3)), TypeError, "[2, 2]");
});

Deno.test("Graph.freshName() gives a name that is not taken when the prefix is in use", () => {
  const graph = new Graph();
  assertEquals(graph.freshName("x"), "x");
  graph.input("x", "float32", [1]);
  assertEquals(graph.freshName("x"), "x_2");
  graph.input("x_2", "float32", [1]);
  assertEquals(graph.freshName("x"), "x_3");
});

Deno.test("readMetadata() gives what toBytes() wrote when values are long, empty, non-ASCII or named __proto__", () => {
  const metadata = {
    version: "7",
    empty: "",
    text: "Schlumberger – 油井 \u{1F6E2}",
    long: "x".repeat(100_000),
    ["__proto__"]: "own",
  };
  const read = readMetadata(makeModel(metadata));
  assertEquals(Object.keys(read).sort(), Object.keys(metadata).sort());
  for (const [key, value] of Object.entries(metadata)) assertEquals(read[key], value);
  assertEquals(readMetadata(makeModel()), {});
});

Deno.test("readMetadata() throws SyntaxError when the model is cut inside its graph or its metadata", () => {
  const bytes = makeModel({ key: "value".repeat(50) });
  const metadataStart = makeModel().length;
  const opsetLength = 30; // Cuts between whole fields leave a valid, smaller model.
  for (let length = 0; length < bytes.length; length++) {
    if (length >= metadataStart - opsetLength && length <= metadataStart) continue;
    const cut = bytes.subarray(0, length);
    assertThrows(() => readMetadata(cut), SyntaxError, "Cannot read ONNX model: ");
  }
});

Deno.test("readMetadata() throws SyntaxError when the bytes are not an ONNX model", () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  for (const text of ["", "<html>not a model</html>", "{}", "PK\x03\x04", "\x08\x08"]) {
    assertThrows(() => readMetadata(encode(text)), SyntaxError, "Cannot read ONNX model: ");
  }
  assertThrows(() => readMetadata(new Uint8Array(64).fill(0xff)), SyntaxError, "malformed integer");
  const model = makeModel({ key: "value" });
  model[model.length - 1] = 0xff;
  assertThrows(() => readMetadata(model), SyntaxError, "not UTF-8");
});
