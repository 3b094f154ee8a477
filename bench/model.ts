/** The model of the benchmarks: 10 columns, 3 classes, and little work of its own. */
import { Graph } from "../numeric/onnx.ts";
import { registerVersion, setAlias } from "../runtime/registry/model_registry.ts";
import { type Signature, SIGNATURE_KEY } from "../runtime/registry/signature.ts";
import type { Store } from "../runtime/store/store.ts";

export const MODEL = "bench";
export const CLASSES = ["a", "b", "c"];

/** What the model is: a linear map, or 60 trees of 8 leaves. */
export type ModelKind = "linear" | "trees";

/** Gives the names of so many columns. */
export function columnNames(columns = 10): string[] {
  return Array.from({ length: columns }, (_, j) => `column_${j}`);
}

/** Registers the model and points `production` at it. */
export async function registerModel(
  store: Store,
  bytes: Uint8Array,
): Promise<void> {
  const { version } = await registerVersion(store, { bytes, report: {}, runId: "bench" });
  await setAlias(store, { model: MODEL, alias: "production", version, reason: "bench" });
}

/** Gives the ONNX bytes. */
export function buildModel(kind: ModelKind = "linear", columns = 10): Uint8Array<ArrayBuffer> {
  const names = columnNames(columns);
  const graph = new Graph();
  const input = graph.input("input", "float32", ["n", columns]);
  if (kind === "trees") addTrees(graph, input, columns);
  else {
    const weights = Float32Array.from({ length: columns * 3 }, (_, i) => (i % 7) / 9);
    const W = graph.constant("W", [columns, 3], weights);
    const scores = graph.node("MatMul", [input, W], ["scores"]);
    graph.node("Softmax", [scores], ["probabilities"], { axis: { int: 1 } });
  }
  graph.node("ArgMax", ["probabilities"], ["label"], { axis: { int: 1 }, keepdims: { int: 0 } });
  graph.output("label", "int64", ["n"]);
  graph.output("probabilities", "float32", ["n", 3]);
  const signature: Signature = {
    model: MODEL,
    inputs: names.map((name) => ({ name })),
    order: null,
    windows: { radii: [], statistics: [] },
    outliers: "keep",
    features: names,
    classes: CLASSES,
    target: "class",
    trainer: "bench",
    dataHash: "0".repeat(64),
    codeHash: "0".repeat(64),
    seed: 1,
  };
  return graph.toBytes({ metadata: { [SIGNATURE_KEY]: JSON.stringify(signature) } });
}

function addTrees(graph: Graph, input: string, columns: number): void {
  const nodes = {
    treeids: [] as number[],
    nodeids: [] as number[],
    featureids: [] as number[],
    values: [] as number[],
    modes: [] as string[],
    truenodeids: [] as number[],
    falsenodeids: [] as number[],
  };
  const leaves = {
    treeids: [] as number[],
    nodeids: [] as number[],
    ids: [] as number[],
    weights: [] as number[],
  };
  for (let tree = 0; tree < 60; tree++) {
    // Nodes 0 … 6 of a full tree split, 7 … 14 are its leaves.
    for (let node = 0; node < 15; node++) {
      const isLeaf = node >= 7;
      nodes.treeids.push(tree);
      nodes.nodeids.push(node);
      nodes.featureids.push(isLeaf ? 0 : (tree * 3 + node) % columns);
      nodes.values.push(isLeaf ? 0 : ((tree + node) % 11) - 1);
      nodes.modes.push(isLeaf ? "LEAF" : "BRANCH_LEQ");
      nodes.truenodeids.push(isLeaf ? 0 : 2 * node + 1);
      nodes.falsenodeids.push(isLeaf ? 0 : 2 * node + 2);
      if (!isLeaf) continue;
      leaves.treeids.push(tree);
      leaves.nodeids.push(node);
      leaves.ids.push(tree % 3);
      leaves.weights.push(((tree * 7 + node) % 13 - 6) / 20);
    }
  }
  graph.node("TreeEnsembleClassifier", [input], ["tree_label", "probabilities"], {
    nodes_treeids: { ints: nodes.treeids },
    nodes_nodeids: { ints: nodes.nodeids },
    nodes_featureids: { ints: nodes.featureids },
    nodes_values: { floats: nodes.values },
    nodes_modes: { strings: nodes.modes },
    nodes_truenodeids: { ints: nodes.truenodeids },
    nodes_falsenodeids: { ints: nodes.falsenodeids },
    class_treeids: { ints: leaves.treeids },
    class_nodeids: { ints: leaves.nodeids },
    class_ids: { ints: leaves.ids },
    class_weights: { floats: leaves.weights },
    classlabels_int64s: { ints: [0, 1, 2] },
    post_transform: { string: "SOFTMAX" },
  }, "ai.onnx.ml");
}
