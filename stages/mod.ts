/**
 * The pipeline: nine stages as awaited lines. Wrong wiring does not compile.
 *
 * @module
 */
import type { AnyStage, Run } from "../runtime/runner.ts";
import { deployment } from "./deployment.ts";
import { evaluation } from "./evaluation.ts";
import { features } from "./features.ts";
import { ingestion } from "./ingestion.ts";
import { monitoring } from "./monitoring.ts";
import { preprocessing } from "./preprocessing.ts";
import { registry } from "./registry.ts";
import { type Release, release } from "./release.ts";
import { training } from "./training.ts";

/** The stages in order. A new stage is one file, one line here and one line below. */
export const stages: readonly AnyStage[] = [
  ingestion,
  preprocessing,
  features,
  training,
  evaluation,
  registry,
  deployment,
  monitoring,
  release,
];

/** Runs all stages and gives the release decision. */
export async function runPipeline(run: Run): Promise<Release> {
  const raw = await run(ingestion);
  const clean = await run(preprocessing, raw);
  const table = await run(features, clean);
  const model = await run(training, table);
  const report = await run(evaluation, { model, table });
  const version = await run(registry, { model, report });
  const live = await run(deployment, version);
  const state = await run(monitoring, live);
  return await run(release, { version, state });
}

export {
  deployment,
  evaluation,
  features,
  ingestion,
  monitoring,
  preprocessing,
  registry,
  release,
  training,
};
