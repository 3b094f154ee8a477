/** Bodies and path parts of routes that change something: small, and read in one way. */
import type { z } from "zod";
import type { Exchange } from "./exchange.ts";
import { HttpError } from "./http_error.ts";
import { parseJson } from "./json.ts";

/** A larger body holds more than names, reasons and notes. */
const MAX_BODY_BYTES = 1 << 16;

/**
 * Reads a small JSON body, which may be left out where the schema takes an empty object.
 * @throws {HttpError} `invalid_input` that names the first field that is wrong.
 */
export async function readSmallBody<T>(exchange: Exchange, schema: z.ZodType<T>): Promise<T> {
  const text = await exchange.readText(MAX_BODY_BYTES);
  const parsed = schema.safeParse(text.trim() === "" ? {} : parseJson(text));
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw wrongBody(path.join(".") || "it", message);
}

/** The error of a field of a body. */
export function wrongBody(where: string, message: string): HttpError {
  return new HttpError(`Cannot read the body: ${where}: ${message}`, "invalid_input");
}

/** Reads a part of a path. @throws {HttpError} `invalid_query` */
export function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new HttpError(
      `Cannot read "${part.slice(0, 100)}": its percent signs encode no text`,
      "invalid_query",
    );
  }
}
