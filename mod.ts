/**
 * Geophone: an MLOps runtime for Deno. One import gives the stages, the runner and the store; the
 * pipeline is plain code, the same in a script and in a notebook.
 *
 * @example A stage's parameters are data that can be looked at before anything runs
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { features, stages } from "./mod.ts";
 *
 * assertEquals(stages.length, 9);
 * assertEquals(stages[2], features);
 * ```
 *
 * @module
 */
export { openProject, type Project, type ProjectOptions } from "./run.ts";
export {
  deployment,
  evaluation,
  features,
  ingestion,
  monitoring,
  preprocessing,
  registry,
  release,
  runPipeline,
  stages,
  training,
} from "./stages/mod.ts";
export { type Context, defineStage, type Stage } from "./runtime/stage.ts";
export { definePlugin, type Plugin, Plugins } from "./plugins/plugin.ts";
export { openStore, type Store } from "./runtime/store/store.ts";
export { type Matrix, matrix } from "./numeric/matrix.ts";
export { type TextColumns, TextReference } from "./numeric/drift/text.ts";
export { describeError, UsageError } from "./runtime/errors.ts";
export { type AlertOutcome, evaluateAlerts } from "./runtime/alerts/engine.ts";
export { refreshMonitors } from "./runtime/monitors/refresh.ts";
export { refreshEstimates } from "./runtime/estimates/refresh.ts";
export { explainWhy, type Explanation } from "./runtime/why/explain.ts";
export { createCodeJudge } from "./judges/forms/code.ts";
export { createEnsemble } from "./judges/forms/ensemble.ts";
export { type AuditState, verifyAudit } from "./runtime/audit.ts";
