/** The model registry: this model with this report becomes a version that is never reused. */
import { z } from "zod";
import { readArtifact } from "../runtime/artifacts.ts";
import { type ModelVersion, registerVersion } from "../runtime/registry/model_registry.ts";
import type { RecordedData, RecordedReport } from "../runtime/registry/recorded_report.ts";
import { defineStage } from "../runtime/stage.ts";
import type { Report } from "./evaluation.ts";
import type { TrainedModel } from "./training.ts";

const Params = z.strictObject({
  description: z.string().min(1).optional().describe("what the model is; stands in its card"),
  intendedUse: z.string().min(1).optional().describe("what it is meant for, and what not"),
  license: z.string().min(1).optional().describe("under which license it may be used"),
});

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
  async run({ model, report }, about, context) {
    const bytes = await readArtifact(context.store, model.artifact);
    const version = await registerVersion(context.store, {
      bytes,
      runId: context.runId,
      report: {
        ...report,
        profiles: model.profiles,
        parity: model.parity,
        golden: model.golden,
        data: describeData(model.silver),
        ...(Object.keys(about).length === 0 ? {} : { about }),
      } satisfies RecordedReport & Report & Pick<TrainedModel, "profiles">,
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

/** What the model was trained on, as its card tells it. */
function describeData({ train, classes }: TrainedModel["silver"]): RecordedData {
  const { contentHash, rows, rowsLeftOut, sources } = train;
  return { contentHash, rows, rowsLeftOut, classes, sources };
}
