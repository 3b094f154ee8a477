import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { evaluation, formatInterval } from "../../stages/evaluation.ts";
import { features } from "../../stages/features.ts";
import { training } from "../../stages/training.ts";
import { withSilver } from "./fixture.ts";

Deno.test("evaluation() holds out every row once and compares with the baselines", () =>
  withSilver({ isOrdered: true }, async (context, silver) => {
    const table = await features.run(silver, features.params.parse({}), context);
    const model = await training.run(
      table,
      training.params.parse({ params: { rounds: 15, leaves: 6 } }),
      context,
    );
    const params = evaluation.params.parse({ replicates: 200 });
    const report = await evaluation.run({ model, table }, params, context);
    assertEquals(report.scores.confusion.flat().reduce((a, b) => a + b, 0), 600);
    assertEquals(report.folds.length, 5);
    assertEquals(report.folds.reduce((sum, { rows }) => sum + rows, 0), 600);
    assertEquals(report.baselines.map(({ trainer }) => trainer), ["prior", "logistic"]);
    const [prior] = report.baselines;
    assert(report.scores.accuracy!.value > 0.9, `accuracy ${report.scores.accuracy!.value}`);
    assert(prior.scores.accuracy!.value < 0.5);
    assert(prior.difference.macroF1!.low! > 0.3);
    assert(report.scores.macroF1!.low! < report.scores.macroF1!.value);
    assertEquals(context.metrics.get("accuracy"), report.scores.accuracy!.value);
    assertStringIncludes(evaluation.describe!(report), "5 blocked folds");
    assertStringIncludes(evaluation.display!(report), "<td>prior<td>");
    assertEquals(await evaluation.run({ model, table }, params, context), report);
  }));

Deno.test("evaluation() scores the prior as the share of the largest class when labels are noise", () =>
  withSilver({}, async (context, silver) => {
    const table = await features.run(silver, features.params.parse({}), context);
    const model = await training.run(table, training.params.parse({ trainer: "prior" }), context);
    const report = await evaluation.run(
      { model, table },
      evaluation.params.parse({ baselines: [], replicates: 100 }),
      context,
    );
    assertEquals(report.baselines, []);
    const largest = Math.max(...silver.classes.map(({ rows }) => rows)) / 600;
    assert(report.scores.accuracy!.value <= largest);
  }));

Deno.test("evaluation.validate() names a baseline that does not exist", () =>
  withSilver({}, (context) => {
    const params = evaluation.params.parse({ baselines: ["forest"] });
    assertThrows(() => evaluation.validate!(params, context.plugins), RangeError, '"forest"');
    return Promise.resolve();
  }));

Deno.test("formatInterval() leaves out an interval that is undefined", () => {
  assertEquals(formatInterval({ value: 0.5, low: 0.25, high: 0.75 }), "0.500 [0.250, 0.750]");
  assertEquals(formatInterval({ value: 0.5, low: null, high: null }), "0.500");
  assertEquals(formatInterval(null), "undefined");
});
