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
} from "../runtime/inference/inference_log.ts";
import type { Role } from "../runtime/api_keys.ts";
import type { Access } from "./access.ts";
import { type Answer, errorAnswer } from "./answers.ts";
import { HttpError, retrySoon } from "./http_error.ts";
import type { Metrics } from "./metrics.ts";
import type { Held } from "./models.ts";
import type { RateLimiter } from "./rate_limit.ts";
import type { Recording } from "./recording.ts";
import type { RequestIds } from "./request_ids.ts";
import type { RequestLog } from "./request_log.ts";
import { RequestTrace } from "./request_trace.ts";

/** One request on its way to an answer; a handler leaves here what the inference table wants to know. */
export class Exchange {
  readonly startedAt = performance.now();
  readonly time = new Date();
  requestId = "";
  clientRequestId: string | null = null;
  requester: string | null = null;
  held: Held | null = null;
  /** Name of the model that the request is for; `null` until it is known. */
  model: string | null = null;
  /** Whether the cache of predictions had the answer; `null` when it was not asked. */
  cache: "hit" | "miss" | null = null;
  #rowCount = 0;
  queueMs: number | null = null;
  modelMs: number | null = null;
  requestBytes: number | null = null;
  responseBytes: number | null = null;
  /** The spans of the request; `null` while nobody traces. */
  trace: RequestTrace | null = null;
  #traceId: string | null | undefined;
  inferences: InferenceRows | null = null;
  /** Why the request was refused or failed; `null` as long as it was not. */
  failure: HttpError | null = null;
  /** Body as it came, once it was read as a whole. */
  body: string | Uint8Array | null = null;
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

  /** Id of the trace that the request is a part of, 32 hex digits; `null` when it is of none. */
  get traceId(): string | null {
    // Asked more than once, and of none there is none to find again.
    if (this.#traceId === undefined) {
      this.#traceId = this.trace?.traceId ?? readTraceId(this.request.headers);
    }
    return this.#traceId;
  }

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

  /** Keeps what the request failed of, and gives it as its client may see it. */
  refuse(error: unknown): HttpError {
    return this.failure = toHttpError(error);
  }

  /**
   * Reads the body.
   * @throws {HttpError} 413 as soon as it is known to be larger than `maxBytes`.
   */
  async readText(maxBytes: number): Promise<string> {
    const { request } = this;
    const text = this.#hasLength(maxBytes)
      ? await request.text().catch(gone)
      : request.body === null
      ? ""
      : new TextDecoder().decode(await this.#readStream(request.body, maxBytes));
    this.body = text;
    return text;
  }

  /**
   * Reads the body as it is, whatever its encoding.
   * @throws {HttpError} as {@linkcode readText}.
   */
  async readBytes(maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const { request } = this;
    const bytes = this.#hasLength(maxBytes)
      ? await request.bytes().catch(gone)
      : request.body === null
      ? new Uint8Array(0)
      : await this.#readStream(request.body, maxBytes);
    this.body = bytes;
    return bytes;
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

/** Trace id of the caller's `traceparent`. */
function readTraceId(headers: Headers): string | null {
  const parent = headers.get("traceparent");
  return parent === null ? null : TRACE_PARENT.exec(parent)?.[1] ?? null;
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
  readonly recording: Recording;
  /** Name of the model that the server serves: its alerts answer for every request here. */
  readonly model: string;
  readonly timeoutMs: number;
  readonly requestLog: RequestLog;
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
    exchange.trace = whole.trace?.part(`${whole.route} part`) ?? null;
    const answer = await this.#answer(exchange, async () => {
      // A stream may outlive its key, and each part counts against the limits.
      this.#admit(exchange);
      return await this.#run(exchange, handler);
    }, {}) as Answer;
    const { metrics, requestLog } = this.#options;
    metrics.countPart(exchange);
    requestLog.failed(exchange);
    exchange.trace?.answered(exchange, answer.status);
    return answer;
  }

  async #exchange(exchange: Exchange, handler: Handler, options: RouteOptions): Promise<Response> {
    exchange.trace = RequestTrace.ofRequest();
    const answer = await this.#answer(exchange, async () => {
      await this.#identify(exchange, options);
      return await this.#run(exchange, handler);
    }, options);
    const { body } = answer;
    if (!isIterable(body)) this.#end(exchange, answer.status);
    // Who serves HTTP may end the span before the stream has ended.
    else exchange.trace?.answered(exchange, answer.status);
    return new Response(isIterable(body) ? this.#send(body, exchange, answer.status) : body, {
      // The client of a cancelled request is gone; 499 is for the table alone.
      status: answer.status,
      headers: {
        "content-type": "application/json",
        "x-request-id": exchange.requestId,
        ...secureHeaders,
        ...(exchange.cache === null ? {} : { "x-cache": exchange.cache }),
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
    try {
      answer = await run();
    } catch (error) {
      answer = writeError(exchange.refuse(error), exchange.requestId);
      exchange.inferences = null;
    }
    if (isIterable(answer.body)) return answer;
    exchange.responseBytes = Buffer.byteLength(answer.body);
    if (!isLogged) return answer;
    const startedAt = performance.now();
    try {
      await this.#record(exchange, answer.status, answer.body);
    } catch (error) {
      answer = writeError(exchange.refuse(toLogError(error)), exchange.requestId);
      const { body, status } = answer;
      exchange.responseBytes = Buffer.byteLength(body as string);
      const hadRows = exchange.inferences !== null;
      exchange.inferences = null;
      // A full log has a reserve for the refusals themselves.
      const isOnRecord = error instanceof LogFullError && hadRows &&
        await this.#record(exchange, status, body as string).then(() => true, () => false);
      if (!isOnRecord) this.#options.metrics.countUnlogged();
    } finally {
      exchange.trace?.step("inference log", { from: startedAt });
    }
    return answer;
  }

  /** Resolves when the row of a request is on record, with what is kept of it. */
  #record(exchange: Exchange, status: number, response: string | Uint8Array): Promise<void> {
    const { log, recording, model } = this.#options;
    const row = toRow(exchange, status, model);
    const { held } = exchange;
    if (held === null) return log.record(row);
    const { inputs, order } = held.model.signature;
    const { inferences, ...kept } = recording.keep({
      requestId: exchange.requestId,
      model: held.model.version.model,
      inputs,
      order: order?.column,
      inferences: exchange.inferences,
      request: exchange.body,
      response,
      error: row.error,
    });
    return log.record({ ...row, ...kept }, inferences);
  }

  /** Counts a request that is over. */
  #end(exchange: Exchange, status: number): void {
    const { metrics, requestLog } = this.#options;
    metrics.countRequest(exchange, status);
    requestLog.failed(exchange);
    requestLog.answered(exchange, status);
    exchange.trace?.answered(exchange, status);
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
    const end = async (): Promise<void> => {
      isEnded = true;
      exchange.responseBytes = bytes;
      const last = exchange.failure?.status ?? status;
      this.#end(exchange, last);
      try {
        await this.#options.log.record(toRow(exchange, last, this.#options.model));
      } catch (cause) {
        this.#options.metrics.countUnlogged();
        throw toLogError(cause);
      }
    };
    return new ReadableStream({
      pull: async (controller) => {
        try {
          const { value, done } = await iterator.next();
          if (isEnded) return;
          if (done) {
            await end();
            return controller.close();
          }
          const part = encoder.encode(value);
          bytes += part.length;
          controller.enqueue(part);
        } catch (error) {
          const failure = exchange.refuse(error);
          if (!isEnded) await end();
          // Deno prints what a stream ends with: a sentence, not a stack.
          controller.error(failure.message);
        }
      },
      cancel: async () => {
        if (isEnded) return;
        await iterator.return?.();
        // Whom a failure to write the row would be told is gone; it is counted.
        exchange.refuse(cancelled());
        await end().catch(() => {});
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

function toRow(exchange: Exchange, statusCode: number, model: string): RequestRow {
  const { request, held, failure } = exchange;
  return {
    requestId: exchange.requestId,
    clientRequestId: exchange.clientRequestId,
    traceId: exchange.traceId,
    requestTime: exchange.time,
    method: request.method,
    endpoint: exchange.endpoint,
    statusCode,
    model: held?.model.version.model ?? exchange.model ?? model,
    version: held?.model.version.version ?? null,
    alias: held?.alias ?? null,
    requester: exchange.requester,
    rowCount: exchange.rowCount,
    durationMs: performance.now() - exchange.startedAt,
    queueMs: exchange.queueMs,
    modelMs: exchange.modelMs,
    requestBytes: exchange.requestBytes,
    responseBytes: exchange.responseBytes,
    error: failure === null ? null : describeError(failure),
  };
}
