/**
 * What a version must show before an alias moves to it, as a config says it.
 *
 * @module
 */
import { z } from "zod";
import { roles } from "../api_keys.ts";

/** Metrics beside macro-F1 of which more is better. */
const boundedMetrics = [
  "accuracy",
  "balancedAccuracy",
  "weightedF1",
  "rocAuc",
] as const;

/** A gate of one's own: every row of a read-only SELECT over the version's rows is a finding. */
const sqlGate = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_]{0,62}$/, "use small letters, digits and _")
    .describe("name of the check"),
  sql: z.string().min(1).describe("one SELECT; each row is a reason against the version"),
  message: z.string().min(1).optional()
    .describe("what a finding means; default: the column message of its first row"),
});

/** A gate of one's own. */
export type SqlGate = z.infer<typeof sqlGate>;

/** Section `release` of a config: what a version must show before an alias moves to it. */
export const GateParams = z.strictObject({
  minMacroF1: z.number().min(0).max(1).default(0)
    .describe("lower bound of macro-F1's interval must reach this"),
  minimums: z.partialRecord(z.enum(boundedMetrics), z.number().min(0).max(1)).default({})
    .describe("the same for other metrics, by name"),
  metric: z.enum(["logLoss", "macroF1", "accuracy"]).default("logLoss")
    .describe("metric of the comparison with the baselines, by its paired interval"),
  mustBeat: z.array(z.string()).default(["prior"])
    .describe("baselines that the model must be ahead of; no other may be ahead of the model"),
  maxRegression: z.number().min(0).max(1).default(0.02)
    .describe("how far macro-F1 may fall below the version that the alias serves"),
  maxParityDifference: z.number().min(0).default(1e-5)
    .describe("how far a probability of the ONNX graph may be from its trainer's"),
  maxDriftShare: z.number().min(0).max(1).default(1)
    .describe("share of features that may drift in the latest monitoring"),
  minJudgeScore: z.number().min(0).max(1).default(0)
    .describe("lower bound of each judge's mean score must reach this"),
  blockingSeverity: z.enum(["warning", "error", "critical", "never"]).default("critical")
    .describe("a firing alert of this severity or above blocks"),
  approvals: z.strictObject({
    count: z.int().min(0).default(0).describe("how many people must approve exactly these bytes"),
    role: z.enum(roles).default("operator").describe("least role whose approval counts"),
    fourEyes: z.boolean().default(false)
      .describe("whether whoever registered the version may not approve it"),
  }).prefault({}).describe("who must agree"),
  required: z.array(z.enum(["parity", "drift", "judges", "alerts"])).default([])
    .describe("checks that fail when there is no data for them"),
  gates: z.array(sqlGate).default([]).describe("gates of your own, as SQL"),
  guarded: z.array(z.string()).default([])
    .describe("aliases that MLflow clients, too, move only when the gates pass"),
  promote: z.boolean().default(true)
    .describe("false: the stage only says what would happen"),
});

/** Parsed section `release`. */
export type GateParams = z.infer<typeof GateParams>;
