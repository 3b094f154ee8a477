/** The watches of one model version: where they go on, what they read, and what of it is kept. */
import { describeError } from "../errors.ts";
import { readHeldOut } from "../estimates/held_out.ts";
import type { InferenceRows } from "../inference/inference_log.ts";
import type { Step, Store } from "../store/store.ts";
import {
  alarmStep,
  MOST_REPLAYED,
  type Position,
  readLastPosition,
  readSince,
  readSnapshot,
  snapshotStep,
  type WatchedVersion,
} from "./memory.ts";
import type { OnlineParams, WatchParams } from "./params.ts";
import { thinHeldOut } from "./reference.ts";
import { makeSeries, type Series } from "./series.ts";
import { RequestOrigin } from "./request_origin.ts";
import { type Change, SeriesWatch } from "./series_watch.ts";

/** What the watches of a version need. */
export interface VersionWatchOptions {
  readonly params: OnlineParams;
  /** Hears of a change as soon as it is found. */
  readonly onAlarm: (watch: SeriesWatch, change: Change) => void;
  /** Hears what cannot be watched, or begins anew. */
  readonly onEvent: (text: string) => void;
  /** Called between pieces of work that take long; what it rejects with ends the watch. */
  readonly pause: () => Promise<void>;
}

/** Rows of one request, as they were written. */
interface Written {
  readonly requestId: string;
  readonly time: Date;
  readonly rows: InferenceRows;
}

/** Steps of a transaction, and what to call when it is over. */
export interface TakenSteps {
  readonly steps: readonly Step[];
  readonly done: () => void;
  readonly failed: () => void;
}

/** Watches every series of one version that its config names and the version has. */
export class VersionWatch {
  readonly about: WatchedVersion;
  readonly #store: Store;
  readonly #options: VersionWatchOptions;
  #watches: readonly SeriesWatch[] = [];
  /** Rows that came before the watches were ready; `null` once they are. */
  #early: Written[] | null = [];
  /** The last row that was read. */
  readonly #last = new RequestOrigin("", 0, new Date(0));
  #lastRow = 0;
  #isChanged = false;
  /** Steps that keep where it started, until there is a later snapshot. */
  #start: readonly Step[] = [];
  #changes: { readonly watch: SeriesWatch; readonly change: Change }[] = [];
  #scratch = new Float64Array(256);
  readonly #opening: Promise<void>;

  /** Begins at once to look for what it knew before. */
  constructor(store: Store, about: WatchedVersion, options: VersionWatchOptions) {
    this.about = about;
    this.#store = store;
    this.#options = options;
    this.#opening = this.#open().catch((error) => {
      // Rows are neither kept nor lost: the next server reads them from the table.
      this.#early = null;
      this.#watches = [];
      options.onEvent(`Cannot watch ${this.#name}: ${describeError(error)}`);
    });
  }

  /** Its watches, once they are ready. */
  get watches(): readonly SeriesWatch[] {
    return this.#watches;
  }

  /** Resolves when rows are read as they come. */
  async opened(): Promise<void> {
    await this.#opening;
  }

  /** Resolves when none of its work is at hand. */
  async settled(): Promise<void> {
    await this.#opening;
    await Promise.all(this.#watches.map((watch) => watch.settled()));
  }

  /** Reads the rows of one request; the order of the calls is that of the table. */
  read(requestId: string, time: Date, rows: InferenceRows): void {
    if (this.#early !== null) this.#early.push({ requestId, time, rows });
    else this.#readNow(requestId, time, rows);
  }

  /** Makes nothing anew for a request, so that there is nothing to collect. */
  #readNow(requestId: string, time: Date, rows: InferenceRows): void {
    const count = rows.labels.length;
    if (count === 0 || this.#watches.length === 0) return;
    if (count > this.#scratch.length) this.#scratch = new Float64Array(2 * count);
    this.#last.set(requestId, time);
    this.#lastRow = count - 1;
    for (const watch of this.#watches) {
      watch.series.read(rows, this.#scratch);
      watch.read(this.#scratch, count, this.#last);
    }
    this.#isChanged = true;
  }

  async #open(): Promise<void> {
    const { params, onEvent } = this.#options;
    const series = await this.#findSeries();
    const watches: SeriesWatch[] = [];
    const fresh: SeriesWatch[] = [];
    const resumed: { watch: SeriesWatch; position: Position | null }[] = [];
    for (const [one, options] of series) {
      const watch = this.#makeWatch(one, options);
      watches.push(watch);
      const { referenceRows } = params;
      try {
        const about = { series: one, params: options, referenceRows };
        const snapshot = await readSnapshot(this.#store, this.about, about);
        if (snapshot === null) fresh.push(watch);
        else {
          watch.restore(snapshot.state);
          resumed.push({ watch, position: snapshot.position });
        }
      } catch (error) {
        onEvent(
          `The detector of ${one.name} of ${this.#name} begins anew: what it knew is damaged (${
            describeError(error)
          })`,
        );
        fresh.push(watch);
      }
    }
    await this.#learn(fresh);
    for (const group of Map.groupBy(resumed, ({ position }) => JSON.stringify(position)).values()) {
      const anew = await this.#replay(group.map(({ watch }) => watch), group[0].position);
      for (const [i, watch] of anew.entries()) {
        if (watch !== group[i].watch) watches[watches.indexOf(group[i].watch)] = watch;
      }
      await this.#learn(anew.filter((watch, i) => watch !== group[i].watch));
    }
    await this.#findLast();
    this.#begin(watches);
  }

  /** Finds the last row that was not written by this server. */
  async #findLast(): Promise<void> {
    for (;;) {
      const before = this.#early![0]?.requestId;
      const last = await readLastPosition(this.#store, this.about, before);
      if (last === null) return;
      // Rows may have come while the question was on its way.
      if (before === undefined && this.#early!.length > 0) continue;
      this.#last.set(last.requestId, last.time);
      this.#lastRow = last.row;
      return;
    }
  }

  /** Reads what came meanwhile, and from now on what comes. */
  #begin(watches: readonly SeriesWatch[]): void {
    this.#watches = watches;
    // What comes from here on is found again after a crash, whatever thresholds wait for.
    this.#start = this.#snapshotSteps();
    const early = this.#early!;
    this.#early = null;
    for (const { requestId, time, rows } of early) this.#readNow(requestId, time, rows);
  }

  async #findSeries(): Promise<(readonly [Series, WatchParams])[]> {
    const { params: { watch }, onEvent } = this.#options;
    const { model, version } = this.about;
    const [names] = await this.#store.query<{ inputs: string[]; classes: string[] }>(
      `select input_names as inputs, class_names as classes from core.model_versions
       where model = ? and version = ?`,
      [model, version],
    );
    if (names === undefined) throw new Error("The version is not registered");
    return watch.flatMap((options) => {
      try {
        return [[makeSeries(options.series, names), options] as const];
      } catch (error) {
        onEvent(`${describeError(error)} (${this.#name})`);
        return [];
      }
    });
  }

  #makeWatch(series: Series, params: WatchParams): SeriesWatch {
    const { params: { referenceRows }, pause, onAlarm, onEvent } = this.#options;
    const watch: SeriesWatch = new SeriesWatch({
      series,
      params,
      referenceRows,
      pause,
      onFailure: (error) =>
        onEvent(`Cannot watch ${series.name} of ${this.#name} any more: ${describeError(error)}`),
      onChange: (change) => {
        this.#changes.push({ watch, change });
        onAlarm(watch, change);
      },
    });
    return watch;
  }

  /** Gives watches the version's held-out predictions as their reference, where there are any. */
  async #learn(watches: readonly SeriesWatch[]): Promise<void> {
    if (watches.length === 0) return;
    const heldOut = await readHeldOut(this.#store, this.about);
    if (heldOut === null) return;
    for (const watch of watches) {
      const { params: { block }, series } = watch;
      const { referenceRows: rows } = this.#options.params;
      const values = thinHeldOut(series.ofHeldOut(heldOut), { rows, block });
      if (values !== null) await watch.learn(values);
    }
  }

  /** Lets watches read what came after their snapshot; gives new ones where that is too much. */
  async #replay(
    watches: readonly SeriesWatch[],
    position: Position | null,
  ): Promise<readonly SeriesWatch[]> {
    const { pause, onEvent } = this.#options;
    await pause();
    const series = watches.map((watch) => watch.series);
    const found = await readSince(this.#store, this.about, { position, series });
    if (found === null) {
      onEvent(
        `The detectors of ${this.#name} begin anew: more than ${MOST_REPLAYED} rows came since they were kept`,
      );
      return watches.map(({ series, params }) => this.#makeWatch(series, params));
    }
    // What was written since this server runs waits in memory, too.
    const first = this.#early![0]?.requestId;
    let count = 0;
    while (count < found.rows && found.origin.requestId(count) !== first) count++;
    watches.forEach((watch, j) => watch.read(found.values[j], count, found.origin));
    return watches;
  }

  /** Gives the steps that keep what is new. */
  takeSteps(): TakenSteps {
    const changes = this.#changes.slice();
    const steps = changes.map(({ watch, change }) => alarmStep(this.about, watch, change));
    const snapshot = this.#isChanged ? this.#snapshotSteps() : [];
    if (snapshot.length > 0) this.#isChanged = false;
    else snapshot.push(...this.#start);
    steps.push(...snapshot);
    return {
      steps,
      done: () => {
        this.#changes.splice(0, changes.length);
        this.#start = [];
      },
      failed: () => void (this.#isChanged = true),
    };
  }

  /** Gives the steps that keep all watches, which share a position; none while a threshold is simulated. */
  #snapshotSteps(): Step[] {
    const { referenceRows } = this.#options.params;
    const position = this.#position;
    const steps: Step[] = [];
    for (const watch of this.#watches) {
      const state = watch.save();
      if (state === null) return [];
      steps.push(snapshotStep(this.about, watch, { state, position, referenceRows }));
    }
    return steps;
  }

  get #position(): Position | null {
    const requestId = this.#last.requestId();
    return requestId === "" ? null : { requestId, row: this.#lastRow, time: this.#last.time() };
  }

  get #name(): string {
    return `model "${this.about.model}" version ${this.about.version}`;
  }
}
