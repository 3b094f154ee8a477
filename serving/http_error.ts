/** How a request is refused: a status, a code for programs, a sentence for people. */

/** Every code an error answer can carry, with its HTTP status. */
export const errorStatus = {
  invalid_json: 400,
  invalid_request_id: 400,
  invalid_query: 400,
  invalid_otlp: 400,
  unauthorized: 401,
  forbidden: 403,
  invalid_key: 403,
  expired_key: 403,
  revoked_key: 403,
  role_too_low: 403,
  not_found: 404,
  method_not_allowed: 405,
  not_acceptable: 406,
  too_large: 413,
  invalid_input: 422,
  rate_limited: 429,
  quota_exceeded: 429,
  cancelled: 499,
  internal: 500,
  model_failed: 500,
  no_model: 503,
  busy: 503,
  log_full: 503,
  log_failed: 503,
  timeout: 504,
} as const;

/** One of {@linkcode errorStatus}. */
export type ErrorCode = keyof typeof errorStatus;

/** One thing that is wrong with a request. */
export interface Detail {
  readonly message: string;
  /** Record index from 0. */
  readonly record?: number;
  readonly field?: string;
  readonly [key: string]: unknown;
}

/** What else an {@linkcode HttpError} says. */
export interface HttpErrorOptions {
  readonly details?: readonly Detail[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Ends a request with an error answer. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;
  readonly details: readonly Detail[] | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(message: string, readonly code: ErrorCode, options: HttpErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.status = errorStatus[code];
    this.details = options.details;
    this.headers = options.headers ?? {};
  }
}

/** Headers that tell a client to come back, for the 503 of a full queue. */
export const retrySoon: Readonly<Record<string, string>> = { "retry-after": "1" };
