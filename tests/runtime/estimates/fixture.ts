/** A real model with held-out predictions, and traffic whose truth it gets right as often as it says. */
import { type Matrix, matrix } from "../../../numeric/matrix.ts";
import { Random } from "../../../numeric/random.ts";
import { heldOutSteps } from "../../../runtime/estimates/held_out.ts";
import { Predictor } from "../../../runtime/predict/predictor.ts";
import type { ModelVersion } from "../../../runtime/registry/model_registry.ts";
import type { Store } from "../../../runtime/store/store.ts";
import { buildTestModel, registerTestModel, testClasses } from "../../model_fixture.ts";
import { makeReport } from "../../report_fixture.ts";

/** Inputs `[n, 3]`, GR around `level`. */
export function makeInputs(rows: number, { level = 20, seed = 1 } = {}): Matrix {
  const random = new Random(seed);
  const X = matrix(rows, 3);
  for (let i = 0; i < rows; i++) {
    X.data.set([level + 40 * random.uniform(), 2 + random.uniform(), random.uniform() / 2], 3 * i);
  }
  return X;
}

/** Answers of the test model, and a truth drawn from its probabilities. */
export async function answer(X: Matrix, seed = 1): Promise<{ P: Matrix; y: Int32Array }> {
  const random = new Random(seed);
  const predictor = await Predictor.open(buildTestModel());
  try {
    const { probabilities: P } = await predictor.predict({ X });
    const y = Int32Array.from({ length: X.rows }, (_, i) => {
      let left = random.uniform();
      let c = 0;
      while (c < P.cols - 1 && (left -= P.data[i * P.cols + c]) > 0) c++;
      return c;
    });
    return { P, y };
  } finally {
    await predictor.close();
  }
}

/** Registers the test model, with or without held-out predictions. */
export async function registerWithHeldOut(store: Store, rows = 2_000): Promise<ModelVersion> {
  if (rows === 0) return await registerTestModel(store, { report: makeReport() });
  const X = makeInputs(rows);
  const { P, y } = await answer(X);
  const hits = y.reduce((sum, truth, i) => {
    const row = P.data.subarray(i * 3, i * 3 + 3);
    return sum + (row.indexOf(Math.max(...row)) === truth ? 1 : 0);
  }, 0);
  const { handle, steps } = await heldOutSteps({
    X,
    P,
    y,
    groups: Array.from(y, (_, i) => i % 2 === 0 ? "A" : "B"),
    order: Float64Array.from(y.keys()),
  });
  await store.transaction(steps);
  const value = hits / rows;
  const accuracy = { value, low: value - 0.02, high: value + 0.02 };
  const report = makeReport({ predictions: handle });
  return await registerTestModel(store, {
    report: { ...report, scores: { ...report.scores, accuracy } },
  });
}

/** Logs predictions of a day as one request a slice; gives the true labels. */
export async function logDay(
  store: Store,
  { day, rows = 600, level, seed = 2, slices = ["A", "B"], request = day }: {
    /** Such as `2026-03-01`. */
    readonly day: string;
    readonly rows?: number;
    readonly level?: number;
    readonly seed?: number;
    readonly slices?: readonly string[];
    readonly request?: string;
  },
): Promise<{ requestId: string; row: number; label: string }[]> {
  const X = makeInputs(rows, { seed, ...(level === undefined ? {} : { level }) });
  const { P, y } = await answer(X, seed);
  const labels = Array.from(y, (truth, i) => ({
    requestId: `${request}-${slices[i % slices.length]}`,
    row: Math.floor(i / slices.length),
    label: testClasses[truth],
  }));
  const confidence = Float64Array.from(
    { length: rows },
    (_, i) => Math.max(...P.data.subarray(i * 3, i * 3 + 3)),
  );
  await store.transaction([{
    append: "core.inferences",
    columns: {
      request_id: labels.map(({ requestId }) => requestId),
      row: Float64Array.from(labels, ({ row }) => row),
      request_time: labels.map(() => new Date(`${day}T12:00:00Z`)),
      model: labels.map(() => "rocks"),
      version: new Float64Array(rows).fill(1),
      features: { values: X.data, lengths: new Uint32Array(rows).fill(3) },
      label: Array.from(
        confidence,
        (p, i) => testClasses[P.data.subarray(i * 3, i * 3 + 3).indexOf(p)],
      ),
      confidence,
      probabilities: { values: P.data, lengths: new Uint32Array(rows).fill(3) },
      slice: labels.map((_, i) => slices[i % slices.length]),
    },
  }]);
  return labels;
}
