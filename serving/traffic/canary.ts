/**
 * A canary: a version that gets a share of the requests, more when all is well, and none as soon as it
 * is worse than the version it is to replace.
 *
 * @module
 */
import { describeError, UsageError } from "../../runtime/errors.ts";
import type { Store } from "../../runtime/store/store.ts";
import { Follower } from "../follower.ts";
import type { Models } from "../models.ts";
import { type CanaryVerdict, judgeCanary } from "./canary_verdict.ts";
import { readCanaryWindow } from "./canary_window.ts";
import type { TrafficMetrics } from "./metrics.ts";
import type { CanaryParams } from "./params.ts";
import {
  type CanaryKey,
  readLastEvent,
  type TrafficEvent,
  type TrafficEventKind,
  writeEvent,
} from "./traffic_log.ts";

/** What a canary works with. */
export interface CanaryDeps {
  readonly store: Store;
  readonly models: Models;
  readonly params: CanaryParams;
  readonly metrics: TrafficMetrics;
  /** Hears in one sentence of what became of a canary. */
  readonly onEvent: (text: string) => void;
  /** Milliseconds of Unix time; default `Date.now`. */
  readonly now?: () => number;
}

/** How a canary is doing. */
export interface CanaryState {
  /** `waiting`: there is no version to try. */
  readonly state: "waiting" | "running" | "rolled back" | "promoted";
  readonly version: number | null;
  /** Share of the requests, in percent. */
  readonly percent: number;
  /** Beginning of the state. */
  readonly since: Date | null;
  readonly reason: string;
  /** The last look at the requests of a running canary. */
  readonly verdict: CanaryVerdict | null;
}

/** How often the requests are looked at. */
const EVALUATE_MS = 5_000;

/** Follows the alias of a canary, judges its requests and moves its share. */
export class Canary {
  readonly #deps: CanaryDeps;
  readonly #now: () => number;
  readonly #follower = new Follower(() => this.#look());
  /** Versions that may get no request, from the moment that is known on, on record or not. */
  readonly #stopped = new Map<number, TrafficEvent>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #state: CanaryState = idle("waiting", null, "the server has just started");

  private constructor(deps: CanaryDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? Date.now;
  }

  /** Goes on where the last server left the canary. */
  static async open(deps: CanaryDeps): Promise<Canary> {
    const canary = new Canary(deps);
    await canary.refresh();
    canary.#timer = setInterval(() => void canary.refresh(), EVALUATE_MS);
    return canary;
  }

  get state(): CanaryState {
    return this.#state;
  }

  /** Share of the requests that the version behind the alias gets now, in percent. */
  get percent(): number {
    const { state, version, percent } = this.#state;
    // An alias that has just moved is another canary, which is not known to be well.
    return state === "running" && this.#deps.models.aliases.get(this.#deps.params.alias) === version
      ? percent
      : 0;
  }

  /** Looks at alias and requests now. Never rejects: what went wrong is in the state. */
  refresh(): Promise<void> {
    return this.#follower.refresh();
  }

  /**
   * Takes the share of a running canary to 0, for good: another version has to be tried.
   * @throws {UsageError} when none is running.
   */
  async rollBack(reason: string, by: string | null): Promise<void> {
    const { state, version } = this.#state;
    if (state !== "running" || version === null) {
      throw new UsageError(
        `Cannot roll back "@${this.#deps.params.alias}": no canary is running; GET /traffic says why`,
      );
    }
    await this.#stop(version, { kind: "rolled back", percent: 0, reason, by });
  }

  async #look(): Promise<void> {
    try {
      await this.#follow();
    } catch (error) {
      // A canary that cannot be watched must not go on: the next look may start it again.
      this.#set(
        idle("waiting", this.#state.version, `it cannot be judged: ${describeError(error)}`),
      );
    }
  }

  async #follow(): Promise<void> {
    const { models, params: { alias }, store } = this.#deps;
    const version = models.aliases.get(alias);
    const baseline = models.default?.model.version.version;
    if (version === undefined || baseline === undefined) {
      const missing = version === undefined ? `alias "${alias}" has none` : "there is no baseline";
      return this.#set(idle("waiting", null, `no version to try: ${missing}`));
    }
    const key = this.#key(version);
    const stopped = this.#stopped.get(version);
    // What could not be written when it happened.
    if (stopped) await writeEvent(store, key, stopped);
    const last = await readLastEvent(store, key);
    if (last !== null && (last.kind === "rolled back" || last.kind === "promoted")) {
      return this.#set({ ...idle(last.kind, version, last.reason), since: last.at });
    }
    if (version === baseline) {
      if (last === null) {
        return this.#set(idle("waiting", version, `"@${alias}" is the version that is served`));
      }
      return await this.#stop(version, {
        kind: "promoted",
        percent: 0,
        reason: "it answers the requests that name no version",
        by: null,
      });
    }
    await this.#run(key, baseline, last);
  }

  /** Starts a canary or judges it; its model is in memory then, so that no caller waits for it. */
  async #run(
    key: CanaryKey,
    baseline: number,
    last: TrafficEvent & { readonly at: Date } | null,
  ): Promise<void> {
    const { models, params } = this.#deps;
    (await models.acquire({ alias: key.alias })).model.release();
    if (last === null) {
      const reason = `version ${key.version} is tried beside ${baseline}`;
      return await this.#move(key, { kind: "started", percent: params.percent, reason });
    }
    // A share that the config raised counts; one that was reached is kept.
    const reached = last.kind === "advanced" && params.steps.includes(last.percent);
    const percent = reached ? Math.max(last.percent, params.percent) : params.percent;
    const windowMs = params.windowMinutes * 60_000;
    const verdict = judgeCanary(
      await readCanaryWindow(this.#deps.store, {
        model: key.model,
        baseline,
        canary: key.version,
        since: new Date(Math.max(last.at.getTime(), this.#now() - windowMs)),
        maxLatencyRatio: params.maxLatencyRatio,
      }),
      params,
    );
    // Somebody may have stopped it while its requests were counted.
    if (this.#stopped.has(key.version)) return;
    this.#set({
      state: "running",
      version: key.version,
      percent,
      since: last.at,
      reason: last.reason,
      verdict,
    });
    if (verdict.state === "breached") {
      const { reason } = verdict;
      return await this.#stop(key.version, { kind: "rolled back", percent: 0, reason, by: null });
    }
    const next = params.steps.find((step) => step > percent);
    const isLongEnough = this.#now() - last.at.getTime() >= windowMs;
    if (verdict.state === "healthy" && next !== undefined && isLongEnough) {
      await this.#move(key, { kind: "advanced", percent: next, reason: verdict.reason });
    }
  }

  async #move(
    key: CanaryKey,
    { kind, percent, reason }: { kind: TrafficEventKind; percent: number; reason: string },
  ): Promise<void> {
    await writeEvent(this.#deps.store, key, { kind, percent, reason, by: null });
    const since = (await readLastEvent(this.#deps.store, key))?.at ?? null;
    if (this.#stopped.has(key.version)) return;
    const { version } = key;
    this.#set({ state: "running", version, percent, since, reason, verdict: null });
    this.#tell(kind, version, `${percent} % of the requests; ${reason}`);
  }

  /** Takes the share to 0 at once, and then puts it on record. */
  async #stop(version: number, event: TrafficEvent & { kind: "rolled back" | "promoted" }) {
    this.#stopped.set(version, event);
    this.#set({ ...idle(event.kind, version, event.reason), since: new Date(this.#now()) });
    this.#tell(event.kind, version, event.reason);
    await writeEvent(this.#deps.store, this.#key(version), event);
  }

  #set(state: CanaryState): void {
    this.#state = state;
    this.#deps.metrics.setCanary(this.#deps.params.alias, state.percent);
  }

  #tell(kind: TrafficEventKind, version: number, text: string): void {
    this.#deps.metrics.countCanaryEvent(kind);
    this.#deps.onEvent(`Canary ${this.#deps.models.model} version ${version} ${kind}: ${text}`);
  }

  #key(version: number): CanaryKey {
    return { model: this.#deps.models.model, alias: this.#deps.params.alias, version };
  }

  /** Looks no more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#follower.close();
  }
}

function idle(
  state: CanaryState["state"],
  version: number | null,
  reason: string,
): CanaryState {
  return { state, version, percent: 0, since: null, reason, verdict: null };
}
