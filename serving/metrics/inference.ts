/**
 * What Triton and MLServer call the counts of a model, so that dashboards made for them show a
 * Geophone server, too. All of it is read from the statistics that `/v2/models/…/stats` gives.
 *
 * @see https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html
 * @see https://mlserver.readthedocs.io/en/latest/user-guide/metrics.html
 * @module
 */
import type { ModelStatistics, Statistics } from "../statistics.ts";
import type { Reading, ReadMetric } from "./registry.ts";

/** A model that holds requests for its next run. */
export interface QueuedModel {
  readonly model: string;
  readonly version: number;
  readonly queuedRequests: number;
  readonly queuedRows: number;
}

type Read = (statistics: ModelStatistics) => number;

const microseconds = (ns: number): number => ns / 1_000;

const counts: readonly (readonly [name: string, help: string, read: Read])[] = [
  [
    "request_success",
    "Inference requests answered, by model and version",
    ({ inference_stats: { success } }) => success.count,
  ],
  [
    "request_failure",
    "Inference requests refused or failed",
    ({ inference_stats: { fail } }) => fail.count,
  ],
  ["count", "Rows predicted by model runs", ({ inference_count }) => inference_count],
  ["exec_count", "Model runs", ({ execution_count }) => execution_count],
  [
    "request_duration_us",
    "Microseconds of answered requests, from arrival to the written answer",
    ({ inference_stats: { success } }) => microseconds(success.ns),
  ],
  [
    "queue_duration_us",
    "Microseconds that requests waited for a model run",
    ({ inference_stats: { queue } }) => microseconds(queue.ns),
  ],
  [
    "compute_input_duration_us",
    "Microseconds of reading and checking bodies",
    ({ inference_stats: { compute_input } }) => microseconds(compute_input.ns),
  ],
  [
    "compute_infer_duration_us",
    "Microseconds of model runs, counted for each request in a run",
    ({ inference_stats: { compute_infer } }) => microseconds(compute_infer.ns),
  ],
  [
    "compute_output_duration_us",
    "Microseconds of writing answers",
    ({ inference_stats: { compute_output } }) => microseconds(compute_output.ns),
  ],
];

/** `nv_cache_…` of Triton: name, help, how to read. */
const cacheCounts: readonly (readonly [name: string, help: string, read: Read])[] = [
  [
    "num_hits_per_model",
    "Requests predicted from the cache",
    ({ inference_stats: { cache_hit } }) => cache_hit.count,
  ],
  [
    "num_misses_per_model",
    "Requests that the cache could not answer",
    ({ inference_stats: { cache_miss } }) => cache_miss.count,
  ],
];

/** Gives the metrics of every version asked so far. */
export function inferenceMetrics(
  statistics: Statistics,
  queued: () => Iterable<QueuedModel>,
): ReadMetric[] {
  const named = (prefix: string) => ([name, help, read]: typeof counts[number]): ReadMetric => ({
    name: `${prefix}_${name}`,
    help,
    type: "named",
    read: () => statistics.list().map((each) => toReading(each, read(each))),
  });
  const mlserver = (outcome: "success" | "failure", help: string, read: Read): ReadMetric => ({
    name: `model_infer_request_${outcome}_total`,
    help,
    type: "counter",
    read: () => statistics.list().map((each) => toReading(each, read(each))),
  });
  const queue = (name: string, help: string, read: (model: QueuedModel) => number): ReadMetric => ({
    name,
    help,
    type: "gauge",
    read: () =>
      [...queued()].map((each) => ({
        labels: { model: each.model, version: String(each.version) },
        value: read(each),
      })),
  });
  return [
    ...counts.map(named("nv_inference")),
    ...cacheCounts.map(named("nv_cache")),
    queue(
      "nv_inference_pending_request_count",
      "Requests that wait for a model run",
      ({ queuedRequests }) => queuedRequests,
    ),
    mlserver(
      "success",
      "Inference requests answered, under MLServer's name",
      ({ inference_stats: { success } }) => success.count,
    ),
    mlserver(
      "failure",
      "Inference requests refused or failed, under MLServer's name",
      ({ inference_stats: { fail } }) => fail.count,
    ),
    queue("geophone_queue_rows", "Rows that wait for a model run", ({ queuedRows }) => queuedRows),
  ];
}

function toReading({ name, version }: ModelStatistics, value: number): Reading {
  return { labels: { model: name, version }, value };
}
