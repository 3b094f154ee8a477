/**
 * Micro-batching by collection, not by waiting: while a model run is in flight, requests collect;
 * the next run takes them all, up to a limit. An idle model starts at once.
 *
 * @module
 */
import { type Matrix, matrix } from "../numeric/matrix.ts";
import type { Prediction } from "../runtime/onnx_session.ts";
import { HttpError, retrySoon } from "./http_error.ts";

/** How a batcher works. */
export interface BatcherOptions {
  /** Rows of one run; a longer request is run in parts, with others in between. */
  readonly maxBatchRows: number;
  /** Rows that may wait; a request that finds the queue empty is always taken. */
  readonly queueRows: number;
  /** Hears the rows of every run. */
  readonly onRun?: (rows: number) => void;
}

/** A prediction with the time it took. */
export interface TimedPrediction extends Prediction {
  /** Milliseconds from asking to the start of the model run; the sum over the parts. */
  readonly queueMs: number;
  /** Milliseconds of the model run, shared with the other requests in it. */
  readonly modelMs: number;
}

interface Job {
  readonly X: Matrix;
  readonly askedAt: number;
  readonly resolve: (prediction: TimedPrediction) => void;
  readonly reject: (error: unknown) => void;
  isCancelled: boolean;
}

/**
 * Runs the rows of many requests together. Rows are independent of one another, so an answer does
 * not depend on the company it was computed in.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { matrix } from "../numeric/matrix.ts";
 * import { Batcher } from "./batcher.ts";
 *
 * const runs: number[] = [];
 * const batcher = new Batcher((X) => {
 *   runs.push(X.rows);
 *   return Promise.resolve({ labels: new Int32Array(X.rows), probabilities: X });
 * }, { maxBatchRows: 8, queueRows: 100 });
 * await Promise.all([1, 2, 3].map((x) => batcher.run(matrix(1, 1, Float32Array.of(x)))));
 * assertEquals(runs, [3]);
 * ```
 */
export class Batcher {
  readonly #classify: (X: Matrix) => Promise<Prediction>;
  readonly #options: BatcherOptions;
  #queue: Job[] = [];
  #queuedRows = 0;
  #isRunning = false;

  constructor(classify: (X: Matrix) => Promise<Prediction>, options: BatcherOptions) {
    this.#classify = classify;
    this.#options = options;
  }

  /** Rows that wait for a run. */
  get queuedRows(): number {
    return this.#queuedRows;
  }

  /**
   * Classifies rows `[n, f]`, n ≥ 1.
   * @throws {HttpError} 503 when the queue is full.
   * @throws the signal's reason when it aborts first: a request that waits leaves the queue.
   */
  run(X: Matrix, signal?: AbortSignal): Promise<TimedPrediction> {
    return X.rows <= this.#options.maxBatchRows
      ? this.#enqueue(X, signal)
      : this.#runParts(X, signal);
  }

  #enqueue(X: Matrix, signal?: AbortSignal): Promise<TimedPrediction> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#queuedRows > 0 && this.#queuedRows + X.rows > this.#options.queueRows) {
      return Promise.reject(
        new HttpError(`Cannot take ${X.rows} records: ${this.#queuedRows} wait already`, "busy", {
          headers: retrySoon,
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const job: Job = { X, askedAt: performance.now(), resolve, reject, isCancelled: false };
      this.#queue.push(job);
      this.#queuedRows += X.rows;
      if (signal) this.#listen(job, signal);
      if (!this.#isRunning) {
        this.#isRunning = true;
        queueMicrotask(() => this.#work());
      }
    });
  }

  #listen(job: Job, signal: AbortSignal): void {
    signal.addEventListener("abort", () => {
      job.isCancelled = true;
      const index = this.#queue.indexOf(job);
      if (index >= 0) {
        this.#queue.splice(index, 1);
        this.#queuedRows -= job.X.rows;
      }
      job.reject(signal.reason);
    }, { once: true });
  }

  async #runParts(X: Matrix, signal?: AbortSignal): Promise<TimedPrediction> {
    const step = this.#options.maxBatchRows;
    const labels = new Int32Array(X.rows);
    let probabilities: Matrix | undefined;
    let queueMs = 0;
    let modelMs = 0;
    for (let start = 0; start < X.rows; start += step) {
      const rows = Math.min(step, X.rows - start);
      const data = X.data.subarray(start * X.cols, (start + rows) * X.cols);
      const part = await this.#enqueue(matrix(rows, X.cols, data), signal);
      probabilities ??= matrix(X.rows, part.probabilities.cols);
      probabilities.data.set(part.probabilities.data, start * probabilities.cols);
      labels.set(part.labels, start);
      queueMs += part.queueMs;
      modelMs += part.modelMs;
    }
    return { labels, probabilities: probabilities!, queueMs, modelMs };
  }

  async #work(): Promise<void> {
    while (this.#queue.length > 0) {
      const jobs = this.#take();
      const startedAt = performance.now();
      try {
        const X = concatenate(jobs);
        this.#options.onRun?.(X.rows);
        const prediction = await this.#classify(X);
        deliver(jobs, prediction, startedAt, performance.now() - startedAt);
      } catch (error) {
        for (const job of jobs) job.reject(error);
      }
    }
    this.#isRunning = false;
  }

  #take(): Job[] {
    let count = 0;
    let rows = 0;
    while (
      count < this.#queue.length &&
      (count === 0 || rows + this.#queue[count].X.rows <= this.#options.maxBatchRows)
    ) {
      rows += this.#queue[count++].X.rows;
    }
    this.#queuedRows -= rows;
    return this.#queue.splice(0, count);
  }
}

function concatenate(jobs: readonly Job[]): Matrix {
  const [{ X: first }] = jobs;
  if (jobs.length === 1) return first;
  const X = matrix(jobs.reduce((rows, job) => rows + job.X.rows, 0), first.cols);
  let at = 0;
  for (const job of jobs) {
    X.data.set(job.X.data, at);
    at += job.X.data.length;
  }
  return X;
}

function deliver(
  jobs: readonly Job[],
  { labels, probabilities: { data, cols } }: Prediction,
  startedAt: number,
  modelMs: number,
): void {
  let row = 0;
  for (const job of jobs) {
    const end = row + job.X.rows;
    if (!job.isCancelled) {
      job.resolve({
        labels: labels.subarray(row, end),
        probabilities: matrix(job.X.rows, cols, data.subarray(row * cols, end * cols)),
        queueMs: startedAt - job.askedAt,
        modelMs,
      });
    }
    row = end;
  }
}
