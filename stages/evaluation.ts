/** Evaluation: cross-validated scores with intervals, against baselines on the same folds. */
import { z } from "zod";
import { type Matrix, matrix } from "../numeric/matrix.ts";
import {
  type ClassifierComparison,
  type ClassifierScore,
  compareClassifiers,
  scoreClassifier,
} from "../numeric/metrics.ts";
import { heldOutRows } from "../numeric/split.ts";
import type { Plugin } from "../plugins/plugin.ts";
import { parseParams } from "../runtime/config.ts";
import { hasHeldOut, type HeldOutHandle, heldOutSteps } from "../runtime/estimates/held_out.ts";
import { fitClassifier } from "../runtime/fit.ts";
import { OnnxSession } from "../runtime/onnx_session.ts";
import { type Context, defineStage } from "../runtime/stage.ts";
import type { Gold, Split } from "./features.ts";
import { type GoldRows, readGold, rowsOutside, takeLabelled } from "./rows.ts";
import type { TrainedModel } from "./training.ts";

const Params = z.strictObject({
  baselines: z.array(z.string()).default(["prior", "logistic"])
    .describe("trainers with default parameters that the model must beat"),
  baselineParams: z.record(z.string(), z.record(z.string(), z.unknown())).default({})
    .describe("parameters of a baseline by its name"),
  replicates: z.int().min(100).max(100_000).default(1000)
    .describe("bootstrap replicates behind every interval"),
});

/** A baseline on the same folds. */
export interface Baseline {
  readonly trainer: string;
  readonly scores: ClassifierScore;
  /** Model minus baseline, paired over blocks. */
  readonly difference: ClassifierComparison;
}

/** Scores of one held-out fold. */
export interface FoldScore {
  readonly fold: number;
  readonly rows: number;
  readonly accuracy: number | null;
  readonly macroF1: number | null;
  readonly iterations: number | null;
}

/** What is known about how well the model does. */
export interface Report {
  readonly trainer: string;
  readonly target: string;
  readonly rows: number;
  readonly split: Split;
  readonly classes: readonly string[];
  /** Scores of the cross-validated predictions; every row was held out once. */
  readonly scores: ClassifierScore;
  readonly baselines: readonly Baseline[];
  readonly folds: readonly FoldScore[];
  readonly importances: TrainedModel["importances"];
  /** The cross-validated predictions themselves, with their truth. */
  readonly predictions: HeldOutHandle;
}

/** Cross-validates the model's trainer and the baselines. */
export const evaluation = defineStage<
  { readonly model: TrainedModel; readonly table: Gold },
  Report,
  z.infer<typeof Params>
>({
  name: "evaluation",
  summary: "cross-validated scores with intervals, against baselines",
  module: import.meta.url,
  params: Params,
  validate({ baselines, baselineParams }, plugins) {
    for (const name of new Set([...baselines, ...Object.keys(baselineParams)])) {
      const { params } = plugins.get("trainer", name);
      parseParams(params, baselineParams[name] ?? {}, `evaluation.baselineParams of "${name}"`);
    }
  },
  async run({ model, table }, params, context) {
    const rows = await readGold(context.store, table);
    const names = params.baselines.filter((name) => name !== model.trainer);
    const candidates = [
      { name: model.trainer, params: model.params },
      ...names.map((name) => ({ name, params: params.baselineParams[name] ?? {} })),
    ].map(({ name, params }) => {
      const trainer = context.plugins.get("trainer", name);
      return { trainer, params: trainer.params.parse(params) };
    });
    const options = {
      replicates: params.replicates,
      seed: context.seed,
      ...(table.split.kind === "stratified" ? {} : { blocks: rows.block }),
    };
    const results = [];
    for (const [position, candidate] of candidates.entries()) {
      results.push(
        await crossValidate(
          rows,
          table,
          candidate,
          context,
          (share) =>
            context.progress((position + share) / candidates.length, candidate.trainer.name),
        ),
      );
    }
    const [own, ...others] = results;
    const scores = scoreClassifier(rows.y, own.probabilities, table.classes, options);
    const predictions = await keepPredictions(rows, own.probabilities, { table, context });
    const report: Report = {
      trainer: model.trainer,
      target: table.target,
      rows: rows.X.rows,
      split: table.split,
      classes: table.classes,
      scores,
      baselines: others.map((other, i) => ({
        trainer: names[i],
        scores: scoreClassifier(rows.y, other.probabilities, table.classes, options),
        difference: compareClassifiers(rows.y, own.probabilities, other.probabilities, options),
      })),
      folds: own.folds,
      importances: model.importances,
      predictions,
    };
    for (const name of headline) context.log(name, scores[name]?.value ?? NaN);
    return report;
  },
  describe: ({ scores, baselines, split }) =>
    `macro-F1 ${formatInterval(scores.macroF1)}, accuracy ${formatInterval(scores.accuracy)}` +
    baselines.map(({ trainer, scores }) => `; ${trainer} ${formatValue(scores.macroF1?.value)}`)
      .join("") +
    ` (${split.folds} ${split.kind} folds)`,
  display: ({ trainer, scores, baselines }) => {
    const rows = [{ trainer, scores }, ...baselines].map(({ trainer, scores }) =>
      [trainer, scores.accuracy, scores.macroF1, scores.rocAuc, scores.logLoss]
        .map((cell) => typeof cell === "string" ? cell : formatInterval(cell))
    );
    return `<table><tr><th>${
      ["trainer", "accuracy", "macro-F1", "ROC-AUC", "log-loss"].join("<th>")
    }${rows.map((row) => `<tr><td>${row.join("<td>")}`).join("")}</table>`;
  },
  isCurrent: ({ predictions }, _params, { store }) => hasHeldOut(store, predictions),
});

/** Metrics of a report that are logged and shown. */
export const headline = [
  "accuracy",
  "balancedAccuracy",
  "macroF1",
  "weightedF1",
  "rocAuc",
  "logLoss",
  "brier",
  "calibrationError",
] as const;

interface Candidate {
  readonly trainer: Plugin<"trainer">;
  readonly params: unknown;
}

/** Predicts every row by a graph that never saw it; early stopping uses the next fold. */
async function crossValidate(
  rows: GoldRows,
  gold: Gold,
  { trainer, params }: Candidate,
  context: Context,
  onProgress: (share: number) => void,
): Promise<{ probabilities: Matrix; folds: FoldScore[] }> {
  const count = gold.split.folds;
  const probabilities = matrix(rows.X.rows, gold.classes.length);
  const folds: FoldScore[] = [];
  for (let fold = 0; fold < count; fold++) {
    const stopFold = (fold + 1) % count;
    const needsStop = trainer.refit !== undefined && count > 2;
    const fitted = await fitClassifier({
      train: takeLabelled(rows, rowsOutside(rows, gold, needsStop ? [fold, stopFold] : [fold])),
      ...(needsStop ? { validation: takeLabelled(rows, heldOutRows(rows, stopFold)) } : {}),
      featureNames: gold.features,
      classNames: gold.classes,
      steps: gold.steps,
      trainer,
      params,
      seed: context.seed,
      signal: context.signal,
      onProgress: (share) => onProgress((fold + share) / count),
    });
    const held = heldOutRows(rows, fold);
    const { X, y } = takeLabelled(rows, held);
    const session = await OnnxSession.open(fitted.toOnnx());
    const answer = await session.classify(X).finally(() => session.close());
    await fitted.close();
    held.forEach((row, i) => {
      const from = i * probabilities.cols;
      probabilities.data.set(
        answer.probabilities.data.subarray(from, from + probabilities.cols),
        row * probabilities.cols,
      );
    });
    const scores = scoreClassifier(y, answer.probabilities, gold.classes, { replicates: 0 });
    folds.push({
      fold,
      rows: held.length,
      accuracy: scores.accuracy?.value ?? null,
      macroF1: scores.macroF1?.value ?? null,
      iterations: fitted.model.iterations ?? null,
    });
    onProgress((fold + 1) / count);
  }
  return { probabilities, folds };
}

/** Keeps the cross-validated predictions: of what they say later, performance is estimated. */
async function keepPredictions(
  rows: GoldRows,
  P: Matrix,
  { table, context: { store } }: { readonly table: Gold; readonly context: Context },
): Promise<HeldOutHandle> {
  // The raw inputs are the first features; windows over them come after.
  const X = matrix(rows.X.rows, table.inputs.length);
  for (let i = 0; i < X.rows; i++) {
    const from = i * rows.X.cols;
    X.data.set(rows.X.data.subarray(from, from + X.cols), i * X.cols);
  }
  const { columns } = await store.readColumns(
    `select _group from ${table.table} order by _group nulls first, _order, _source, _row`,
  );
  const groups = columns._group as readonly (string | null)[];
  const { handle, steps } = await heldOutSteps({ X, P, y: rows.y, groups, order: rows.order });
  await store.transaction(steps);
  return handle;
}

/** A score with its interval, such as `0.483 [0.45, 0.51]`. */
export function formatInterval(
  interval: { value: number; low: number | null; high: number | null } | null,
): string {
  if (!interval) return "undefined";
  const { value, low, high } = interval;
  if (low === null || high === null) return value.toFixed(3);
  return `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
}

function formatValue(value: number | undefined): string {
  return value === undefined ? "undefined" : value.toFixed(3);
}
