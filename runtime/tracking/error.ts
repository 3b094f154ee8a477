/** How tracking refuses: with a code that the MLflow protocol knows. */
import type { Step, Store } from "../store/store.ts";

/** Why tracking refuses something. */
export type TrackingCode =
  | "INVALID_PARAMETER_VALUE"
  | "RESOURCE_DOES_NOT_EXIST"
  | "RESOURCE_ALREADY_EXISTS"
  | "PERMISSION_DENIED";

/** Tracking cannot do what was asked. */
export class TrackingError extends Error {
  override readonly name = "TrackingError";

  constructor(message: string, readonly code: TrackingCode) {
    super(message);
  }
}

/** Gives the error for a value that cannot be taken. */
export function invalid(message: string): TrackingError {
  return new TrackingError(message, "INVALID_PARAMETER_VALUE");
}

/** Gives the error for a thing that does not exist. */
export function missing(message: string): TrackingError {
  return new TrackingError(message, "RESOURCE_DOES_NOT_EXIST");
}

/** Gives the error for a name that is taken. */
export function taken(message: string): TrackingError {
  return new TrackingError(message, "RESOURCE_ALREADY_EXISTS");
}

/** Marks a {@linkcode TrackingError} on its way through the database. */
const MARK = "geophone-refused";

/**
 * Gives a step that ends its transaction with `error` when `condition` holds. What is checked and
 * what is written after it are one, whoever writes at the same time.
 */
export function refuseIf(
  error: TrackingError,
  condition: string,
  params: readonly (string | number | null)[],
): Step {
  return {
    sql: `select error(?) where ${condition}`,
    params: [`${MARK}:${error.code}:${error.message}`, ...params],
  };
}

/** SQL of a refusal whose message is made from rows: `message` is a varchar expression. */
export function refusalSql(code: TrackingCode, message: string): string {
  return `error('${MARK}:${code}:' || ${message})`;
}

/**
 * Runs all steps or none.
 * @throws {TrackingError} when a step refused.
 */
export async function commit(store: Store, steps: readonly Step[]): Promise<void> {
  try {
    await store.transaction(steps);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const found = new RegExp(`${MARK}:([A-Z_]+):([^]*)`).exec(text);
    if (!found) throw error;
    throw new TrackingError(found[2].trimEnd(), found[1] as TrackingCode);
  }
}
