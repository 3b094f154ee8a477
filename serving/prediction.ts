/**
 * From records to a prediction on record: the path that the routes of every protocol share. They
 * differ in how they read a body and how they write an answer.
 *
 * @module
 */
import type { InferenceLog } from "../runtime/inference_log.ts";
import type { TimedPrediction } from "./batcher.ts";
import type { Exchange } from "./exchange.ts";
import { checkExplainedRows, type Explanation } from "./explain.ts";
import { HttpError, retrySoon } from "./http_error.ts";
import type { Metrics } from "./metrics.ts";
import type { Held, ModelReference, Models } from "./models.ts";
import type { Records } from "./records.ts";
import type { ServedModel } from "./served_model.ts";
import { Statistics } from "./statistics.ts";

/** What predictions need. */
export interface PredictionPathDeps {
  readonly models: Models;
  readonly log: InferenceLog;
  readonly metrics: Metrics;
  /** Rows of one model run. */
  readonly maxBatchRows: number;
}

/** What one protocol adds to the path. */
export interface Protocol<T> {
  /** Which version to ask; left out: the default. */
  readonly reference?: ModelReference | undefined;
  /**
   * Gives the records of the request.
   * @throws {HttpError} when the model cannot take them.
   */
  read(model: ServedModel): Records;
  /** Gives the answer, with an explanation of each record where they were asked for. */
  write(
    prediction: TimedPrediction,
    held: Held,
    records: Records,
    explanations?: readonly Explanation[],
  ): T;
  /** Contributions to explain each record by; left out: nothing is explained. */
  readonly explain?: number | undefined;
  /** Takes the request out of the queue; left out: nothing does. */
  readonly signal?: AbortSignal;
}

/** Predicts the records of requests, and leaves in each exchange what the inference table wants. */
export class PredictionPath {
  /** What was predicted by this path, by version. */
  readonly statistics: Statistics;
  readonly #deps: PredictionPathDeps;
  readonly #counters = new WeakMap<ServedModel, LabelCounters>();

  constructor(deps: PredictionPathDeps) {
    this.#deps = deps;
    this.statistics = new Statistics(deps.maxBatchRows);
  }

  /**
   * Takes one request from its body, already parsed, to its answer.
   * @throws {HttpError} when there is no such model, the records are refused, there is no room for
   * their rows, the model fails or cannot be explained.
   */
  async predict<T>(exchange: Exchange, protocol: Protocol<T>): Promise<T> {
    const held = await this.#deps.models.acquire(protocol.reference);
    const { model } = held;
    try {
      exchange.held = held;
      return await this.#predict(exchange, held, protocol);
    } catch (error) {
      this.statistics.of(model).fail(performance.now() - exchange.startedAt);
      throw error;
    } finally {
      model.release();
    }
  }

  async #predict<T>(exchange: Exchange, held: Held, protocol: Protocol<T>): Promise<T> {
    const { model } = held;
    const { log } = this.#deps;
    const records = protocol.read(model);
    exchange.rowCount = records.rowCount;
    const { explain: top } = protocol;
    if (top !== undefined) checkExplainedRows(records.rowCount);
    const explainer = top === undefined ? null : await model.explainer();
    // The log decides in the end; asking first spares a model run whose answer could not be given.
    if (!log.hasRoom(records.rowCount + 1)) throw logFull(log.stats.queuedRows);
    const askedAt = performance.now();
    const prediction = await model.predict(records, protocol.signal);
    const answeredAt = performance.now();
    exchange.queueMs = prediction.queueMs;
    exchange.modelMs = prediction.modelMs;
    fillInferences(exchange, model, records, prediction);
    this.#countLabels(model, prediction.labels);
    const explanations = explainer
      ? await explainer.explain(records.rows, prediction.labels, {
        top: top!,
        ...(protocol.signal ? { signal: protocol.signal } : {}),
      })
      : undefined;
    const answer = protocol.write(prediction, held, records, explanations);
    const writtenAt = performance.now();
    this.statistics.of(model).succeed(prediction, {
      totalMs: writtenAt - exchange.startedAt,
      inputMs: askedAt - exchange.startedAt,
      outputMs: writtenAt - answeredAt,
    });
    return answer;
  }

  #countLabels(model: ServedModel, labels: Int32Array): void {
    let counter = this.#counters.get(model);
    if (!counter) {
      this.#counters.set(model, counter = new LabelCounters(this.#deps.metrics, model));
    }
    counter.count(labels);
  }
}

function fillInferences(
  exchange: Exchange,
  model: ServedModel,
  records: Records,
  { labels, probabilities }: TimedPrediction,
): void {
  exchange.inferences = {
    model: model.version.model,
    version: model.version.version,
    features: records.values,
    ...(records.order ? { order: records.order } : {}),
    labels,
    probabilities,
    classes: model.signature.classes,
    ...(records.slice === undefined ? {} : { slice: records.slice }),
  };
}

function logFull(rows: number): HttpError {
  return new HttpError(
    `Cannot predict: ${rows} rows wait for the inference log; try again later`,
    "log_full",
    { headers: retrySoon },
  );
}

/** Counts predicted labels of one model. */
class LabelCounters {
  readonly #counters: readonly { inc(by: number): void }[];
  readonly #counts: Uint32Array;

  constructor(metrics: Metrics, { version, signature }: ServedModel) {
    this.#counters = signature.classes.map((label) =>
      metrics.predictionCounter(version.model, version.version, label)
    );
    this.#counts = new Uint32Array(signature.classes.length);
  }

  count(labels: Int32Array): void {
    if (labels.length === 1) {
      this.#counters[labels[0]].inc(1);
      return;
    }
    this.#counts.fill(0);
    for (let i = 0; i < labels.length; i++) this.#counts[labels[i]]++;
    this.#counts.forEach((count, label) => {
      if (count > 0) this.#counters[label].inc(count);
    });
  }
}
