/** One detector over one series: it learns what the series looks like, watches it, and begins anew. */
import type { ResumableDetector, ThresholdDetector } from "../../numeric/online/detector.ts";
import type { WatchParams } from "./params.ts";
import { fitReference, makeDetector, needsReference, type Reference } from "./reference.ts";
import type { Series } from "./series.ts";

/** Which row of the inference table each value is from. */
export interface Origin {
  requestId(i: number): string;
  row(i: number): number;
  time(i: number): Date;
  /** Gives that of the values from `start` on, which lasts: its own may be used again. */
  from(start: number): Origin;
}

/** A change that was found. */
export interface Change {
  readonly requestId: string;
  readonly row: number;
  /** When the request of the row came. */
  readonly at: Date;
  readonly value: number;
  /** `null` for detectors that compare no number with a threshold. */
  readonly statistic: number | null;
  readonly reference: Reference | null;
  /** Latest values that are of the changed series, by estimate, the alarm's own counted. */
  readonly sinceChange: number;
}

/** Everything a watch knows, as JSON keeps it. */
export interface WatchState {
  /** Values that were there. */
  readonly rows: number;
  /** Values that were missing or not finite, and skipped. */
  readonly missing: number;
  readonly alarms: number;
  /** Values of the reference that is being learned. */
  readonly learned: readonly number[];
  readonly reference: Reference | null;
  /** `null` while it learns. */
  readonly detector: readonly number[] | null;
}

/** What a watch needs. */
export interface SeriesWatchOptions {
  readonly series: Series;
  readonly params: WatchParams;
  /** Rows to learn a reference from. */
  readonly referenceRows: number;
  readonly onChange: (change: Change) => void;
  /** Called while a threshold is simulated; what it rejects with ends the watch. */
  readonly pause: () => Promise<void>;
  /** Hears why it reads no more. */
  readonly onFailure: (error: unknown) => void;
}

/** Values that came while a threshold was simulated. */
interface Waiting {
  readonly values: Float64Array;
  readonly origin: Origin;
}

/** So many values may wait for a threshold; then its simulation no longer gives way to others. */
const MOST_WAITING = 2 ** 18;

/** Reads the values of one series in their order. */
export class SeriesWatch {
  readonly series: Series;
  readonly params: WatchParams;
  readonly #options: SeriesWatchOptions;
  readonly #learned: Float64Array;
  #learnedCount = 0;
  #reference: Reference | null = null;
  #detector: (ResumableDetector & Partial<Pick<ThresholdDetector, "statistic">>) | null = null;
  #rows = 0;
  #missing = 0;
  #alarms = 0;
  #isFitting = false;
  #fitting: Promise<void> = Promise.resolve();
  #waiting: Waiting[] = [];
  #waitingCount = 0;

  constructor(options: SeriesWatchOptions) {
    this.#options = options;
    this.series = options.series;
    this.params = options.params;
    this.#learned = new Float64Array(options.referenceRows);
    if (!needsReference(this.params.detector)) this.#detector = makeDetector(this.params, null);
  }

  get missing(): number {
    return this.#missing;
  }

  get alarms(): number {
    return this.#alarms;
  }

  /** Takes a reference that is known beforehand; else the first values are it. */
  async learn(values: Float64Array): Promise<void> {
    if (needsReference(this.params.detector)) await this.#fit(values, "held_out");
  }

  /** Reads the first `count` values; of those it has to keep it makes a copy. */
  read(values: Float64Array, count: number, origin: Origin): void {
    for (let i = 0; i < count; i++) {
      if (this.#isFitting) return this.#wait(values.slice(i, count), i, origin);
      const value = values[i];
      // Subtracting tells what is not finite without a call.
      if (value - value !== 0) {
        this.#missing++;
        continue;
      }
      this.#rows++;
      if (this.#detector === null) this.#learnFrom(value);
      else if (this.#detector.update(value)) this.#tell(value, i, origin);
    }
  }

  #learnFrom(value: number): void {
    this.#learned[this.#learnedCount++] = value;
    if (this.#learnedCount < this.#learned.length) return;
    this.#fitting = this.#fit(this.#learned.slice(), "rows").catch(this.#options.onFailure);
  }

  #tell(value: number, i: number, origin: Origin): void {
    const detector = this.#detector!;
    this.#alarms++;
    this.#options.onChange({
      requestId: origin.requestId(i),
      row: origin.row(i),
      at: origin.time(i),
      value,
      statistic: detector.statistic ?? null,
      reference: this.#reference,
      sinceChange: detector.sinceChange,
    });
    // What was is no reference for what is now.
    if (needsReference(this.params.detector)) this.#detector = this.#reference = null;
  }

  #wait(values: Float64Array, from: number, origin: Origin): void {
    this.#waiting.push({ values, origin: origin.from(from) });
    this.#waitingCount += values.length;
  }

  async #fit(values: Float64Array, source: Reference["source"]): Promise<void> {
    this.#isFitting = true;
    this.#learnedCount = 0;
    const { params, pause } = this.#options;
    this.#reference = await fitReference(values, {
      params,
      source,
      pause: () => this.#waitingCount < MOST_WAITING ? pause() : undefined,
    });
    this.#isFitting = false;
    // Without a reference it learns again: nothing is known of a series that never moved.
    if (this.#reference !== null) this.#detector = makeDetector(params, this.#reference);
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingCount = 0;
    for (const { values, origin } of waiting) this.read(values, values.length, origin);
  }

  /** Resolves when no threshold is simulated, or it has failed. */
  async settled(): Promise<void> {
    // What waited may have ended another reference.
    for (let last; last !== this.#fitting;) await (last = this.#fitting);
  }

  /** Gives what it knows; `null` while values wait for a threshold. */
  save(): WatchState | null {
    if (this.#isFitting) return null;
    return {
      rows: this.#rows,
      missing: this.#missing,
      alarms: this.#alarms,
      learned: [...this.#learned.subarray(0, this.#learnedCount)],
      reference: this.#reference,
      detector: this.#detector?.save() ?? null,
    };
  }

  /**
   * Goes on where a watch of the same parameters was.
   * @throws {RangeError} when the state is not of such a watch.
   */
  restore({ rows, missing, alarms, learned, reference, detector }: WatchState): void {
    if (learned.length >= this.#learned.length) {
      throw new RangeError(
        `Cannot restore a watch with ${learned.length} learned rows: it takes ${this.#learned.length}`,
      );
    }
    const resumed = detector === null ? null : makeDetector(this.params, reference);
    resumed?.restore(detector!);
    this.#rows = rows;
    this.#missing = missing;
    this.#alarms = alarms;
    this.#learned.set(learned);
    this.#learnedCount = learned.length;
    this.#reference = reference;
    this.#detector = resumed;
  }
}
