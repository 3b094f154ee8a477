/**
 * From records to a prediction on record: the path that the routes of every protocol share. They
 * differ in how they read a body and how they write an answer.
 *
 * @module
 */
import type { InferenceLog } from "../runtime/inference/inference_log.ts";
import type { Exchange } from "./exchange.ts";
import { checkExplainedRows, type Explanation } from "./explain.ts";
import { HttpError, retrySoon } from "./http_error.ts";
import type { Metrics, ModelCounters } from "./metrics.ts";
import type { ModelCatalog } from "./model_catalog.ts";
import type { Held, ModelReference } from "./models.ts";
import type { Records } from "./records.ts";
import type { ServedModel, ServedPrediction } from "./served_model.ts";
import type { Statistics } from "./statistics.ts";
import type { Traffic } from "./traffic/traffic.ts";
import { readUrgency, type Urgency } from "./traffic/urgency.ts";

/** What predictions need. */
export interface PredictionPathDeps {
  readonly models: ModelCatalog;
  readonly log: InferenceLog;
  readonly metrics: Metrics;
  /** Counts what is predicted, by version. */
  readonly statistics: Statistics;
  /** Divides the requests that name no version; `null` when the default answers them all. */
  readonly traffic: Traffic | null;
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
    prediction: ServedPrediction,
    held: Held,
    records: Records,
    explanations?: readonly Explanation[],
  ): T;
  /** Contributions to explain each record by; left out: nothing is explained. */
  readonly explain?: number | undefined;
  /** What the protocol itself says of it, over what the headers say. */
  readonly urgency?: Urgency;
}

/** Predicts the records of requests, and leaves in each exchange what the inference table wants. */
export class PredictionPath {
  readonly #deps: PredictionPathDeps;
  readonly #counters = new WeakMap<ServedModel, PredictionCounter>();

  constructor(deps: PredictionPathDeps) {
    this.#deps = deps;
  }

  /** What was predicted, by version. */
  get statistics(): Statistics {
    return this.#deps.statistics;
  }

  /**
   * Takes one request from its body, already parsed, to its answer.
   * @throws {HttpError} when there is no such model, the records are refused, there is no room for
   * their rows, the model fails or cannot be explained.
   */
  async predict<T>(exchange: Exchange, protocol: Protocol<T>): Promise<T> {
    const { models, traffic } = this.#deps;
    const { reference } = protocol;
    const urgency = {
      ...readUrgency(exchange.request.headers, exchange.startedAt),
      ...protocol.urgency,
    };
    exchange.model = models.of(reference?.model).model;
    const divider = traffic?.isFor(reference) ? traffic : null;
    const held = await (divider ? divider.acquire(exchange) : models.acquire(reference));
    const { model } = held;
    try {
      exchange.held = held;
      const { answer, records, prediction } = await this.#predict(exchange, held, {
        ...protocol,
        urgency,
      });
      divider?.mirror(exchange, { champion: model, records, prediction });
      return answer;
    } catch (error) {
      this.statistics.of(model).fail(performance.now() - exchange.startedAt);
      throw error;
    } finally {
      model.release();
    }
  }

  async #predict<T>(
    exchange: Exchange,
    held: Held,
    protocol: Protocol<T> & { readonly urgency: Urgency },
  ): Promise<{ answer: T; records: Records; prediction: ServedPrediction }> {
    const { model } = held;
    const { urgency } = protocol;
    const { log } = this.#deps;
    const records = protocol.read(model);
    exchange.rowCount = records.rowCount;
    const { explain: top } = protocol;
    if (top !== undefined) checkExplainedRows(records.rowCount);
    const explainer = top === undefined ? null : await model.explainer();
    // The log decides in the end; asking first spares a model run whose answer could not be given.
    if (!log.hasRoom(records.rowCount + 1)) throw logFull(log.stats.queuedRows);
    const askedAt = performance.now();
    const prediction = await model.predict(records, urgency);
    const answeredAt = performance.now();
    exchange.queueMs = prediction.queueMs;
    exchange.modelMs = prediction.modelMs;
    exchange.trace?.predicted(askedAt, prediction);
    if (prediction.cache) {
      exchange.cache = prediction.cache.isHit ? "hit" : "miss";
      this.#deps.metrics.traffic.countCache(exchange.cache);
    }
    fillInferences(exchange, model, records, prediction);
    this.#count(model, prediction);
    const explanations = explainer
      ? await explainer.explain(records.rows, prediction.labels, {
        top: top!,
        ...(urgency.signal ? { signal: urgency.signal } : {}),
      })
      : undefined;
    const answer = protocol.write(prediction, held, records, explanations);
    const writtenAt = performance.now();
    this.statistics.of(model).succeed(prediction, {
      totalMs: writtenAt - exchange.startedAt,
      inputMs: askedAt - exchange.startedAt,
      outputMs: writtenAt - answeredAt,
    });
    return { answer, records, prediction };
  }

  #count(model: ServedModel, prediction: ServedPrediction): void {
    let counter = this.#counters.get(model);
    if (!counter) {
      this.#counters.set(model, counter = new PredictionCounter(this.#deps.metrics, model));
    }
    counter.count(prediction);
  }
}

function fillInferences(
  exchange: Exchange,
  model: ServedModel,
  records: Records,
  { labels, probabilities, batchId }: ServedPrediction,
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
    ...(batchId === null ? {} : { batchId }),
  };
}

function logFull(rows: number): HttpError {
  return new HttpError(
    `Cannot predict: ${rows} rows wait for the inference log; try again later`,
    "log_full",
    { headers: retrySoon },
  );
}

/** Counts what one model predicted, and what waited for it. */
class PredictionCounter {
  readonly #counters: ModelCounters;
  readonly #counts: Uint32Array;

  constructor(metrics: Metrics, { version: { model, version }, signature }: ServedModel) {
    this.#counters = metrics.modelCounters(model, version, signature.classes);
    this.#counts = new Uint32Array(signature.classes.length);
  }

  count({ labels, queueMs, batchId }: ServedPrediction): void {
    const { labels: counters, queueSeconds } = this.#counters;
    // What the cache had did not wait for the model.
    if (batchId !== null) queueSeconds.observe(queueMs / 1000);
    if (labels.length === 1) {
      counters[labels[0]].inc(1);
      return;
    }
    this.#counts.fill(0);
    for (let i = 0; i < labels.length; i++) this.#counts[labels[i]]++;
    this.#counts.forEach((count, label) => {
      if (count > 0) counters[label].inc(count);
    });
  }
}
