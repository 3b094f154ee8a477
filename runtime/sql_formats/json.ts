/** Rows as JSON: an array of objects, or one object per line. */
import type { ReadResult } from "../store/database_contract.ts";

/** Gives a value as JSON text: bytes as base64, what is no number as null. */
export function writeJsonValue(value: unknown): string {
  // JSON.stringify asks a Buffer for its own form before the replacer sees it.
  return JSON.stringify(value, function (this: Record<string, unknown>, key, plain) {
    const original = this[key];
    return original instanceof Uint8Array ? original.toBase64() : plain;
  }) ?? "null";
}

/** Gives an array of objects, one per line. */
export function writeJson(result: ReadResult): string {
  const lines = writeLines(result);
  return lines.length === 0 ? "[]\n" : `[\n${lines.join(",\n")}\n]\n`;
}

/** Gives one object per line; no rows are no text. */
export function writeNdjson(result: ReadResult): string {
  return writeLines(result).map((line) => `${line}\n`).join("");
}

function writeLines({ columns, rows }: ReadResult): string[] {
  const keys = columns.map((name, j) => `${j === 0 ? "" : ","}${JSON.stringify(name)}:`);
  return rows.map((row) => `{${keys.map((key, j) => key + writeJsonValue(row[j])).join("")}}`);
}
