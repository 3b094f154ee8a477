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
import type { Role } from "../runtime/api_keys.ts";
import type { Access } from "./access.ts";
import { type Answer, errorAnswer } from "./answers.ts";
import { HttpError, retrySoon } from "./http_error.ts";
import type { Metrics } from "./metrics.ts";
import type { Held } from "./models.ts";
import type { RateLimiter } from "./rate_limit.ts";
import type { RequestIds } from "./request_ids.ts";

/** One request on its way to an answer; a handler leaves here what the inference table wants to know. */
export class Exchange {
  readonly startedAt = performance.now();
  readonly time = new Date();
  requestId = "";
  clientRequestId: string | null = null;
  requester: string | null = null;
  held: Held | null = null;
  #rowCount = 0;
  queueMs: number | null = null;
  modelMs: number | null = null;
  requestBytes: number | null = null;
  inferences: InferenceRows | null = null;
  /** Ends the request with an error, whatever its handler is waiting for. */
  fail: (error: unknown) => void = () => {};
  /** Charges rows to the limit of the caller. */
  charge: (rows: number) => void = () => {};

  constructor(
    readonly request: Request,
    readonly route: string,
    readonly endpoint: string,
    readonly role: Role,
  ) {}

  /** Rows that the request asks for. */
  get rowCount(): number {
    return this.#rowCount;
  }

  /**
   * Set once, when the body is understood and before work is done for it: whatever protocol tells how
   * many rows it has, is charged for them.
   * @throws {HttpError} 429 when the caller has no such number left in this minute.
   */
  set rowCount(rows: number) {
    this.#rowCount = rows;
    this.charge(rows);
  }

  /**
   * Reads the body.
   * @throws {HttpError} 413 as soon as it is known to be larger than `maxBytes`.
   */
  async readText(maxBytes: number): Promise<string> {
    const { request } = this;
    if (this.#hasLength(maxBytes)) return await request.text().catch(gone);
    if (request.body === null) return "";
    return new TextDecoder().decode(await this.#readStream(request.body, maxBytes));
  }

  /**
   * Reads the body as it is, whatever its encoding.
   * @throws {HttpError} as {@linkcode readText}.
   */
  async readBytes(maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const { request } = this;
    if (this.#hasLength(maxBytes)) return await request.bytes().catch(gone);
    return request.body === null
      ? new Uint8Array(0)
      : await this.#readStream(request.body, maxBytes);
  }

  /** Whether the length is told beforehand, and then within the limit. */
  #hasLength(maxBytes: number): boolean {
    const length = this.request.headers.get("content-length");
    if (length === null) return false;
    this.requestBytes = Number(length);
    if (this.requestBytes > maxBytes) throw tooLarge(maxBytes);
    return true;
  }

  async #readStream(
    body: ReadableStream<Uint8Array>,
    maxBytes: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
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
    return Buffer.concat(chunks);
  }
}

/** Refuses to go on: a body that breaks off is a client that has gone. */
export function gone(cause: unknown): never {
  throw new HttpError("Cannot read the body: the client has gone", "cancelled", { cause });
}

/** Gives the refusal of a body that is larger than `maxBytes`. */
export function tooLarge(maxBytes: number): HttpError {
  return new HttpError(
    `Cannot read the body: it is larger than ${maxBytes} bytes; send it in parts`,
    "too_large",
  );
}

/** An answer in any form: text, bytes, or parts that are sent as they come. */
export interface Reply extends Omit<Answer, "body"> {
  /** Parts are asked for one by one, each when the client has taken the last one. */
  readonly body: string | Uint8Array<ArrayBuffer> | AsyncIterable<string>;
}

/** Gives the answer to one request. */
export type Handler = (exchange: Exchange) => Reply | Promise<Reply>;

/** How a route differs from others. */
export interface RouteOptions {
  /** Whether its requests are rows of the inference table; default true. Scrapes and probes are not. */
  readonly isLogged?: boolean;
  /** Whether it answers without a key; default false. */
  readonly isOpen?: boolean;
  /** The least role that may call it; default `admin`, so that a forgotten one opens nothing. */
  readonly role?: Role;
  /** Gives the answer to a refused request in the form that the clients of the route expect. */
  readonly writeError?: (error: HttpError, requestId: string) => Answer;
}

/** Adds a route to an app; `ALL` takes every method. */
export type AddRoute = (
  method: "GET" | "POST" | "ALL",
  path: string,
  handler: Handler,
  options?: RouteOptions,
) => void;

/** What {@linkcode Exchanges} needs. */
export interface ExchangesOptions {
  readonly log: InferenceLog;
  readonly metrics: Metrics;
  readonly ids: RequestIds;
  readonly access: Access;
  readonly limiter: RateLimiter;
  /** Name of the model that the server serves: its alerts answer for every request here. */
  readonly model: string;
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
    const { role = "admin" } = options;
    return (request) => this.#exchange(new Exchange(request, route, route, role), handler, options);
  }

  /** Answers one request that no route takes: `endpoint` is its path. */
  refuse(
    request: Request,
    endpoint: string,
    error: HttpError,
    options: Pick<RouteOptions, "writeError"> = {},
  ): Promise<Response> {
    // Any key may hear that there is nothing; without one even that is not told.
    const exchange = new Exchange(request, "unmatched", endpoint.slice(0, 256), "viewer");
    const { writeError = errorAnswer } = options;
    return this.#exchange(exchange, () => Promise.reject(error), { writeError });
  }

  /**
   * Answers one part of a request that is a stream of them. A part has a deadline and a row in the
   * inference table of its own; its id is the whole's with `#` and its number.
   */
  async part(
    whole: Exchange,
    number: number,
    handler: (exchange: Exchange) => Promise<Answer>,
  ): Promise<Answer> {
    const exchange = new Exchange(whole.request, whole.route, whole.endpoint, whole.role);
    // Given ids hold no "#", so this one cannot collide with another.
    exchange.requestId = `${whole.requestId}#${number}`;
    exchange.requester = whole.requester;
    return await this.#answer(exchange, async () => {
      // A stream may outlive its key, and each part counts against the limits.
      this.#admit(exchange);
      return await this.#run(exchange, handler);
    }, {}) as Answer;
  }

  async #exchange(exchange: Exchange, handler: Handler, options: RouteOptions): Promise<Response> {
    const answer = await this.#answer(exchange, async () => {
      await this.#identify(exchange, options);
      return await this.#run(exchange, handler);
    }, options);
    const { body } = answer;
    if (!isIterable(body)) this.#count(exchange, answer.status);
    return new Response(isIterable(body) ? this.#send(body, exchange, answer.status) : body, {
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

  /** Gives an answer whose row is written; that of a stream is written when it ends. */
  async #answer(
    exchange: Exchange,
    run: () => Promise<Reply>,
    { isLogged = true, writeError = errorAnswer }: RouteOptions,
  ): Promise<Reply> {
    let answer: Reply;
    let failure: HttpError | null = null;
    try {
      answer = await run();
    } catch (error) {
      failure = toHttpError(error);
      if (failure.status === 500) this.#options.onError(exchange.requestId, error);
      answer = writeError(failure, exchange.requestId);
      exchange.inferences = null;
    }
    if (!isLogged || isIterable(answer.body)) return answer;
    try {
      const bytes = Buffer.byteLength(answer.body);
      await this.#options.log.record(
        toRow(exchange, answer.status, bytes, { failure, model: this.#options.model }),
        exchange.inferences,
      );
      return answer;
    } catch (error) {
      this.#options.metrics.countUnlogged();
      return writeError(toLogError(error), exchange.requestId);
    }
  }

  #count(exchange: Exchange, status: number): void {
    const seconds = (performance.now() - exchange.startedAt) / 1000;
    this.#options.metrics.countRequest(exchange.route, status, seconds);
  }

  /** Sends parts as fast as the client takes them, and then writes the row of the request. */
  #send(
    parts: AsyncIterable<string>,
    exchange: Exchange,
    status: number,
  ): ReadableStream<Uint8Array> {
    const iterator = parts[Symbol.asyncIterator]();
    const encoder = new TextEncoder();
    let bytes = 0;
    let isEnded = false;
    const end = async (error: HttpError | null): Promise<void> => {
      isEnded = true;
      this.#count(exchange, error?.status ?? status);
      try {
        await this.#options.log.record(toRow(exchange, error?.status ?? status, bytes, {
          failure: error,
          model: this.#options.model,
        }));
      } catch (cause) {
        this.#options.metrics.countUnlogged();
        throw toLogError(cause);
      }
    };
    return new ReadableStream({
      async pull(controller) {
        try {
          const { value, done } = await iterator.next();
          if (isEnded) return;
          if (done) {
            await end(null);
            return controller.close();
          }
          const part = encoder.encode(value);
          bytes += part.length;
          controller.enqueue(part);
        } catch (error) {
          const failure = toHttpError(error);
          if (!isEnded) await end(failure);
          // Deno prints what a stream ends with: a sentence, not a stack.
          controller.error(failure.message);
        }
      },
      async cancel() {
        if (isEnded) return;
        await iterator.return?.();
        // Whom a failure to write the row would be told is gone; it is counted.
        await end(cancelled()).catch(() => {});
      },
    }, { highWaterMark: 0 });
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
    if (!options.isOpen) this.#admit(exchange);
  }

  /** Lets the request in when its key, role and limits do; a caller who is known is on record anyway. */
  #admit(exchange: Exchange): void {
    const { access, limiter } = this.#options;
    const caller = access.identify(exchange.request.headers);
    exchange.requester = caller?.name ?? null;
    access.authorize(caller, exchange.role);
    if (caller === null) return;
    limiter.takeRequest(caller);
    exchange.charge = (rows) => limiter.takeRows(caller, rows);
  }

  async #run(exchange: Exchange, handler: Handler): Promise<Reply> {
    const { signal } = exchange.request;
    if (signal.aborted) throw cancelled();
    const cancel = () => exchange.fail(cancelled());
    this.#open.add(exchange);
    this.#ticker ??= setInterval(() => this.#tick(), DEADLINE_TICK_MS);
    try {
      return await new Promise<Reply>((resolve, reject) => {
        exchange.fail = reject;
        signal.addEventListener("abort", cancel, { once: true });
        Promise.resolve(handler(exchange)).then(resolve, reject);
      });
    } finally {
      // A stream has one signal for all its parts.
      signal.removeEventListener("abort", cancel);
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

function isIterable(body: object | string): body is AsyncIterable<string> {
  return typeof body === "object" && Symbol.asyncIterator in body;
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
  { failure, model }: { readonly failure: HttpError | null; readonly model: string },
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
    model: held?.model.version.model ?? model,
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
