import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { UsageError } from "../../runtime/errors.ts";
import { readArtifact } from "../../runtime/artifacts.ts";
import { Predictor } from "../../runtime/predict/predictor.ts";
import { readSignature } from "../../runtime/registry/signature.ts";
import { features, type Gold } from "../../stages/features.ts";
import { readGold, readSilver } from "../../stages/rows.ts";
import { training } from "../../stages/training.ts";
import type { TestContext } from "../stage_context.ts";
import { withSilver } from "./fixture.ts";

const params = (values: unknown) => training.params.parse(values);

const boosted = { trainer: "boosting", params: { rounds: 20, leaves: 8, patience: 5 } };

function withGold(
  action: (context: TestContext, gold: Gold) => Promise<void>,
  featureParams: unknown = { windows: { radii: [1] } },
): Promise<void> {
  return withSilver({ isOrdered: true }, async (context, silver) => {
    await action(
      context,
      await features.run(silver, features.params.parse(featureParams), context),
    );
  });
}

for (const trainer of ["prior", "logistic", "boosting"]) {
  Deno.test(`training() exports one graph equal to its trainer when it is ${trainer}`, () =>
    withGold(async (context, gold) => {
      const model = await training.run(gold, params({ trainer }), context);
      assertEquals(model.parity.rows, 600);
      assertEquals(model.parity.flips, 0);
      assert(model.parity.maxDifference <= 1e-5);
      assertEquals(context.metrics.get("parity_flips"), 0);
      const signature = readSignature(await readArtifact(context.store, model.artifact));
      assertEquals(signature.classes, ["busy", "calm", "hot"]);
      assertEquals(signature.inputs.map(({ name }) => name), ["heat", "flow", "noise"]);
      assertEquals(signature.order?.column, "time");
    }));
}

Deno.test("training() makes the same bytes for the same data, parameters and seed", () =>
  withGold(async (context, gold) => {
    const first = await training.run(gold, params(boosted), context);
    const again = await training.run(gold, params(boosted), context);
    assertEquals(again.artifact, first.artifact);
    assertEquals(again.golden, first.golden);
  }));

Deno.test("training() gives a graph that predicts raw records as the training table does", () =>
  withGold(async (context, gold) => {
    const model = await training.run(gold, params(boosted), context);
    const predictor = await Predictor.open(await readArtifact(context.store, model.artifact));
    const raw = await readSilver(context.store, gold.silver.train.table, ["heat", "flow", "noise"]);
    const served = await predictor.predict(raw);
    const trained = await predictor.classify((await readGold(context.store, gold)).X);
    await predictor.close();
    assertEquals(served.probabilities.data, trained.probabilities.data);
  }));

Deno.test("training() puts PCA into the graph when the config asks for it", () =>
  withGold(async (context, gold) => {
    const model = await training.run(gold, params(boosted), context);
    assertEquals(model.importances.map(({ feature }) => feature).sort(), ["pc_1", "pc_2"]);
    assertAlmostEquals(model.importances.reduce((sum, { share }) => sum + share, 0), 1, 1e-9);
  }, { windows: { radii: [1] }, pca: 2 }));

Deno.test("training() profiles every class by the raw columns", () =>
  withGold(async (context, gold) => {
    const { profiles } = await training.run(gold, params({ trainer: "prior" }), context);
    const [row] = await context.store.query(
      `select avg(heat) as mean, stddev_pop(heat) as std, count(*) as count from ${gold.table} where _label = 'hot'`,
    );
    assertEquals(profiles.hot.count, row.count);
    assertAlmostEquals(profiles.hot.mean.heat, row.mean as number, 1e-9);
    assertAlmostEquals(profiles.hot.std.heat, row.std as number, 1e-9);
  }));

Deno.test("training.validate() names a wrong parameter and a trainer that does not exist", () =>
  withGold((context) => {
    const check = (values: unknown) => training.validate!(params(values), context.plugins);
    const wrong = () => check({ trainer: "boosting", params: { learningRat: 0.1 } });
    assertThrows(wrong, UsageError, 'did you mean "learningRate"?');
    assertThrows(
      () => check({ trainer: "forest" }),
      RangeError,
      "there are prior, logistic, boosting",
    );
    return Promise.resolve();
  }));

Deno.test("training() stops at once when it is aborted", () =>
  withGold(async (context, gold) => {
    const signal = AbortSignal.abort(new Error("Stopped by the test"));
    const run = () => training.run(gold, params(boosted), { ...context, signal });
    await assertRejects(run, Error, "Stopped by the test");
  }));
