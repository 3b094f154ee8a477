/** How errors reach a person: one clear line, never a stack trace unless asked for. */

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

/** The known name nearest to `name` by edit distance, when near enough to be a typing error. */
export function suggest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      current[j] = Math.min(previous[j] + 1, current[j - 1] + 1, substitution);
    }
    previous = current;
  }
  return previous[b.length];
}
