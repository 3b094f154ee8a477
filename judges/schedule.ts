/**
 * Judges what is new, again and again, beside a server. What is left to do is in the store: however long
 * nobody ran, the next turn goes on there; of several processes one has the turn.
 *
 * @module
 */
import type { Plugin } from "../plugins/plugin.ts";
import { describeError } from "../runtime/errors.ts";
import { sleep } from "../runtime/sleep.ts";
import type { Store } from "../runtime/store/store.ts";
import { judgeSample, type JudgeSummary, type JudgingOptions } from "./judging.ts";

/** What a schedule judges. */
export interface JudgeScheduleDeps {
  readonly judges: readonly Plugin<"judge">[];
  readonly params: JudgingOptions["params"];
  readonly seed: number;
  /** The model version to look at now, or `null` while there is none. */
  readonly target: () => Promise<{ readonly model: string; readonly version: number } | null>;
}

/** Runs the judges of one model until it is closed. */
export class JudgeSchedule {
  readonly #store: Store;
  readonly #deps: JudgeScheduleDeps;
  readonly #onEvent: (line: string, level: "info" | "warn") => void;
  readonly #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();

  /** Makes a schedule that does nothing before its first {@linkcode JudgeSchedule.tick}. */
  constructor(
    store: Store,
    deps: JudgeScheduleDeps,
    { onEvent = () => {} }: {
      /** Hears what was judged, and what went wrong. */
      readonly onEvent?: (line: string, level: "info" | "warn") => void;
    } = {},
  ) {
    this.#store = store;
    this.#deps = deps;
    this.#onEvent = onEvent;
  }

  /** Makes a schedule and runs it every `everySeconds`; `null` when the config has it off. */
  static start(
    store: Store,
    deps: JudgeScheduleDeps,
    options: { readonly onEvent?: (line: string, level: "info" | "warn") => void } = {},
  ): JudgeSchedule | null {
    const { everySeconds } = deps.params;
    if (everySeconds === null) return null;
    const schedule = new JudgeSchedule(store, deps, options);
    schedule.#running = schedule.#run(1000 * everySeconds);
    return schedule;
  }

  async #run(everyMs: number): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await this.tick().catch((error) => {
        if (!signal.aborted) this.#onEvent(`Cannot judge: ${describeError(error)}`, "warn");
      });
      await sleep(everyMs, signal);
    }
  }

  /** Judges what is new now; gives what each judge did. */
  async tick(): Promise<JudgeSummary[]> {
    const { target, ...options } = this.#deps;
    const version = await target();
    if (version === null) return [];
    const { signal } = this.#abort;
    const summaries = await judgeSample(this.#store, { ...options, ...version, signal, waitMs: 0 });
    for (const { judge, scored, abstained, errors, left } of summaries) {
      const total = scored + abstained + errors;
      if (total === 0) continue;
      this.#onEvent(
        `Judge ${judge} scored ${scored} of ${total} predictions, ${left} are left`,
        errors > 0 ? "warn" : "info",
      );
    }
    return summaries;
  }

  /** Ends; what was judged until then is kept. */
  async close(): Promise<void> {
    this.#abort.abort(new Error("The schedule has ended"));
    await this.#running;
  }
}
