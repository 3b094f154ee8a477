/** Rows as CSV. */
import type { ReadResult } from "../store/database_contract.ts";
import { writeJsonValue } from "./json.ts";

/**
 * Gives a header line and one line per row, quoted as RFC 4180 says. Lines end with a line feed alone,
 * so that shell tools can read them. Null is an empty cell and an empty text `""`; lists, maps and
 * structs are JSON text, bytes base64. Cells are written as they are: a text that begins with `=` is
 * a formula to a spreadsheet that opens the file.
 *
 * @see https://www.rfc-editor.org/rfc/rfc4180
 */
export function writeCsv({ columns, rows }: ReadResult): string {
  return [columns, ...rows].map((row) => `${row.map(writeCell).join(",")}\n`).join("");
}

function writeCell(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = value instanceof Uint8Array
    ? value.toBase64()
    : typeof value === "object"
    ? writeJsonValue(value)
    : String(value);
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
