/**
 * What can be swapped: the contract of every plugin kind, and the registry that finds plugins by
 * name. A new kind is one interface and one line in {@linkcode Kinds}.
 *
 * @module
 */
import type { z } from "zod";
import type { Matrix } from "../numeric/matrix.ts";
import type { Graph } from "../numeric/onnx.ts";

export type { Matrix };

/** A finding's and an alert's weight: `error` stops a run, `critical` blocks a release. */
export type Severity = "info" | "warning" | "error" | "critical";

/** One observation about data, a model or a run, worth showing to a person. */
export interface Finding {
  /** What spoke, such as `range` or `alert:error_rate`. */
  readonly check: string;
  readonly severity: Severity;
  /** One sentence that names the thing and the number. */
  readonly message: string;
  /** The column, group or slice it is about. */
  readonly subject?: string;
  /** Up to a few offending rows, for the person who has to act. */
  readonly rows?: readonly Record<string, unknown>[];
}

/** One named column. Numbers are float64 with `NaN` for missing; text is `null` for missing. */
export type Column =
  | { readonly name: string; readonly unit?: string; readonly values: Float64Array }
  | { readonly name: string; readonly unit?: string; readonly values: readonly (string | null)[] };

/**
 * What a source found at a URI: either columns in memory or a `SELECT` that the store runs itself,
 * so that a CSV of any size never passes through this process.
 */
export type SourceTable =
  & { readonly findings: readonly Finding[] }
  & ({ readonly columns: readonly Column[] } | {
    readonly select: string;
    /** The same rows in the same order, every cell as the text in the file, where it has texts. */
    readonly texts?: string;
  });

/** Opens one kind of file. */
export interface Source {
  /** Endings of the URIs it takes when the config names no source, such as `.las.gz`. */
  readonly extensions: readonly string[];
  /**
   * Reads the table at `uri`.
   * @throws {Error} `Cannot read "<uri>": …` when the file is missing or cannot be parsed.
   */
  open(uri: string, context: { readonly signal: AbortSignal }): Promise<SourceTable>;
}

/** A labelled sample set. `X` is `[n, d]`, `y` holds n class ids in `0 … k-1`. */
export interface Dataset {
  readonly X: Matrix;
  readonly y: Int32Array;
  readonly featureNames: readonly string[];
  readonly classNames: readonly string[];
}

/** What a trainer may use besides its data and parameters. */
export interface FitContext {
  /** Same data, parameters and seed give the same bytes. */
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Rows for early stopping, never for fitting. */
  readonly validation?: Dataset;
  /** Progress in `[0, 1]` of the fit. */
  readonly onProgress?: (share: number) => void;
}

/** A fitted classifier. */
export interface Model {
  /** Class probabilities `[n, k]` of rows `[n, d]`; each row sums to 1. */
  predict(X: Matrix): Matrix;
  /**
   * Appends the nodes that compute `label` (int64 `[n]`) and `probabilities` (float32 `[n, k]`)
   * from the float32 `[n, d]` tensor called `input`.
   */
  toGraph(graph: Graph, input: string): void;
  /** Boosting rounds or optimizer steps actually used, where the family has such a thing. */
  readonly iterations?: number;
  /** One number ≥ 0 per feature `[d]`, summing to 1, where the family has such a thing. */
  readonly importances?: Float64Array;
}

/** Fits one model family. */
export interface Trainer<P = unknown> {
  readonly params: z.ZodType<P>;
  /** Whether `NaN` features may reach `fit` and `predict`; otherwise the column mean replaces them. */
  readonly handlesMissing: boolean;
  fit(train: Dataset, params: P, context: FitContext): Promise<Model>;
  /** The parameters that refit `model`'s size on all rows, without early stopping. */
  refit?(params: P, model: Model): P;
}

/** Compares one column of a current window with the reference window. */
export interface Drift {
  /** Below or above this the column counts as drifted; which side is the plugin's own knowledge. */
  readonly threshold: number;
  /** Finite values only; either side empty gives `null`, which is never a number. */
  compare(reference: Float64Array, current: Float64Array): DriftResult | null;
}

/** Outcome of one drift comparison. */
export interface DriftResult {
  readonly statistic: number;
  readonly pValue?: number;
  readonly isDrifted: boolean;
}

/** How an alert's number compares with its threshold, in the names of a lakehouse's SQL alerts. */
export const thresholdOperators = [
  "EQUAL",
  "NOT_EQUAL",
  "GREATER_THAN",
  "GREATER_THAN_OR_EQUAL",
  "LESS_THAN",
  "LESS_THAN_OR_EQUAL",
  "IS_NULL",
  "IS_NOT_NULL",
] as const;

/** How an alert's rows become one number. */
export const thresholdAggregations = [
  "SUM",
  "COUNT",
  "COUNT_DISTINCT",
  "AVG",
  "MEDIAN",
  "MIN",
  "MAX",
  "STDDEV",
] as const;

/** One of {@linkcode thresholdAggregations}. */
export type Aggregation = typeof thresholdAggregations[number];

/** A column of the rows, or their aggregate. */
export interface ThresholdColumn {
  readonly column: string;
  readonly aggregation?: Aggregation;
}

/** Which rows of an alert's query speak: those whose column compares so with the value. */
export interface Threshold extends ThresholdColumn {
  readonly operator: typeof thresholdOperators[number];
  /** What is compared with; left out for `IS_NULL` and `IS_NOT_NULL`. */
  readonly value?: number | string | boolean | ThresholdColumn;
}

/** A SQL query over the documented views, what its rows mean, and who hears of it. */
export interface Alert {
  readonly sql: string;
  readonly severity: Severity;
  /** What the alert means and what to do, one sentence. */
  readonly summary: string;
  /** State when a query gives no row: the alert's condition is absent, there is no data, or … */
  readonly empty: "ok" | "no_data" | "firing" | "error";
  /** When it is evaluated: a cron expression of five to seven fields; default every 15 minutes, UTC. */
  readonly schedule?: {
    readonly cron: string;
    readonly timezone?: string;
    /** Whether nothing but a person evaluates it; default false. */
    readonly isPaused?: boolean;
  };
  /** Milliseconds that a series must hold before it fires; default 0. */
  readonly forMs?: number;
  /** Milliseconds that a series fires on after its condition has gone; default 0. */
  readonly keepFiringForMs?: number;
  /** Which rows speak; default every one. */
  readonly threshold?: Threshold;
  /** Columns that tell one series from another; default `subject` where it is a text. */
  readonly groupBy?: readonly string[];
  readonly notify?: {
    /** Sinks by name; default those of the config. */
    readonly sinks?: readonly string[];
    /** Whether the end is told, too; default true. */
    readonly onOk?: boolean;
  };
  /**
   * Seconds until it is told again while it fires: 0 is once until it is ok, 1 is at every evaluation.
   * Default the config's `alerting.repeatInterval`.
   */
  readonly retrigger?: number;
  /** What matchers of silences, inhibition and groups may ask for beside `alert` and `severity`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Where it is written what to do. */
  readonly runbook?: string;
}

/** What became of a series of an alert, as sinks are told. */
export interface AlertEvent {
  readonly kind: "firing" | "resolved" | "error" | "no_data";
  readonly alert: string;
  /** Series it is about, `null` when it is the alert as a whole. */
  readonly series: string | null;
  readonly severity: Severity;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number | string | null;
  readonly message: string;
  /** Milliseconds since 1970, as `endsAt`. */
  readonly startsAt: number;
  readonly endsAt?: number;
  /** URL of what to do. */
  readonly runbook: string | null;
}

/** What a sink knows of a delivery beside its events. */
export interface SinkDelivery {
  /** The same in every attempt: a receiver knows by it what it has already. */
  readonly id: string;
  /** As the config gives them and {@linkcode Sink.params} has parsed them. */
  readonly params: unknown;
}

/** Receives what became of alerts, such as a console or a webhook. */
export interface Sink {
  /** What a config may say of it, with a default for everything; left out: nothing. */
  readonly params?: z.ZodType;
  /**
   * Says why this process cannot deliver whatever it is given, such as a variable that is not set;
   * `null` when it can. What is for the sink then waits for a process that can.
   */
  findObstacle?(params: unknown): Promise<string | null>;
  /**
   * Delivers events together. Without `delivery` it is one of its own, with default parameters.
   * @throws {DeliveryError} or another error when the delivery failed.
   */
  deliver(
    events: readonly AlertEvent[],
    signal: AbortSignal,
    delivery?: SinkDelivery,
  ): Promise<void>;
}

/** A delivery that failed, with what the receiver said. */
export class DeliveryError extends Error {
  override readonly name = "DeliveryError";
  /** HTTP status or the like, `null` when no answer came. */
  readonly status: number | null;
  /** The header Retry-After of the answer. */
  readonly retryAfter: string | null;

  constructor(
    message: string,
    { status = null, retryAfter = null }: {
      readonly status?: number | null;
      readonly retryAfter?: string | null;
    } = {},
  ) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** One prediction as a judge sees it. */
export interface Inference {
  readonly requestId: string;
  /** Row within its request, from 0. */
  readonly row: number;
  readonly model: string;
  readonly version: number;
  /** Raw input values by column name; `null` is missing. */
  readonly features: Readonly<Record<string, number | null>>;
  readonly label: string;
  /** Probability by class name. */
  readonly probabilities: Readonly<Record<string, number>>;
  readonly confidence: number;
  /** Texts of a model that reads or writes text: `input`, `output`, `context`, `expected`, … */
  readonly texts?: Readonly<Record<string, string>>;
}

/** What training left behind for judges: per class and input column, mean and deviation. */
export interface ClassProfile {
  readonly count: number;
  readonly mean: Readonly<Record<string, number>>;
  readonly std: Readonly<Record<string, number>>;
}

/** What a verdict rests on and what it cost, as far as the judge knows. */
export interface VerdictEvidence {
  /** The model's own words, or what a rule measured, as they came. */
  readonly raw?: string;
  /** The verdict in a word, such as `PASS` or the judge's own class. */
  readonly label?: string;
  /** Probability that the model gave to the answers it was offered, in `[0, 1]`. */
  readonly mass?: number;
  /** Address of the server that answered. */
  readonly server?: string;
  /** Content hash of the model's weights, as the server told it. */
  readonly modelDigest?: string;
  readonly seed?: number;
  readonly tokensIn?: number;
  readonly tokensOut?: number;
  /** Time that the answers took, milliseconds; waiting between attempts included. */
  readonly ms?: number;
}

/** A judge's opinion. An error is never a number. */
export type Verdict =
  & VerdictEvidence
  & (
    | {
      readonly status: "scored";
      /** Plausibility of the prediction in `[0, 1]`. */
      readonly score: number;
      readonly rationale?: string;
    }
    | { readonly status: "abstained"; readonly kind: string; readonly rationale?: string }
    | {
      readonly status: "error";
      readonly kind: string;
      readonly message: string;
      /** Whether the same question may be answered later. */
      readonly isRetryable?: boolean;
    }
  );

/** A prediction among those that were made before, at a distance of at least 0. */
export interface Neighbor {
  readonly inference: Inference;
  /** Root of the mean squared difference of the shared features, each in units of its deviation. */
  readonly distance: number;
}

/** What a judge may ask about beyond the one row; nothing is read before it is asked for. */
export interface JudgeHistory {
  /** At most `count` of the recent predictions of other rows, the nearest first. */
  neighbors(inference: Inference, count: number): Promise<readonly Neighbor[]>;
  /** At most `count` rows of the same request before and after this one, in their order. */
  around(inference: Inference, count: number): Promise<{
    readonly before: readonly Inference[];
    readonly after: readonly Inference[];
  }>;
  /** Predictions of this version whose true label is known. */
  outcomes(): Promise<readonly { readonly confidence: number; readonly isCorrect: boolean }[]>;
  /** Predictions whose truth is known, right ones and wrong ones, to learn from. */
  known(): Promise<readonly KnownInference[]>;
  /** The last scores that other judges gave to the same prediction, by judge. */
  scores(inference: Inference): Promise<Readonly<Record<string, number>>>;
}

/** A prediction whose truth is known. */
export interface KnownInference {
  readonly inference: Inference;
  /** Whether the predicted label is the true one. */
  readonly isGood: boolean;
  /** The last scores that judges gave it, by judge; left out: none. */
  readonly scores?: Readonly<Record<string, number>>;
}

/** What a judge is given beside the prediction. */
export interface JudgeContext {
  readonly profiles: Readonly<Record<string, ClassProfile>>;
  readonly signal: AbortSignal;
  /** Left out where no other rows are known. */
  readonly history?: JudgeHistory;
  /** The judge's own parameters, checked against its `params`. */
  readonly params?: unknown;
  /** A score below it is flagged; only what is flagged is asked for a rationale. Left out: nothing. */
  readonly flagBelow?: number;
  /** Columns and texts that no prompt may show. */
  readonly redact?: readonly string[];
}

/** Scores sampled inferences. Never throws: what went wrong is a verdict of status `error`. */
export interface Judge {
  /** Hash over prompt, model and parameters: verdicts compare only within one version. */
  readonly version: string;
  /** What the version is of, as JSON, which is kept beside the verdicts; left out: the code says it. */
  readonly definition?: unknown;
  /** The version of the prompt registry that it asks, such as `polite/2`. */
  readonly prompt?: string;
  /** Its parameters in `judging.params` of a config; left out: it takes none. */
  readonly params?: z.ZodType;
  /** Whether it can answer now, with the reason when not. */
  probe(signal: AbortSignal): Promise<{ readonly ready: boolean; readonly detail: string }>;
  judge(inference: Inference, context: JudgeContext): Promise<Verdict>;
  /** Learns from rows of known truth before it judges, and gives what of it belongs to the version. */
  learn?(context: JudgeContext): Promise<string>;
}

/** Every kind of plugin. A new kind is one line here. */
export interface Kinds {
  source: Source;
  // deno-lint-ignore no-explicit-any -- a registry holds trainers of every parameter type
  trainer: Trainer<any>;
  drift: Drift;
  alert: Alert;
  sink: Sink;
  judge: Judge;
}

/** A named implementation of one kind. */
export type Plugin<K extends keyof Kinds = keyof Kinds> = {
  [k in K]: { readonly kind: k; readonly name: string; readonly summary: string } & Kinds[k];
}[K];

/** Checks a plugin's shape at compile time and keeps its exact type. */
export function definePlugin<const P extends Plugin>(plugin: P): P {
  return plugin;
}

/** The kinds, in the order in which lists show them. */
export const kinds: readonly (keyof Kinds)[] = [
  "source",
  "trainer",
  "drift",
  "alert",
  "sink",
  "judge",
];

/** The plugin registry: finds plugins by kind and name. */
export class Plugins {
  readonly #plugins = new Map<string, Plugin>();

  constructor(plugins: Iterable<Plugin> = []) {
    for (const plugin of plugins) this.add(plugin);
  }

  /**
   * Adds one plugin.
   * @throws {TypeError} when its kind is unknown or its name is taken.
   */
  add(plugin: Plugin): void {
    if (!kinds.includes(plugin?.kind) || typeof plugin.name !== "string" || plugin.name === "") {
      throw new TypeError(
        `Cannot add plugin "${plugin?.name}" of kind "${plugin?.kind}": kinds are ${
          kinds.join(", ")
        }`,
      );
    }
    const key = `${plugin.kind}:${plugin.name}`;
    if (this.#plugins.has(key)) {
      throw new TypeError(`Cannot add ${plugin.kind} "${plugin.name}": the name is already taken`);
    }
    this.#plugins.set(key, plugin);
  }

  /**
   * Gives the plugin of this kind and name.
   * @throws {RangeError} when there is none; the message lists those there are.
   */
  get<K extends keyof Kinds>(kind: K, name: string): Plugin<K> {
    const plugin = this.#plugins.get(`${kind}:${name}`);
    if (plugin) return plugin as unknown as Plugin<K>;
    const names = this.list(kind).map((p) => p.name).join(", ");
    throw new RangeError(`Cannot find ${kind} "${name}": there are ${names || "none"}`);
  }

  /** Gives every plugin of one kind, in the order of registration. */
  list<K extends keyof Kinds>(kind: K): Plugin<K>[] {
    const plugins = [...this.#plugins.values()].filter((plugin) => plugin.kind === kind);
    return plugins as unknown as Plugin<K>[];
  }
}
