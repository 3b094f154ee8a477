import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { matrix, takeRows } from "../../../numeric/matrix.ts";
import { logistic } from "../../../plugins/trainers/logistic.ts";
import { assertOnnxEqual, makeClusters, makeContext, testTrainer } from "../../contract.ts";
import golden from "../../oracles/golden.json" with { type: "json" };

testTrainer(logistic);

const { X: values, y: classes, features, cases } = golden.logistic;
const wine = matrix(classes.length, features, Float32Array.from(values));

for (const wanted of cases) {
  const weighting = wanted.balanced ? "balanced" : "none";
  Deno.test(`logistic.fit() equals scikit-learn when there are ${wanted.classes} classes, C is ${wanted.C} and weights are ${weighting}`, async () => {
    const kept = [...classes.keys()].filter((i) => classes[i] < wanted.classes);
    const train = {
      X: takeRows(wine, kept),
      y: Int32Array.from(kept, (i) => classes[i]),
      featureNames: Array.from({ length: features }, (_, j) => `x${j}`),
      classNames: Array.from({ length: wanted.classes }, (_, c) => `class ${c}`),
    };
    const params = logistic.params.parse({ C: wanted.C, classWeight: weighting });
    const model = await logistic.fit(train, params, makeContext());
    const k = wanted.classes;
    // scikit-learn gives two classes one row of coefficients, those of the second class.
    const firstClass = k - wanted.coefficients.length;
    wanted.coefficients.forEach((row, r) => {
      const c = firstClass + r;
      row.forEach((w, j) => {
        assertAlmostEquals(model.coefficients[j * k + c], w, 1e-3 * Math.max(Math.abs(w), 0.05));
      });
      const intercept = wanted.intercepts[r];
      assertAlmostEquals(
        model.intercepts[c],
        intercept,
        1e-3 * Math.max(Math.abs(intercept), 0.05),
      );
    });
    const P = model.predict(takeRows(train.X, [0, 1, 2, 3, 4]));
    wanted.probabilities.flat().forEach((p, i) => assertAlmostEquals(P.data[i], p, 1e-4));
  });
}

Deno.test("logistic.fit() reaches the same model when a column changes its unit and C is large", async () => {
  const train = makeClusters(300, 3, { seed: 8 });
  const params = logistic.params.parse({ C: 1e10, tolerance: 1e-8 });
  const model = await logistic.fit(train, params, makeContext());
  const inMeters = { ...train, X: matrix(300, 4, train.X.data.map((v) => 1000 * v + 5000)) };
  const other = await logistic.fit(inMeters, params, makeContext());
  const P = model.predict(train.X);
  const Q = other.predict(inMeters.X);
  P.data.forEach((p, i) => assertAlmostEquals(Q.data[i], p, 2e-3));
  await assertOnnxEqual(other, inMeters.X, 3);
});

Deno.test("logistic.fit() throws RangeError naming the column when a value is missing or infinite", async () => {
  for (const bad of [NaN, Infinity]) {
    const train = makeClusters(40, 2);
    train.X.data[4 * 7 + 2] = bad;
    const fit = () => logistic.fit(train, logistic.params.parse({}), makeContext());
    await assertRejects(fit, RangeError, `column "c"`);
  }
});

Deno.test("logistic.fit() ranks the columns that separate the classes first when asked for importances", async () => {
  const model = await logistic.fit(
    makeClusters(2000, 3, { seed: 9 }),
    logistic.params.parse({}),
    makeContext(),
  );
  assert(model.importances![3] < model.importances![0]);
  assertEquals(model.importances!.length, 4);
});
