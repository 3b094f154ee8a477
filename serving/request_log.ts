/** What the log of a server says of its requests. */
import { describeError } from "../runtime/errors.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Exchange } from "./exchange.ts";

/** Writes a line of each request that the server failed, and on request of every one. */
export class RequestLog {
  readonly #logger: Logger;
  readonly #isAccessLog: boolean;

  constructor(logger: Logger, { isAccessLog }: { readonly isAccessLog: boolean }) {
    this.#logger = logger;
    this.#isAccessLog = isAccessLog;
  }

  /** A request that is over; only one that ended in a status of 500 or more makes a line. */
  failed(exchange: Exchange): void {
    const { requestId, failure } = exchange;
    if (failure === null || failure.status < 500) return;
    const { status, code } = failure;
    // What was not expected is told to the operator alone.
    const reason = describeError(code === "internal" ? failure.cause : failure);
    this.#logger[status === 500 ? "error" : "warn"](
      "request_failed",
      `Request "${requestId}" failed: ${reason}`,
      { ...describe(exchange), status, code },
    );
  }

  /** A request that was answered, however. */
  answered(exchange: Exchange, status: number): void {
    if (!this.#isAccessLog) return;
    const { request: { method }, endpoint, rowCount, requestId } = exchange;
    const ms = Math.round((performance.now() - exchange.startedAt) * 1000) / 1000;
    this.#logger.info(
      "request",
      `${method} ${endpoint} ${status} ${ms} ms, ${rowCount} rows, ${requestId}`,
      {
        ...describe(exchange),
        method,
        endpoint,
        status,
        duration_ms: ms,
        rows: rowCount,
        request_bytes: exchange.requestBytes,
        response_bytes: exchange.responseBytes,
        requester: exchange.requester,
      },
    );
  }
}

function describe({ requestId, traceId, model, held }: Exchange) {
  return {
    request_id: requestId,
    trace_id: traceId,
    model: held?.model.version.model ?? model,
    version: held?.model.version.version ?? null,
  };
}
