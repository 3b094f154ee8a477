/**
 * Reads the trees of a classifier back from the ONNX bytes that {@linkcode Graph} wrote, with what
 * comes before them.
 *
 * @module
 */
import {
  type AttributeValue,
  decodeText,
  fields,
  readAttribute,
  readFields,
  Writer,
} from "./onnx.ts";
import type { ShapTree, TreeScore } from "./tree_shap.ts";

/** The trees of a classifier. */
export interface ClassifierTrees {
  /**
   * Per class, the score whose softmax the probabilities are. Where the trees move the score of one
   * class alone, as with two classes, another's is its score less that one's: to softmax that is the
   * same, and a constant would explain nothing.
   */
  readonly scores: ReadonlyMap<number, TreeScore>;
  /**
   * What is done to the columns before the trees, as a model of its own with the one output
   * `output`: each column by itself, so column j there is column j of the input. `null` when the
   * trees take the input as it is.
   */
  readonly preparation: { readonly bytes: Uint8Array<ArrayBuffer>; readonly output: string } | null;
}

/** The trees, or why there are none to be explained: the end of a sentence. */
export type TreesReading =
  | { readonly trees: ClassifierTrees }
  | { readonly refusal: string };

/** Operators that give each column by itself, as the preparation uses them. */
const columnwise = new Set(["Cast", "IsNaN", "Less", "Log", "Mul", "Sub", "Where"]);

/** Relative difference that float32 may leave between a node's cover and its children's sum. */
const coverTolerance = 1e-5;

/** One node of the graph. */
interface OnnxNode {
  readonly bytes: Uint8Array;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/**
 * Reads the trees of a model. Their covers are the node counts that the standard attribute
 * `nodes_hitrates` carries.
 *
 * @throws {SyntaxError} when the bytes are no ONNX model.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Graph } from "./onnx.ts";
 * import { readTrees } from "./onnx_trees.ts";
 *
 * const graph = new Graph();
 * graph.node("Softmax", [graph.input("x", "float32", ["n", 2])], ["probabilities"]);
 * assertEquals(readTrees(graph.toBytes()), { refusal: "it has no trees" });
 * ```
 *
 * @see {@link https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html}
 */
export function readTrees(bytes: Uint8Array): TreesReading {
  const graph = readGraph(bytes);
  const trees = graph.nodes.find(({ op }) => op === "TreeEnsembleClassifier");
  if (!trees) return { refusal: "it has no trees" };
  const before = findAncestors(graph.nodes, trees.inputs[0]);
  if (before.some(({ op }) => op === "MatMul")) {
    return {
      refusal: "its trees see principal components, which mix the columns",
    };
  }
  const strange = before.find(({ op }) => !columnwise.has(op));
  if (strange) return { refusal: `the operator "${strange.op}" before its trees may mix columns` };
  const scores = readScores(readAttributes(trees.bytes));
  if ("refusal" in scores) return scores;
  const preparation = before.length === 0
    ? null
    : { bytes: cutModel(bytes, before, trees.inputs[0]), output: trees.inputs[0] };
  return { trees: { scores: scores.scores, preparation } };
}

function readGraph(bytes: Uint8Array): { nodes: OnnxNode[] } {
  const nodes: OnnxNode[] = [];
  for (const { number, payload } of readFields(bytes)) {
    if (number !== fields.model.graph || !payload) continue;
    for (const part of readFields(payload)) {
      if (part.number === fields.graph.node && part.payload) nodes.push(readNode(part.payload));
    }
  }
  return { nodes };
}

function readNode(bytes: Uint8Array): OnnxNode {
  const inputs: string[] = [];
  const outputs: string[] = [];
  let op = "";
  for (const { number, payload } of readFields(bytes)) {
    if (!payload) continue;
    if (number === fields.node.input) inputs.push(decodeText(payload));
    else if (number === fields.node.output) outputs.push(decodeText(payload));
    else if (number === fields.node.op) op = decodeText(payload);
  }
  return { bytes, op, inputs, outputs };
}

/** Nodes that `tensor` is computed by, in the order of the graph. */
function findAncestors(nodes: readonly OnnxNode[], tensor: string): OnnxNode[] {
  const wanted = new Set([tensor]);
  const found: OnnxNode[] = [];
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((name) => wanted.has(name))) continue;
    for (const name of node.inputs) wanted.add(name);
    found.push(node);
  }
  return found.reverse();
}

/** Gives a model of the given nodes alone, with the float32 output `output`. */
function cutModel(
  bytes: Uint8Array,
  nodes: readonly OnnxNode[],
  output: string,
): Uint8Array<ArrayBuffer> {
  const kept = new Set(nodes.map((node) => node.bytes.byteOffset));
  const used = new Set(nodes.flatMap(({ inputs }) => inputs));
  const model = new Writer();
  for (const { number, payload, value } of readFields(bytes)) {
    if (number === fields.model.irVersion) model.int(number, value!);
    else if (number === fields.model.opset) model.bytes(number, payload!);
    else if (number === fields.model.graph) {
      model.message(number, (graph) => {
        for (const part of readFields(payload!)) {
          const isKept = part.number === fields.graph.node
            ? kept.has(part.payload!.byteOffset)
            : part.number === fields.graph.initializer
            ? used.has(readName(part.payload!, fields.tensor.name))
            : part.number === fields.graph.name || part.number === fields.graph.input;
          if (isKept) graph.bytes(part.number, part.payload!);
        }
        graph.message(fields.graph.output, (declared) => {
          declared.string(fields.value.name, output);
          declared.message(fields.value.type, (type) => {
            type.message(fields.type.tensor, (tensor) => {
              tensor.int(fields.tensorType.element, 1); // float32
            });
          });
        });
      });
    }
  }
  return model.finish();
}

function readName(bytes: Uint8Array, field: number): string {
  for (const { number, payload } of readFields(bytes)) {
    if (number === field && payload) return decodeText(payload);
  }
  return "";
}

function readAttributes(node: Uint8Array): Map<string, AttributeValue> {
  const attributes = new Map<string, AttributeValue>();
  for (const { number, payload } of readFields(node)) {
    if (number === fields.node.attribute && payload) attributes.set(...readAttribute(payload));
  }
  return attributes;
}

type Attributes = ReadonlyMap<string, AttributeValue>;

const none: AttributeValue = { ints: [], floats: [], strings: [] };

type ScoresReading =
  | { readonly scores: ReadonlyMap<number, TreeScore> }
  | { readonly refusal: string };

function readScores(attributes: Attributes): ScoresReading {
  const get = (name: string) => attributes.get(name) ?? none;
  const modes = get("nodes_modes").strings;
  const covers = get("nodes_hitrates").floats;
  if (modes.some((mode) => mode !== "LEAF" && mode !== "BRANCH_LEQ")) {
    return { refusal: "its trees split in a way that Geophone does not write" };
  }
  if (get("post_transform").strings[0] !== "SOFTMAX" || attributes.has("base_values")) {
    return { refusal: "its scores are not those that Geophone writes" };
  }
  if (covers.length !== modes.length || covers.some((cover) => !(cover > 0))) {
    return {
      refusal: "its file does not say how many training rows reached each node of its trees",
    };
  }
  const trees = groupNodes(attributes).map((nodes) => readTree(attributes, nodes));
  if (trees.some((tree) => tree === null)) {
    return { refusal: "its trees are damaged, or their row counts do not add up" };
  }
  return { scores: toScores(trees as ClassTree[]) };
}

/** One tree, and the values of its leaves by class. */
interface ClassTree {
  readonly shape: Omit<ShapTree, "value">;
  readonly values: ReadonlyMap<number, Float64Array>;
}

/** Where in the attributes the nodes and leaf weights of one tree stand. */
interface TreeEntries {
  readonly nodes: number[];
  readonly weights: number[];
}

function groupNodes(attributes: Attributes): TreeEntries[] {
  const trees = new Map<number, TreeEntries>();
  const entriesOf = (id: number) => {
    let tree = trees.get(id);
    if (!tree) trees.set(id, tree = { nodes: [], weights: [] });
    return tree;
  };
  attributes.get("nodes_treeids")?.ints.forEach((id, i) => entriesOf(id).nodes.push(i));
  attributes.get("class_treeids")?.ints.forEach((id, i) => entriesOf(id).weights.push(i));
  return [...trees.values()];
}

/** Gives the tree with every node before its children, or `null` when it is none. */
function readTree(attributes: Attributes, { nodes, weights }: TreeEntries): ClassTree | null {
  const ints = (name: string) => attributes.get(name)?.ints ?? [];
  const ids = ints("nodes_nodeids");
  const entryOf = new Map(nodes.map((entry) => [ids[entry], entry]));
  const order = sortNodes(attributes, nodes, entryOf);
  if (order === null) return null;
  const place = new Map(order.map((entry, i) => [ids[entry], i]));
  const modes = attributes.get("nodes_modes")!.strings;
  const isLeaf = order.map((entry) => modes[entry] === "LEAF");
  const child = (name: string) =>
    Int32Array.from(order, (entry, i) => isLeaf[i] ? 0 : place.get(ints(name)[entry])!);
  const missing = ints("nodes_missing_value_tracks_true");
  const left = child("nodes_truenodeids");
  const right = child("nodes_falsenodeids");
  const hits = attributes.get("nodes_hitrates")!.floats;
  const cover = Float64Array.from(order, (entry) => hits[entry]);
  for (let node = order.length - 1; node >= 0; node--) {
    if (isLeaf[node]) continue;
    const sum = cover[left[node]] + cover[right[node]];
    if (Math.abs(sum - cover[node]) > coverTolerance * sum) return null;
    cover[node] = sum;
  }
  const values = new Map<number, Float64Array>();
  const classIds = ints("class_ids");
  const leafIds = ints("class_nodeids");
  const added = attributes.get("class_weights")?.floats ?? [];
  for (const at of weights) {
    let value = values.get(classIds[at]);
    if (!value) values.set(classIds[at], value = new Float64Array(order.length));
    value[place.get(leafIds[at])!] += added[at];
  }
  const features = ints("nodes_featureids");
  const thresholds = attributes.get("nodes_values")?.floats ?? [];
  return {
    shape: {
      feature: Int32Array.from(order, (entry, i) => isLeaf[i] ? -1 : features[entry]),
      threshold: Float32Array.from(order, (entry) => thresholds[entry]),
      left,
      right,
      isMissingLeft: Uint8Array.from(order, (entry) => missing[entry] ?? 0),
      cover,
    },
    values,
  };
}

/** Entries from the root on, parents first; `null` when they do not form one tree. */
function sortNodes(
  attributes: Attributes,
  nodes: readonly number[],
  entryOf: ReadonlyMap<number, number>,
): number[] | null {
  const modes = attributes.get("nodes_modes")!.strings;
  const whenTrue = attributes.get("nodes_truenodeids")?.ints ?? [];
  const whenFalse = attributes.get("nodes_falsenodeids")?.ints ?? [];
  const order: number[] = [];
  const open: (number | undefined)[] = [nodes[0]];
  while (open.length > 0) {
    const entry = open.pop();
    if (entry === undefined || order.length === nodes.length) return null;
    order.push(entry);
    if (modes[entry] === "LEAF") continue;
    open.push(entryOf.get(whenFalse[entry]), entryOf.get(whenTrue[entry]));
  }
  return order.length === nodes.length ? order : null;
}

/** Puts trees together by class; what every leaf of a tree adds alike goes into the constant. */
function toScores(trees: readonly ClassTree[]): Map<number, TreeScore> {
  const scores = new Map<number, { constant: number; trees: ShapTree[] }>();
  for (const { shape, values } of trees) {
    for (const [classId, value] of values) {
      let score = scores.get(classId);
      if (!score) scores.set(classId, score = { constant: 0, trees: [] });
      const leaves = value.filter((_, node) => shape.feature[node] < 0);
      if (leaves.every((leaf) => leaf === leaves[0])) score.constant += leaves[0];
      else score.trees.push({ ...shape, value });
    }
  }
  const moved = [...scores].filter(([, score]) => score.trees.length > 0);
  if (moved.length !== 1) return scores;
  const [[movedClass, { constant, trees: others }]] = moved;
  for (const [classId, score] of scores) {
    if (classId === movedClass) continue;
    score.constant -= constant;
    score.trees = others.map((tree) => ({ ...tree, value: tree.value.map((v) => -v) }));
  }
  return scores;
}
