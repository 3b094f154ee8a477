/** Parameters of a query string, each read by a reader of its own; unknown and wrong ones are refused. */
import { suggest } from "../runtime/errors.ts";
import { HttpError } from "./http_error.ts";

/** Reads one parameter. */
export interface QueryReader<T> {
  /** What it takes, as it stands in a refusal. */
  readonly wanted: string;
  /** Gives the value, `null` when the text is none. */
  read(text: string): T | null;
}

/** A name of anything. */
export const text: QueryReader<string> = { wanted: "a name", read: (text) => text };

/** A date, or a time; without a zone it is UTC, as everywhere in the store. */
export const time: QueryReader<Date> = {
  wanted: "a time such as 2026-01-31T12:00Z",
  read(text) {
    const [, isTimed, zone] =
      /^\d{4}-\d\d-\d\d(?:([T ])\d\d:\d\d(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/i.exec(text) ??
        [];
    const isForm = /^\d{4}-\d\d-\d\d/.test(text) && (isTimed !== undefined || text.length === 10);
    const ms = isForm ? Date.parse(isTimed && !zone ? `${text}Z` : text) : NaN;
    if (Number.isNaN(ms)) return null;
    // A day that its month does not have would be one of the next month.
    const day = text.slice(0, 10);
    return new Date(day).toISOString().startsWith(day) ? new Date(ms) : null;
  },
};

/** An integer from 1 to `most`. */
export function upTo(most: number): QueryReader<number> {
  return {
    wanted: `a number up to ${most}`,
    read: (text) => /^[1-9]\d{0,8}$/.test(text) && Number(text) <= most ? Number(text) : null,
  };
}

/** A time span of at least 0. */
export const milliseconds: QueryReader<number> = {
  wanted: "milliseconds",
  read(text) {
    const value = text.trim() === "" ? NaN : Number(text);
    return Number.isFinite(value) && value >= 0 ? value : null;
  },
};

/** One of some words. */
export function oneOf<T extends string>(...words: readonly T[]): QueryReader<T> {
  return {
    wanted: words.join(" or "),
    read: (text) => words.find((word) => word === text) ?? null,
  };
}

/** Values by name; those that were not given are not there. */
export type QueryValues<R extends Readonly<Record<string, QueryReader<unknown>>>> = {
  readonly [name in keyof R]?: R[name] extends QueryReader<infer T> ? T : never;
};

/**
 * Reads the query of a request.
 * @throws {HttpError} 400 for a parameter that is unknown, given twice, empty or wrong.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { readQuery, upTo } from "./query.ts";
 *
 * const read = (query: string) =>
 *   readQuery(new Request(`http://localhost/?${query}`), { limit: upTo(10) });
 * assertEquals(read("limit=3"), { limit: 3 });
 * assertEquals(read(""), {});
 * assertThrows(() => read("limit=11"), Error, 'limit "11" is not a number up to 10');
 * ```
 */
export function readQuery<R extends Readonly<Record<string, QueryReader<unknown>>>>(
  request: Request,
  readers: R,
): QueryValues<R> {
  const known = Object.keys(readers);
  const values: Record<string, unknown> = {};
  for (const [name, given] of new URL(request.url).searchParams) {
    const shown = name.slice(0, 40);
    if (!known.includes(name)) {
      const near = suggest(name, known);
      throw refuse(
        `unknown parameter "${shown}"; ${
          near ? `did you mean "${near}"?` : `there are ${known.join(", ")}`
        }`,
      );
    }
    if (name in values) throw refuse(`${shown} is there twice`);
    const value = given === "" ? null : readers[name].read(given);
    if (value === null) {
      throw refuse(`${shown} "${given.slice(0, 40)}" is not ${readers[name].wanted}`);
    }
    values[name] = value;
  }
  return values as QueryValues<R>;
}

function refuse(state: string): HttpError {
  return new HttpError(`Cannot read the query: ${state}`, "invalid_query");
}
