/** The model registry: this model with this report becomes a version that is never reused. */
import { z } from "zod";
import { readArtifact } from "../runtime/artifacts.ts";
import { type ModelVersion, registerVersion } from "../runtime/model_registry.ts";
import { defineStage } from "../runtime/stage.ts";
import type { Report } from "./evaluation.ts";
import type { TrainedModel } from "./training.ts";

const Params = z.strictObject({});

/** A registered version, with what later stages need to check it. */
export interface Registered extends ModelVersion {
  /** Artifact of the golden batch: inputs and the probabilities training saw for them. */
  readonly golden: string;
  readonly silver: TrainedModel["silver"];
  readonly report: Report;
}

/** Registers the model with its evidence. */
export const registry = defineStage<
  { readonly model: TrainedModel; readonly report: Report },
  Registered,
  z.infer<typeof Params>
>({
  name: "registry",
  summary: "a model version with its evidence, numbered once and for ever",
  module: import.meta.url,
  params: Params,
  async run({ model, report }, _params, context) {
    const bytes = await readArtifact(context.store, model.artifact);
    const version = await registerVersion(context.store, {
      bytes,
      runId: context.runId,
      report: { ...report, profiles: model.profiles, parity: model.parity, golden: model.golden },
    });
    context.log("version", version.version);
    return { ...version, golden: model.golden, silver: model.silver, report };
  },
  describe: ({ model, version, artifact }) =>
    `${model} version ${version} (${artifact.slice(0, 12)})`,
  async isCurrent({ model, version, evidenceHash }, _params, { store }) {
    const rows = await store.query(
      "select 1 from core.model_versions where model = ? and version = ? and evidence_hash = ?",
      [model, version, evidenceHash],
    );
    return rows.length > 0;
  },
});
