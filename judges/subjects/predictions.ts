/** Predictions of one version of a model, from the inference table. */
import type { Store } from "../../runtime/store/store.ts";
import { askCanaries } from "../cases/canaries.ts";
import { inferenceColumns, type InferenceRow, toInference } from "../rows.ts";
import {
  checkFilter,
  querySample,
  type SamplingParams,
  type SamplingPlan,
} from "../sampling/plan.ts";
import type { Sample, Subjects } from "./subjects.ts";
import type { z } from "zod";

/** Which predictions, and how they are drawn. */
export interface PredictionOptions {
  readonly model: string;
  readonly version: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly params: {
    readonly samplingRate: number;
    readonly maxRows: number;
    readonly canaries: number;
    readonly sampling: z.infer<typeof SamplingParams>;
  };
}

/** The predictions of a version as a source. */
export function predictionSubjects(store: Store, options: PredictionOptions): Subjects {
  const { model, version, seed, signal, params } = options;
  const { sampling, samplingRate, maxRows, canaries } = params;
  return {
    model,
    version,
    lease: `judging:${model}:${version}`,
    busy: "another process judges this version now",
    maxRows,
    check: () => checkFilter(store, sampling.where),
    sampleFor: (judge) =>
      samplePredictions({
        ...sampling,
        model,
        version,
        rate: sampling.rates[judge] ?? samplingRate,
        seed,
      }),
    columns: inferenceColumns,
    relation: "inferences",
    read: (rows) =>
      Promise.resolve(
        (rows as readonly InferenceRow[]).map((row) => ({
          inference: toInference(row, { model, version }),
          call: null,
        })),
      ),
    table: "core.judgements",
    name: (rows) => ({
      request_id: rows.map(({ inference }) => inference.requestId),
      row: rows.map(({ inference }) => inference.row),
      model: rows.map(({ inference }) => inference.model),
      version: rows.map(({ inference }) => inference.version),
      stratum: rows.map(({ stratum }) => stratum),
    }),
    askCanaries: (asked) => askCanaries(store, asked, { model, version, count: canaries, signal }),
  };
}

/** The sample of predictions that a plan draws. */
export function samplePredictions(plan: SamplingPlan): Sample {
  const { model, version } = plan;
  return {
    plan,
    drawn: (from) => querySample(plan, from),
    existing: (before) => ({
      sql: `select request_id, row from core.inferences
        where model = ? and version = ? and request_time < ?`,
      params: [model, version, before],
    }),
    verdicts: "core.judgements",
  };
}
