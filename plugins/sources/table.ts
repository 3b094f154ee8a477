/**
 * Tables in CSV, Parquet and JSON files. They give a `SELECT`, so that the store reads the file
 * itself and rows never pass through this process.
 *
 * @module
 */
import { open } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { definePlugin, type SourceTable } from "../plugin.ts";

/** Text with one row per line and a header line. */
export const csv = definePlugin({
  kind: "source",
  name: "csv",
  summary: "Delimited text with a header line: comma, tab, semicolon or bar",
  extensions: [".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz"],
  async open(uri, _context): Promise<SourceTable> {
    await checkFile(uri);
    const head = await readHead(uri);
    const delimiter = findDelimiter(head, uri);
    const decimal = delimiter === ";" && DECIMAL_COMMA.test(head) ? "," : ".";
    // All rows decide the types: a text cell in row 100,000 must not end the run.
    const select = `select * from read_csv(${quote(uri)}, delim = ${quote(delimiter)}, ` +
      `header = true, quote = '"', escape = '"', skip = 0, decimal_separator = '${decimal}', nullstr = [${
        NULL_WORDS.map(quote).join(", ")
      }], ` +
      "sample_size = -1, null_padding = false, ignore_errors = false, strict_mode = true)";
    return { select, findings: [] };
  },
});

/** Apache Parquet. */
export const parquet = definePlugin({
  kind: "source",
  name: "parquet",
  summary: "Apache Parquet",
  extensions: [".parquet", ".pq"],
  async open(uri, _context): Promise<SourceTable> {
    await checkFile(uri);
    return { select: `select * from read_parquet(${quote(uri)})`, findings: [] };
  },
});

/** An array of objects, or one object per line. */
export const json = definePlugin({
  kind: "source",
  name: "json",
  summary: "JSON: an array of records, or one record per line",
  extensions: [".json", ".ndjson", ".jsonl", ".json.gz"],
  async open(uri, _context): Promise<SourceTable> {
    await checkFile(uri);
    return {
      select: `select * from read_json(${quote(uri)}, sample_size = -1)`,
      findings: [],
    };
  },
});

/** A cell such as `1,5` between semicolons, as spreadsheets write it in half of Europe. */
const DECIMAL_COMMA = /(^|;)-?\d+,\d+(;|\r?$)/m;

/** Words that stand for a missing cell. */
const NULL_WORDS = ["", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null"];

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

async function checkFile(uri: string): Promise<void> {
  let info;
  try {
    info = await Deno.stat(uri);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`Cannot read "${uri}": there is no such file; check the path`, {
      cause: error,
    });
  }
  if (!info.isFile) throw new Error(`Cannot read "${uri}": it is a folder; name one file`);
  if (info.size === 0) throw new SyntaxError(`Cannot read "${uri}": the file is empty`);
}

/** Bytes of the file's beginning that decide the delimiter. */
const HEAD_BYTES = 65_536;

/** The complete lines of the file's beginning. */
async function readHead(uri: string): Promise<string> {
  const file = await open(uri);
  try {
    const stream = file.createReadStream({ end: 4 * HEAD_BYTES, autoClose: false });
    const chunks: Uint8Array[] = [];
    let size = 0;
    // A gzip stream cut by `end` fails at its end; by then the head is complete.
    const bytes = uri.endsWith(".gz") ? stream.pipe(createGunzip()) : stream;
    try {
      for await (const chunk of bytes) {
        chunks.push(chunk);
        size += chunk.length;
        if (size >= HEAD_BYTES) break;
      }
    } catch (error) {
      if (size === 0) {
        throw new SyntaxError(
          `Cannot read "${uri}": its gzip data is truncated or damaged; copy the file again`,
          { cause: error },
        );
      }
    }
    const text = await new Blob(chunks as BlobPart[]).text();
    // What follows the last line end may be half a line.
    return size >= HEAD_BYTES ? text.slice(0, text.lastIndexOf("\n") + 1) || text : text;
  } finally {
    await file.close();
  }
}

const DELIMITERS = [",", "\t", ";", "|"];

/** The delimiter that gives the header most columns with the fewest lines that differ from it. */
function findDelimiter(head: string, uri: string): string {
  const candidates = DELIMITERS.map((delimiter) => {
    const widths = countCells(head, delimiter);
    const ragged = widths.findIndex((cells) => cells.count !== widths[0].count);
    return { delimiter, widths, columns: widths[0]?.count ?? 0, ragged };
  }).filter((candidate) => candidate.columns > 1);
  candidates.sort((a, b) => Number(a.ragged >= 0) - Number(b.ragged >= 0) || b.columns - a.columns);
  const [best] = candidates;
  if (!best) {
    throw new SyntaxError(
      `Cannot read "${uri}": its first line "${
        head.split(/\r?\n/, 1)[0].slice(0, 60)
      }" is one column; separate columns by comma, tab, semicolon or bar`,
    );
  }
  if (best.ragged >= 0) {
    const { line, count } = best.widths[best.ragged];
    throw new SyntaxError(
      `Cannot read "${uri}": line ${line} has ${count} cells and the header has ${best.columns}; ` +
        "correct the line, or quote cells that hold the delimiter",
    );
  }
  return best.delimiter;
}

/** Cells per record of complete lines; quoted cells may hold delimiters and line ends. */
function countCells(head: string, delimiter: string): { line: number; count: number }[] {
  const records: { line: number; count: number }[] = [];
  let count = 1;
  let line = 1;
  let recordLine = 1;
  let isQuoted = false;
  let isBlank = true;
  let before = delimiter;
  for (const char of head) {
    if (char === "\n") line++;
    // A quote opens at the start of a cell, or again as the second one of a pair.
    const isOpening = before === delimiter || before === "\n" || before === '"';
    if (char === '"' && (isQuoted || isOpening)) isQuoted = !isQuoted;
    else if (char === delimiter && !isQuoted) count++;
    else if (char === "\n" && !isQuoted) {
      if (!isBlank) records.push({ line: recordLine, count });
      [count, isBlank, recordLine, before] = [1, true, line, char];
      continue;
    }
    if (char !== "\r") isBlank = false;
    before = char;
  }
  if (!isBlank && !isQuoted) records.push({ line: recordLine, count });
  return records;
}
