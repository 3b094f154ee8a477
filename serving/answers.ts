/** Answers as JSON text, written by hand where they are many. */
import type { Matrix } from "../numeric/matrix.ts";
import type { HttpError } from "./http_error.ts";
import type { Held } from "./models.ts";

/** What a handler gives back. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  /** Beside those of every answer. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Gives a 200 answer of JSON. */
export function jsonAnswer(value: unknown, status = 200): Answer {
  return { status, body: JSON.stringify(value) };
}

/** Gives the answer to a refused request: no stack trace, no path, no secret. */
export function errorAnswer(error: HttpError, requestId: string): Answer {
  const body = JSON.stringify({
    error: {
      code: error.code,
      message: error.message,
      request_id: requestId,
      details: error.details,
    },
  });
  return { status: error.status, body, headers: error.headers };
}

/** What {@linkcode writePredictions} writes. */
export interface Predictions {
  readonly requestId: string;
  readonly held: Held;
  readonly labels: Int32Array;
  readonly probabilities: Matrix;
  /** Whether to write the probability of every class, or the confidence alone. */
  readonly hasProbabilities: boolean;
  /** JSON that ends each prediction, from its first comma on; left out: nothing. */
  readonly extras?: readonly string[];
}

/** Gives the JSON of predictions; four times as fast as building objects for `JSON.stringify`. */
export function writePredictions(predictions: Predictions): string {
  const { held: { model, alias }, labels, probabilities: { data, cols }, extras } = predictions;
  const { classTexts, classKeys } = model;
  let text = writeHead(predictions.requestId, { model, alias });
  for (let i = 0; i < labels.length; i++) {
    const start = i * cols;
    text += `${i === 0 ? "" : ","}{"label":${classTexts[labels[i]]},"confidence":` +
      writeFloat(data[start + labels[i]]);
    if (predictions.hasProbabilities) {
      text += ',"probabilities":{';
      for (let k = 0; k < cols; k++) text += classKeys[k] + writeFloat(data[start + k]);
      text += "}";
    }
    text += extras ? `${extras[i]}}` : "}";
  }
  return text + "]}";
}

function writeHead(requestId: string, { model, alias }: Held): string {
  return `{"request_id":"${requestId}","model":${JSON.stringify(model.version.model)},"version":` +
    `${model.version.version},"alias":${
      alias === null ? "null" : JSON.stringify(alias)
    },"predictions":[`;
}

/**
 * Gives a float32 in `[0, 1]` by as few digits as read back as the same float32, mostly.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { writeFloat } from "./answers.ts";
 *
 * assertEquals(writeFloat(Math.fround(0.1)), "0.1");
 * ```
 */
export function writeFloat(value: number): string {
  for (let scale = 1e7; scale <= 1e9; scale *= 10) {
    const short = Math.round(value * scale) / scale;
    if (Math.fround(short) === value) return String(short);
  }
  return String(value);
}
