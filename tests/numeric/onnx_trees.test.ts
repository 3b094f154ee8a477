import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { applySoftmax } from "../../numeric/fitting.ts";
import type { Matrix } from "../../numeric/matrix.ts";
import { type Attribute, Graph } from "../../numeric/onnx.ts";
import { type ClassifierTrees, readTrees } from "../../numeric/onnx_trees.ts";
import { fitSteps, type StepOptions } from "../../numeric/preprocess.ts";
import { TreeExplainer } from "../../numeric/tree_shap.ts";
import { boosting } from "../../plugins/trainers/boosting.ts";
import { logistic } from "../../plugins/trainers/logistic.ts";
import { OnnxSession } from "../../runtime/onnx_session.ts";
import { exportModel, makeClusters, makeContext } from "../contract.ts";

const params = boosting.params.parse({ rounds: 12, minRows: 5 });

function readOrFail(bytes: Uint8Array): ClassifierTrees {
  const reading = readTrees(bytes);
  assert("trees" in reading, JSON.stringify(reading));
  return reading.trees;
}

/** Probabilities by the trees that were read: softmax of their scores in float64. */
function predictBy({ scores }: ClassifierTrees, X: Matrix, k: number): Matrix {
  const explainers = Array.from(
    { length: k },
    (_, c) => new TreeExplainer(scores.get(c)!, X.cols),
  );
  const logits = Float64Array.from({ length: X.rows * k }, (_, at) => {
    const row = Math.floor(at / k) * X.cols;
    return explainers[at % k].predict(X.data.subarray(row, row + X.cols));
  });
  return applySoftmax(logits, X.rows, k);
}

for (const k of [3, 5]) {
  Deno.test(`readTrees() gives scores whose softmax is the model's when there are ${k} classes`, async () => {
    const train = makeClusters(500, k, { seed: 1, missing: 0.1 });
    const model = await boosting.fit(train, params, makeContext());
    const { X } = makeClusters(200, k, { seed: 2, missing: 0.2 });
    const trees = readOrFail(exportModel(model, X.cols, k));
    assertEquals(trees.preparation, null);
    assertEquals(trees.scores.size, k);
    const wanted = model.predict(X).data;
    predictBy(trees, X, k).data.forEach((p, i) => assertAlmostEquals(p, wanted[i], 1e-6));
  });
}

Deno.test("readTrees() gives a score of opposite sign to the class without trees when there are two", async () => {
  const train = makeClusters(300, 2, { seed: 3 });
  const model = await boosting.fit(train, params, makeContext());
  const { scores } = readOrFail(exportModel(model, 4, 2));
  const [first, second] = [0, 1].map((c) => new TreeExplainer(scores.get(c)!, 4));
  const P = model.predict(train.X);
  for (let i = 0; i < 20; i++) {
    const row = train.X.data.subarray(4 * i, 4 * i + 4);
    const score = second.predict(row);
    assertAlmostEquals(1 / (1 + Math.exp(-score)), P.data[2 * i + 1], 1e-6);
    assertAlmostEquals(first.predict(row), -score, 1e-12);
    first.explain(row).forEach((value, j) =>
      assertAlmostEquals(value, -second.explain(row)[j], 1e-12)
    );
  }
});

Deno.test("readTrees() gives as covers the training rows of each node", async () => {
  const train = makeClusters(400, 3, { seed: 4, missing: 0.1 });
  const model = await boosting.fit(train, params, makeContext());
  const { scores } = readOrFail(exportModel(model, 4, 3));
  for (const { trees, constant } of scores.values()) {
    let mean = constant;
    for (const tree of trees) {
      const reached = new Float64Array(tree.cover.length);
      for (let i = 0; i < train.X.rows; i++) {
        let node = 0;
        reached[0]++;
        while (tree.feature[node] >= 0) {
          const value = train.X.data[4 * i + tree.feature[node]];
          const isLeft = Number.isNaN(value)
            ? tree.isMissingLeft[node] === 1
            : value <= tree.threshold[node];
          node = isLeft ? tree.left[node] : tree.right[node];
          reached[node]++;
        }
        mean += tree.value[node] / train.X.rows;
      }
      assertEquals(tree.cover, reached);
    }
    // So the base value is the mean score over the training rows.
    assertAlmostEquals(new TreeExplainer({ trees, constant }, 4).baseValue, mean, 1e-9);
  }
});

async function exportPrepared(options: StepOptions): Promise<[Uint8Array, Matrix, string[]]> {
  const train = makeClusters(300, 3, { seed: 5, missing: 0.1 });
  const steps = fitSteps(train.X, train.featureNames, options);
  const model = await boosting.fit(train, params, makeContext());
  const graph = new Graph();
  model.toGraph(graph, steps.toGraph(graph, graph.input("input", "float32", ["n", 4])));
  graph.output("label", "int64", ["n"]);
  graph.output("probabilities", "float32", ["n", 3]);
  return [graph.toBytes({ metadata: { a: "b" } }), train.X, [...steps.outputNames]];
}

Deno.test("readTrees() cuts the preparation out when there is one, and it gives what the trees see", async () => {
  const options = { impute: true, standardize: true, log: ["b"], pca: null };
  const [bytes, X] = await exportPrepared(options);
  const trees = readOrFail(bytes);
  const preparation = await OnnxSession.open(trees.preparation!.bytes);
  const whole = await OnnxSession.open(bytes);
  try {
    const prepared = await preparation.transform(X, trees.preparation!.output);
    assertEquals([prepared.rows, prepared.cols], [X.rows, 4]);
    assert(!prepared.data.some(Number.isNaN));
    const wanted = (await whole.classify(X)).probabilities.data;
    predictBy(trees, prepared, 3).data.forEach((p, i) => assertAlmostEquals(p, wanted[i], 1e-6));
  } finally {
    await preparation.close();
    await whole.close();
  }
});

Deno.test("readTrees() refuses with a reason when the trees cannot be explained by column", async () => {
  const [pca] = await exportPrepared({ impute: true, standardize: true, log: [], pca: 4 });
  assertEquals(readTrees(pca), {
    refusal: "its trees see principal components, which mix the columns",
  });
  const train = makeClusters(100, 2, { seed: 6 });
  const linear = await logistic.fit(train, logistic.params.parse({}), makeContext());
  assertEquals(readTrees(exportModel(linear, 4, 2)), { refusal: "it has no trees" });
});

/** A stump of two classes; 3 of 4 training rows go left. */
const stump: Record<string, Attribute> = {
  nodes_treeids: { ints: [0, 0, 0] },
  nodes_nodeids: { ints: [7, 5, 3] },
  nodes_featureids: { ints: [1, 0, 0] },
  nodes_values: { floats: [0.5, 0, 0] },
  nodes_modes: { strings: ["BRANCH_LEQ", "LEAF", "LEAF"] },
  nodes_truenodeids: { ints: [3, 0, 0] },
  nodes_falsenodeids: { ints: [5, 0, 0] },
  nodes_missing_value_tracks_true: { ints: [1, 0, 0] },
  nodes_hitrates: { floats: [4, 1, 3] },
  class_treeids: { ints: [0, 0, 0, 0] },
  class_nodeids: { ints: [5, 5, 3, 3] },
  class_ids: { ints: [0, 1, 0, 1] },
  class_weights: { floats: [0.25, 2, 0.25, -2] },
  classlabels_int64s: { ints: [0, 1] },
  post_transform: { string: "SOFTMAX" },
};

function exportStump(changes: Record<string, Attribute | null>): Uint8Array {
  const attributes = Object.entries({ ...stump, ...changes }).filter(([, value]) => value !== null);
  const graph = new Graph();
  const x = graph.input("x", "float32", ["n", 2]);
  graph.node(
    "TreeEnsembleClassifier",
    [x],
    ["label", "probabilities"],
    Object.fromEntries(attributes) as Record<string, Attribute>,
    "ai.onnx.ml",
  );
  return graph.toBytes();
}

Deno.test("readTrees() puts parents first and what all leaves share into the constant when ids run otherwise", () => {
  const { scores } = readOrFail(exportStump({}));
  assertEquals(scores.get(1), {
    constant: 0,
    trees: [{
      feature: Int32Array.of(1, -1, -1),
      threshold: Float32Array.of(0.5, 0, 0),
      left: Int32Array.of(1, 0, 0),
      right: Int32Array.of(2, 0, 0),
      isMissingLeft: Uint8Array.of(1, 0, 0),
      cover: Float64Array.of(4, 3, 1),
      value: Float64Array.of(0, -2, 2),
    }],
  });
  assertEquals(scores.get(0)!.constant, 0.25);
  assertEquals(scores.get(0)!.trees[0].value, Float64Array.of(-0, 2, -2));
});

Deno.test("readTrees() refuses trees that are damaged, of another origin or without row counts", () => {
  const refuse = (changes: Record<string, Attribute | null>, reason: string) => {
    const reading = readTrees(exportStump(changes));
    assert("refusal" in reading && reading.refusal.includes(reason), JSON.stringify(reading));
  };
  refuse({ nodes_hitrates: null }, "how many training rows");
  refuse({ nodes_hitrates: { floats: [4, 0, 4] } }, "how many training rows");
  // As converters of other libraries write them.
  refuse({ nodes_hitrates: { floats: [1, 1, 1] } }, "do not add up");
  refuse({ nodes_modes: { strings: ["BRANCH_LT", "LEAF", "LEAF"] } }, "split in a way");
  refuse({ post_transform: { string: "NONE" } }, "scores");
  refuse({ base_values: { floats: [0, 1] } }, "scores");
  refuse({ nodes_truenodeids: { ints: [7, 0, 0] } }, "damaged");
  refuse({ nodes_truenodeids: { ints: [9, 0, 0] } }, "damaged");
});

Deno.test("readTrees() throws SyntaxError when the bytes are cut short", () => {
  const bytes = exportStump({});
  for (const length of [20, 100, bytes.length - 3]) {
    assertThrows(() => readTrees(bytes.subarray(0, length)), SyntaxError, "Cannot read ONNX model");
  }
});
