/** `POST /predict` and `POST /batch_predict`. */
import type { InferenceLog } from "../../runtime/inference_log.ts";
import { suggest } from "../../runtime/errors.ts";
import { writePredictions } from "../answers.ts";
import type { Exchange, Handler } from "../exchange.ts";
import { HttpError, retrySoon } from "../http_error.ts";
import { parseJson } from "../json.ts";
import type { Metrics } from "../metrics.ts";
import type { Held, ModelReference, Models } from "../models.ts";
import { readRecords, type Records } from "../records.ts";
import type { ServedModel } from "../served_model.ts";

/** What predictions need. */
export interface PredictDeps {
  readonly models: Models;
  readonly log: InferenceLog;
  readonly metrics: Metrics;
  readonly maxBodyBytes: number;
  readonly maxRows: number;
  /** Whether the body may carry the options of `/batch_predict`; default false. */
  readonly isBatch?: boolean;
}

/** Gives the handler that predicts the records of a body. */
export function predict(deps: PredictDeps): Handler {
  const { models, log, metrics, maxRows } = deps;
  const limits = { maxRows, isBatch: deps.isBatch ?? false };
  const counters = new WeakMap<ServedModel, LabelCounters>();
  return async (exchange) => {
    const body = parseJson(await exchange.readText(deps.maxBodyBytes));
    const held = await models.acquire(readReference(exchange.request.url));
    const { model } = held;
    try {
      exchange.held = held;
      const records = readRecords(body, model.layout, limits);
      exchange.rowCount = records.rowCount;
      // The log decides in the end; asking first spares a model run whose answer could not be given.
      if (!log.hasRoom(records.rowCount + 1)) throw logFull(log.stats.queuedRows);
      const prediction = await model.predict(records, exchange.request.signal);
      exchange.queueMs = prediction.queueMs;
      exchange.modelMs = prediction.modelMs;
      fillInferences(exchange, held, records, prediction);
      let counter = counters.get(model);
      if (!counter) counters.set(model, counter = new LabelCounters(metrics, model));
      counter.count(prediction.labels);
      return {
        status: 200,
        body: writePredictions({
          requestId: exchange.requestId,
          held,
          labels: prediction.labels,
          probabilities: prediction.probabilities,
          hasProbabilities: records.hasProbabilities,
        }),
      };
    } finally {
      model.release();
    }
  };
}

function fillInferences(
  exchange: Exchange,
  { model }: Held,
  records: Records,
  { labels, probabilities }: Pick<NonNullable<Exchange["inferences"]>, "labels" | "probabilities">,
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

const PARAMETERS = ["alias", "version"];

/**
 * Reads which model a request asks for.
 * @throws {HttpError} 400 for a parameter that does not exist or is no version number.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readReference } from "./predict.ts";
 *
 * assertEquals(readReference("http://localhost/predict?version=3"), { version: 3 });
 * assertEquals(readReference("http://localhost/predict"), undefined);
 * ```
 */
export function readReference(url: string): ModelReference | undefined {
  const mark = url.indexOf("?");
  if (mark < 0) return undefined;
  const query = new URLSearchParams(url.slice(mark));
  for (const name of query.keys()) {
    if (PARAMETERS.includes(name)) continue;
    const nearest = suggest(name, PARAMETERS);
    throw badQuery(
      `unknown parameter "${name}"; ${
        nearest ? `did you mean "${nearest}"?` : `there are ${PARAMETERS.join(" and ")}`
      }`,
    );
  }
  const alias = query.get("alias");
  const version = query.get("version");
  if (alias !== null && version !== null) throw badQuery('give "alias" or "version", not both');
  if (alias !== null) return { alias };
  if (version === null) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(version)) throw badQuery(`version "${version}" is no version number`);
  return { version: Number(version) };
}

function badQuery(state: string): HttpError {
  return new HttpError(`Cannot read the query: ${state}`, "invalid_query");
}
