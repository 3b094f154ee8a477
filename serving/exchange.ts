/**
 * What every request goes through: an id, access, a deadline, cancellation, one row of the inference
 * table, metrics and headers. A handler only gives its answer.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { describeError } from "../runtime/errors.ts";
import {
  type InferenceLog,
  type InferenceRows,
  LogFullError,
  type RequestRow,
} from "../runtime/inference_log.ts";
import type { Access } from "./access.ts";
import { type Answer, errorAnswer } from "./answers.ts";
import { HttpError, retrySoon } from "./http_error.ts";
import type { Metrics } from "./metrics.ts";
import type { Held } from "./models.ts";
import type { RequestIds } from "./request_ids.ts";

/** One request on its way to an answer; a handler leaves here what the inference table wants to know. */
export class Exchange {
  readonly startedAt = performance.now();
  readonly time = new Date();
  requestId = "";
  clientRequestId: string | null = null;
  requester: string | null = null;
  held: Held | null = null;
  rowCount = 0;
  queueMs: number | null = null;
  modelMs: number | null = null;
  requestBytes: number | null = null;
  inferences: InferenceRows | null = null;
  /** Ends the request with an error, whatever its handler is waiting for. */
  fail: (error: unknown) => void = () => {};

  constructor(readonly request: Request, readonly route: string, readonly endpoint: string) {}

  /**
   * Reads the body.
   * @throws {HttpError} 413 as soon as it is known to be larger than `maxBytes`.
   */
  async readText(maxBytes: number): Promise<string> {
    const { request } = this;
    const length = request.headers.get("content-length");
    if (length !== null) {
      this.requestBytes = Number(length);
      if (this.requestBytes > maxBytes) throw tooLarge(maxBytes);
      return await request.text().catch(gone);
    }
    return request.body === null ? "" : await this.#readStream(request.body, maxBytes);
  }

  async #readStream(body: ReadableStream<Uint8Array>, maxBytes: number): Promise<string> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const chunk of body) {
        bytes += chunk.length;
        this.requestBytes = bytes;
        if (bytes > maxBytes) throw tooLarge(maxBytes);
        chunks.push(chunk);
      }
    } catch (error) {
      if (error instanceof HttpError) throw error;
      gone(error);
    }
    return new TextDecoder().decode(Buffer.concat(chunks));
  }
}

/** A body that breaks off is a client that has gone. */
function gone(cause: unknown): never {
  throw new HttpError("Cannot read the body: the client has gone", "cancelled", { cause });
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(
    `Cannot read the body: it is larger than ${maxBytes} bytes; send it in parts`,
    "too_large",
  );
}

/** Gives the answer to one request. */
export type Handler = (exchange: Exchange) => Answer | Promise<Answer>;

/** How a route differs from others. */
export interface RouteOptions {
  /** Whether its requests are rows of the inference table; default true. Scrapes and probes are not. */
  readonly isLogged?: boolean;
  /** Whether it answers without a key; default false. */
  readonly isOpen?: boolean;
}

/** What {@linkcode Exchanges} needs. */
export interface ExchangesOptions {
  readonly log: InferenceLog;
  readonly metrics: Metrics;
  readonly ids: RequestIds;
  readonly access: Access;
  readonly timeoutMs: number;
  /** Hears of requests that ended in a 500. */
  readonly onError: (requestId: string, error: unknown) => void;
}

/** Deadlines are checked this often. */
const DEADLINE_TICK_MS = 250;

const TRACE_PARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/;

/** Headers of every answer: it is data, and nothing else, to a browser. */
const secureHeaders: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** Turns handlers into functions from request to response. */
export class Exchanges {
  readonly #options: ExchangesOptions;
  /** Requests with a handler at work, the oldest first. */
  readonly #open = new Set<Exchange>();
  #ticker: ReturnType<typeof setInterval> | undefined;

  constructor(options: ExchangesOptions) {
    this.#options = options;
  }

  /** Requests that have no answer yet. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Gives the function that answers the requests of one route. */
  route(
    route: string,
    handler: Handler,
    options: RouteOptions = {},
  ): (request: Request) => Promise<Response> {
    return (request) => this.#exchange(new Exchange(request, route, route), handler, options);
  }

  /** Answers one request that no route takes: `endpoint` is its path. */
  refuse(request: Request, endpoint: string, error: HttpError): Promise<Response> {
    const exchange = new Exchange(request, "unmatched", endpoint.slice(0, 256));
    return this.#exchange(exchange, () => Promise.reject(error), {});
  }

  async #exchange(exchange: Exchange, handler: Handler, options: RouteOptions): Promise<Response> {
    let answer: Answer;
    let failure: HttpError | null = null;
    try {
      await this.#identify(exchange, options);
      answer = await this.#run(exchange, handler);
    } catch (error) {
      failure = toHttpError(error);
      if (failure.status === 500) this.#options.onError(exchange.requestId, error);
      answer = errorAnswer(failure, exchange.requestId);
      exchange.inferences = null;
    }
    let bytes = Buffer.byteLength(answer.body);
    if (options.isLogged !== false) {
      try {
        await this.#options.log.record(
          toRow(exchange, answer.status, bytes, failure),
          exchange.inferences,
        );
      } catch (error) {
        this.#options.metrics.countUnlogged();
        answer = errorAnswer(toLogError(error), exchange.requestId);
        bytes = Buffer.byteLength(answer.body);
      }
    }
    const seconds = (performance.now() - exchange.startedAt) / 1000;
    this.#options.metrics.countRequest(exchange.route, answer.status, seconds);
    return new Response(answer.body, {
      // The client of a cancelled request is gone; 499 is for the table alone.
      status: answer.status,
      headers: {
        "content-type": "application/json",
        "x-request-id": exchange.requestId,
        ...secureHeaders,
        ...answer.headers,
      },
    });
  }

  async #identify(exchange: Exchange, options: RouteOptions): Promise<void> {
    const { headers } = exchange.request;
    const given = headers.get("x-request-id");
    if (given === null) exchange.requestId = this.#options.ids.make();
    else {
      try {
        exchange.requestId = await this.#options.ids.claim(given);
        exchange.clientRequestId = given;
      } catch (error) {
        exchange.requestId = this.#options.ids.make();
        throw error;
      }
    }
    if (!options.isOpen) exchange.requester = this.#options.access.check(headers);
  }

  async #run(exchange: Exchange, handler: Handler): Promise<Answer> {
    const { signal } = exchange.request;
    if (signal.aborted) throw cancelled();
    this.#open.add(exchange);
    this.#ticker ??= setInterval(() => this.#tick(), DEADLINE_TICK_MS);
    try {
      return await new Promise<Answer>((resolve, reject) => {
        exchange.fail = reject;
        signal.addEventListener("abort", () => reject(cancelled()), { once: true });
        Promise.resolve(handler(exchange)).then(resolve, reject);
      });
    } finally {
      this.#open.delete(exchange);
    }
  }

  #tick(): void {
    const { timeoutMs } = this.#options;
    const oldest = performance.now() - timeoutMs;
    for (const exchange of this.#open) {
      if (exchange.startedAt > oldest) break;
      exchange.fail(
        new HttpError(`Cannot answer in time: ${timeoutMs} ms have passed`, "timeout", {
          headers: retrySoon,
        }),
      );
    }
    if (this.#open.size > 0) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  close(): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }
}

function cancelled(): HttpError {
  return new HttpError("Cannot answer: the client has gone", "cancelled");
}

function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  return new HttpError("Cannot answer: an unexpected error, see the server's log", "internal", {
    cause: error,
  });
}

function toLogError(error: unknown): HttpError {
  if (error instanceof LogFullError) {
    return new HttpError(error.message, "log_full", { headers: retrySoon });
  }
  return new HttpError(
    "Cannot answer: the request could not be put on record; try again later",
    "log_failed",
    { headers: retrySoon, cause: error },
  );
}

function toRow(
  exchange: Exchange,
  statusCode: number,
  responseBytes: number,
  failure: HttpError | null,
): RequestRow {
  const { request, held } = exchange;
  const parent = request.headers.get("traceparent");
  return {
    requestId: exchange.requestId,
    clientRequestId: exchange.clientRequestId,
    traceId: parent === null ? null : TRACE_PARENT.exec(parent)?.[1] ?? null,
    requestTime: exchange.time,
    method: request.method,
    endpoint: exchange.endpoint,
    statusCode,
    model: held?.model.version.model ?? null,
    version: held?.model.version.version ?? null,
    alias: held?.alias ?? null,
    requester: exchange.requester,
    rowCount: exchange.rowCount,
    durationMs: performance.now() - exchange.startedAt,
    queueMs: exchange.queueMs,
    modelMs: exchange.modelMs,
    requestBytes: exchange.requestBytes,
    responseBytes,
    error: failure === null ? null : describeError(failure),
  };
}
