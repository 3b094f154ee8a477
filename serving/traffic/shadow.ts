/**
 * A version that is asked what it would have answered. Requests are mirrored when their own answer is
 * decided; what the shadow does, or fails to do, never reaches a caller.
 *
 * @module
 */
import { describeError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store/store.ts";
import type { Held, ModelReference } from "../models.ts";
import type { Records } from "../records.ts";
import type { ServedModel, ServedPrediction } from "../served_model.ts";
import { BUCKETS, hashToBucket } from "./buckets.ts";
import type { TrafficMetrics } from "./metrics.ts";
import type { ShadowParams } from "./params.ts";
import { compareRows, type ShadowedRows, toShadowRows, toStep } from "./shadow_rows.ts";

/** One answered request. */
export interface Mirrored {
  readonly requestId: string;
  readonly time: Date;
  /** The version that answered. */
  readonly champion: Pick<ServedModel, "version" | "layout" | "signature">;
  readonly records: Records;
  readonly prediction: Pick<ServedPrediction, "labels" | "probabilities">;
}

/** What a shadow works with. */
export interface ShadowDeps {
  readonly store: Store;
  readonly params: ShadowParams;
  /** Gives the shadow version, which is released again. */
  acquire(reference: ModelReference): Held | Promise<Held>;
  readonly metrics: TrafficMetrics;
  /** Hears of rows that could not be written. */
  readonly onError: (error: Error) => void;
  /** Milliseconds that the shadow may take for a request; default 30,000. */
  readonly timeoutMs?: number;
}

/** Requests predicted at a time: they share model runs and a commit. */
const MAX_REQUESTS = 64;

/** How long an ending server gives the requests at hand. */
const CLOSE_MS = 2_000;

/** Mirrors a share of the requests, as long as the shadow keeps up. */
export class Shadow {
  readonly #deps: ShadowDeps;
  readonly #abort = new AbortController();
  #queue: Mirrored[] = [];
  #queuedRows = 0;
  #working: Promise<void> | undefined;

  constructor(deps: ShadowDeps) {
    this.#deps = deps;
  }

  /** Records that wait. */
  get queuedRows(): number {
    return this.#queuedRows;
  }

  /** Takes a request when it is of the share, the shadow did not answer it itself and there is room. */
  offer(mirrored: Mirrored, shadowVersion: number | undefined): void {
    const { params, metrics } = this.#deps;
    const { rowCount } = mirrored.records;
    if (this.#abort.signal.aborted || mirrored.champion.version.version === shadowVersion) return;
    if (hashToBucket("shadow", mirrored.requestId) >= params.percent * BUCKETS / 100) return;
    if (this.#queuedRows + rowCount > params.maxQueueRows) {
      return metrics.countShadowDropped(rowCount);
    }
    this.#queue.push(mirrored);
    this.#queuedRows += rowCount;
    this.#working ??= this.#work();
  }

  /** Resolves when nothing waits. */
  async settle(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    // A turn later: the answers that are decided now are sent first.
    await new Promise((resolve) => setTimeout(resolve, 0));
    while (this.#queue.length > 0) {
      const taken = this.#queue.splice(0, MAX_REQUESTS);
      const rows = await Promise.all(taken.map((mirrored) => this.#predict(mirrored)));
      await this.#write(rows);
      for (const { records } of taken) this.#queuedRows -= records.rowCount;
    }
    this.#working = undefined;
  }

  /** Gives what is to be written of one request; a failure is part of it. */
  async #predict(mirrored: Mirrored): Promise<ShadowedRows> {
    const { params: { alias }, acquire, timeoutMs = 30_000 } = this.#deps;
    const startedAt = performance.now();
    const timeout = new AbortController();
    const timer = setTimeout(
      () => timeout.abort(new Error(`Cannot mirror in time: ${timeoutMs} ms have passed`)),
      timeoutMs,
    );
    let held: Held | undefined;
    try {
      const signal = AbortSignal.any([timeout.signal, this.#abort.signal]);
      held = await acquireInTime(acquire({ alias }), signal);
      const records = toShadowRows(mirrored, held.model.layout);
      const prediction = await held.model.predict(records, {
        priority: "low",
        signal,
      });
      return compareRows(mirrored, held.model, {
        prediction,
        ms: performance.now() - startedAt,
      });
    } catch (error) {
      return {
        mirrored,
        version: held?.model.version.version ?? null,
        ms: performance.now() - startedAt,
        error: describeError(error),
        rows: null,
      };
    } finally {
      clearTimeout(timer);
      held?.model.release();
    }
  }

  async #write(shadowed: readonly ShadowedRows[]): Promise<void> {
    const { store, metrics, onError } = this.#deps;
    try {
      await store.transaction([toStep(shadowed)]);
    } catch (cause) {
      for (const { mirrored } of shadowed) metrics.countShadowDropped(mirrored.records.rowCount);
      onError(new Error(`Cannot write shadow rows: ${describeError(cause)}`, { cause }));
      return;
    }
    for (const { mirrored, rows } of shadowed) {
      if (rows === null) metrics.countShadow("error", mirrored.records.rowCount);
      else {
        const agreed = rows.filter(({ isAgreed }) => isAgreed).length;
        metrics.countShadow("agreed", agreed);
        metrics.countShadow("differed", rows.length - agreed);
      }
    }
  }

  /** Takes nothing more; gives what waits two seconds, and drops the rest. */
  async close(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = () => this.#abort.abort(new Error("Cannot mirror: the server is ending"));
    try {
      await Promise.race([
        this.#working,
        new Promise((resolve) => timer = setTimeout(resolve, CLOSE_MS)),
      ]);
    } finally {
      clearTimeout(timer);
      stop();
    }
    for (const { records } of this.#queue.splice(0)) {
      this.#queuedRows -= records.rowCount;
      this.#deps.metrics.countShadowDropped(records.rowCount);
    }
    await this.#working;
  }
}

/** Gives the version unless the signal aborts first; one that comes later is released. */
async function acquireInTime(acquiring: Held | Promise<Held>, signal: AbortSignal): Promise<Held> {
  if (!(acquiring instanceof Promise)) return acquiring;
  const aborted = Promise.withResolvers<never>();
  const abort = () => {
    acquiring.then(({ model }) => model.release(), () => {});
    aborted.reject(signal.reason);
  };
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([acquiring, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
