/** What a user writes under `serving.traffic` and `serving.cache`. */
import { z } from "zod";

const percent = z.int().min(0).max(100);
const alias = z.string().min(1).describe("Alias of the model that the server serves");

const Arm = z.strictObject({
  alias: alias.optional(),
  version: z.int().positive().optional().describe("Version, instead of an alias"),
  percent: percent.describe("Share of the requests that name no version"),
}).refine((arm) => (arm.alias === undefined) !== (arm.version === undefined), {
  message: "give an alias or a version",
});

const Split = z.array(Arm).min(2).refine(
  (arms) => arms.reduce((sum, arm) => sum + arm.percent, 0) === 100,
  { message: "the percentages must sum to 100" },
).refine((arms) => new Set(arms.map(nameArm)).size === arms.length, {
  message: "an alias or version is there twice",
}).describe("Arms among which requests are divided, the one to start from first");

/** How a version is watched without being answered with. */
export const ShadowParams = z.strictObject({
  alias,
  percent: percent.default(100).describe("Share of the requests that are mirrored"),
  maxQueueRows: z.int().positive().default(2_000).describe(
    "Records that may wait to be mirrored; requests beyond are not, and counted",
  ),
});

/** Some requests must stay with the baseline, to compare with. */
const share = percent.min(1).max(95);

/** How a version is tried on a growing share of the requests. */
export const CanaryParams = z.strictObject({
  alias,
  percent: share.default(5).describe("Share of the requests at the start"),
  steps: z.array(share).default([]).describe(
    "Shares to go to when all is well, such as [5, 25, 50]",
  ),
  minRequests: z.int().positive().default(100).describe(
    "Requests of the canary and of the baseline before a latency is judged or a step is taken",
  ),
  windowMinutes: z.number().positive().default(10).describe(
    "Minutes looked back at, and minutes a step lasts at least",
  ),
  maxErrorRateIncrease: z.number().min(0).max(1).default(0.01).describe(
    "Most that the canary's share of failed requests may lie above the baseline's",
  ),
  maxLatencyRatio: z.number().positive().default(1.5).describe(
    "Most that the canary's 95th percentile of latency may be of the baseline's",
  ),
  minJudgedQuality: z.number().min(0).max(1).optional().describe(
    "Least mean score of the judges; left out: they have no say",
  ),
});

/** Parses `serving.traffic`; `{}` is no traffic management at all. */
export const TrafficParams = z.strictObject({
  split: Split.optional(),
  shadow: ShadowParams.optional(),
  canary: CanaryParams.optional(),
  stickyBy: z.string().regex(/^[A-Za-z0-9-]+$/, "a header name").default("x-client-id").describe(
    "Header whose value keeps a client with its arm; without it the name of the API key does",
  ),
  salt: z.string().max(200).default("").describe(
    "Another salt divides the same clients anew, independently of other experiments",
  ),
}).refine(({ split, canary }) => split === undefined || canary === undefined, {
  message: "give a split or a canary, not both",
});

/** Parses `serving.cache`. */
export const CacheParams = z.strictObject({
  maxBytes: z.int().positive().default(64 * 2 ** 20).describe("Most bytes of all that is kept"),
  maxEntries: z.int().positive().default(100_000).describe("Most requests that are kept"),
  ttlSeconds: z.number().positive().default(300).describe("Seconds that an answer is kept"),
});

/** Parsed {@linkcode TrafficParams}. */
export type TrafficParams = z.infer<typeof TrafficParams>;
/** Parsed {@linkcode ShadowParams}. */
export type ShadowParams = z.infer<typeof ShadowParams>;
/** Parsed {@linkcode CanaryParams}. */
export type CanaryParams = z.infer<typeof CanaryParams>;
/** Parsed {@linkcode CacheParams}. */
export type CacheParams = z.infer<typeof CacheParams>;

/** One arm of a split. */
export type Arm = z.infer<typeof Arm>;

/** Gives an arm as a person writes it: `@alias` or the version. */
export function nameArm({ alias, version }: Pick<Arm, "alias" | "version">): string {
  return alias === undefined ? String(version) : `@${alias}`;
}
