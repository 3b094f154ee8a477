/**
 * Micro-batching by collection, not by waiting: while a model run is in flight, requests collect;
 * the next run takes them all, up to a limit. An idle model starts at once.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { type Matrix, matrix } from "../numeric/matrix.ts";
import type { Prediction } from "../runtime/onnx_session.ts";
import { HttpError, retrySoon } from "./http_error.ts";
import type { Priority, Urgency } from "./traffic/urgency.ts";

/** How a batcher works. */
export interface BatcherOptions {
  /** Rows of one run; a longer request is run in parts, with others in between. */
  readonly maxBatchRows: number;
  /** Rows that may wait; a request that finds the queue empty is always taken. */
  readonly queueRows: number;
  /** Hears of every run that has given predictions, before they are delivered. */
  readonly onRun?: (run: ModelRun) => void;
}

/** One run of a model. */
export interface ModelRun {
  readonly rows: number;
  readonly modelMs: number;
}

/** A prediction with the time it took. */
export interface TimedPrediction extends Prediction {
  /** Milliseconds from asking to the start of the model run; the sum over the parts. */
  readonly queueMs: number;
  /** Milliseconds of the model run, shared with the other requests in it. */
  readonly modelMs: number;
  /** The model run, unlike that of any other process; of a request in parts, the first one. */
  readonly batchId: string;
  /** Rows of that run. */
  readonly batchRows: number;
}

interface Job {
  readonly X: Matrix;
  readonly askedAt: number;
  /** Jobs of a lower number run first. */
  readonly turn: number;
  readonly deadline: number;
  readonly resolve: (prediction: TimedPrediction) => void;
  readonly reject: (error: unknown) => void;
  isCancelled: boolean;
}

/**
 * Runs after which a job is no longer overtaken by a more urgent one that has just come. Counted in
 * runs, the queue needs no clock to let nobody starve.
 */
const patience: Readonly<Record<Priority, number>> = { high: 0, normal: 8, low: 32 };

const BOOT = crypto.randomUUID().slice(0, 8);
let runCount = 0;

/**
 * Runs the rows of many requests together. Rows are independent of one another, so an answer does
 * not depend on the company it was computed in. The more urgent run first; a request that has waited
 * long enough is as urgent as any.
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
  #runs = 0;
  #isRunning = false;

  constructor(classify: (X: Matrix) => Promise<Prediction>, options: BatcherOptions) {
    this.#classify = classify;
    this.#options = options;
  }

  /** Rows that wait for a run. */
  get queuedRows(): number {
    return this.#queuedRows;
  }

  /** Requests that wait for a run; of one in parts, the part whose turn is next. */
  get queuedRequests(): number {
    return this.#queue.length;
  }

  /**
   * Classifies rows `[n, f]`, n ≥ 1.
   * @throws {HttpError} 503 when the queue is full, 504 when the deadline passes before its turn.
   * @throws the signal's reason when it aborts first: a request that waits leaves the queue.
   */
  run(X: Matrix, urgency: Urgency = {}): Promise<TimedPrediction> {
    return X.rows <= this.#options.maxBatchRows
      ? this.#enqueue(X, urgency)
      : this.#runParts(X, urgency);
  }

  #enqueue(
    X: Matrix,
    { signal, priority = "normal", deadline = Infinity }: Urgency,
  ): Promise<TimedPrediction> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#queuedRows > 0 && this.#queuedRows + X.rows > this.#options.queueRows) {
      return Promise.reject(
        new HttpError(`Cannot take ${X.rows} records: ${this.#queuedRows} wait already`, "busy", {
          headers: retrySoon,
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const askedAt = performance.now();
      const turn = this.#runs + patience[priority];
      const job: Job = { X, askedAt, turn, deadline, resolve, reject, isCancelled: false };
      this.#insert(job);
      this.#queuedRows += X.rows;
      if (signal) this.#listen(job, signal);
      if (!this.#isRunning) {
        this.#isRunning = true;
        setImmediate(() => this.#work());
      }
    });
  }

  /** The queue is in the order of turns, and of arrival among equal ones. */
  #insert(job: Job): void {
    let at = this.#queue.length;
    while (at > 0 && this.#queue[at - 1].turn > job.turn) at--;
    if (at === this.#queue.length) this.#queue.push(job);
    else this.#queue.splice(at, 0, job);
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

  async #runParts(X: Matrix, urgency: Urgency): Promise<TimedPrediction> {
    const step = this.#options.maxBatchRows;
    const labels = new Int32Array(X.rows);
    let first: TimedPrediction | undefined;
    let probabilities: Matrix | undefined;
    let queueMs = 0;
    let modelMs = 0;
    for (let start = 0; start < X.rows; start += step) {
      const rows = Math.min(step, X.rows - start);
      const data = X.data.subarray(start * X.cols, (start + rows) * X.cols);
      const part = await this.#enqueue(matrix(rows, X.cols, data), urgency);
      first ??= part;
      probabilities ??= matrix(X.rows, part.probabilities.cols);
      probabilities.data.set(part.probabilities.data, start * probabilities.cols);
      labels.set(part.labels, start);
      queueMs += part.queueMs;
      modelMs += part.modelMs;
    }
    return { ...first!, labels, probabilities: probabilities!, queueMs, modelMs };
  }

  async #work(): Promise<void> {
    while (this.#queue.length > 0) {
      const startedAt = performance.now();
      const jobs = this.#take(startedAt);
      if (jobs.length === 0) continue;
      this.#runs++;
      const batchId = `${BOOT}-${(runCount++).toString(36)}`;
      try {
        const X = concatenate(jobs);
        const prediction = await this.#classify(X);
        const modelMs = performance.now() - startedAt;
        this.#options.onRun?.({ rows: X.rows, modelMs });
        deliver(jobs, prediction, { startedAt, modelMs, batchId, batchRows: X.rows });
      } catch (error) {
        for (const job of jobs) job.reject(error);
      }
    }
    this.#isRunning = false;
  }

  /** Takes the jobs of the next run out of the queue, and those that are too late. */
  #take(now: number): Job[] {
    const jobs: Job[] = [];
    let count = 0;
    let rows = 0;
    for (; count < this.#queue.length; count++) {
      const job = this.#queue[count];
      if (job.deadline <= now) {
        job.reject(tooLate(job, now));
        this.#queuedRows -= job.X.rows;
        continue;
      }
      if (jobs.length > 0 && rows + job.X.rows > this.#options.maxBatchRows) break;
      jobs.push(job);
      rows += job.X.rows;
    }
    this.#queuedRows -= rows;
    this.#queue.splice(0, count);
    return jobs;
  }
}

function tooLate({ askedAt }: Job, now: number): HttpError {
  return new HttpError(
    `Cannot predict in time: the request waited ${Math.round(now - askedAt)} ms for the model, ` +
      "longer than it allows",
    "timeout",
    { headers: retrySoon },
  );
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
  { startedAt, ...run }: { startedAt: number; modelMs: number; batchId: string; batchRows: number },
): void {
  let row = 0;
  for (const job of jobs) {
    const end = row + job.X.rows;
    if (!job.isCancelled) {
      job.resolve({
        labels: labels.subarray(row, end),
        probabilities: matrix(job.X.rows, cols, data.subarray(row * cols, end * cols)),
        queueMs: startedAt - job.askedAt,
        ...run,
      });
    }
    row = end;
  }
}
