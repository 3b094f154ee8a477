/** Small real ONNX models that the tests register and serve. */
import { Graph } from "../numeric/onnx.ts";
import { windowNames, type WindowSpec } from "../numeric/windows.ts";
import {
  type ModelVersion,
  registerVersion,
  setAlias,
} from "../runtime/registry/model_registry.ts";
import { type Signature, SIGNATURE_KEY } from "../runtime/registry/signature.ts";
import type { Store } from "../runtime/store/store.ts";

/** What a test model is like. */
export interface TestModelOptions {
  /** Default `rocks`. */
  readonly model?: string;
  /** `linear` (default) or `trees`, an ensemble of random trees. */
  readonly kind?: "linear" | "trees";
  /** Another seed is another model: its answers and its bytes differ. Default 1. */
  readonly seed?: number;
  /** Whether features look 1.5 m along the order column `DEPT`; default false. */
  readonly isWindowed?: boolean;
}

/** How a test model is registered. */
export interface RegisterOptions extends TestModelOptions {
  /** Alias to point at the version; default `production`, `null` for none. */
  readonly alias?: string | null;
  readonly report?: unknown;
}

/** Raw inputs of every test model. */
export const testInputs = [
  { name: "GR", unit: "gAPI", range: [0, 300] as const },
  { name: "RHOB", unit: "g/cm3", range: [1, 3.5] as const },
  { name: "NPHI", unit: "v/v" },
];

/** Classes of every test model. */
export const testClasses = ["sandstone", "siltstone", "anhydrite"];

/** Registers a test model and points an alias at it. */
export async function registerTestModel(
  store: Store,
  options: RegisterOptions = {},
): Promise<ModelVersion> {
  const version = await registerVersion(store, {
    bytes: buildTestModel(options),
    report: options.report ??
      { accuracy: 0.9, balanced_accuracy: { value: 0.8, low: 0.7, high: 0.9 } },
    runId: "run-test",
  });
  const alias = options.alias === undefined ? "production" : options.alias;
  if (alias !== null) {
    await setAlias(store, {
      model: version.model,
      alias,
      version: version.version,
      reason: "test",
    });
  }
  return version;
}

/** Gives the i-th of many different valid records; `DEPT` is among its keys on request. */
export function testRecord(i: number, hasDepth = false): Record<string, number | null> {
  return {
    ...(hasDepth ? { DEPT: 100 + i * 0.5 } : {}),
    GR: (i * 37.25) % 300,
    RHOB: i % 7 === 3 ? null : 1.5 + (i % 20) / 10,
    NPHI: (i % 50) / 100,
  };
}

/** Gives the ONNX bytes of a test model. */
export function buildTestModel(options: TestModelOptions = {}): Uint8Array<ArrayBuffer> {
  const windows: WindowSpec = options.isWindowed
    ? { radii: [1.5], statistics: ["mean", "std"] }
    : { radii: [], statistics: [] };
  const features = windowNames(testInputs.map((input) => input.name), windows);
  const signature: Signature = {
    model: options.model ?? "rocks",
    inputs: testInputs,
    order: options.isWindowed ? { column: "DEPT", unit: "m" } : null,
    windows,
    outliers: "null",
    features,
    classes: testClasses,
    target: "lithology",
    trainer: "fixture",
    dataHash: "0".repeat(64),
    codeHash: "1".repeat(64),
    seed: options.seed ?? 1,
  };
  const graph = new Graph();
  const input = graph.input("input", "float32", ["n", features.length]);
  const random = makeRandom(options.seed ?? 1);
  if (options.kind === "trees") addTrees(graph, input, features.length, random);
  else addLinear(graph, input, features.length, random);
  graph.output("label", "int64", ["n"]);
  graph.output("probabilities", "float32", ["n", testClasses.length]);
  return graph.toBytes({ metadata: { [SIGNATURE_KEY]: JSON.stringify(signature) } });
}

/** Softmax of a linear map; missing values count as 0. */
function addLinear(graph: Graph, input: string, features: number, random: () => number): void {
  const k = testClasses.length;
  const zero = graph.constant("zero", [], Float32Array.of(0));
  const known = graph.node("Where", [graph.node("IsNaN", [input], ["missing"]), zero, input], [
    "known",
  ]);
  const weights = Float32Array.from({ length: features * k }, () => (random() - 0.5) / 20);
  const product = graph.node("MatMul", [known, graph.constant("W", [features, k], weights)], [
    "product",
  ]);
  const bias = graph.constant("b", [k], Float32Array.from({ length: k }, random));
  graph.node("Softmax", [graph.node("Add", [product, bias], ["scores"])], ["probabilities"], {
    axis: { int: 1 },
  });
  graph.node("ArgMax", ["probabilities"], ["label"], { axis: { int: 1 }, keepdims: { int: 0 } });
}

const TREES = 60;
const DEPTH = 4;

/** Complete random trees, as a boosting trainer would export them. */
function addTrees(graph: Graph, input: string, features: number, random: () => number): void {
  const nodes = {
    treeids: [] as number[],
    nodeids: [] as number[],
    featureids: [] as number[],
    modes: [] as string[],
    values: [] as number[],
    truenodeids: [] as number[],
    falsenodeids: [] as number[],
    missing: [] as number[],
  };
  const leaves = {
    treeids: [] as number[],
    nodeids: [] as number[],
    ids: [] as number[],
    weights: [] as number[],
  };
  const inner = 2 ** DEPTH - 1;
  for (let tree = 0; tree < TREES; tree++) {
    for (let node = 0; node < 2 * inner + 1; node++) {
      const isLeaf = node >= inner;
      const feature = Math.floor(random() * features);
      nodes.treeids.push(tree);
      nodes.nodeids.push(node);
      nodes.featureids.push(isLeaf ? 0 : feature);
      nodes.modes.push(isLeaf ? "LEAF" : "BRANCH_LEQ");
      nodes.values.push(isLeaf ? 0 : random() * [300, 3.5, 0.6][feature % 3]);
      nodes.truenodeids.push(isLeaf ? 0 : 2 * node + 1);
      nodes.falsenodeids.push(isLeaf ? 0 : 2 * node + 2);
      nodes.missing.push(isLeaf ? 0 : node % 2);
      if (!isLeaf) continue;
      leaves.treeids.push(tree);
      leaves.nodeids.push(node);
      leaves.ids.push(tree % testClasses.length);
      leaves.weights.push((random() - 0.5) / 3);
    }
  }
  graph.node("TreeEnsembleClassifier", [input], ["label", "probabilities"], {
    nodes_treeids: { ints: nodes.treeids },
    nodes_nodeids: { ints: nodes.nodeids },
    nodes_featureids: { ints: nodes.featureids },
    nodes_modes: { strings: nodes.modes },
    nodes_values: { floats: nodes.values },
    nodes_truenodeids: { ints: nodes.truenodeids },
    nodes_falsenodeids: { ints: nodes.falsenodeids },
    nodes_missing_value_tracks_true: { ints: nodes.missing },
    class_treeids: { ints: leaves.treeids },
    class_nodeids: { ints: leaves.nodeids },
    class_ids: { ints: leaves.ids },
    class_weights: { floats: leaves.weights },
    classlabels_int64s: { ints: testClasses.map((_, i) => i) },
    post_transform: { string: "SOFTMAX" },
  }, "ai.onnx.ml");
}

/** A small generator of numbers in `[0, 1)`. @see mulberry32 */
function makeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
