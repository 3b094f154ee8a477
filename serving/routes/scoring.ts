/** MLflow's scoring protocol: `POST /invocations`, `GET /ping` and `GET /version`. */
import { type Answer, writePredictions } from "../answers.ts";
import { readDecoded } from "../compression.ts";
import type { AddRoute, Handler } from "../exchange.ts";
import type { HttpError } from "../http_error.ts";
import type { PredictionPath } from "../prediction.ts";
import { parseScoring, readScoring } from "../scoring_body.ts";
import { readReference } from "./predict.ts";

/** What the scoring routes need. */
export interface ScoringDeps {
  readonly path: PredictionPath;
  /** Largest body in bytes, as it is sent and as it is decompressed. */
  readonly maxBodyBytes: number;
  /** Most records of one request. */
  readonly maxRows: number;
  /** Answers 200 when a prediction would be answered, as `GET /ready`. */
  readonly ready: Handler;
}

/** Version of MLflow whose protocol this is: clients compare it to decide what they may ask. */
const MLFLOW_VERSION = "3.17.2";

/** Adds the routes of MLflow's scoring server. */
export function addScoringRoutes(add: AddRoute, deps: ScoringDeps): void {
  add("POST", "/invocations", invocations(deps), {
    role: "predictor",
    writeError: writeMlflowError,
  });
  add("GET", "/ping", ping(deps), { isLogged: false, isOpen: true });
  add("GET", "/version", () => plain(MLFLOW_VERSION), { role: "viewer", isLogged: false });
}

/** Gives the handler that scores the records of a body, with `?model=`, `?alias=` or `?version=` as `/predict`. */
function invocations({ path, maxBodyBytes, maxRows }: ScoringDeps): Handler {
  return async (exchange) => {
    const { request, requestId } = exchange;
    const text = new TextDecoder().decode(await readDecoded(exchange, maxBodyBytes));
    const body = parseScoring(text, request.headers.get("content-type"));
    return await path.predict(exchange, {
      reference: readReference(request.url),
      urgency: { signal: request.signal },
      read: ({ layout }) => readScoring(body, layout, maxRows),
      write: ({ labels, probabilities }, held): Answer => {
        const { classTexts } = held.model;
        const predictions = body.hasProbabilities
          ? cutPredictions(
            writePredictions({ requestId, held, labels, probabilities, hasProbabilities: true }),
          )
          : `"predictions":[${Array.from(labels, (label) => classTexts[label]).join(",")}]}`;
        return { status: 200, body: `{${predictions}` };
      },
    });
  };
}

/** The end of an answer of `/predict`; no name before it can hold this text, its quotes escaped. */
function cutPredictions(answer: string): string {
  return answer.slice(answer.indexOf('"predictions":['));
}

function ping({ ready }: ScoringDeps): Handler {
  return async (exchange) => ({ ...await ready(exchange), body: "\n" });
}

function plain(body: string): Answer {
  return { status: 200, body, headers: { "content-type": "text/plain; charset=utf-8" } };
}

/** MLflow's names of what went wrong, by HTTP status. */
const errorCodes: Readonly<Record<number, string>> = {
  400: "BAD_REQUEST",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "RESOURCE_DOES_NOT_EXIST",
  405: "ENDPOINT_NOT_FOUND",
  413: "BAD_REQUEST",
  429: "REQUEST_LIMIT_EXCEEDED",
  499: "CANCELLED",
  503: "TEMPORARILY_UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** Gives a refusal as MLflow's clients read it; a body that is not understood is 400 there. */
function writeMlflowError(error: HttpError): Answer {
  const status = error.status === 422 ? 400 : error.status;
  return {
    status,
    body: JSON.stringify({
      error_code: errorCodes[status] ?? "INTERNAL_ERROR",
      message: error.message,
    }),
    headers: error.headers,
  };
}
