/**
 * The inference log: one row per request of any status and one per record.
 *
 * Rows that arrive while a write is in flight go into the next one, so that one disk flush serves all
 * who wait for it. They are acknowledged when a journal beside the store has them, and are brought
 * into the tables some hundred at a time; whoever reads the store in the meantime waits until they
 * are there.
 *
 * @module
 */
import type { Matrix } from "../../numeric/matrix.ts";
import { describeError } from "../errors.ts";
import { Journal, journalSteps } from "../store/journal.ts";
import { encodeSteps } from "../store/step_codec.ts";
import type { AppendStep, Store, WriteThrough } from "../store/store.ts";

/** One answered request, a row of `core.requests`. */
export interface RequestRow {
  readonly requestId: string;
  /** The id as the caller gave it. */
  readonly clientRequestId: string | null;
  /** Trace id of the caller's `traceparent`, 32 hex digits. */
  readonly traceId: string | null;
  readonly requestTime: Date;
  readonly method: string;
  readonly endpoint: string;
  readonly statusCode: number;
  readonly model: string | null;
  readonly version: number | null;
  readonly alias: string | null;
  readonly requester: string | null;
  readonly rowCount: number;
  readonly durationMs: number;
  readonly queueMs: number | null;
  readonly modelMs: number | null;
  readonly requestBytes: number | null;
  readonly responseBytes: number | null;
  readonly error: string | null;
  /** Share of the requests to the model whose records are kept, in `[0, 1]`; default 1. */
  readonly samplingFraction?: number;
  /** Inputs whose values were not kept. */
  readonly redacted?: readonly string[] | null;
  readonly payload?: Payload | null;
}

/** Bodies of a request as they came and went, a row of `core.payloads`. */
export interface Payload {
  /** `null` when it is not kept: `errors` says why. */
  readonly request: string | null;
  readonly response: string | null;
  /** Such as `MAX_REQUEST_SIZE_EXCEEDED`. */
  readonly errors: readonly string[];
  /** Share of the requests whose bodies are kept. */
  readonly fraction: number;
}

/** The predictions of one request, rows of `core.inferences`. */
export interface InferenceRows {
  readonly model: string;
  readonly version: number;
  /** Raw input values as they were sent, `[n, d]` row-major; `NaN` is missing. */
  readonly features: Float64Array;
  /** Value of the order column `[n]`. */
  readonly order?: Float64Array;
  /** Class ids `[n]`. */
  readonly labels: Int32Array;
  /** Class probabilities `[n, k]`. */
  readonly probabilities: Matrix;
  readonly classes: readonly string[];
  /** Name of the part of the world that the records come from, such as a well. */
  readonly slice?: string;
  /** The model run that predicted them; left out when there was none. */
  readonly batchId?: string;
}

/** When {@linkcode InferenceLog.record} resolves. */
export type Durability = "commit" | "async";

/** How an inference log works. */
export interface InferenceLogOptions {
  /**
   * `commit` (default): `record` resolves when the rows are on disk, and nothing it has acknowledged is
   * ever lost. `async`: `record` resolves at once; a killed process loses what is not in the tables
   * yet, at most `maxRows` rows and usually the last 100 ms.
   */
  readonly durability?: Durability;
  /** Rows, of requests and records together, that may wait for the tables; default 100,000. */
  readonly maxRows?: number;
  /** Hears of every failed write. */
  readonly onError?: (error: Error) => void;
  /**
   * Hears of the predictions of every request that is written, in the order of the table. It is in the
   * way of all who wait for an answer, and must not throw.
   */
  readonly onWritten?: (requestId: string, requestTime: Date, inferences: InferenceRows) => void;
}

/** How an inference log is doing. */
export interface InferenceLogStats {
  /** Rows that the tables do not hold yet, acknowledged ones included. */
  readonly queuedRows: number;
  readonly committedRows: number;
  /** Transactions that brought rows into the tables. */
  readonly commits: number;
  /** Bytes of the journal's files. */
  readonly journalBytes: number;
  readonly failures: number;
  /** Why the latest write failed, and when; `null` once one has succeeded. */
  readonly lastFailure: WriteFailure | null;
}

/** A write that failed. */
export interface WriteFailure {
  readonly message: string;
  readonly at: Date;
  readonly error: Error;
}

/** The log has no room: the caller must say so and try again later. */
export class LogFullError extends Error {
  override readonly name = "LogFullError";
}

interface Entry {
  readonly request: RequestRow;
  readonly inferences: InferenceRows | null;
  readonly rows: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Entries on their way into the tables. */
interface Batch {
  readonly payload: Uint8Array;
  /** Its number in the journal, 0 without one. */
  readonly sequence: number;
  readonly rows: number;
  /** Who waits for the tables themselves. */
  readonly entries: readonly Entry[];
}

/** Rows of one batch; a larger request is a batch of its own. */
const MAX_BATCH_ROWS = 4096;

/** Rows of one transaction, about 10 ms of work in the thread that holds the database. */
const TRANSACTION_ROWS = 1024;

/** Longest wait for a transaction to be worth its while, when nobody waits for it. */
const GATHER_MS = 50;

/** Pause before a transaction that failed is tried again. */
const RETRY_MS = 500;

/**
 * Writes requests and their predictions to a store.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { openStore } from "../store/store.ts";
 * import { InferenceLog } from "./inference_log.ts";
 *
 * await using store = await openStore(":memory:");
 * const log = await InferenceLog.open(store);
 * await log.record({
 *   requestId: "r1",
 *   clientRequestId: null,
 *   traceId: null,
 *   requestTime: new Date(),
 *   method: "GET",
 *   endpoint: "/models",
 *   statusCode: 200,
 *   model: null,
 *   version: null,
 *   alias: null,
 *   requester: null,
 *   rowCount: 0,
 *   durationMs: 1.5,
 *   queueMs: null,
 *   modelMs: null,
 *   requestBytes: 0,
 *   responseBytes: 2,
 *   error: null,
 * });
 * assertEquals(await store.query("select request_id, status_code from requests"), [
 *   { request_id: "r1", status_code: 200 },
 * ]);
 * await log.close();
 * ```
 */
export class InferenceLog {
  readonly durability: Durability;
  readonly #store: WriteThrough;
  readonly #journal: Journal | null;
  readonly #maxRows: number;
  readonly #onError: (error: Error) => void;
  readonly #onWritten: InferenceLogOptions["onWritten"];
  /** Recorded, and neither in the journal nor on the way into the tables. */
  #queue: Entry[] = [];
  #batches: Batch[] = [];
  #queuedRows = 0;
  #committedRows = 0;
  #commits = 0;
  #failures = 0;
  #writeFailure: WriteFailure | null = null;
  #commitFailure: WriteFailure | null = null;
  /** Entries ever recorded, and those of them that have left the queue: both are in order. */
  #recorded = 0;
  #written = 0;
  /** Batches ever made, and those of them that are done with. */
  #made = 0;
  #done = 0;
  #writing: Promise<void> | undefined;
  #committing: Promise<void> | undefined;
  /** The write and the transaction at hand. */
  #write: Promise<void> = Promise.resolve();
  #transaction: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;
  /** Calls that wait for the tables. */
  #waiting = 0;
  #isClosed = false;

  private constructor(store: Store, journal: Journal | null, options: InferenceLogOptions) {
    this.#store = store.holdBack(() => this.#settle());
    this.#journal = journal;
    this.durability = options.durability ?? "commit";
    this.#maxRows = options.maxRows ?? 100_000;
    this.#onError = options.onError ?? (() => {});
    this.#onWritten = options.onWritten;
  }

  /**
   * Opens a log; one of durability `commit` keeps a journal beside the store's file. A store in memory
   * has no file, and its rows are acknowledged when they are in the tables.
   * @throws {Error} when the journal cannot be made.
   */
  static async open(store: Store, options: InferenceLogOptions = {}): Promise<InferenceLog> {
    const isJournaled = options.durability !== "async" && store.path !== ":memory:";
    const journal = isJournaled ? await Journal.open(store.path) : null;
    return new InferenceLog(store, journal, options);
  }

  get stats(): InferenceLogStats {
    return {
      queuedRows: this.#queuedRows,
      committedRows: this.#committedRows,
      commits: this.#commits,
      journalBytes: this.#journal?.bytes ?? 0,
      failures: this.#failures,
      lastFailure: this.#writeFailure ?? this.#commitFailure,
    };
  }

  /** Whether `rows` more rows would be taken now. A request larger than the log fits an empty one. */
  hasRoom(rows: number): boolean {
    return this.#queuedRows === 0 || this.#queuedRows + rows <= this.#maxRows;
  }

  /**
   * Records one request with its predictions; all its rows are in one commit.
   *
   * A request without predictions may use a reserve beyond `maxRows` (a quarter of it), so that the
   * refusal of a request for lack of room is itself on record.
   *
   * @throws {LogFullError} when the log has no room; nothing was recorded.
   * @throws {Error} when the log is closed or (durability `commit`) the disk did not take the rows.
   */
  record(request: RequestRow, inferences: InferenceRows | null = null): Promise<void> {
    if (this.#isClosed) {
      return Promise.reject(
        new Error(`Cannot record request "${request.requestId}": the inference log is closed`),
      );
    }
    const rows = 1 + (inferences?.labels.length ?? 0);
    const reserve = inferences === null ? Math.ceil(this.#maxRows / 4) : 0;
    if (!this.hasRoom(rows - reserve)) {
      return Promise.reject(
        new LogFullError(
          `Cannot record request "${request.requestId}": ${this.#queuedRows} rows wait for the disk; try again later`,
        ),
      );
    }
    this.#queuedRows += rows;
    this.#recorded++;
    if (this.durability === "async" && !this.#isBehind) {
      this.#queue.push({ request, inferences, rows, resolve: ignore, reject: ignore });
      this.#startWriting();
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ request, inferences, rows, resolve, reject });
      this.#startWriting();
    });
  }

  /**
   * Resolves when everything recorded so far is settled.
   * @throws {Error} when rows that were acknowledged could not be brought into the tables meanwhile;
   * they still wait.
   */
  async flush(): Promise<void> {
    const failure = this.#commitFailure;
    await this.#settle();
    if (this.#commitFailure !== null && this.#commitFailure !== failure) {
      throw new Error(
        `Cannot flush the inference log: ${this.#queuedRows} rows still wait; ${this.#commitFailure.message}`,
      );
    }
  }

  /**
   * Takes no more rows, writes those that wait and ends.
   * @throws {Error} as {@linkcode flush}. What then still waits is lost with durability `async`; else
   * the next who opens the store finds it in the journal.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.flush();
      await this.#journal?.close();
    } finally {
      this.#journal?.abandon();
      this.#wake?.();
      this.#store.release();
    }
  }

  /**
   * Whether callers are faster than the tables: from here on they wait for these, so that they are
   * slowed down before they are refused. Tables that take nothing are not waited for.
   */
  get #isBehind(): boolean {
    return this.#queuedRows > this.#maxRows / 2 && this.#commitFailure === null;
  }

  /** Brings what is recorded so far into the tables; ends early when a transaction fails. */
  async #settle(): Promise<void> {
    const recorded = this.#recorded;
    const failure = this.#commitFailure;
    this.#waiting++;
    try {
      while (this.#written < recorded) await this.#write;
      const made = this.#made;
      while (this.#done < made) {
        this.#startCommitting();
        this.#wake?.();
        await this.#transaction;
        if (this.#commitFailure !== null && this.#commitFailure !== failure) return;
      }
    } finally {
      this.#waiting--;
    }
  }

  #startWriting(): void {
    // The microtask lets requests of the same tick share a write.
    this.#writing ??= Promise.resolve().then(() => this.#writeAll());
  }

  async #writeAll(): Promise<void> {
    while (this.#queue.length > 0) await (this.#write = this.#writeBatch(takeFirst(this.#queue)));
    // In the same tick as the check of the queue, so that no entry is left behind.
    this.#writing = undefined;
  }

  /** Makes entries a batch, in the journal when there is one. Never rejects, as {@linkcode #commit}. */
  async #writeBatch(entries: readonly Entry[]): Promise<void> {
    const rows = entries.reduce((sum, entry) => sum + entry.rows, 0);
    try {
      const payload = encodeSteps(toSteps(entries));
      const sequence = await this.#journal?.append(payload) ?? 0;
      this.#writeFailure = null;
      this.#batches.push({ payload, sequence, rows, entries });
      this.#made++;
      if (this.#onWritten) tellRows(entries, this.#onWritten);
      if (this.#journal !== null && !this.#isBehind) {
        for (const { resolve } of entries) resolve();
      }
      this.#startCommitting();
    } catch (cause) {
      this.#writeFailure = this.#fail(cause);
      for (const entry of entries) entry.reject(this.#writeFailure.error);
      this.#queuedRows -= rows;
    }
    this.#written += entries.length;
  }

  #startCommitting(): void {
    if (this.#isUrgent()) this.#wake?.();
    this.#committing ??= Promise.resolve().then(() => this.#commitAll());
  }

  async #commitAll(): Promise<void> {
    while (this.#batches.length > 0) {
      if (this.#commitFailure !== null && this.#isAcknowledgedEarly) await this.#pause(RETRY_MS);
      else if (!this.#isUrgent()) await this.#pause(GATHER_MS);
      await (this.#transaction = this.#commit(takeFirst(this.#batches)));
      // The end of the log does not wait for a disk that may stay full for ever.
      if (this.#commitFailure !== null && this.#isClosed) break;
    }
    this.#committing = undefined;
  }

  /** Whether somebody waits for the next transaction, or it is large enough as it is. */
  #isUrgent(): boolean {
    return this.#waiting > 0 || this.#isClosed || !this.#isAcknowledgedEarly ||
      this.#batchRows() >= TRANSACTION_ROWS;
  }

  /** Whether those who recorded have their answer before the tables have the rows. */
  get #isAcknowledgedEarly(): boolean {
    return this.#journal !== null || this.durability === "async";
  }

  #batchRows(): number {
    return this.#batches.reduce((sum, batch) => sum + batch.rows, 0);
  }

  /** Brings batches into the tables. Never rejects: those who wait for an entry hear of its failure. */
  async #commit(batches: readonly Batch[]): Promise<void> {
    const frames = batches.map(({ sequence, payload }) => ({ sequence, payload }));
    try {
      await this.#store.transaction(
        this.#journal === null
          ? [{ frames: frames.map((frame) => frame.payload) }]
          : journalSteps(this.#journal.id, frames),
      );
    } catch (cause) {
      this.#commitFailure = this.#fail(cause);
      const { error } = this.#commitFailure;
      if (this.#isAcknowledgedEarly) {
        this.#batches.unshift(...batches);
        for (const { entries } of this.#batches) for (const { resolve } of entries) resolve();
      } else this.#finish(batches, (entry) => entry.reject(error));
      return;
    }
    this.#commitFailure = null;
    this.#commits++;
    for (const batch of batches) this.#committedRows += batch.rows;
    this.#finish(batches, (entry) => entry.resolve());
    await this.#journal?.settle(frames[frames.length - 1].sequence);
  }

  #finish(batches: readonly Batch[], tell: (entry: Entry) => void): void {
    this.#done += batches.length;
    for (const { rows, entries } of batches) {
      this.#queuedRows -= rows;
      entries.forEach(tell);
    }
  }

  #fail(cause: unknown): WriteFailure {
    const error = new Error(`Cannot write the inference log: ${describeError(cause)}`, { cause });
    this.#failures++;
    this.#onError(error);
    return { message: error.message, at: new Date(), error };
  }

  /** Waits, at most so long; a wake-up ends it early. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#wake = end;
    });
  }
}

function ignore(): void {}

function tellRows(
  entries: readonly Entry[],
  tell: NonNullable<InferenceLogOptions["onWritten"]>,
): void {
  for (const { request: { requestId, requestTime }, inferences } of entries) {
    if (inferences !== null) tell(requestId, requestTime, inferences);
  }
}

/** Takes the first of a queue, as many as one batch or transaction should have rows, at least one. */
function takeFirst<T extends { readonly rows: number }>(queue: T[]): T[] {
  let count = 0;
  let rows = 0;
  while (
    count < queue.length && (count === 0 || rows + queue[count].rows <= MAX_BATCH_ROWS)
  ) {
    rows += queue[count++].rows;
  }
  return queue.splice(0, count);
}

function toSteps(entries: readonly Entry[]): AppendStep[] {
  const requests = entries.map((entry) => entry.request);
  const steps: AppendStep[] = [{
    append: "core.requests",
    columns: {
      request_id: requests.map((row) => row.requestId),
      client_request_id: requests.map((row) => row.clientRequestId),
      trace_id: requests.map((row) => row.traceId),
      request_time: requests.map((row) => row.requestTime),
      method: requests.map((row) => row.method),
      endpoint: requests.map((row) => row.endpoint),
      status_code: requests.map((row) => row.statusCode),
      model: requests.map((row) => row.model),
      version: requests.map((row) => row.version),
      alias: requests.map((row) => row.alias),
      requester: requests.map((row) => row.requester),
      row_count: requests.map((row) => row.rowCount),
      duration_ms: requests.map((row) => row.durationMs),
      queue_ms: requests.map((row) => row.queueMs),
      model_ms: requests.map((row) => row.modelMs),
      request_bytes: requests.map((row) => row.requestBytes),
      response_bytes: requests.map((row) => row.responseBytes),
      error: requests.map((row) => row.error),
      sampling_fraction: requests.map((row) => row.samplingFraction ?? 1),
      redacted: requests.map((row) => row.redacted ? JSON.stringify(row.redacted) : null),
    },
  }];
  const rows = entries.reduce((sum, entry) => sum + entry.rows - 1, 0);
  if (rows > 0) {
    const columns = inferenceColumns(entries, rows);
    steps.push({ append: "core.inferences", columns });
  }
  const kept = requests.filter((row) => row.payload);
  if (kept.length > 0) {
    const payloads = kept.map((row) => row.payload!);
    steps.push({
      append: "core.payloads",
      columns: {
        request_id: kept.map((row) => row.requestId),
        request_time: kept.map((row) => row.requestTime),
        request: payloads.map((payload) => payload.request),
        response: payloads.map((payload) => payload.response),
        errors: payloads.map((payload) => JSON.stringify(payload.errors)),
        fraction: payloads.map((payload) => payload.fraction),
      },
    });
  }
  return steps;
}

function inferenceColumns(entries: readonly Entry[], rows: number) {
  const size = { features: 0, probabilities: 0 };
  for (const { inferences } of entries) {
    size.features += inferences?.features.length ?? 0;
    size.probabilities += inferences?.probabilities.data.length ?? 0;
  }
  const features = makeLists(new Float64Array(size.features), rows);
  const probabilities = makeLists(new Float32Array(size.probabilities), rows);
  const columns = {
    request_id: new Array<string>(rows),
    row: new Array<number>(rows),
    request_time: new Array<Date>(rows),
    model: new Array<string>(rows),
    version: new Array<number>(rows),
    features,
    order_value: new Float64Array(rows).fill(NaN),
    label: new Array<string>(rows),
    confidence: new Float64Array(rows),
    probabilities,
    slice: new Array<string | null>(rows),
    batch_id: new Array<string | null>(rows),
  };
  let at = 0;
  size.features = 0;
  size.probabilities = 0;
  for (const { request, inferences } of entries) {
    if (inferences === null) continue;
    const { labels, probabilities: { data, cols } } = inferences;
    features.values.set(inferences.features, size.features);
    probabilities.values.set(data, size.probabilities);
    size.features += inferences.features.length;
    size.probabilities += data.length;
    features.lengths.fill(inferences.features.length / labels.length, at, at + labels.length);
    probabilities.lengths.fill(cols, at, at + labels.length);
    if (inferences.order) columns.order_value.set(inferences.order, at);
    for (let i = 0; i < labels.length; i++, at++) {
      columns.request_id[at] = request.requestId;
      columns.row[at] = i;
      columns.request_time[at] = request.requestTime;
      columns.model[at] = inferences.model;
      columns.version[at] = inferences.version;
      columns.label[at] = inferences.classes[labels[i]];
      columns.confidence[at] = data[i * cols + labels[i]];
      columns.slice[at] = inferences.slice ?? null;
      columns.batch_id[at] = inferences.batchId ?? null;
    }
  }
  return columns;
}

function makeLists<T extends Float64Array | Float32Array>(values: T, rows: number) {
  return { values, lengths: new Uint32Array(rows) };
}
