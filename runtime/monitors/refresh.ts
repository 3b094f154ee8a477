/**
 * The refresh of a version's monitors: windows that closed since the last one, or whose rows or labels
 * arrived since, are computed, some at a time and each batch in one transaction. Whoever is killed in
 * between leaves whole windows only, and the next refresh goes on from there.
 *
 * @module
 */
import { parseDuration } from "../../numeric/durations.ts";
import type { Plugin } from "../../plugins/plugin.ts";
import { describeError, UsageError } from "../errors.ts";
import type { Step, Store } from "../store/store.ts";
import { ensureBaseline, readBaselineCells } from "./baseline.ts";
import { type BatchContext, refreshBatch } from "./batch.ts";
import { drawSlicings, prepareSlicings } from "./cells.ts";
import { costStep, openSampling, type Sampled } from "./costs.ts";
import { numberDefinition, type ProfileDefinition } from "./definition.ts";
import { type DueWindow, type DueWindows, findDue, findFirstFilled } from "./due.ts";
import { Pace } from "./pace.ts";
import { predictionRows, readMonitored } from "./rows.ts";
import type { DrawPlan, MonitorsSampling } from "./sampling.ts";
import { recordFailure } from "./states.ts";
import { formatWindowing, parseWindowing, type Windowing } from "./windows.ts";

/** What to refresh. */
export interface RefreshOptions {
  readonly model: string;
  readonly version: number;
  readonly definition: ProfileDefinition;
  /** Drift plugins that the definition names. */
  readonly methods?: readonly Plugin<"drift">[];
  /** Which share of the rows is looked at; default all. */
  readonly sampling?: MonitorsSampling;
  /** Default now. */
  readonly now?: Date;
  readonly signal?: AbortSignal;
  /** How it gives way to others; default not at all. */
  readonly pace?: Pace;
  /** Hears how much is done, in `[0, 1]`. */
  readonly onProgress?: (share: number) => void;
}

/** How a refresh ended; `IDLE` when no window was due, which is not written down. */
export type RefreshState = "SUCCESS" | "FAILED" | "CANCELED" | "IDLE";

/** What a refresh did. */
export interface MonitorRefresh {
  /** Its row in `monitor_refreshes`; `null` when no window was due. */
  readonly refreshId: string | null;
  readonly state: RefreshState;
  /** What failed, in words. */
  readonly message: string | null;
  readonly monitorVersion: number;
  /** Windows that were computed, … */
  readonly windows: number;
  /** … and those that could not be. */
  readonly failed: number;
  /** Rows that were looked at, those of the windows before included. */
  readonly rows: number;
}

/** Rows of a batch, unless one window has more; and windows of a batch. */
const BATCH_ROWS = 250_000;
const BATCH_WINDOWS = 24;

/**
 * Refreshes the profiles and the drift of a version. A window, a slicing expression or a metric that
 * fails is named in the message and leaves the others alone; it is tried again the next time.
 *
 * @throws {UsageError} when there is no such version.
 * @throws {Error} when the store takes no rows.
 */
export async function refreshMonitors(
  store: Store,
  options: RefreshOptions,
): Promise<MonitorRefresh> {
  const { model, version, definition, now = new Date(), pace = new Pace(1) } = options;
  const monitored = await readMonitored(store, { model, version });
  if (monitored === null) {
    throw new UsageError(
      `Cannot monitor "${model}" version ${version}: it is not registered; ` +
        'see "deno task models"',
    );
  }
  const monitorVersion = await numberDefinition(store, model, definition);
  const latenessMs = parseDuration(definition.lateness);
  const jobs: (DueWindows & { readonly windowing: Windowing })[] = [];
  for (const text of definition.granularities) {
    const windowing = parseWindowing(text);
    const about = { model, version, monitorVersion, windowing, latenessMs, now };
    jobs.push({ windowing, ...await findDue(store, about) });
  }
  const total = jobs.reduce((sum, { due }) => sum + due.length, 0);
  const idle = { refreshId: null, message: null, monitorVersion, windows: 0, failed: 0, rows: 0 };
  if (total === 0) return { ...idle, state: "IDLE" };
  const owner = { monitor: "profile", model, granularity: null } as const;
  const sampled = await openSampling(store, owner, options.sampling);
  const refresh = await Refresh.begin(store, {
    model,
    version,
    monitorVersion,
    now,
    sampled,
    pace,
  });
  try {
    const slicings = await prepareSlicings(store, {
      relation: predictionRows(monitored, [{ start: now, end: now }], definition.slices),
      slices: definition.slices,
      onError: (slice, error) => refresh.report(`slices "${slice}"`, error),
    });
    const onError = (metric: string, error: unknown) => refresh.report(`metric "${metric}"`, error);
    const [{ windowing: first }] = jobs;
    const { minRows } = definition;
    const fallback = () =>
      findFirstFilled(store, { model, version, windowing: first, latenessMs, now, minRows });
    const about = { monitored, monitorVersion, definition, fallback, now, onError };
    // Without one, windows are compared with those before them all the same.
    await ensureBaseline(store, about).catch((error) => refresh.report("baseline", error));
    const baseline = await readBaselineCells(store, monitored);
    const { draw } = sampled;
    const shared = {
      monitored,
      definition,
      methods: options.methods ?? [],
      slicings: drawSlicings(draw, slicings),
      baseline,
      draw,
      onError,
      pace,
    };
    for (const { windowing, look, due } of jobs) {
      const context: BatchContext = {
        ...shared,
        look,
        owner: {
          model,
          version,
          monitorVersion,
          granularity: formatWindowing(windowing),
          labelChange: refresh.labelChange,
          now,
        },
      };
      for (const batch of makeBatches(due, draw)) {
        options.signal?.throwIfAborted();
        await refresh.run(context, batch);
        options.onProgress?.(refresh.seen / total);
      }
    }
  } catch (error) {
    return await refresh.end(options.signal?.aborted ? "CANCELED" : "FAILED", error);
  }
  return await refresh.end(refresh.messages.size > 0 ? "FAILED" : "SUCCESS");
}

function makeBatches(due: readonly DueWindow[], draw: DrawPlan): DueWindow[][] {
  const share = Math.max(draw.rate, ...Object.values(draw.slices));
  const batches: DueWindow[][] = [];
  let rows = Infinity;
  for (const each of due) {
    const last = batches.at(-1);
    const more = each.window.rows * share;
    if (last === undefined || last.length >= BATCH_WINDOWS || rows + more > BATCH_ROWS) {
      batches.push([]);
      rows = 0;
    }
    batches.at(-1)!.push(each);
    rows += more;
  }
  return batches;
}

/** What a refresh is about, and which rows it looks at. */
interface Begun {
  readonly model: string;
  readonly version: number;
  readonly monitorVersion: number;
  readonly now: Date;
  readonly sampled: Sampled;
  readonly pace: Pace;
}

/** A refresh and its row. */
class Refresh {
  readonly messages = new Set<string>();
  /** Windows that were computed or failed. */
  seen = 0;
  #windows = 0;
  #failed = 0;
  #rows = 0;
  #rowsRead = 0;
  readonly #start = performance.now();

  private constructor(
    readonly store: Store,
    readonly id: string,
    readonly about: Begun,
    readonly labelChange: number,
  ) {}

  /** Writes the row; what others of this version left unfinished has failed. */
  static async begin(
    store: Store,
    about: Begun,
  ): Promise<Refresh> {
    const { model, version, monitorVersion, now } = about;
    const id = crypto.randomUUID();
    const [{ change }] = await store.query<{ change: number }>(
      "select coalesce(max(change), 0) as change from core.labels",
    );
    await store.transaction([
      {
        sql: `update core.monitor_refreshes set state = 'FAILED', ended_at = ?,
          message = 'the process ended before it did'
          where model = ? and version = ? and state in ('PENDING', 'RUNNING')`,
        params: [now, model, version],
      },
      {
        sql: `insert into core.monitor_refreshes by name select ? as refresh_id, ? as model,
          ?::integer as version, ?::integer as monitor_version, 'PENDING' as state,
          0 as windows, 0 as failed, 0 as rows, ?::bigint as label_change,
          ?::timestamp as created_at`,
        params: [id, model, version, monitorVersion, change, now],
      },
    ]);
    const refresh = new Refresh(store, id, about, change);
    await store.transaction([refresh.#update("state = 'RUNNING', started_at = ?", [new Date()])]);
    return refresh;
  }

  /** Takes down what failed. */
  report(what: string, error: unknown): void {
    this.messages.add(`${what}: ${describeError(error).split("\n")[0]}`);
  }

  /** Computes a batch; when that fails, each of its windows alone. */
  async run(context: BatchContext, batch: readonly DueWindow[]): Promise<void> {
    try {
      const { read, used } = await refreshBatch(this.store, context, batch);
      this.#rows += used;
      this.#rowsRead += read;
      this.#windows += batch.length;
      this.seen += batch.length;
    } catch (error) {
      if (batch.length > 1) {
        for (const window of batch) await this.run(context, [window]);
        return;
      }
      const [due] = batch;
      const { granularity } = context.owner;
      this.report(`window of ${granularity} from ${due.window.start.toISOString()}`, error);
      await recordFailure(this.store, context.owner, due.window, describeError(error));
      this.#failed++;
      this.seen++;
    }
  }

  async end(state: Exclude<RefreshState, "IDLE">, error?: unknown): Promise<MonitorRefresh> {
    if (error !== undefined && state === "FAILED") this.report("refresh", error);
    const message = this.messages.size === 0 ? null : [...this.messages].join("; ");
    const [windows, failed, rows] = [this.#windows, this.#failed, this.#rows];
    await this.store.transaction([
      this.#update("state = ?, message = ?, windows = ?, failed = ?, rows = ?, ended_at = ?", [
        state,
        message,
        windows,
        failed,
        rows,
        new Date(),
      ]),
      ...(windows === 0 ? [] : [this.#costStep(windows)]),
    ]);
    const { id: refreshId, about: { monitorVersion } } = this;
    return { refreshId, state, message, monitorVersion, windows, failed, rows };
  }

  #costStep(windows: number): Step {
    const { model, version, sampled, pace, now } = this.about;
    return costStep(
      { monitor: "profile", model, version, granularity: null, refreshId: this.id },
      sampled,
      {
        windows,
        rowsRead: this.#rowsRead,
        rowsUsed: this.#rows,
        ms: performance.now() - this.#start - pace.restedMs,
        now,
      },
    );
  }

  #update(changes: string, params: NonNullable<Extract<Step, { sql: string }>["params"]>): Step {
    return {
      sql: `update core.monitor_refreshes set ${changes} where refresh_id = ?`,
      params: [...params, this.id],
    };
  }
}
