/** What a server has predicted, counted as Triton's statistics extension counts. */
import type { TimedPrediction } from "./batcher.ts";
import type { ServedModel } from "./served_model.ts";

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
  /** Rows predicted; the sum over `batch_stats` of size times count. */
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
  readonly #maxBatchRows: number;

  /** `maxBatchRows` are the rows of one model run. */
  constructor(maxBatchRows: number) {
    this.#maxBatchRows = maxBatchRows;
  }

  /** Gives the counters of a model's version. */
  of({ version }: Pick<ServedModel, "version">): VersionStatistics {
    const key = `${version.version} ${version.model}`;
    let statistics = this.#versions.get(key);
    if (!statistics) {
      statistics = new VersionStatistics(version.model, version.version, this.#maxBatchRows);
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

/** One model run on its way into the counters. */
interface Run {
  rows: number;
  inputMs: number;
  modelMs: number;
  outputMs: number;
}

/**
 * Counters of one model version.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "../numeric/matrix.ts";
 * import { VersionStatistics } from "./statistics.ts";
 *
 * const statistics = new VersionStatistics("rocks", 1, 2);
 * statistics.succeed(
 *   { labels: new Int32Array(5), probabilities: matrix(5, 2), queueMs: 0, modelMs: 3 },
 *   { totalMs: 4, inputMs: 1, outputMs: 0 },
 * );
 * const { inference_count, execution_count, batch_stats } = statistics.read();
 * assertEquals([inference_count, execution_count], [5, 3]);
 * assertEquals(batch_stats.map((b) => [b.batch_size, b.compute_infer.count]), [[1, 1], [2, 2]]);
 * ```
 */
export class VersionStatistics {
  readonly #model: string;
  readonly #version: number;
  readonly #maxBatchRows: number;
  readonly #success = new Sum();
  readonly #fail = new Sum();
  readonly #queue = new Sum();
  readonly #input = new Sum();
  readonly #infer = new Sum();
  readonly #output = new Sum();
  readonly #batches = new Map<number, { input: Sum; infer: Sum; output: Sum }>();
  #lastInference = 0;
  #rows = 0;
  #runs = 0;
  /** The run that the last request was in; requests of one run come one after another. */
  #lastRun: Run | null = null;
  /** Requests of one run share the memory of its probabilities. */
  #lastMemory: ArrayBufferLike | null = null;

  constructor(model: string, version: number, maxBatchRows: number) {
    this.#model = model;
    this.#version = version;
    this.#maxBatchRows = maxBatchRows;
  }

  /** Counts a request that was refused or failed after `totalMs`. */
  fail(totalMs: number): void {
    this.#fail.add(totalMs);
  }

  /** Counts a request that was answered. */
  succeed(prediction: TimedPrediction, times: RequestTimes): void {
    const { labels: { length: rows }, probabilities: { data: { buffer } } } = prediction;
    this.#lastInference = Date.now();
    this.#rows += rows;
    this.#success.add(times.totalMs);
    this.#queue.add(prediction.queueMs);
    this.#input.add(times.inputMs);
    this.#infer.add(prediction.modelMs);
    this.#output.add(times.outputMs);
    const run: Run = { rows, modelMs: prediction.modelMs, ...times };
    if (this.#lastRun && this.#lastMemory === buffer) {
      this.#lastRun.rows += rows;
      this.#lastRun.inputMs += times.inputMs;
      this.#lastRun.outputMs += times.outputMs;
      return;
    }
    this.#settleRun();
    if (rows > this.#maxBatchRows) this.#countParts(run);
    else {
      this.#lastRun = run;
      this.#lastMemory = buffer;
    }
  }

  read(): ModelStatistics {
    this.#settleRun();
    const none = new Sum().read();
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
        cache_hit: none,
        cache_miss: none,
      },
      batch_stats: [...this.#batches].sort(([a], [b]) => a - b).map(([size, batch]) => ({
        batch_size: size,
        compute_input: batch.input.read(),
        compute_infer: batch.infer.read(),
        compute_output: batch.output.read(),
      })),
    };
  }

  #settleRun(): void {
    if (this.#lastRun) this.#countRun(this.#lastRun);
    this.#lastRun = null;
    this.#lastMemory = null;
  }

  /** A request longer than a run is several; each took its share of the time. */
  #countParts({ rows, inputMs, modelMs, outputMs }: Run): void {
    for (let start = 0; start < rows; start += this.#maxBatchRows) {
      const part = Math.min(this.#maxBatchRows, rows - start);
      const share = part / rows;
      this.#countRun({
        rows: part,
        inputMs: inputMs * share,
        modelMs: modelMs * share,
        outputMs: outputMs * share,
      });
    }
  }

  #countRun({ rows, inputMs, modelMs, outputMs }: Run): void {
    this.#runs++;
    let batch = this.#batches.get(rows);
    if (!batch) {
      batch = { input: new Sum(), infer: new Sum(), output: new Sum() };
      this.#batches.set(rows, batch);
    }
    batch.input.add(inputMs);
    batch.infer.add(modelMs);
    batch.output.add(outputMs);
  }
}

class Sum {
  #count = 0;
  #ms = 0;

  add(ms: number): void {
    this.#count++;
    this.#ms += ms;
  }

  read(): Duration {
    return { count: this.#count, ns: Math.round(this.#ms * 1e6) };
  }
}
