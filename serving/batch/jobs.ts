/**
 * Work that goes on after its request is answered: a bounded queue of jobs, of which few run at once
 * and the last ones that ended can still be looked at.
 *
 * @module
 */
import { describeError } from "../../runtime/errors.ts";
import { HttpError, retrySoon } from "../http_error.ts";

/** What can be told of a job. */
export type JobState = "queued" | "running" | "succeeded" | "failed" | "cancelled";

/** How far a job is: what a client sees of it beside its state. */
export type JobDetails = Readonly<Record<string, unknown>>;

/** A job to do. */
export interface JobTask {
  readonly id: string;
  /** Who may look at it and cancel it; `null` when nobody has a name. */
  readonly requester: string | null;
  /** What no two jobs may write at once. */
  readonly output: string;
  /** What a client sees from the start. */
  readonly details: JobDetails;
  /** Does the work; ends with an error soon after `signal` is aborted. */
  run(signal: AbortSignal, tell: (details: JobDetails) => void): Promise<void>;
  /** Is called once, when the job has ended in whatever way. */
  release(): void;
}

/** A job, whatever became of it. */
export interface Job {
  readonly id: string;
  readonly requester: string | null;
  readonly output: string;
  readonly state: JobState;
  readonly queuedAt: Date;
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
  readonly error: string | null;
  readonly details: JobDetails;
}

type Entry = { -readonly [K in keyof Job]: Job[K] } & {
  readonly task: JobTask;
  readonly abort: AbortController;
};

/** Bounds of {@linkcode Jobs}. */
export interface JobsOptions {
  /** Jobs that run at once. */
  readonly maxRunning: number;
  /** Jobs that wait; default 100. */
  readonly maxQueued?: number;
  /** Jobs that have ended and can still be looked at; default 100. */
  readonly maxEnded?: number;
}

/**
 * Runs jobs in the order in which they came.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Jobs } from "./jobs.ts";
 *
 * const jobs = new Jobs({ maxRunning: 1 });
 * const run = (_: AbortSignal, tell: (details: { rows: number }) => void) => {
 *   tell({ rows: 2 });
 *   return Promise.resolve();
 * };
 * const task = { requester: null, output: "a.csv", details: { rows: 0 }, run, release() {} };
 * assertEquals(jobs.add({ id: "1", ...task }).state, "running");
 * await jobs.close();
 * assertEquals(jobs.get("1")?.details, { rows: 2 });
 * ```
 */
export class Jobs {
  readonly #options: Required<JobsOptions>;
  /** In the order in which they came. */
  readonly #jobs = new Map<string, Entry>();
  readonly #running = new Map<Entry, Promise<void>>();
  #isClosed = false;

  constructor({ maxRunning, maxQueued = 100, maxEnded = 100 }: JobsOptions) {
    this.#options = { maxRunning, maxQueued, maxEnded };
  }

  /** Every job that is known, the oldest first. */
  list(): Job[] {
    return [...this.#jobs.values()];
  }

  get(id: string): Job | undefined {
    return this.#jobs.get(id);
  }

  /**
   * Takes a job.
   * @throws {HttpError} 503 when too many wait or the server is ending, 422 when another job writes to
   * the same file.
   */
  add(task: JobTask): Job {
    const open = this.list().filter(isOpen);
    if (this.#isClosed) {
      throw new HttpError("Cannot take a job: the server is ending", "busy", {
        headers: retrySoon,
      });
    }
    if (open.some(({ output }) => output === task.output)) {
      throw new HttpError(
        "Cannot take the job: another one writes to the same output; name another file, or cancel it",
        "invalid_input",
      );
    }
    if (open.length >= this.#options.maxRunning + this.#options.maxQueued) {
      throw new HttpError(`Cannot take a job: ${open.length} wait or run already`, "busy", {
        headers: retrySoon,
      });
    }
    const { id, requester, output, details } = task;
    const entry: Entry = {
      ...{ id, requester, output, details, task },
      abort: new AbortController(),
      state: "queued",
      queuedAt: new Date(),
      startedAt: null,
      endedAt: null,
      error: null,
    };
    this.#jobs.set(id, entry);
    this.#startNext();
    return entry;
  }

  /** Ends a job that waits at once, and one that runs soon; one that has ended stays as it is. */
  cancel(id: string, reason: string): void {
    const entry = this.#jobs.get(id);
    if (entry === undefined || !isOpen(entry)) return;
    entry.abort.abort(new Error(reason));
    if (entry.state === "queued") this.#end(entry, "cancelled", reason);
  }

  /** Cancels all jobs, takes no more, and resolves when none runs. */
  async close(reason = "the server is ending"): Promise<void> {
    this.#isClosed = true;
    for (const id of this.#jobs.keys()) this.cancel(id, reason);
    await Promise.all(this.#running.values());
  }

  #startNext(): void {
    for (const entry of this.#jobs.values()) {
      if (this.#running.size >= this.#options.maxRunning) return;
      if (entry.state !== "queued") continue;
      entry.state = "running";
      entry.startedAt = new Date();
      this.#running.set(entry, this.#run(entry));
    }
  }

  /** Never rejects. */
  async #run(entry: Entry): Promise<void> {
    const { task, abort: { signal } } = entry;
    try {
      await task.run(signal, (details) => entry.details = { ...entry.details, ...details });
      this.#end(entry, "succeeded", null);
    } catch (error) {
      const reason = signal.aborted ? signal.reason : error;
      this.#end(entry, signal.aborted ? "cancelled" : "failed", describeError(reason));
    }
    this.#running.delete(entry);
    this.#startNext();
  }

  #end(entry: Entry, state: JobState, error: string | null): void {
    entry.state = state;
    entry.error = error;
    entry.endedAt = new Date();
    entry.task.release();
    const ended = [...this.#jobs.values()].filter((job) => !isOpen(job));
    for (const { id } of ended.slice(0, Math.max(0, ended.length - this.#options.maxEnded))) {
      this.#jobs.delete(id);
    }
  }
}

function isOpen({ state }: Job): boolean {
  return state === "queued" || state === "running";
}
