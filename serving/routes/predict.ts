/** `POST /predict` and `POST /batch_predict`. */
import { suggest } from "../../runtime/errors.ts";
import { writePredictions } from "../answers.ts";
import type { Exchange, Handler, Reply } from "../exchange.ts";
import { readExplain, writeExplanation } from "../explain.ts";
import { HttpError } from "../http_error.ts";
import { parseJson } from "../json.ts";
import type { ModelReference } from "../models.ts";
import type { PredictionPath } from "../prediction.ts";
import { readRecords } from "../records.ts";

/** What predictions need. */
export interface PredictBodyDeps {
  readonly path: PredictionPath;
  readonly maxRows: number;
  /** Whether the body may carry the options of `/batch_predict`; default false. */
  readonly isBatch?: boolean;
}

/** What the route needs. */
export interface PredictDeps extends PredictBodyDeps {
  readonly maxBodyBytes: number;
}

/** Gives the handler that predicts the records of a body. */
export function predict(deps: PredictDeps): Handler {
  const answer = predictBody(deps);
  return async (exchange) =>
    await answer(exchange, parseJson(await exchange.readText(deps.maxBodyBytes)));
}

/** Gives the function that predicts the records of a parsed body. */
export function predictBody(
  deps: PredictBodyDeps,
): (exchange: Exchange, body: unknown) => Promise<Reply> {
  const limits = { maxRows: deps.maxRows, isBatch: deps.isBatch ?? false };
  return async (exchange, body) => {
    const { request, requestId } = exchange;
    return await deps.path.predict(exchange, {
      reference: readReference(request.url, limits.isBatch ? [] : ["explain"]),
      explain: limits.isBatch ? undefined : readExplain(request.url),
      urgency: { signal: request.signal },
      read: ({ layout }) => readRecords(body, layout, limits),
      write: ({ labels, probabilities }, held, { hasProbabilities }, explanations) => ({
        status: 200,
        body: writePredictions({
          requestId,
          held,
          labels,
          probabilities,
          hasProbabilities,
          ...(explanations ? { extras: explanations.map(writeExplanation) } : {}),
        }),
      }),
    });
  };
}

const PARAMETERS = ["model", "alias", "version"];

/**
 * Reads which model a request asks for; `others` are parameters that say something else.
 * @throws {HttpError} 400 for a parameter that does not exist or is no version number.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readReference } from "./predict.ts";
 *
 * assertEquals(readReference("http://localhost/predict?version=3"), { version: 3 });
 * const other = "http://localhost/predict?model=sands&alias=production";
 * assertEquals(readReference(other), { model: "sands", alias: "production" });
 * assertEquals(readReference("http://localhost/predict"), undefined);
 * ```
 */
export function readReference(
  url: string,
  others: readonly string[] = [],
): ModelReference | undefined {
  const mark = url.indexOf("?");
  if (mark < 0) return undefined;
  const query = new URLSearchParams(url.slice(mark));
  const names = [...PARAMETERS, ...others];
  for (const name of query.keys()) {
    if (names.includes(name)) continue;
    const nearest = suggest(name, names);
    throw badQuery(
      `unknown parameter "${name}"; ${
        nearest ? `did you mean "${nearest}"?` : `there are ${names.join(", ")}`
      }`,
    );
  }
  const alias = query.get("alias");
  const version = query.get("version");
  if (alias !== null && version !== null) throw badQuery('give "alias" or "version", not both');
  const model = query.get("model");
  if (version !== null && !/^[1-9]\d{0,8}$/.test(version)) {
    throw badQuery(`version "${version}" is no version number`);
  }
  if ((model ?? alias ?? version) === null) return undefined;
  return {
    ...(model === null ? {} : { model }),
    ...(alias === null ? {} : { alias }),
    ...(version === null ? {} : { version: Number(version) }),
  };
}

function badQuery(state: string): HttpError {
  return new HttpError(`Cannot read the query: ${state}`, "invalid_query");
}
