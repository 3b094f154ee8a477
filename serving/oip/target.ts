/** Which model a path of the protocol means. */
import { HttpError } from "../http_error.ts";
import type { ModelReference } from "../models.ts";

/** A model as a path names it; without alias and version, what the server serves by default. */
export interface Target extends ModelReference {
  readonly model: string;
}

/**
 * Reads the target of a path such as `/v2/models/rocks/versions/3/infer`. A version is a number or
 * an alias; an alias may also follow the name, as in `/v2/models/rocks@champion/infer`.
 *
 * @throws {HttpError} 400 when the path names two, or is not encoded as a URL is.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { readTarget } from "./target.ts";
 *
 * const url = "http://localhost/v2/models/rocks";
 * assertEquals(readTarget(`${url}/infer`), { model: "rocks" });
 * assertEquals(readTarget(`${url}/versions/3/infer`).version, 3);
 * assertEquals(readTarget(`${url}/versions/champion`).alias, "champion");
 * assertEquals(readTarget(`${url}@champion/ready`).alias, "champion");
 * ```
 */
export function readTarget(url: string): Target {
  const { pathname } = new URL(url);
  const parts = pathname.split("/");
  const at = parts.indexOf("models") + 1;
  const [model, alias, ...more] = decode(parts[at]).split("@");
  const version = parts[at + 1] === "versions" ? decode(parts[at + 2]) : undefined;
  if (more.length > 0 || (alias !== undefined && version !== undefined)) {
    throw new HttpError(
      `Cannot find "${pathname.slice(0, 100)}": it names two versions; name one`,
      "invalid_query",
    );
  }
  return { model, ...readVersion(alias ?? version) };
}

/** Gives what a version's text means: a number, or an alias with or without `@`. */
export function readVersion(text: string | undefined): ModelReference | undefined {
  if (text === undefined || text === "") return undefined;
  const number = /^v?([1-9]\d{0,8})$/.exec(text)?.[1];
  return number === undefined ? { alias: text.replace(/^@/, "") } : { version: Number(number) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw new HttpError(`Cannot find "${part.slice(0, 100)}": it is no URL text`, "invalid_query", {
      cause,
    });
  }
}
