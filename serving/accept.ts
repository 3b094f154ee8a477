/** Which of several forms of an answer a client wants. */

interface MediaRange {
  readonly type: string;
  readonly subtype: string;
  readonly quality: number;
}

/**
 * Gives the media type of `offered` that an `Accept` header ranks highest, `null` when it takes none.
 * Without a header that is the first one. Of equal ranks the one that is named counts, then the one
 * that the header names first, then the one that is offered first.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-accept
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { chooseMediaType } from "./accept.ts";
 *
 * const offered = ["application/json", "text/csv"];
 * assertEquals(chooseMediaType(null, offered), "application/json");
 * assertEquals(chooseMediaType("text/csv, application/*;q=0.1", offered), "text/csv");
 * assertEquals(chooseMediaType("text/html", offered), null);
 * ```
 */
export function chooseMediaType(header: string | null, offered: readonly string[]): string | null {
  if (header === null || header.trim() === "") return offered[0];
  const ranges = header.split(",").map(readRange);
  const ranked = offered.flatMap((mediaType, place) => {
    const [type, subtype] = mediaType.split("/");
    const matches = ranges.map((range, at) => ({ ...range, at, names: countNames(range) })).filter(
      (range) =>
        (range.type === type || range.type === "*") &&
        (range.subtype === subtype || range.subtype === "*"),
    );
    if (matches.length === 0) return [];
    const closest = matches.reduce((a, b) => b.names > a.names ? b : a);
    return closest.quality > 0 ? [{ mediaType, place, ...closest }] : [];
  });
  ranked.sort((a, b) =>
    b.quality - a.quality || b.names - a.names || a.at - b.at || a.place - b.place
  );
  return ranked[0]?.mediaType ?? null;
}

function countNames({ type, subtype }: MediaRange): number {
  return Number(type !== "*") + Number(subtype !== "*");
}

function readRange(text: string): MediaRange {
  const [name, ...parameters] = text.split(";").map((part) => part.trim().toLowerCase());
  const [type, subtype = ""] = name.split("/");
  const given = parameters.find((part) => part.startsWith("q="))?.slice(2);
  const quality = given === undefined ? 1 : Number(given);
  // What cannot be read is not wanted.
  return { type, subtype, quality: quality >= 0 && quality <= 1 ? quality : 0 };
}
