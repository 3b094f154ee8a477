/**
 * The forms in which the rows of a query leave the store: JSON, NDJSON, CSV and Arrow. All of them
 * hold the same rows; whether rows were left out is for the caller to say beside them.
 *
 * @module
 */
import type { ReadResult } from "../store/database_contract.ts";
import { writeCsv } from "./csv.ts";
import { writeJson, writeNdjson } from "./json.ts";

/** A form of rows. */
export interface SqlFormat {
  /** Its media type in HTTP. */
  readonly mediaType: string;
  /** Whether it is text, which a terminal can show. */
  readonly isText: boolean;
  write(result: ReadResult): Promise<string | Uint8Array<ArrayBuffer>>;
}

/** Names of the forms, the default first. */
export const sqlFormatNames = ["json", "ndjson", "csv", "arrow"] as const;

/** One of {@linkcode sqlFormatNames}. */
export type SqlFormatName = typeof sqlFormatNames[number];

/**
 * The forms by name.
 *
 * | form     | null       | NaN, infinities  | bytes  | lists         | maps, structs  |
 * | -------- | ---------- | ---------------- | ------ | ------------- | -------------- |
 * | `json`   | null       | null             | base64 | arrays        | objects        |
 * | `ndjson` | null       | null             | base64 | arrays        | objects        |
 * | `csv`    | empty cell | NaN, Infinity    | base64 | JSON text     | JSON text      |
 * | `arrow`  | null       | kept             | binary | lists, typed  | utf8, as JSON  |
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { sqlFormats } from "./mod.ts";
 *
 * const result = { columns: ["a", "b"], rows: [[1, null], [2, ""]], isTruncated: false };
 * assertEquals(await sqlFormats.ndjson.write(result), '{"a":1,"b":null}\n{"a":2,"b":""}\n');
 * assertEquals(await sqlFormats.csv.write(result), 'a,b\n1,\n2,""\n');
 * ```
 */
export const sqlFormats: Readonly<Record<SqlFormatName, SqlFormat>> = {
  json: {
    mediaType: "application/json",
    isText: true,
    write: (result) => Promise.resolve(writeJson(result)),
  },
  ndjson: {
    mediaType: "application/x-ndjson",
    isText: true,
    write: (result) => Promise.resolve(writeNdjson(result)),
  },
  csv: {
    mediaType: "text/csv",
    isText: true,
    write: (result) => Promise.resolve(writeCsv(result)),
  },
  arrow: {
    mediaType: "application/vnd.apache.arrow.stream",
    isText: false,
    write: async (result) => (await import("./arrow.ts")).writeArrow(result),
  },
};
