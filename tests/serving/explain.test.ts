import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { matrix } from "../../numeric/matrix.ts";
import { readTrees } from "../../numeric/onnx_trees.ts";
import { Random } from "../../numeric/random.ts";
import { TreeExplainer } from "../../numeric/tree_shap.ts";
import { computeWindows, windowNames, type WindowSpec } from "../../numeric/windows.ts";
import type { Plugin } from "../../plugins/plugin.ts";
import { boosting } from "../../plugins/trainers/boosting.ts";
import { logistic } from "../../plugins/trainers/logistic.ts";
import { fitClassifier } from "../../runtime/fit.ts";
import { registerVersion, setAlias } from "../../runtime/registry/model_registry.ts";
import { OnnxSession } from "../../runtime/onnx_session.ts";
import { type Signature, SIGNATURE_KEY } from "../../runtime/registry/signature.ts";
import { openStore, type Store } from "../../runtime/store/store.ts";
import { createApp, type GeophoneApp } from "../../server.ts";
import { registerTestModel, testRecord } from "../model_fixture.ts";

const inputs = [{ name: "GR", unit: "gAPI" }, { name: "RT" }, { name: "NPHI" }];
const windows: WindowSpec = { radii: [1], statistics: ["mean", "gradient"] };

interface ModelOptions {
  readonly trainer?: Plugin<"trainer">;
  readonly classes?: readonly string[];
  readonly isWindowed?: boolean;
  readonly pca?: number | null;
}

/** 300 rows of one well, with missing values. */
function makeWell(k: number) {
  const random = new Random(5);
  const X = matrix(300, 3);
  const y = new Int32Array(300);
  for (let i = 0; i < 300; i++) {
    y[i] = Math.floor(i / 7) % k;
    const row = [40 * y[i] + 60 * random.uniform(), 1 + 9 * random.uniform() * (1 + y[i]), 0];
    row[2] = 0.1 * random.uniform() + (y[i] === 1 ? 0.1 : 0);
    row.forEach((value, j) => X.data[3 * i + j] = random.uniform() < 0.1 ? NaN : value);
  }
  return { X, y, order: Float64Array.from({ length: 300 }, (_, i) => 1000 + i / 2) };
}

/** Trains a real model as the training stage does, and puts it into production. */
async function registerTrained(store: Store, options: ModelOptions = {}): Promise<Uint8Array> {
  const { trainer = boosting as Plugin<"trainer">, classes = ["sand", "shale", "salt"] } = options;
  const spec = options.isWindowed ? windows : { radii: [], statistics: [] };
  const { X, y, order } = makeWell(classes.length);
  const features = windowNames(inputs.map(({ name }) => name), spec);
  const fitted = await fitClassifier({
    train: { X: computeWindows(X, spec, { order }), y },
    featureNames: features,
    classNames: classes,
    steps: { standardize: true, pca: options.pca ?? null, log: ["RT"] },
    trainer,
    params: trainer.params.parse(trainer === boosting ? { rounds: 15, minRows: 5 } : {}),
    seed: 1,
    signal: new AbortController().signal,
  });
  const signature: Signature = {
    model: "rocks",
    inputs,
    order: options.isWindowed ? { column: "DEPT", unit: "m" } : null,
    windows: spec,
    outliers: "keep",
    features,
    classes,
    target: "lithology",
    trainer: trainer.name,
    dataHash: "0".repeat(64),
    codeHash: "1".repeat(64),
    seed: 1,
  };
  const bytes = fitted.toOnnx({ [SIGNATURE_KEY]: JSON.stringify(signature) });
  await fitted.close();
  const { version } = await registerVersion(store, { bytes, report: {}, runId: "run-test" });
  await setAlias(store, { model: "rocks", alias: "production", version, reason: "test" });
  return bytes;
}

async function withModel(
  options: ModelOptions,
  action: (app: GeophoneApp, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  await using store = await openStore(":memory:");
  const bytes = await registerTrained(store, options);
  await using app = await createApp({ store, model: "rocks", quiet: true });
  await action(app, bytes);
}

interface Explained {
  label: string;
  confidence: number;
  probabilities: Record<string, number>;
  base_value: number;
  contributions: { feature: string; value: number | null; contribution: number }[];
  input_contributions: Record<string, number>;
}

async function ask(
  app: GeophoneApp,
  query: string,
  records: unknown[],
): Promise<{ status: number; predictions: Explained[]; message: string }> {
  const response = await app.request(`/predict${query}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ records }),
  });
  const body = await response.json();
  return {
    status: response.status,
    predictions: body.predictions,
    message: body.error?.message ?? "",
  };
}

function recordsOf(count: number, k: number, hasDepth = false): Record<string, number | null>[] {
  const { X, order } = makeWell(k);
  return Array.from({ length: count }, (_, i) => {
    const cells = inputs.map(({ name }, j) => {
      const value = X.data[3 * i + j];
      return [name, Number.isNaN(value) ? null : value];
    });
    return { ...Object.fromEntries(cells), ...(hasDepth ? { DEPT: order[i] } : {}) };
  });
}

/** The score of a prediction, as its explanation adds it up. */
function scoreOf({ base_value, input_contributions }: Explained): number {
  return Object.values(input_contributions).reduce((a, b) => a + b, base_value);
}

Deno.test("POST /predict?explain=K adds up to the score of the predicted class when features are windows", () =>
  withModel({ isWindowed: true }, async (app, bytes) => {
    const records = recordsOf(40, 3, true);
    const { status, predictions } = await ask(app, "?explain=50", records);
    assertEquals(status, 200);
    const plain = await ask(app, "", records);
    const scores = await scoreRecords(bytes, records);
    predictions.forEach((prediction, i) => {
      const { base_value, contributions, input_contributions, ...rest } = prediction;
      assertEquals<unknown>(rest, plain.predictions[i]);
      assertEquals(contributions.length, 9);
      assertAlmostEquals(scoreOf(prediction), scores[i][prediction.label], 1e-9);
      const sum = contributions.reduce((s, { contribution }) => s + contribution, base_value);
      assertAlmostEquals(sum, scoreOf(prediction), 1e-9);
      assertEquals(Object.keys(input_contributions), inputs.map(({ name }) => name));
      for (const { name } of inputs) {
        const parts = contributions.filter(({ feature }) => feature.split("_")[0] === name);
        assertEquals(parts.length, 3);
        const part = parts.reduce((s, { contribution }) => s + contribution, 0);
        assertAlmostEquals(part, input_contributions[name], 1e-9);
        // Values are those before logarithm and scaling.
        const raw = parts.find(({ feature }) => feature === name)!.value;
        assertEquals(raw === null ? null : Math.fround(raw), records[i][name]);
      }
    });
  }));

/** Scores of all classes, by the trees on what onnxruntime prepares for them. */
async function scoreRecords(
  bytes: Uint8Array,
  records: readonly Record<string, number | null>[],
): Promise<Record<string, number>[]> {
  const reading = readTrees(bytes);
  assert("trees" in reading);
  const { scores, preparation } = reading.trees;
  const X = matrix(
    records.length,
    3,
    Float32Array.from(records.flatMap((record) => inputs.map(({ name }) => record[name] ?? NaN))),
  );
  const order = Float64Array.from(records, (record) => record.DEPT!);
  const session = await OnnxSession.open(preparation!.bytes);
  const prepared = await session.transform(
    computeWindows(X, windows, { order }),
    preparation!.output,
  );
  await session.close();
  const explainers = ["sand", "shale", "salt"].map((label, c) =>
    [label, new TreeExplainer(scores.get(c)!, prepared.cols)] as const
  );
  return records.map((_, i) => {
    const row = prepared.data.subarray(i * prepared.cols, (i + 1) * prepared.cols);
    return Object.fromEntries(
      explainers.map(([label, explainer]) => [label, explainer.predict(row)]),
    );
  });
}

Deno.test("POST /predict?explain=K adds up to the log-odds of either class when there are two", () =>
  withModel({ classes: ["sand", "shale"] }, async (app) => {
    const { predictions } = await ask(app, "?explain=2", recordsOf(60, 2));
    for (const prediction of predictions) {
      const { confidence } = prediction;
      assertAlmostEquals(scoreOf(prediction), Math.log(confidence / (1 - confidence)), 1e-4);
    }
    assertEquals(new Set(predictions.map(({ label }) => label)), new Set(["sand", "shale"]));
  }));

Deno.test("POST /predict?explain=K gives the K largest contributions, equal ones by name", () =>
  withModel({}, async (app) => {
    const records = recordsOf(20, 3);
    const all = (await ask(app, "?explain=50", records)).predictions;
    const two = (await ask(app, "?explain=2&alias=production", records)).predictions;
    all.forEach(({ contributions, input_contributions }, i) => {
      assertEquals(contributions.length, 3);
      for (let j = 1; j < 3; j++) {
        const [before, after] = [contributions[j - 1], contributions[j]];
        const fall = Math.abs(before.contribution) - Math.abs(after.contribution);
        assert(fall > 0 || (fall === 0 && before.feature < after.feature));
      }
      for (const { feature, contribution } of contributions) {
        assertEquals(contribution, input_contributions[feature]);
      }
      assertEquals(two[i].contributions, contributions.slice(0, 2));
    });
    const [short] =
      (await ask(app, "?explain=3", [{ GR: 77.7, RT: 0.1, NPHI: -1e-7 }])).predictions;
    assertEquals(short.contributions.map(({ value }) => value).toSorted(), [-1e-7, 0.1, 77.7]);
    const [unknown] =
      (await ask(app, "?explain=3", [{ GR: null, RT: null, NPHI: null }])).predictions;
    assertEquals(unknown.contributions.map(({ value }) => value), [null, null, null]);
  }));

Deno.test("POST /predict?explain=K answers requests at the same time as if they came alone", () =>
  withModel({}, async (app) => {
    const records = recordsOf(200, 3);
    const parts = Array.from({ length: 8 }, (_, i) => records.slice(25 * i, 25 * i + 25));
    const answers = await Promise.all(parts.map((part) => ask(app, "?explain=3", part)));
    const whole = await ask(app, "?explain=3", records);
    assertEquals(answers.flatMap(({ predictions }) => predictions), whole.predictions);
  }));

Deno.test("POST /predict?explain=K refuses a K out of range, too many records and other routes", () =>
  withModel({}, async (app) => {
    const record = recordsOf(1, 3)[0];
    for (const text of ["0", "51", "-1", "1.5", "", "all", "1e1", "3&explain=4"]) {
      const { status, message } = await ask(app, `?explain=${text}`, [record]);
      assertEquals(status, 400, text);
      assertStringIncludes(message, "is no number from 1 to 50");
    }
    assertStringIncludes((await ask(app, "?explian=3", [record])).message, 'mean "explain"');
    const many = Array.from({ length: 1001 }, () => record);
    const { status, message } = await ask(app, "?explain=1", many);
    assertEquals(status, 413);
    assertStringIncludes(message, "Cannot explain 1001 records");
    assertEquals((await ask(app, "?explain=1", many.slice(1))).status, 200);
    assertEquals((await ask(app, "", many)).status, 200);
    const batch = await app.request("/batch_predict?explain=3", {
      method: "POST",
      body: JSON.stringify({ records: [record] }),
    });
    assertStringIncludes((await batch.json()).error.message, 'unknown parameter "explain"');
    assertEquals(batch.status, 400);
  }));

Deno.test("POST /predict?explain=K answers 422 with the reason when a model has no trees or mixes columns", async () => {
  const cases: [ModelOptions, string][] = [
    [{ trainer: logistic as Plugin<"trainer"> }, 'trainer "logistic": it has no trees'],
    [{ pca: 2 }, "principal components"],
  ];
  for (const [options, reason] of cases) {
    await withModel(options, async (app) => {
      const records = recordsOf(2, 3);
      for (let i = 0; i < 2; i++) {
        const { status, message } = await ask(app, "?explain=3", records);
        assertEquals(status, 422);
        assertStringIncludes(message, reason);
      }
      assertEquals((await ask(app, "", records)).status, 200);
    });
  }
});

Deno.test("POST /predict?explain=K answers 422 when the file has no row counts, and puts the request on record", async () => {
  await using store = await openStore(":memory:");
  await registerTestModel(store, { kind: "trees" });
  await using app = await createApp({ store, model: "rocks", quiet: true });
  const { status, message } = await ask(app, "?explain=3", [testRecord(1)]);
  assertEquals(status, 422);
  assertStringIncludes(message, "how many training rows");
  assertEquals(await store.query("select status_code, row_count from requests"), [
    { status_code: 422, row_count: 1 },
  ]);
  assertEquals(await store.query("select * from inferences"), []);
});

Deno.test("GET /openapi.json describes explain for /predict alone", () =>
  withModel({}, async (app) => {
    const { paths, components } = await (await app.request("/openapi.json")).json();
    const namesOf = (path: string) =>
      paths[path].post.parameters.map(({ name }: { name: string }) => name);
    assert(namesOf("/predict").includes("explain"));
    assert(!namesOf("/batch_predict").includes("explain"));
    const { properties } = components.schemas.Predictions.properties.predictions.items;
    for (const key of ["base_value", "contributions", "input_contributions"]) {
      assert(key in properties, key);
    }
  }));
