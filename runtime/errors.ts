/** How errors reach a person: one clear line, never a stack trace unless asked for. */

export { suggest } from "../numeric/suggest.ts";

/** The caller asked for something that does not exist; a command exits with 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/**
 * Gives an error as one line, with its causes where its own message gives no reason.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { describeError } from "./errors.ts";
 *
 * const error = new Error('Cannot finish stage "training"', { cause: new TypeError("No rows") });
 * assertEquals(describeError(error), 'Cannot finish stage "training": No rows');
 * ```
 */
export function describeError(error: unknown): string {
  const messages: string[] = [];
  for (let e = error; e !== undefined && e !== null; e = (e as { cause?: unknown }).cause) {
    messages.push(describeMessage(e));
    if (statesReason(messages.at(-1)!)) break;
  }
  return messages.join(": ");
}

function describeMessage(error: unknown): string {
  if (error instanceof Deno.errors.NotCapable) return describeDenied(error.message);
  return error instanceof Error ? error.message : String(error);
}

/** A message with a colon says what was found; a bare "Cannot do this" needs its cause. */
function statesReason(text: string): boolean {
  return text.replace(/"[^"]*"/g, "").includes(": ");
}

/** What a task may touch stands in one place, and the message says where. */
function describeDenied(message: string): string {
  const [, access, thing] = /Requires (\w+) access to (.+?)(?:, run again.*)?$/.exec(message) ?? [];
  return access === undefined
    ? message
    : `Cannot get ${access} access to ${thing}: the task is not permitted to; extend its permission set in deno.json, or stay inside the project folder`;
}
