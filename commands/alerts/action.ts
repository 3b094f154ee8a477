/** Actions of `deno task alerts`: what each takes, and the spans and times that people write. */
import { parseDuration } from "../../numeric/durations.ts";
import type { Project } from "../../run.ts";
import { UsageError } from "../../runtime/errors.ts";
import type { Arguments } from "../arguments.ts";
import { readText } from "../options.ts";

/** One action on alerts. */
export interface AlertsAction {
  /** Least and most positional arguments, and how they are written. */
  readonly takes: readonly [least: number, most: number, usage: string];
  /** Options that it takes beside those of every action. */
  readonly options: readonly string[];
  /** Gives the exit code when it is not 0. */
  run(project: Project, args: Arguments, positionals: readonly string[]): Promise<number | void>;
}

/** An action on files alone, which needs no store. */
export interface AuthorAction extends AlertsAction {
  run(
    project: Pick<Project, "plugins">,
    args: Arguments,
    positionals: readonly string[],
  ): Promise<number | void>;
}

/**
 * Reads a span such as `2h`.
 * @throws {UsageError} when it is none.
 */
export function readSpan(name: string, value: unknown): number | undefined {
  const text = readText(value);
  if (text === undefined) return undefined;
  try {
    return parseDuration(text);
  } catch (error) {
    throw new UsageError(`Cannot use --${name} "${text}": write a span such as 30m, 2h or 7d`, {
      cause: error,
    });
  }
}

/**
 * Reads a time, or a span before now such as `7d`.
 * @throws {UsageError} when it is neither.
 */
export function readTime(name: string, value: unknown, now: number): number | undefined {
  const text = readText(value);
  if (text === undefined) return undefined;
  // A time without a zone is UTC, as everywhere in the store.
  const hasZone = /(?:Z|[+-]\d\d:?\d\d)$/i.test(text) || !/^\d{4}-\d\d-\d\d[T ]\d/.test(text);
  const time = Date.parse(hasZone ? text : `${text.replace(" ", "T")}Z`);
  if (/^\d{4}-/.test(text) && !Number.isNaN(time)) return time;
  try {
    return now - parseDuration(text);
  } catch {
    throw new UsageError(
      `Cannot use --${name} "${text}": write a time such as 2026-01-31T12:00, or a span before now such as 7d`,
    );
  }
}

/** A time for people: UTC, to the second. */
export function formatTime(time: number): string {
  return new Date(time).toISOString().slice(0, 19).replace("T", " ");
}
