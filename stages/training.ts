/** Training: one ONNX graph from raw features to label and probabilities, checked against itself. */
import { z } from "zod";
import type { Matrix } from "../numeric/matrix.ts";
import { heldOutRows } from "../numeric/split.ts";
import type { ClassProfile } from "../plugins/plugin.ts";
import { artifactStep } from "../runtime/artifacts.ts";
import { hashCode } from "../runtime/code_hash.ts";
import { parseParams } from "../runtime/config.ts";
import { fitClassifier, type FittedClassifier } from "../runtime/fit.ts";
import { PARITY_TOLERANCE } from "../runtime/registry/golden.ts";
import { OnnxSession } from "../runtime/onnx_session.ts";
import { type Signature, SIGNATURE_KEY } from "../runtime/registry/signature.ts";
import { defineStage } from "../runtime/stage.ts";
import type { Gold } from "./features.ts";
import { type GoldRows, readGold, rowsOutside, takeLabelled } from "./rows.ts";

/** Rows of the golden batch that deployment must reproduce. */
const GOLDEN_ROWS = 64;

const Params = z.strictObject({
  trainer: z.string().default("boosting").describe("trainer by name; see deno task plugins"),
  params: z.record(z.string(), z.unknown()).default({})
    .describe("the trainer's own parameters"),
});

/** Agreement of the trainer's own predictions with the exported graph's. */
export interface Parity {
  readonly rows: number;
  readonly maxDifference: number;
  readonly flips: number;
}

/** A trained model; its bytes are an artifact of the store. */
export interface TrainedModel {
  /** sha256 of the ONNX bytes. */
  readonly artifact: string;
  readonly bytes: number;
  readonly trainer: string;
  /** Parameters as parsed, for evaluation. */
  readonly params: unknown;
  readonly iterations: number | null;
  /** Share of the gain per prepared feature, largest first, or empty when the family has none. */
  readonly importances: readonly { readonly feature: string; readonly share: number }[];
  readonly parity: Parity;
  /** sha256 of the golden batch. */
  readonly golden: string;
  /** Mean and deviation of the raw columns per class, for judges. */
  readonly profiles: Readonly<Record<string, ClassProfile>>;
  readonly silver: Gold["silver"];
}

/** Fits, exports, and refuses a graph that disagrees with its trainer. */
export const training = defineStage<Gold, TrainedModel, z.infer<typeof Params>>({
  name: "training",
  summary: "one ONNX graph with the preparation inside, equal to its trainer",
  module: import.meta.url,
  params: Params,
  validate({ trainer, params }, plugins) {
    parseParams(plugins.get("trainer", trainer).params, params, `training.params of "${trainer}"`);
  },
  async run(gold, params, context) {
    const trainer = context.plugins.get("trainer", params.trainer);
    const trainerParams = trainer.params.parse(params.params);
    const rows = await readGold(context.store, gold);
    const base = {
      featureNames: gold.features,
      classNames: gold.classes,
      steps: gold.steps,
      trainer,
      seed: context.seed,
      signal: context.signal,
    };
    const all = takeLabelled(rows, Int32Array.from(rows.y.keys()));

    let finalParams: unknown = trainerParams;
    if (trainer.refit) {
      const probe = await fitClassifier({
        ...base,
        params: trainerParams,
        train: takeLabelled(rows, rowsOutside(rows, gold, [0])),
        validation: takeLabelled(rows, heldOutRows(rows, 0)),
        onProgress: (share) => context.progress(share / 2, "early stopping on fold 0"),
      });
      finalParams = trainer.refit(trainerParams, probe.model);
      await probe.close();
    }
    const fitted = await fitClassifier({
      ...base,
      params: finalParams,
      train: all,
      onProgress: (share) => context.progress(0.5 + share / 2, "all rows"),
    });
    const signature: Signature = {
      model: context.name,
      inputs: gold.inputs,
      order: gold.order,
      windows: gold.windows,
      outliers: gold.outliers,
      features: gold.features,
      classes: gold.classes,
      target: gold.target,
      trainer: trainer.name,
      dataHash: gold.contentHash,
      codeHash: await hashCode([import.meta.url]),
      seed: context.seed,
    };
    const bytes = fitted.toOnnx({ [SIGNATURE_KEY]: JSON.stringify(signature) });
    const { parity, probabilities } = await checkParity(fitted, bytes, rows.X);
    await fitted.close();

    const artifact = await artifactStep(bytes, "application/onnx");
    const golden = await artifactStep(
      new TextEncoder().encode(JSON.stringify(makeGolden(rows.X, probabilities))),
      "application/json",
    );
    await context.store.transaction([artifact.step, golden.step]);
    context.log("parity_max_difference", parity.maxDifference);
    context.log("parity_flips", parity.flips);
    if (fitted.model.iterations !== undefined) context.log("iterations", fitted.model.iterations);
    return {
      artifact: artifact.sha256,
      bytes: bytes.length,
      trainer: trainer.name,
      params: trainerParams,
      iterations: fitted.model.iterations ?? null,
      importances: listImportances(fitted),
      parity,
      golden: golden.sha256,
      profiles: profileClasses(rows, gold),
      silver: gold.silver,
    };
  },
  describe: ({ trainer, iterations, bytes, parity }) =>
    `${trainer}${iterations === null ? "" : `, ${iterations} iterations`}, ONNX ${
      (bytes / 1e6).toFixed(1)
    } MB, max |Δp| ${parity.maxDifference.toExponential(1)}, ${parity.flips} flips`,
  async isCurrent({ artifact }, _params, { store }) {
    return (await store.query("select 1 from core.artifacts where sha256 = ?", [artifact]))
      .length > 0;
  },
});

async function checkParity(
  fitted: FittedClassifier,
  bytes: Uint8Array,
  X: Matrix,
): Promise<{ parity: Parity; probabilities: Matrix }> {
  const expected = fitted.model.predict(await fitted.prepare(X));
  const session = await OnnxSession.open(bytes);
  const answer = await session.classify(X).finally(() => session.close());
  let maxDifference = 0;
  let flips = 0;
  for (let i = 0; i < X.rows; i++) {
    let best = 0;
    for (let c = 0; c < expected.cols; c++) {
      const at = i * expected.cols + c;
      const difference = Math.abs(expected.data[at] - answer.probabilities.data[at]);
      // A NaN must fail the check, so it counts as infinitely far.
      maxDifference = Math.max(maxDifference, Number.isNaN(difference) ? Infinity : difference);
      if (expected.data[at] > expected.data[i * expected.cols + best]) best = c;
    }
    if (answer.labels[i] !== best) flips++;
  }
  if (maxDifference > PARITY_TOLERANCE || flips > 0) {
    throw new Error(
      `Cannot export the model: onnxruntime differs from the trainer by up to ${maxDifference} and flips ${flips} of ${X.rows} labels; please report this with the config`,
    );
  }
  return { parity: { rows: X.rows, maxDifference, flips }, probabilities: answer.probabilities };
}

function makeGolden(X: Matrix, P: Matrix) {
  const count = Math.min(GOLDEN_ROWS, X.rows);
  const index = Array.from({ length: count }, (_, i) => Math.floor(i * X.rows / count));
  const rowOf = ({ data, cols }: Matrix, i: number) => [...data.subarray(i * cols, (i + 1) * cols)];
  return {
    features: index.map((i) => rowOf(X, i).map((v) => Number.isNaN(v) ? null : v)),
    probabilities: index.map((i) => rowOf(P, i)),
  };
}

function listImportances({ model, steps }: FittedClassifier): TrainedModel["importances"] {
  if (!model.importances) return [];
  return Array.from(model.importances, (share, j) => ({ feature: steps.outputNames[j], share }))
    .sort((a, b) => b.share - a.share);
}

/** The raw columns come first in the feature matrix. */
function profileClasses(rows: GoldRows, gold: Gold): Record<string, ClassProfile> {
  const { X, y } = rows;
  const profiles: Record<string, ClassProfile> = {};
  gold.classes.forEach((name, c) => {
    const mean: Record<string, number> = {};
    const std: Record<string, number> = {};
    gold.inputs.forEach((input, j) => {
      let count = 0;
      let sum = 0;
      let squares = 0;
      for (let i = 0; i < X.rows; i++) {
        const value = X.data[i * X.cols + j];
        if (y[i] !== c || Number.isNaN(value)) continue;
        count++;
        const delta = value - sum;
        sum += delta / count;
        squares += delta * (value - sum);
      }
      if (count < 2) return;
      mean[input.name] = sum;
      std[input.name] = Math.sqrt(squares / count);
    });
    profiles[name] = { count: y.filter((value) => value === c).length, mean, std };
  });
  return profiles;
}
