/**
 * Detectors in the request path: what a server writes to the inference table passes them, value by
 * value in the order of the table. Alarms and snapshots are written beside the requests, and a server
 * that was killed goes on from the last snapshot and the rows after it, so that none is missed or
 * counted twice.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import type { InferenceRows } from "../inference/inference_log.ts";
import type { Store } from "../store/store.ts";
import type { OnlineParams } from "./params.ts";
import { VersionWatch } from "./version_watch.ts";

/** An alarm, as those hear of it who count or log it. */
export interface OnlineAlarm {
  readonly model: string;
  readonly version: number;
  readonly series: string;
  readonly detector: string;
  readonly requestId: string;
  readonly row: number;
  /** Latest values that are of the changed series, by estimate. */
  readonly sinceChange: number;
}

/** Who hears of what. */
export interface OnlineWatchOptions {
  readonly onAlarm?: (alarm: OnlineAlarm) => void;
  /** Hears what cannot be watched, begins anew or could not be kept. */
  readonly onEvent?: (text: string) => void;
}

/** What one detector has read and found, restarts included. */
export interface OnlineReading {
  readonly labels: Readonly<Record<"model" | "version" | "series" | "detector", string>>;
  readonly alarms: number;
  readonly missing: number;
}

/** Gives an alarm as a sentence for the log. */
export function describeAlarm(alarm: OnlineAlarm): string {
  const { model, version, series, detector, requestId, row, sinceChange } = alarm;
  return `${series} of model "${model}" version ${version} has changed: ${detector} found it at row ${row} of request "${requestId}", about ${sinceChange} rows after it began`;
}

/** Work that takes long gives way to others after so many milliseconds. */
const SLICE_MS = 2;

/**
 * Watches the series of {@linkcode OnlineParams}, of each model version by detectors of its own.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { openStore } from "../store/store.ts";
 * import { OnlineWatch } from "./online_watch.ts";
 * import { OnlineParams } from "./params.ts";
 *
 * await using store = await openStore(":memory:");
 * const params = OnlineParams.parse({ watch: [{ series: "confidence", detector: "adwin" }] });
 * await using online = new OnlineWatch(store, params);
 * online.open({ model: "rocks", version: 1 });
 * assertEquals(online.readings, []);
 * ```
 */
export class OnlineWatch implements AsyncDisposable {
  readonly #store: Store;
  readonly #params: OnlineParams;
  readonly #options: OnlineWatchOptions;
  readonly #versions = new Map<string, Map<number, VersionWatch>>();
  readonly #abort = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  #soon: ReturnType<typeof setTimeout> | undefined;
  #saving: Promise<void> = Promise.resolve();
  #sliceStart = performance.now();
  /** What failed last, which is said once. */
  #failure: string | null = null;

  constructor(store: Store, params: OnlineParams, options: OnlineWatchOptions = {}) {
    this.#store = store;
    this.#params = params;
    this.#options = options;
    this.#timer = setInterval(() => void this.save(), params.snapshotSeconds * 1000);
  }

  /** Makes the detectors of a version ready before its first request, once however often. */
  open(about: { readonly model: string; readonly version: number }): void {
    if (!this.#abort.signal.aborted) this.#of(about.model, about.version);
  }

  /** Reads the rows of one request; the order of the calls is that of the table. */
  read(requestId: string, time: Date, rows: InferenceRows): void {
    try {
      this.#of(rows.model, rows.version).read(requestId, time, rows);
    } catch (error) {
      // Whoever waits for an answer is not to pay for it.
      this.#tellOnce(`Cannot watch the rows of request "${requestId}": ${describeError(error)}`);
    }
  }

  #of(model: string, version: number): VersionWatch {
    let versions = this.#versions.get(model);
    if (versions === undefined) this.#versions.set(model, versions = new Map());
    let watch = versions.get(version);
    if (watch === undefined) versions.set(version, watch = this.#make(model, version));
    return watch;
  }

  #make(model: string, version: number): VersionWatch {
    const watch = new VersionWatch(this.#store, { model, version }, {
      params: this.#params,
      pause: () => this.#pause(),
      onEvent: (text) => this.#abort.signal.aborted || this.#options.onEvent?.(text),
      onAlarm: ({ series, params: { detector } }, { requestId, row, sinceChange }) => {
        this.#saveSoon();
        const { name } = series;
        const what = { series: name, detector, requestId, row, sinceChange };
        this.#options.onAlarm?.({ model, version, ...what });
      },
    });
    // From here on what comes is found again after a crash.
    void watch.opened().then(() => this.#saveSoon());
    return watch;
  }

  #saveSoon(): void {
    if (this.#abort.signal.aborted) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.save();
    });
  }

  #tellOnce(failure: string): void {
    if (failure !== this.#failure) this.#options.onEvent?.(failure);
    this.#failure = failure;
  }

  /** Lets requests pass; rejects when the server is ending. */
  async #pause(): Promise<void> {
    this.#abort.signal.throwIfAborted();
    if (performance.now() - this.#sliceStart < SLICE_MS) return;
    await new Promise((resolve) => setTimeout(resolve));
    this.#sliceStart = performance.now();
    this.#abort.signal.throwIfAborted();
  }

  /** What each detector has read and found. */
  get readings(): OnlineReading[] {
    return this.#all().flatMap(({ about: { model, version }, watches }) =>
      watches.map(({ series: { name }, params: { detector }, alarms, missing }) => ({
        labels: { model, version: String(version), series: name, detector },
        alarms,
        missing,
      }))
    );
  }

  #all(): VersionWatch[] {
    return [...this.#versions.values()].flatMap((versions) => [...versions.values()]);
  }

  /** Resolves when the detectors of every version have read what has come so far. */
  async settled(): Promise<void> {
    await Promise.all(this.#all().map((watch) => watch.settled()));
  }

  /** Writes new alarms and snapshots; what cannot be written now is tried again with the next. */
  save(): Promise<void> {
    return this.#saving = this.#saving.then(() => this.#saveNow());
  }

  async #saveNow(): Promise<void> {
    const taken = this.#all().map((watch) => watch.takeSteps());
    const steps = taken.flatMap((one) => one.steps);
    if (steps.length === 0) return;
    try {
      await this.#store.transaction(steps);
      taken.forEach(({ done }) => done());
      this.#failure = null;
    } catch (error) {
      taken.forEach(({ failed }) => failed());
      this.#tellOnce(`Cannot keep what the detectors found: ${describeError(error)}`);
    }
  }

  /** Writes what it knows and ends. Call it when the inference log has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#abort.abort(new Error("Cannot go on watching: the server is ending"));
    await this.settled();
    await this.save();
  }
}
