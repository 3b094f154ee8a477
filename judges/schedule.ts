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
import { judgeCalls, judgeSample, type JudgeSummary, type JudgingOptions } from "./judging.ts";

/** What a schedule judges. */
export interface JudgeScheduleDeps {
  readonly judges: readonly Plugin<"judge">[];
  /** Who judges calls of language models; default nobody. */
  readonly callJudges?: readonly Plugin<"judge">[];
  readonly params: JudgingOptions["params"];
  readonly seed: number;
  /** The model version to look at now, or `null` while there is none. */
  readonly target: () => Promise<{ readonly model: string; readonly version: number } | null>;
}

/** Runs the judges of one model, and those of calls, until it is closed. */
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

  /**
   * Judges what is new now, predictions first; gives what each judge did.
   * @throws what one of them threw, after the other had its turn.
   */
  async tick(): Promise<JudgeSummary[]> {
    const turns = [() => this.#judgePredictions(), () => this.#judgeCalls()];
    const summaries: JudgeSummary[] = [];
    const errors: unknown[] = [];
    for (const turn of turns) {
      if (this.#abort.signal.aborted) break;
      try {
        summaries.push(...await turn());
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, errors.map(describeError).join("; "));
    return summaries;
  }

  async #judgePredictions(): Promise<JudgeSummary[]> {
    const { target, judges, params, seed } = this.#deps;
    const version = await target();
    if (version === null || judges.length === 0) return [];
    const { signal } = this.#abort;
    const options = { judges, params, seed, ...version, signal, waitMs: 0 };
    return this.#tell("predictions", await judgeSample(this.#store, options));
  }

  async #judgeCalls(): Promise<JudgeSummary[]> {
    const { callJudges: judges = [], params, seed } = this.#deps;
    if (judges.length === 0) return [];
    const { signal } = this.#abort;
    const options = { judges, params, seed, signal, waitMs: 0 };
    return this.#tell("calls", await judgeCalls(this.#store, options));
  }

  #tell(noun: string, summaries: JudgeSummary[]): JudgeSummary[] {
    for (const { judge, scored, abstained, errors, left, stopped } of summaries) {
      const total = scored + abstained + errors;
      if (total === 0) continue;
      this.#onEvent(
        `Judge ${judge} scored ${scored} of ${total} ${noun}, ${left} are left` +
          (stopped === null ? "" : `; it was asked no further: ${stopped}`),
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
