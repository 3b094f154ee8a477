/** Refusals in the form of the Open Inference Protocol. */
import type { Answer } from "../answers.ts";
import type { HttpError } from "../http_error.ts";

/** Gives `{"error": …}`; a body that is not understood is 400 there, whatever is wrong with it. */
export function writeOipError(error: HttpError): Answer {
  return {
    status: error.status === 422 ? 400 : error.status,
    body: JSON.stringify({ error: error.message }),
    headers: error.headers,
  };
}
