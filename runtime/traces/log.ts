/**
 * The traces of one store: what is recorded is redacted, split into spans and calls, and written in
 * batches that its caller ends.
 *
 * @module
 */
import type { Store } from "../store/store.ts";
import { printError } from "../terminal.ts";
import { Budgets } from "./budget.ts";
import { type LlmCall, splitCall } from "./calls.ts";
import { TracingParams } from "./params.ts";
import { makeRedactor, type RedactText } from "./redact.ts";
import type { SpanRecord } from "./span.ts";
import { writeSteps } from "./write.ts";

/** What a log of traces is made of. */
export interface TraceLogOptions {
  /** Section `tracing` of a config; default its defaults. */
  readonly params?: TracingParams;
  readonly redactText: RedactText;
  /** Hears of a stop by a budget, once a day and judge; default one line to standard error. */
  readonly onStop?: (message: string) => void;
}

const settings = new WeakMap<Store, Omit<TraceLogOptions, "redactText">>();
const logs = new WeakMap<Store, TraceLog>();

/** Says how traces of a store are kept, for whoever records some in this process. */
export function setTracing(store: Store, options: Omit<TraceLogOptions, "redactText">): void {
  settings.set(store, options);
  logs.delete(store);
}

/** Records spans of one store. */
export class TraceLog {
  readonly budgets: Budgets;
  readonly #store: Store;
  readonly #params: TracingParams;
  readonly #redact: (span: SpanRecord) => SpanRecord;
  #spans: SpanRecord[] = [];
  #calls: LlmCall[] = [];

  constructor(
    store: Store,
    { params = TracingParams.parse({}), redactText, onStop = printError }: TraceLogOptions,
  ) {
    this.#store = store;
    this.#params = params;
    this.#redact = makeRedactor(params, redactText);
    this.budgets = new Budgets(store, { params, onStop });
  }

  /** The log of a store, as {@linkcode setTracing} said; one for all of this process. */
  static of(store: Store, redactText: RedactText): TraceLog {
    let log = logs.get(store);
    if (log === undefined) {
      log = new TraceLog(store, { ...settings.get(store), redactText });
      logs.set(store, log);
    }
    return log;
  }

  /** Whether anything is kept. */
  get isOn(): boolean {
    return this.#params.record !== "off";
  }

  /** Whether what was said to models, and by them, is kept. */
  get hasContent(): boolean {
    return this.#params.record === "full";
  }

  /**
   * Keeps a span until {@linkcode flush}, and gives the call that it was, `null` when it was none or
   * nothing is kept.
   */
  record(span: SpanRecord): LlmCall | null {
    if (!this.isOn) return null;
    const { span: kept, call } = splitCall(this.#redact(span), this.#params.prices);
    this.#spans.push(kept);
    if (call !== null) this.#calls.push(call);
    return call;
  }

  /** Writes what was recorded; on failure it waits for the next time. */
  async flush(): Promise<void> {
    const [spans, calls] = [this.#spans, this.#calls];
    if (spans.length === 0) return;
    [this.#spans, this.#calls] = [[], []];
    try {
      await this.#write(spans, calls);
    } catch (error) {
      this.#spans.unshift(...spans);
      this.#calls.unshift(...calls);
      throw error;
    }
  }

  /** Writes spans of others now: all of them, or none. */
  async write(spans: readonly SpanRecord[]): Promise<void> {
    if (!this.isOn) return;
    const parts = spans.map((span) => splitCall(this.#redact(span), this.#params.prices));
    await this.#write(
      parts.map(({ span }) => span),
      parts.flatMap(({ call }) => call ?? []),
    );
  }

  async #write(spans: readonly SpanRecord[], calls: readonly LlmCall[]): Promise<void> {
    const steps = writeSteps(spans, calls);
    if (steps.length === 0) return;
    await this.#store.transaction(steps);
    this.budgets.written(calls);
  }
}
