/** JSON bodies, with errors that say where. */
import { HttpError } from "./http_error.ts";

/**
 * Parses JSON text.
 * @throws {HttpError} 400 with line, column and offset (from 0) of the first wrong character.
 *
 * @example
 * ```ts
 * import { assertEquals, assertThrows } from "@std/assert";
 * import { parseJson } from "./json.ts";
 *
 * assertEquals(parseJson('{"a": [1]}'), { a: [1] });
 * assertThrows(() => parseJson('{"a": NaN}'), Error, "line 1, column 7");
 * ```
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const position = findJsonError(text);
    const before = text.slice(0, position);
    const line = before.split("\n").length;
    const column = position - before.lastIndexOf("\n");
    throw new HttpError(
      `Cannot parse the body as JSON: ${
        describe(text, position)
      } at line ${line}, column ${column}`,
      "invalid_json",
      { details: [{ message: "first wrong character", line, column, position }], cause },
    );
  }
}

function describe(text: string, position: number): string {
  if (text.trim() === "") return "it is empty";
  if (position >= text.length) return "it ends too early";
  if (/^[-+]?(NaN|Infinity)\b/.test(text.slice(position, position + 12))) {
    return "NaN and Infinity are no JSON (send null when a value is unknown)";
  }
  return `unexpected ${JSON.stringify(String.fromCodePoint(text.codePointAt(position)!))}`;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const WORD = /true|false|null/y;
const SPACE = /[ \t\n\r]*/y;

/** Offset of the first character that JSON does not allow; the length when more is missing. */
function findJsonError(text: string): number {
  let at = 0;
  function take(pattern: RegExp): boolean {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  }
  function takeChar(char: string): boolean {
    if (text[at] !== char) return false;
    at++;
    return true;
  }
  function takeString(): boolean {
    if (text[at] !== '"') return false;
    for (let i = at + 1; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code === 0x22) {
        at = i + 1;
        return true;
      }
      if (code === 0x5c) {
        ESCAPE.lastIndex = i;
        if (ESCAPE.test(text)) i = ESCAPE.lastIndex - 1;
        else {
          at = i;
          return false;
        }
      } else if (code < 0x20) {
        at = i;
        return false;
      }
    }
    at = text.length;
    return false;
  }
  // A stack of its own: a body may nest deeper than the call stack.
  const open: string[] = [];
  let expected: "value" | "key" | "end" = "value";
  let isFirst = false;
  for (;;) {
    take(SPACE);
    if (expected === "end") {
      const closer = open.at(-1);
      if (closer === undefined) return at;
      if (takeChar(closer)) open.pop();
      else if (takeChar(",")) expected = closer === "}" ? "key" : "value";
      else return at;
      isFirst = false;
    } else if (isFirst && open.length > 0 && takeChar(open.at(-1)!)) {
      open.pop();
      expected = "end";
      isFirst = false;
    } else if (expected === "key") {
      if (!takeString()) return at;
      take(SPACE);
      if (!takeChar(":")) return at;
      expected = "value";
      isFirst = false;
    } else if (takeChar("{") || takeChar("[")) {
      const isObject = text[at - 1] === "{";
      open.push(isObject ? "}" : "]");
      expected = isObject ? "key" : "value";
      isFirst = true;
    } else {
      if (!takeString() && !take(NUMBER) && !take(WORD)) return at;
      expected = "end";
      isFirst = false;
    }
  }
}
