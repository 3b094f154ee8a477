/** The class prior: the baseline that every other trainer has to beat. */
import { z } from "zod";
import { addLabel, checkColumns, countClasses } from "../../numeric/fitting.ts";
import { matrix } from "../../numeric/matrix.ts";
import { definePlugin, type Model } from "../plugin.ts";

const params = z.strictObject({});

/**
 * Gives every row the class shares of the training rows. Features are ignored.
 *
 * `fit` throws a RangeError when fewer than two classes occur.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "../../numeric/matrix.ts";
 * import { prior } from "./prior.ts";
 *
 * const train = {
 *   X: matrix(4, 1),
 *   y: Int32Array.of(0, 1, 1, 1),
 *   featureNames: ["gr"],
 *   classNames: ["sand", "shale"],
 * };
 * const model = await prior.fit(train, {}, { seed: 0, signal: new AbortController().signal });
 * assertEquals(model.predict(matrix(1, 1)).data, Float32Array.of(0.25, 0.75));
 * ```
 */
export const prior = definePlugin({
  kind: "trainer",
  name: "prior",
  summary: "class shares of the training rows; the baseline",
  params,
  handlesMissing: true,
  // deno-lint-ignore require-await -- an early throw has to be a rejection, as in other trainers
  async fit(train, _params: z.infer<typeof params>, context): Promise<Model> {
    context.signal.throwIfAborted();
    const { counts } = countClasses("prior", train);
    return makeModel(Float32Array.from(counts, (count) => count / train.y.length), train.X.cols);
  },
});

function makeModel(shares: Float32Array, d: number): Model {
  const k = shares.length;
  return {
    predict(X) {
      checkColumns(X, d);
      const P = matrix(X.rows, k);
      for (let i = 0; i < X.rows; i++) P.data.set(shares, i * k);
      return P;
    },
    toGraph(graph, input) {
      const row = graph.constant(graph.freshName("class_shares"), [1, k], shares);
      const one = graph.constant(graph.freshName("one"), [1], BigInt64Array.of(1n));
      const attributes = { start: { int: 0 }, end: { int: 1 } };
      const rows = graph.node("Shape", [input], [graph.freshName("rows")], attributes);
      const repeats = graph.node("Concat", [rows, one], [graph.freshName("repeats")], {
        axis: { int: 0 },
      });
      graph.node("Tile", [row, repeats], ["probabilities"]);
      addLabel(graph);
    },
  };
}
