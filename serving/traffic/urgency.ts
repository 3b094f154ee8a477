/** How soon a request wants its prediction: a priority, a deadline, and a signal that ends it. */
import { HttpError } from "../http_error.ts";

/** Priorities, the most urgent first. */
export const priorities = ["high", "normal", "low"] as const;

/** One of {@linkcode priorities}. */
export type Priority = (typeof priorities)[number];

/** What a request asks of the queue; what is left out is `normal`, without an end. */
export interface Urgency {
  readonly priority?: Priority;
  /** On the clock of `performance.now()`: whoever waits longer is not run. */
  readonly deadline?: number;
  /** Takes the request out of the queue. */
  readonly signal?: AbortSignal;
}

/**
 * Reads `X-Priority` (high, normal, low) and `X-Timeout-Ms` (from `startedAt` on).
 * @throws {HttpError} 400 when either is something else.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readUrgency } from "./urgency.ts";
 *
 * const headers = new Headers({ "x-priority": "low", "x-timeout-ms": "50" });
 * assertEquals(readUrgency(headers, 1000), { priority: "low", deadline: 1050 });
 * assertEquals(readUrgency(new Headers(), 1000), {});
 * ```
 */
export function readUrgency(headers: Headers, startedAt: number): Urgency {
  const priority = headers.get("x-priority");
  const timeout = headers.get("x-timeout-ms");
  return {
    ...(priority === null ? {} : { priority: checkPriority(priority, "X-Priority") }),
    ...(timeout === null ? {} : { deadline: startedAt + readTimeout(timeout, "X-Timeout-Ms") }),
  };
}

/** Triton's numbers: 0 is the default, 1 the most urgent. */
function fromNumber(value: number): Priority {
  return value === 0 ? "normal" : priorities[Math.min(value, priorities.length) - 1];
}

/**
 * Reads the parameters of an inference: `priority` as Triton numbers it (0 default, 1 high, 2 normal,
 * 3 and above low) or by name, `timeout` in microseconds, of which 0 is none.
 *
 * @throws {HttpError} 400 when either is something else.
 * @see https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_schedule_policy.html
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readScheduling } from "./urgency.ts";
 *
 * const urgency = readScheduling({ priority: 1, timeout: 2000 }, 1000);
 * assertEquals(urgency, { priority: "high", deadline: 1002 });
 * ```
 */
export function readScheduling(
  parameters: Readonly<Record<string, unknown>>,
  startedAt: number,
): Urgency {
  const { priority, timeout } = parameters;
  const isNone = timeout === undefined || timeout === 0;
  return {
    ...(priority === undefined ? {} : {
      priority: isCount(priority) ? fromNumber(priority) : checkPriority(priority, "priority"),
    }),
    ...(isNone ? {} : { deadline: startedAt + readTimeout(timeout, "timeout") / 1000 }),
  };
}

function checkPriority(value: unknown, name: string): Priority {
  const known = priorities.find((priority) => priority === value);
  if (known !== undefined) return known;
  throw new HttpError(
    `Cannot use "${name}": there is no priority "${String(value).slice(0, 40)}"; there are ` +
      priorities.join(", "),
    "invalid_query",
  );
}

function readTimeout(value: unknown, name: string): number {
  const number = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (isCount(number) && number > 0) return number;
  throw new HttpError(
    `Cannot use "${name}": "${String(value).slice(0, 40)}" is no positive integer`,
    "invalid_query",
  );
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
