/**
 * Tables in CSV, Parquet and JSON files. They give a `SELECT`, so that the store reads the file
 * itself and rows never pass through this process.
 *
 * @module
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { definePlugin, type Finding, type SourceTable } from "../plugin.ts";

/**
 * Text in UTF-8 with one row per line and a header line. Numbers, dates and times are found by
 * looking at all rows; every other column, also of yes/no or t/f, is text.
 */
export const csv = definePlugin({
  kind: "source",
  name: "csv",
  summary: "Delimited text with a header line: comma, tab, semicolon or bar",
  extensions: [".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz"],
  async open(uri, { signal }): Promise<SourceTable> {
    await checkFile(uri, signal);
    const head = decodeHead(await readHead(uri), uri);
    const delimiter = findDelimiter(head, uri);
    const decimal = delimiter === ";" && DECIMAL_COMMA.test(head) ? "," : ".";
    const format = `delim = ${quote(delimiter)}, header = true, quote = '"', escape = '"', ` +
      `buffer_size = ${BUFFER_BYTES}, skip = 0, null_padding = false, ignore_errors = false, ` +
      "strict_mode = true";
    return {
      // All rows decide the types: a text cell in row 100,000 must not end the run.
      select: `select * from read_csv(${quote(uri)}, ${format}, sample_size = -1, ` +
        `decimal_separator = '${decimal}', nullstr = [${NULL_WORDS.map(quote).join(", ")}], ` +
        `auto_type_candidates = [${TYPES.map(quote).join(", ")}])`,
      texts: `select * from read_csv(${quote(uri)}, ${format}, all_varchar = true, nullstr = [''])`,
      findings: findHeaderTrouble(readHeader(head, delimiter), uri),
    };
  },
});

/** Apache Parquet. */
export const parquet = definePlugin({
  kind: "source",
  name: "parquet",
  summary: "Apache Parquet",
  extensions: [".parquet", ".pq"],
  async open(uri, { signal }): Promise<SourceTable> {
    await checkFile(uri, signal);
    return { select: `select * from read_parquet(${quote(uri)})`, findings: [] };
  },
});

/** An array of objects, or one object per line. */
export const json = definePlugin({
  kind: "source",
  name: "json",
  summary: "JSON: an array of records, or one record per line",
  extensions: [".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz"],
  async open(uri, { signal }): Promise<SourceTable> {
    await checkFile(uri, signal);
    return {
      select: `select * from read_json(${quote(uri)}, sample_size = -1)`,
      findings: [],
    };
  },
});

/** A buffer of a CSV reader, a fourth of the usual: a file is read by several of them at once. */
const BUFFER_BYTES = 8 * 2 ** 20;

/** A cell such as `1,5` between semicolons, as spreadsheets write it in half of Europe. */
const DECIMAL_COMMA = /(^|;)-?\d+,\d+(;|\r?$)/m;

/** Words that stand for a missing cell. */
const NULL_WORDS = ["", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null"];

/** Types that a cell's text may have. BOOLEAN would take yes/no and t/f, which are names of classes. */
const TYPES = ["BIGINT", "DOUBLE", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "VARCHAR"];

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Checks that there is a file with something in it, and all of a gzip file. */
async function checkFile(uri: string, signal: AbortSignal): Promise<void> {
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
  if (uri.toLowerCase().endsWith(".gz")) await checkGzip(uri, signal);
}

/** Unpacks a gzip file to nowhere: its end holds length and checksum, which DuckDB does not check. */
async function checkGzip(uri: string, signal: AbortSignal): Promise<void> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  try {
    await pipeline(createReadStream(uri), createGunzip(), nowhere, { signal });
  } catch (error) {
    if (signal.aborted || !/^Z_/.test((error as { code?: string }).code ?? "")) throw error;
    throw new SyntaxError(
      `Cannot read "${uri}": its gzip data is truncated or damaged; copy the file again`,
      { cause: error },
    );
  }
}

/** Bytes of the file's beginning that decide the delimiter. */
const HEAD_BYTES = 65_536;

/** The complete lines of the file's beginning. */
async function readHead(uri: string): Promise<Uint8Array> {
  const file = await open(uri);
  try {
    const stream = file.createReadStream({ end: 4 * HEAD_BYTES, autoClose: false });
    const chunks: Uint8Array[] = [];
    let size = 0;
    const bytes = uri.toLowerCase().endsWith(".gz") ? stream.pipe(createGunzip()) : stream;
    try {
      for await (const chunk of bytes) {
        chunks.push(chunk);
        size += chunk.length;
        if (size >= HEAD_BYTES) break;
      }
    } catch (error) {
      // A gzip stream cut by `end` fails at its end; by then the head is complete.
      if (size === 0) throw error;
    }
    const head = new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
    // What follows the last line end may be half a line.
    return size >= HEAD_BYTES ? head.subarray(0, head.lastIndexOf(LF) + 1 || size) : head;
  } finally {
    await file.close();
  }
}

const LF = 10;

/** First bytes of files that are no text, and what they are. */
const SIGNATURES: readonly [bytes: readonly number[], state: string][] = [
  [[0xff, 0xfe], "it is UTF-16 text; save it as UTF-8"],
  [[0xfe, 0xff], "it is UTF-16 text; save it as UTF-8"],
  [[0x50, 0x4b, 3, 4], "it is a spreadsheet or a ZIP archive; save its table as CSV in UTF-8"],
  [[0x1f, 0x8b], "it is gzip data; give it a name that ends with .gz"],
  [[0x50, 0x41, 0x52, 0x31], "it is a Parquet file; give it a name that ends with .parquet"],
];

/** Share of zero bytes from which on text is taken to be UTF-16: its every second byte is zero. */
const UTF16_ZEROS = 0.3;

/** The text of the file's beginning; refuses what is not UTF-8 and says what it seems to be. */
function decodeHead(head: Uint8Array, uri: string): string {
  const fail = (state: string, cause?: unknown) =>
    new SyntaxError(`Cannot read "${uri}": ${state}`, { cause });
  const signature = SIGNATURES.find(([bytes]) => bytes.every((byte, i) => head[i] === byte));
  if (signature) throw fail(signature[1]);
  const zeros = head.reduce((sum, byte) => sum + Number(byte === 0), 0);
  if (zeros >= UTF16_ZEROS * head.length) {
    throw fail("it seems to be UTF-16 text; save it as UTF-8");
  }
  if (zeros > 0) throw fail("it is binary data and no text; save its table as CSV in UTF-8");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: true });
  } catch (error) {
    const line = findBadLine(head);
    throw fail(
      `line ${line} is not UTF-8 but perhaps Latin-1 or Windows-1252; save the file as UTF-8`,
      error,
    );
  }
}

/** Number of the first line, from 1, that is not UTF-8. */
function findBadLine(bytes: Uint8Array): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(LF, start);
    try {
      decoder.decode(bytes.subarray(start, end < 0 ? bytes.length : end));
    } catch {
      return line;
    }
    if (end < 0) break;
    start = end + 1;
  }
  return line;
}

/** Cells of the first line that is not blank. */
function readHeader(head: string, delimiter: string): string[] {
  const cell = new RegExp(`"((?:[^"]|"")*)"|[^\\${delimiter}\r\n]*`, "y");
  cell.lastIndex = /^[\r\n]*/.exec(head)![0].length;
  const names: string[] = [];
  for (;;) {
    const [text, quoted] = cell.exec(head)!;
    names.push((quoted?.replaceAll('""', '"') ?? text).trim());
    if (head[cell.lastIndex] !== delimiter) return names;
    cell.lastIndex++;
  }
}

/** Names what DuckDB renames, which it does without a word. */
function findHeaderTrouble(names: readonly string[], uri: string): Finding[] {
  const warn = (subject: string, message: string): Finding => ({
    check: "header",
    severity: "warning",
    subject,
    message,
  });
  const places = new Map<string, number[]>();
  names.forEach((name, j) => {
    const key = name.toLowerCase();
    places.set(key, [...places.get(key) ?? [], j]);
  });
  return [...places.values()].flatMap((columns) => {
    const [first, ...more] = columns;
    const name = names[first];
    if (name === "") {
      const digits = String(names.length - 1).length;
      return columns.map((j) => {
        const called = `column${String(j).padStart(digits, "0")}`;
        return warn(
          called,
          `Column ${j + 1} of ${uri} has no name and is called ${called}; give it one in the file`,
        );
      });
    }
    if (more.length === 0) return [];
    const renamed = more.map((j, i) => `${names[j]}_${i + 1}`);
    return [warn(
      name,
      `Columns ${
        columns.map((j) => j + 1).join(", ")
      } of ${uri} are all called ${name}; all but the ` +
        `first are read as ${renamed.join(", ")}: give each its own name in the file`,
    )];
  });
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
