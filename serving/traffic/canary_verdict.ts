/** Whether a canary is as good as the version it is to replace: a pure function of counted requests. */
import { computeRateInterval, measureRateEvidence } from "../../numeric/rates.ts";
import type { CanaryParams } from "./params.ts";

/** Requests of one version within the window. */
export interface ArmWindow {
  /** Requests that were answered or failed; those refused for another reason do not count. */
  readonly requests: number;
  readonly failures: number;
  /** 95th percentile of the answered, `null` when there are none. */
  readonly p95Ms: number | null;
}

/** Requests of canary and baseline within the window. */
export interface CanaryWindow {
  readonly baseline: ArmWindow;
  readonly canary: ArmWindow & {
    /** Answered requests that took longer than `maxLatencyRatio` times the baseline's percentile. */
    readonly slow: number;
    /** Scores of the judges, `null` when none has scored; `count` is the effective sample size. */
    readonly judged: { readonly count: number; readonly mean: number } | null;
  };
}

/** What a window says of the canary. */
export interface CanaryVerdict {
  /** `collecting`: nothing is wrong, and too little is known to go on. */
  readonly state: "collecting" | "healthy" | "breached";
  /** One sentence with the numbers. */
  readonly reason: string;
}

/** Greatest probability that a canary as good as the baseline is called worse, by each limit. */
const ALPHA = 0.01;

/** The share of requests that a 95th percentile leaves above it. */
const TAIL = 0.05;

/**
 * Judges a window. Every limit is crossed only beyond chance at 1 %, by evidence that stays valid
 * however often a growing window is looked at:
 *
 * - **Failures**: the share of the canary's requests that fail is above the baseline's by more than
 *   `maxErrorRateIncrease`, and the e-value against equal rates is at least 100
 *   ({@linkcode measureRateEvidence}, exact for any number of requests). One failure of three requests
 *   stops nothing; three of three beside 27 good ones of the baseline do, whatever `minRequests` is.
 * - **Latency**, from `minRequests` of both on: the percentile is above `maxLatencyRatio` times the
 *   baseline's, and surely more than 5 % of the canary's requests take so long, by the interval of
 *   {@linkcode computeRateInterval}. The baseline's percentile is taken as known.
 * - **Quality**: the interval of the mean score lies below `minJudgedQuality`. Without scores the
 *   judges have no say.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { judgeCanary } from "./canary_verdict.ts";
 * import { CanaryParams } from "./params.ts";
 *
 * const baseline = { requests: 27, failures: 0, p95Ms: 5 };
 * const canary = { requests: 3, failures: 3, p95Ms: null, slow: 0, judged: null };
 * const params = CanaryParams.parse({ alias: "challenger" });
 * assertEquals(judgeCanary({ baseline, canary }, params).state, "breached");
 * const once = { ...canary, failures: 1 };
 * assertEquals(judgeCanary({ baseline, canary: once }, params).state, "collecting");
 * ```
 */
export function judgeCanary(window: CanaryWindow, params: CanaryParams): CanaryVerdict {
  const breach = findFailures(window, params) ?? findSlowness(window, params) ??
    findBadness(window, params);
  if (breach !== null) return { state: "breached", reason: breach };
  const { baseline, canary } = window;
  const isEnough = hasEnough(window, params);
  const counts =
    `${canary.requests} requests of the canary and ${baseline.requests} of the baseline`;
  return isEnough
    ? { state: "healthy", reason: `no limit is crossed by ${counts}` }
    : { state: "collecting", reason: `${counts} of ${params.minRequests} each` };
}

function hasEnough({ baseline, canary }: CanaryWindow, { minRequests }: CanaryParams): boolean {
  return baseline.requests >= minRequests && canary.requests >= minRequests;
}

function findFailures(
  { baseline, canary }: CanaryWindow,
  { maxErrorRateIncrease }: CanaryParams,
): string | null {
  if (baseline.requests === 0 || canary.requests === 0) return null;
  const [before, now] = [baseline, canary].map((arm) => arm.failures / arm.requests);
  if (now - before <= maxErrorRateIncrease) return null;
  const evidence = measureRateEvidence(toTally(baseline), toTally(canary));
  if (evidence < 1 / ALPHA) return null;
  return `${canary.failures} of ${canary.requests} requests failed (${formatShare(now)}), of the ` +
    `baseline ${baseline.failures} of ${baseline.requests} (${formatShare(before)}); ` +
    `${formatShare(maxErrorRateIncrease)} more is allowed, e-value ${evidence.toPrecision(3)}`;
}

function toTally({ requests, failures }: ArmWindow): { successes: number; failures: number } {
  return { successes: failures, failures: requests - failures };
}

function findSlowness(window: CanaryWindow, params: CanaryParams): string | null {
  const { baseline, canary } = window;
  if (!hasEnough(window, params) || baseline.p95Ms === null || canary.p95Ms === null) return null;
  const { maxLatencyRatio } = params;
  if (canary.p95Ms <= maxLatencyRatio * baseline.p95Ms) return null;
  const answered = canary.requests - canary.failures;
  const share = computeRateInterval(
    { successes: canary.slow, failures: answered - canary.slow },
    { alpha: ALPHA },
  );
  if (share === null || share.low <= TAIL) return null;
  return `95 % of ${answered} requests took up to ${canary.p95Ms.toFixed(1)} ms, of the baseline ` +
    `${baseline.p95Ms.toFixed(1)} ms; ${maxLatencyRatio} times as long is allowed, and ` +
    `${formatShare(share.value)} took longer`;
}

function findBadness(
  { canary: { judged } }: CanaryWindow,
  { minJudgedQuality }: CanaryParams,
): string | null {
  if (minJudgedQuality === undefined || judged === null) return null;
  const { count, mean } = judged;
  const interval = computeRateInterval(
    { successes: count * mean, failures: count * (1 - mean) },
    { alpha: ALPHA },
  );
  if (interval === null || interval.high >= minJudgedQuality) return null;
  return `the judges' mean score of ${Math.round(count)} records is ${
    mean.toFixed(3)
  }, surely below ` +
    `${interval.high.toFixed(3)}; ${minJudgedQuality} is required`;
}

function formatShare(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
