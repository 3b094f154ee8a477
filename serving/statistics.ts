/** What a server has predicted, counted as Triton's statistics extension counts. */
import type { ModelRun } from "./batcher.ts";
import type { ServedModel, ServedPrediction } from "./served_model.ts";

/** A number of events and the nanoseconds they took together. */
export interface Duration {
  readonly count: number;
  readonly ns: number;
}

/** The model runs of one size. */
export interface BatchStatistics {
  readonly batch_size: number;
  readonly compute_input: Duration;
  readonly compute_infer: Duration;
  readonly compute_output: Duration;
}

/**
 * Statistics of one model version, in the form of the protocol.
 * @see https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_statistics.html
 */
export interface ModelStatistics {
  readonly name: string;
  readonly version: string;
  /** Unix time in ms, 0 when there was none. */
  readonly last_inference: number;
  /** Rows that model runs predicted; the sum over `batch_stats` of size times count. */
  readonly inference_count: number;
  readonly execution_count: number;
  readonly inference_stats: Readonly<
    Record<
      | "success"
      | "fail"
      | "queue"
      | "compute_input"
      | "compute_infer"
      | "compute_output"
      | "cache_hit"
      | "cache_miss",
      Duration
    >
  >;
  readonly batch_stats: readonly BatchStatistics[];
}

/** Milliseconds of one request beside those of its prediction. */
export interface RequestTimes {
  /** From arrival to the written answer. */
  readonly totalMs: number;
  /** Reading and checking the body. */
  readonly inputMs: number;
  /** Writing the answer. */
  readonly outputMs: number;
}

/** Counters of every version that has been asked. */
export class Statistics {
  readonly #versions = new Map<string, VersionStatistics>();

  /** Gives the counters of a model's version. */
  of({ version }: Pick<ServedModel, "version">): VersionStatistics {
    const key = `${version.version} ${version.model}`;
    let statistics = this.#versions.get(key);
    if (!statistics) {
      statistics = new VersionStatistics(version.model, version.version);
      this.#versions.set(key, statistics);
    }
    return statistics;
  }

  /** Gives the statistics of every version asked so far, by name and version. */
  list(): ModelStatistics[] {
    return [...this.#versions.values()].map((statistics) => statistics.read()).sort((a, b) =>
      a.name === b.name ? Number(a.version) - Number(b.version) : a.name < b.name ? -1 : 1
    );
  }
}

/**
 * Counters of one model version. A run counts as one of its size, with the time of the model; the
 * times of reading and writing are those of the requests in it. A prediction from the cache was no run.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { VersionStatistics } from "./statistics.ts";
 *
 * const statistics = new VersionStatistics("rocks", 1);
 * for (const rows of [2, 2, 1]) statistics.countRun({ rows, modelMs: 1 });
 * const { inference_count, execution_count, batch_stats } = statistics.read();
 * assertEquals([inference_count, execution_count], [5, 3]);
 * assertEquals(batch_stats.map((b) => [b.batch_size, b.compute_infer.count]), [[1, 1], [2, 2]]);
 * ```
 */
export class VersionStatistics {
  readonly #model: string;
  readonly #version: number;
  readonly #success = new Sum();
  readonly #fail = new Sum();
  readonly #queue = new Sum();
  readonly #input = new Sum();
  readonly #infer = new Sum();
  readonly #output = new Sum();
  readonly #hit = new Sum();
  readonly #miss = new Sum();
  readonly #batches = new Map<number, Batches>();
  #lastInference = 0;
  #rows = 0;
  #runs = 0;

  constructor(model: string, version: number) {
    this.#model = model;
    this.#version = version;
  }

  /** Counts a run of the model, before the requests in it. */
  countRun({ rows, modelMs }: ModelRun): void {
    this.#rows += rows;
    this.#runs++;
    let batches = this.#batches.get(rows);
    if (!batches) {
      this.#batches.set(rows, batches = { runs: 0, inputMs: 0, inferMs: 0, outputMs: 0 });
    }
    batches.runs++;
    batches.inferMs += modelMs;
  }

  /** Counts a request that was refused or failed after `totalMs`. */
  fail(totalMs: number): void {
    this.#fail.add(totalMs);
  }

  /** Counts a request that was answered. */
  succeed(prediction: ServedPrediction, times: RequestTimes): void {
    const { cache } = prediction;
    this.#lastInference = Date.now();
    this.#success.add(times.totalMs);
    if (cache) (cache.isHit ? this.#hit : this.#miss).add(cache.ms);
    if (cache?.isHit) return;
    this.#queue.add(prediction.queueMs);
    this.#input.add(times.inputMs);
    this.#infer.add(prediction.modelMs);
    this.#output.add(times.outputMs);
    const batches = this.#batches.get(prediction.batchRows);
    if (!batches) return;
    batches.inputMs += times.inputMs;
    batches.outputMs += times.outputMs;
  }

  read(): ModelStatistics {
    return {
      name: this.#model,
      version: String(this.#version),
      last_inference: this.#lastInference,
      inference_count: this.#rows,
      execution_count: this.#runs,
      inference_stats: {
        success: this.#success.read(),
        fail: this.#fail.read(),
        queue: this.#queue.read(),
        compute_input: this.#input.read(),
        compute_infer: this.#infer.read(),
        compute_output: this.#output.read(),
        cache_hit: this.#hit.read(),
        cache_miss: this.#miss.read(),
      },
      batch_stats: [...this.#batches].sort(([a], [b]) => a - b).map(([size, batches]) => ({
        batch_size: size,
        compute_input: toDuration(batches.runs, batches.inputMs),
        compute_infer: toDuration(batches.runs, batches.inferMs),
        compute_output: toDuration(batches.runs, batches.outputMs),
      })),
    };
  }
}

/** The runs of one size. */
interface Batches {
  runs: number;
  inputMs: number;
  inferMs: number;
  outputMs: number;
}

function toDuration(count: number, ms: number): Duration {
  return { count, ns: Math.round(ms * 1e6) };
}

class Sum {
  #count = 0;
  #ms = 0;

  add(ms: number): void {
    this.#count++;
    this.#ms += ms;
  }

  read(): Duration {
    return toDuration(this.#count, this.#ms);
  }
}
