/** Parameters of the detectors that a server feeds, as a user writes them under `serving.online`. */
import { z } from "zod";

/** Detectors that can watch a series. */
export const detectorKinds = ["cusum", "page_hinkley", "adwin"] as const;

/** One of {@linkcode detectorKinds}. */
export type DetectorKind = typeof detectorKinds[number];

/** Parses one detector over one series. */
export const WatchParams = z.strictObject({
  series: z.string().regex(
    /^(confidence|label:.+|feature:.+)$/s,
    'use "confidence", "label:CLASS" or "feature:NAME"',
  ).describe(
    "What is watched: confidence, label:CLASS (the share predicted so) or feature:NAME (an input)",
  ),
  detector: z.enum(detectorKinds).default("cusum").describe("How a change is found"),
  rate: z.number().min(0.001).max(0.5).default(0.05).describe(
    "Largest probability of any false alarm in a period",
  ),
  period: z.int().min(100).max(100_000).default(10_000).describe("Length of a period, in rows"),
  block: z.int().min(1).max(1_000).default(1).describe(
    "Neighboring rows that are alike, and drawn together when the threshold is simulated",
  ),
}).refine(({ series, detector }) => detector !== "adwin" || !series.startsWith("feature:"), {
  message: "adwin watches values in [0, 1], such as confidence; take cusum or page_hinkley",
  path: ["detector"],
});

/** Parsed {@linkcode WatchParams}. */
export type WatchParams = z.infer<typeof WatchParams>;

/** Parses what a server watches row by row; `OnlineParams.parse({})` watches nothing. */
export const OnlineParams = z.strictObject({
  watch: z.array(WatchParams).default([]).refine(
    (all) =>
      new Set(all.map(({ series, detector }) => `${detector} ${series}`)).size === all.length,
    "name each series once with each detector",
  ).describe("Series and their detectors; none by default"),
  referenceRows: z.int().min(100).max(10_000).default(1_000).describe(
    "Rows that a reference is taken from: held-out predictions, else the first rows, and after an alarm the next ones",
  ),
  snapshotSeconds: z.number().min(0.1).max(3_600).default(10).describe(
    "Seconds between two snapshots of the detectors; what came after the last is read again after a crash",
  ),
});

/** Parsed {@linkcode OnlineParams}. */
export type OnlineParams = z.infer<typeof OnlineParams>;
