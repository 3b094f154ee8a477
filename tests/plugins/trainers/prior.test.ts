import { assertEquals } from "@std/assert";
import { matrix } from "../../../numeric/matrix.ts";
import { prior } from "../../../plugins/trainers/prior.ts";
import { makeClusters, makeContext, testTrainer } from "../../contract.ts";

testTrainer(prior);

Deno.test("prior.fit() gives every row the class shares when features are anything", async () => {
  const train = { ...makeClusters(8, 3), y: Int32Array.of(0, 0, 0, 0, 1, 1, 2, 2) };
  const model = await prior.fit(train, {}, makeContext());
  const P = model.predict(matrix(2, 4, new Float32Array(8).fill(NaN)));
  assertEquals(P.data, Float32Array.of(0.5, 0.25, 0.25, 0.5, 0.25, 0.25));
});
