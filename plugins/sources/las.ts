/**
 * Well logs in LAS (Log ASCII Standard) 1.2, 2.0 and 3.0, plain or compressed with gzip.
 *
 * @see CWLS LAS 1.2 (1990), LAS 2.0 (Heslop et al., 1992, updated 2017), LAS 3.0 (2000): the
 * Canadian Well Logging Society's file structure documents.
 *
 * @module
 */
import { gunzipSync } from "node:zlib";
import { type Column, definePlugin, type Finding } from "../plugin.ts";

/** One header line: `MNEM.UNIT VALUE : DESCRIPTION`. */
export interface LasItem {
  readonly mnemonic: string;
  readonly unit: string;
  readonly value: string;
  readonly description: string;
}

/** One curve: a header line of ~Curve, with a name that is unique in the file. */
export interface LasCurve extends LasItem {
  /** The mnemonic, with `:2`, `:3` … behind the second and later curve of the same name. */
  readonly name: string;
}

/** A data section besides the logs, such as the `Lithology` of LAS 3.0. */
export interface LasTable {
  readonly name: string;
  readonly curves: readonly LasCurve[];
  readonly columns: readonly Column[];
}

/** Everything a LAS file says. */
export interface LasFile {
  /** `1.2`, `2.0` or `3.0` as the file writes it. */
  readonly version: string;
  readonly isWrapped: boolean;
  /** The value that stands for "missing", when the file declares one. */
  readonly nullValue: number | undefined;
  readonly well: readonly LasItem[];
  readonly parameters: readonly LasItem[];
  /** Curves of the logs, or of the only data section when the file holds no logs. */
  readonly curves: readonly LasCurve[];
  /** One column per curve, all of the same length; missing is `NaN` or `null`. */
  readonly columns: readonly Column[];
  /** Further data sections, LAS 3.0 only. */
  readonly tables: readonly LasTable[];
  readonly findings: readonly Finding[];
}

/** Reads `.las` files, plain or `.las.gz`. */
export const las = definePlugin({
  kind: "source",
  name: "las",
  summary: "Well logs and intervals in LAS 1.2, 2.0 and 3.0",
  extensions: [".las", ".LAS", ".las.gz"],
  async open(uri, { signal }) {
    const { columns, findings } = parseLas(await readBytes(uri, signal), uri);
    return { columns, findings };
  },
});

async function readBytes(uri: string, signal: AbortSignal): Promise<Uint8Array> {
  try {
    return await Deno.readFile(uri, { signal });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`Cannot read "${uri}": there is no such file; check the path`, {
      cause: error,
    });
  }
}

/**
 * Parses a LAS file: header sections, then every data section.
 *
 * Values equal to NULL become `NaN`. Cells that are no number become `NaN` and are counted in a
 * warning finding, unless most cells of the column are text: then it is a text column.
 *
 * @param bytes The file, plain or gzip; UTF-8, UTF-16 with a byte order mark, or Windows-1252.
 * @param uri What errors and findings call the file.
 * @throws {SyntaxError} when it is empty, no LAS, truncated, or a row has a wrong number of values;
 * the message names the line.
 * @throws {RangeError} when its version is not 1.2, 2.x or 3.0.
 * @see CWLS LAS 2.0, section 5 (sections) and LAS 3.0, "Section Structure".
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseLas } from "./las.ts";
 *
 * const text = `~V
 * VERS. 2.0 :
 * WRAP. NO :
 * ~W
 * NULL. -999.25 :
 * ~C
 * DEPT.M : depth
 * GR.GAPI : gamma ray
 * ~A
 * 1.0 80.5
 * 1.5 -999.25
 * `;
 * const { columns } = parseLas(new TextEncoder().encode(text));
 * assertEquals(columns, [
 *   { name: "DEPT", unit: "M", values: new Float64Array([1, 1.5]) },
 *   { name: "GR", unit: "GAPI", values: new Float64Array([80.5, NaN]) },
 * ]);
 * ```
 */
export function parseLas(bytes: Uint8Array, uri = "LAS"): LasFile {
  const text = unpack(bytes, uri);
  const sections = splitSections(text, uri);
  const header = readHeader(text, sections, uri);
  const findings: Finding[] = [...header.findings];
  const tables = sections.filter((s) => s.kind === "data").map((section) =>
    readTable(text, section, sections, header, findings)
  );
  const [main, ...rest] = chooseMain(tables, sections, header, findings);
  findings.push(...findIndexTrouble(main, header), ...findValueTrouble(main.columns, header));
  return {
    version: header.version,
    isWrapped: header.isWrapped,
    nullValue: header.nullValue,
    well: header.well,
    parameters: header.parameters,
    curves: main.curves,
    columns: main.columns,
    tables: rest,
    findings,
  };
}

const LF = 10;
const CR = 13;
const SPACE = 32;
const TAB = 9;
const HASH = 35;
const TILDE = 126;
const COMMA = 44;
const QUOTE = 34;

/** Undoes gzip, UTF-16 and lone carriage returns, so that the rest sees bytes with LF. */
function unpack(bytes: Uint8Array, uri: string): Uint8Array {
  let text = bytes;
  if (text[0] === 0x1f && text[1] === 0x8b) {
    try {
      text = gunzipSync(text);
    } catch (error) {
      throw new SyntaxError(
        `Cannot read "${uri}": its gzip data is truncated or damaged; copy the file again`,
        { cause: error },
      );
    }
  }
  if (text[0] === 0xff && text[1] === 0xfe) text = recode(text, "utf-16le");
  else if (text[0] === 0xfe && text[1] === 0xff) text = recode(text, "utf-16be");
  if (text.includes(CR) && !text.includes(LF)) text = text.map((b) => b === CR ? LF : b);
  return text;
}

function recode(bytes: Uint8Array, encoding: string): Uint8Array {
  return new TextEncoder().encode(new TextDecoder(encoding).decode(bytes));
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
const latin1 = new TextDecoder("windows-1252");

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return latin1.decode(bytes);
  }
}

type SectionKind = "version" | "well" | "curve" | "parameter" | "other" | "data";

interface Section {
  readonly kind: SectionKind;
  /** Title without `~`, such as `Lithology_Data`. */
  readonly title: string;
  /** LAS 3.0: the definition section that a data section names behind `|`. */
  readonly association: string | undefined;
  /** Line number of the title, 1-based. */
  readonly line: number;
  readonly start: number;
  end: number;
}

/** Finds the sections: a line whose first visible character is `~` starts one. */
function splitSections(text: Uint8Array, uri: string): Section[] {
  const sections: Section[] = [];
  let line = 0;
  for (let pos = 0; pos < text.length;) {
    line++;
    const eol = endOfLine(text, pos, text.length);
    let first = pos;
    while (first < eol && (text[first] === SPACE || text[first] === TAB)) first++;
    if (text[first] === 0xef && text[first + 1] === 0xbb) first += 3;
    if (text[first] === TILDE) {
      const last = sections.at(-1);
      if (last) last.end = pos;
      const heading = decode(text.subarray(first + 1, eol)).trim();
      sections.push({ ...readHeading(heading), line, start: eol + 1, end: text.length });
    }
    pos = eol + 1;
  }
  if (sections.length > 0) return sections;
  const isBlank = text.every((byte) => byte <= SPACE);
  throw new SyntaxError(
    isBlank
      ? `Cannot read "${uri}": the file is empty; copy it again`
      : `Cannot read "${uri}": it has no "~" section and is no LAS file; name its source in the config`,
  );
}

function endOfLine(text: Uint8Array, pos: number, end: number): number {
  const eol = text.indexOf(LF, pos);
  return eol < 0 || eol > end ? end : eol;
}

/** LAS 2.0: the letter behind `~` decides. LAS 3.0: `X_Data | X_Definition`, or any `X | Y`. */
function readHeading(heading: string): Pick<Section, "kind" | "title" | "association"> {
  const [title, association] = heading.split("|").map((part) => part.trim());
  if (association) return { kind: "data", title, association };
  const word = title.split(/\s/)[0];
  const typed = /^(.*)_(data|definition|parameter)(\[\d+\])?$/i.exec(word);
  if (typed?.[2].toLowerCase() === "data") {
    return { kind: "data", title: word, association: `${typed[1]}_Definition` };
  }
  if (typed && !/^(log|curve)_definition$|^log_parameter$/i.test(word)) {
    return { kind: "other", title: word, association: undefined };
  }
  if (/^log_parameter$/i.test(word)) return { kind: "parameter", title: word, association };
  if (typed) return { kind: "curve", title: word, association };
  const kinds: Record<string, SectionKind> = {
    V: "version",
    W: "well",
    C: "curve",
    P: "parameter",
    A: "data",
  };
  return { kind: kinds[title[0]?.toUpperCase()] ?? "other", title, association };
}

interface Header {
  readonly uri: string;
  readonly version: string;
  readonly isWrapped: boolean;
  readonly delimiter: "space" | "comma" | "tab";
  readonly nullValue: number | undefined;
  readonly well: readonly LasItem[];
  readonly parameters: readonly LasItem[];
  readonly findings: readonly Finding[];
}

function readHeader(text: Uint8Array, sections: readonly Section[], uri: string): Header {
  const findings: Finding[] = [];
  const items = (kind: SectionKind) =>
    sections.filter((s) => s.kind === kind).flatMap((s) => readItems(text, s));
  const versionItems = items("version");
  const version = findValue(versionItems, "VERS");
  if (version === undefined) {
    findings.push({
      check: "las_version",
      severity: "warning",
      message: `${uri} declares no version (VERS); it is read as LAS 2.0`,
    });
  } else if (!/^0*[123](\.\d*)?$/.test(version)) {
    throw new RangeError(
      `Cannot read "${uri}": LAS version "${version}" is unknown; known are 1.2, 2.0 and 3.0`,
    );
  }
  const number = Number(version ?? "2.0");
  const well = items("well").map((item) => number < 2 ? swapOldStyle(item) : item);
  const nullText = findValue(well, "NULL");
  const nullValue = Number(nullText);
  const hasNull = nullText !== undefined && Number.isFinite(nullValue);
  if (!hasNull) {
    findings.push({
      check: "las_null",
      severity: "warning",
      message: `${uri} declares no NULL value; every number is kept`,
    });
  }
  return {
    uri,
    version: version ?? "2.0",
    isWrapped: /^y/i.test(findValue(versionItems, "WRAP") ?? "NO"),
    delimiter: readDelimiter(findValue(versionItems, "DLM"), uri),
    nullValue: hasNull ? nullValue : undefined,
    well,
    parameters: items("parameter"),
    findings,
  };
}

/** LAS 3.0, "Delimiters": SPACE (the default), COMMA or TAB. */
function readDelimiter(text: string | undefined, uri: string): Header["delimiter"] {
  const name = (text ?? "SPACE").toLowerCase();
  if (name === "space" || name === "comma" || name === "tab") return name;
  throw new RangeError(
    `Cannot read "${uri}": delimiter "${text}" is unknown; DLM is SPACE, COMMA or TAB`,
  );
}

/** The value of the first item of that name; a value glued to the dot counts as well. */
function findValue(items: readonly LasItem[], mnemonic: string): string | undefined {
  const item = items.find((i) => i.mnemonic.toUpperCase() === mnemonic);
  return item && (item.value || item.unit || undefined);
}

/** LAS 1.2 writes `COMP. COMPANY : ANY OIL` where 2.0 writes `COMP. ANY OIL : COMPANY`. */
function swapOldStyle(item: LasItem): LasItem {
  if (/^(STRT|STOP|STEP|NULL)$/i.test(item.mnemonic)) return item;
  return { ...item, value: item.description, description: item.value };
}

function readItems(text: Uint8Array, section: Section): LasItem[] {
  return decode(text.subarray(section.start, section.end)).split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map(parseItem);
}

/** A colon that ends the value: not one inside a time such as `13:00` or `hh:mm`. */
const VALUE_END = /:(?!(?<=\d:)\d\d?\b)(?!(?<=hh:)mm)/gi;

/**
 * Reads `MNEM.UNIT VALUE : DESCRIPTION`: the first dot ends the mnemonic, the first space the unit.
 * The value ends at the first colon behind a space, else at the last one, so that both a
 * description and a value may hold colons.
 *
 * @see CWLS LAS 2.0, section 5.2, "Header line delimiters".
 */
function parseItem(line: string): LasItem {
  const colons = [...line.matchAll(VALUE_END)].map((match) => match.index);
  const dot = line.indexOf(".");
  const after = colons.filter((at) => at > dot);
  const spaced = after.find((at) => at === dot + 1 || /\s/.test(line[at - 1]));
  const colon = spaced ?? after.at(-1) ?? colons.at(-1) ?? line.length;
  const description = line.slice(colon + 1).trim();
  if (dot < 0 || dot > colon) {
    return { mnemonic: line.slice(0, colon).trim(), unit: "", value: "", description };
  }
  const body = line.slice(dot + 1, colon);
  const unit = /^\S*/.exec(body)![0];
  const value = body.slice(unit.length).trim();
  const bare = unit.replace(/^\[(.*)\]$/, "$1");
  return { mnemonic: line.slice(0, dot).trim(), unit: bare, value, description };
}

interface Table extends LasTable {
  readonly isLog: boolean;
  readonly rows: number;
}

function readTable(
  text: Uint8Array,
  section: Section,
  sections: readonly Section[],
  header: Header,
  findings: Finding[],
): Table {
  const isLog = section.association === undefined || /^(a|log)/i.test(section.title);
  const curves = readCurves(text, section, sections, header, findings);
  const scan = scanSection(text, section, curves, header);
  const columns = curves.map((curve, j): Column => {
    const named = { name: curve.name, ...(curve.unit === "" ? {} : { unit: curve.unit }) };
    const values = scan.columns[j];
    return Array.isArray(values) ? { ...named, values } : { ...named, values };
  });
  for (const [j, bad] of scan.bad.entries()) {
    if (bad.count === 0) continue;
    findings.push({
      check: "las_cells",
      severity: "warning",
      subject: curves[j].name,
      message:
        `${header.uri} holds ${bad.count} cells of ${curves[j].name} that are no number, first ` +
        `"${bad.text}" in line ${bad.line}; they count as missing: correct them in the file`,
    });
  }
  const name = section.title.replace(/_data(?=\[\d+\]$|$)/i, "");
  return { name, curves, columns, isLog, rows: scan.rows };
}

function readCurves(
  text: Uint8Array,
  section: Section,
  sections: readonly Section[],
  header: Header,
  findings: Finding[],
): LasCurve[] {
  const isDefinition = (s: Section) =>
    s.kind !== "data" && s.title.toLowerCase() === section.association?.toLowerCase();
  const definition = sections.find(isDefinition) ?? sections.find((s) => s.kind === "curve");
  const items = definition ? readItems(text, definition) : [];
  if (items.length === 0) {
    throw new SyntaxError(
      `Cannot read "${header.uri}": no section defines the columns of "~${section.title}" in line ` +
        `${section.line}; add a ~Curve section`,
    );
  }
  const counts = new Map<string, number>();
  return items.map((item) => {
    const mnemonic = item.mnemonic || "UNKNOWN";
    const count = (counts.get(mnemonic.toUpperCase()) ?? 0) + 1;
    counts.set(mnemonic.toUpperCase(), count);
    const name = count === 1 ? mnemonic : `${mnemonic}:${count}`;
    if (count > 1) {
      findings.push({
        check: "las_duplicate",
        severity: "warning",
        subject: name,
        message: `${header.uri} defines curve ${mnemonic} ${count} times; this one is read as ` +
          `"${name}": rename it in the file to choose its name`,
      });
    }
    return { ...item, name };
  });
}

interface Scan {
  readonly rows: number;
  readonly columns: (Float64Array | (string | null)[])[];
  readonly bad: BadCells[];
}

interface BadCells {
  count: number;
  line: number;
  text: string;
}

/** LAS 3.0, "Format": `{S}` is a string, `{DD/MM/YYYY}` a date; `{F}`, `{E}`, `{I}`, `{A:0}` numbers. */
const TEXT_FORMAT = /\{\s*(S\d*|[^}]*(YY|hh|DEG\/)[^}]*)\s*\}/i;

/** Scans a data section; columns that turn out to be mostly text are scanned again as text. */
function scanSection(
  text: Uint8Array,
  section: Section,
  curves: readonly LasCurve[],
  header: Header,
): Scan {
  const isText = curves.map((curve) =>
    header.version.startsWith("3") && TEXT_FORMAT.test(curve.description)
  );
  const scan = scanRows(text, section, isText, header);
  const turned = scan.bad.map((bad, j) => {
    if (isText[j] || bad.count === 0) return false;
    const numbers = (scan.columns[j] as Float64Array).reduce((n, v) => n + (isNaN(v) ? 0 : 1), 0);
    return bad.count > numbers;
  });
  if (!turned.includes(true)) return scan;
  return scanRows(text, section, isText.map((is, j) => is || turned[j]), header);
}

/**
 * One pass over the bytes of a data section.
 *
 * @see CWLS LAS 2.0, section 5.6: unwrapped, one line per row; wrapped, the index alone on its line
 * and then as many lines as the row needs.
 */
function scanRows(
  text: Uint8Array,
  section: Section,
  isText: readonly boolean[],
  header: Header,
): Scan {
  const width = isText.length;
  const { start, end } = section;
  const capacity = countLines(text, start, end);
  const columns = isText.map((is): Float64Array | (string | null)[] =>
    is ? [] : new Float64Array(capacity)
  );
  const bad = isText.map((): BadCells => ({ count: 0, line: 0, text: "" }));
  const nullValue = header.nullValue ?? NaN;
  const separator = { space: SPACE, comma: COMMA, tab: TAB }[header.delimiter];
  let line = section.line;
  let row = 0;
  let field = 0;
  let rowLine = 0;
  let firstLineFields = 0;

  const store = (from: number, to: number) => {
    const column = columns[field];
    if (Array.isArray(column)) {
      column.push(readText(text, from, to, nullValue));
      return;
    }
    let value = parseNumber(text, from, to);
    if (value !== value) {
      if (!isMissingWord(text, from, to)) {
        const cells = bad[field];
        if (cells.count++ === 0) {
          cells.line = line;
          cells.text = decode(text.subarray(from, to));
        }
      }
    } else if (value === nullValue) value = NaN;
    column[row] = value;
  };

  for (let pos = start; pos < end;) {
    line++;
    const eol = endOfLine(text, pos, end);
    let stop = eol;
    while (stop > pos && isBlank(text[stop - 1], separator)) stop--;
    let at = pos;
    pos = eol + 1;
    while (at < stop && isBlank(text[at], separator)) at++;
    if (at === stop || text[at] === HASH) continue;
    if (field === 0) rowLine = line;
    const fieldsBefore = field;
    for (let isOpen = true; isOpen;) {
      if (field === width) failWidth(header, line, width + 1, width);
      let from = at;
      let to: number;
      if (text[from] === QUOTE) {
        const quote = text.indexOf(QUOTE, from + 1);
        to = quote < 0 || quote >= stop ? stop : quote + 1;
        at = to;
        while (at < stop && separator !== SPACE && text[at] !== separator) at++;
      } else {
        while (at < stop && !isSeparator(text[at], separator)) at++;
        to = at;
      }
      isOpen = at < stop;
      if (separator === SPACE) {
        while (at < stop && isBlank(text[at], separator)) at++;
      } else if (isOpen) {
        at++;
        while (at < stop && text[at] === SPACE) at++;
      }
      while (to > from && text[to - 1] === SPACE) to--;
      while (from < to && text[from] === SPACE) from++;
      store(from, to);
      field++;
    }
    if (!header.isWrapped) {
      if (field !== width) failWidth(header, line, field, width);
    } else if (fieldsBefore === 0) {
      if (row === 0) firstLineFields = field;
      else if (field !== firstLineFields) {
        throw new SyntaxError(
          `Cannot read "${header.uri}": line ${line} should start a wrapped row with ` +
            `${firstLineFields} values and has ${field}; a value is missing or too many before it`,
        );
      }
    }
    if (field === width) {
      field = 0;
      row++;
    }
  }
  if (field > 0) {
    throw new SyntaxError(
      `Cannot read "${header.uri}": the row that starts in line ${rowLine} has ${field} of ${width} ` +
        "values; the file is truncated: copy it again",
    );
  }
  return {
    rows: row,
    columns: columns.map((c) => Array.isArray(c) ? c : c.slice(0, row)),
    bad,
  };
}

function failWidth(header: Header, line: number, count: number, width: number): never {
  throw new SyntaxError(
    `Cannot read "${header.uri}": line ${line} has ${count > width ? "more" : count} values ` +
      `${
        count > width ? "than" : "for"
      } the ${width} columns that ~Curve defines; correct the line, ` +
      "or copy the file again if it is truncated",
  );
}

function countLines(text: Uint8Array, start: number, end: number): number {
  let lines = 1;
  for (let pos = text.indexOf(LF, start); pos >= 0 && pos < end; pos = text.indexOf(LF, pos + 1)) {
    lines++;
  }
  return lines;
}

function isBlank(byte: number, separator: number): boolean {
  return byte === SPACE || byte === CR || (byte === TAB && separator !== TAB);
}

function isSeparator(byte: number, separator: number): boolean {
  return byte === separator || (separator === SPACE && byte === TAB);
}

function readText(text: Uint8Array, from: number, to: number, nullValue: number): string | null {
  const isQuoted = text[from] === QUOTE;
  const end = isQuoted && text[to - 1] === QUOTE && to > from + 1 ? to - 1 : to;
  const value = decode(text.subarray(isQuoted ? from + 1 : from, end)).trim();
  return value === "" || Number(value) === nullValue ? null : value;
}

/** Words that people write for "missing" in a column of numbers; an empty cell is one, too. */
function isMissingWord(text: Uint8Array, from: number, to: number): boolean {
  return from === to ||
    /^([-+]?nan|\(?null\)?|n\/a|-+|[-+]?1\.#(ind|qnan)0*)$/i.test(decode(text.subarray(from, to)));
}

/** Powers of ten that float64 holds exactly. */
const POWERS = Array.from({ length: 23 }, (_, i) => 10 ** i);

/**
 * Reads one number, or `NaN` when the bytes are none.
 *
 * Up to 15 digits and a power of ten up to 22 are both exact in float64, so that their quotient is
 * the correctly rounded value (Clinger 1990); everything else goes through `Number`.
 */
function parseNumber(text: Uint8Array, from: number, to: number): number {
  let at = from;
  const isNegative = text[at] === 45;
  if (isNegative || text[at] === 43) at++;
  let mantissa = 0;
  let digits = 0;
  let decimals = 0;
  let hasDot = false;
  for (; at < to; at++) {
    const byte = text[at];
    if (byte >= 48 && byte <= 57) {
      mantissa = mantissa * 10 + (byte - 48);
      if (mantissa > 0) digits++;
      if (hasDot) decimals++;
    } else if (byte === 46 && !hasDot) hasDot = true;
    else return parseSlow(text, from, to);
  }
  if (digits > 15 || decimals > 22 || to - from <= (hasDot ? 1 : 0) + (isNegative ? 1 : 0)) {
    return parseSlow(text, from, to);
  }
  const value = mantissa / POWERS[decimals];
  return isNegative ? -value : value;
}

/** Exponents, among them Fortran's `1.2D+03`. */
function parseSlow(text: Uint8Array, from: number, to: number): number {
  const word = String.fromCharCode(...text.subarray(from, Math.min(to, from + 64)));
  if (!/^[-+]?(\d+\.?\d*|\.\d+)([ED][-+]?\d+)?$/i.test(word)) return NaN;
  return Number(word.replace(/d/i, "e"));
}

/** Puts the logs first; a file of one other data section gives that section. */
function chooseMain(
  tables: readonly Table[],
  sections: readonly Section[],
  header: Header,
  findings: Finding[],
): Table[] {
  const filled = tables.filter((table) => table.rows > 0);
  const main = filled.find((table) => table.isLog) ?? filled[0];
  if (!main) {
    throw new SyntaxError(
      tables.length === 0
        ? `Cannot read "${header.uri}": it has no data section (~A), only ${
          sections.map((s) => `~${s.title}`).join(", ")
        }; it is a header or truncated: copy it again`
        : `Cannot read "${header.uri}": its data section "~${
          sections.find((s) => s.kind === "data")!.title
        }" holds no rows; it is a header or truncated: copy it again`,
    );
  }
  const rest = filled.filter((table) => table !== main);
  if (rest.length > 0) {
    findings.push({
      check: "las_sections",
      severity: "info",
      message: `${header.uri} also holds ${
        rest.map((t) => `${t.name} (${t.rows} rows)`).join(", ")
      }; the table is ${main.name}`,
    });
  }
  return [main, ...rest];
}

/** Relative difference up to which two steps count as the same. */
const STEP_TOLERANCE = 0.01;

/** What the index column says against STRT, STOP and STEP of the header. */
function findIndexTrouble(main: Table, header: Header): Finding[] {
  const [index] = main.columns;
  if (!main.isLog || !(index.values instanceof Float64Array) || main.rows < 2) return [];
  const { name, values } = index;
  const findings: Finding[] = [];
  const warn = (check: string, message: string) =>
    findings.push({ check, severity: "warning", subject: name, message });
  const steps = values.subarray(1).map((value, i) => value - values[i]);
  const step = Array.from(steps).sort((a, b) => a - b)[steps.length >> 1];
  const against = steps.findIndex((s) => !(s * Math.sign(step) > 0));
  if (step < 0) warn("las_order", `${header.uri} runs upwards: ${name} decreases with the rows`);
  if (against >= 0) {
    const [before, after] = [values[against], values[against + 1]];
    warn(
      "las_order",
      `${header.uri} is not in order: ${name} goes from ${before} to ${after} at row ${
        against + 2
      }; order the rows by a column in preprocessing`,
    );
  }
  const declared = Number(findValue(header.well, "STEP") ?? NaN);
  const isDifferent = Math.abs(declared - step) > STEP_TOLERANCE * Math.abs(step);
  if (declared !== header.nullValue && isDifferent) {
    warn(
      "las_step",
      `${header.uri} declares STEP ${declared} and ${name} steps by ${Number(step.toPrecision(6))}`,
    );
  }
  const stop = Number(findValue(header.well, "STOP") ?? NaN);
  const last = values[values.length - 1];
  if (Math.abs(stop - last) > 1.5 * Math.abs(step) && stop !== header.nullValue) {
    warn(
      "las_stop",
      `${header.uri} declares STOP ${stop} and ends at ${last}; it may be truncated: compare the copy`,
    );
  }
  return findings;
}

/** Values that programs write for "missing" (Petrel, Geolog, GeoFrame, Kingdom and others). */
const USUAL_NULLS = [
  -9999,
  -999.25,
  -999,
  -99999,
  -9999.25,
  -32768,
  9999,
  9999.25,
  999.25,
  -1e30,
  1e30,
];

/** Share of a column from which on a repeated usual null is no coincidence. */
const BULK_SHARE = 0.01;
const BULK_MIN = 10;

function findValueTrouble(columns: readonly Column[], header: Header): Finding[] {
  const findings: Finding[] = [];
  const suspects = new Map<number, { count: number; names: string[] }>();
  for (const { name, values } of columns) {
    if (!(values instanceof Float64Array)) continue;
    if (values.every(Number.isNaN)) {
      findings.push({
        check: "las_all_null",
        severity: "info",
        subject: name,
        message: `${header.uri} holds no value of ${name}: every row is missing`,
      });
    }
    for (const suspect of USUAL_NULLS) {
      const count = values.reduce((n, v) => v === suspect ? n + 1 : n, 0);
      if (count < Math.max(BULK_MIN, BULK_SHARE * values.length)) continue;
      const entry = suspects.get(suspect) ?? { count: 0, names: [] };
      suspects.set(suspect, { count: entry.count + count, names: [...entry.names, name] });
    }
  }
  for (const [value, { count, names }] of suspects) {
    findings.push({
      check: "las_undeclared_null",
      severity: "warning",
      message: `${header.uri} holds ${value} ${count} times in ${names.join(", ")} though NULL is ${
        header.nullValue ?? "not declared"
      }: it looks like an undeclared null; list it in preprocessing.nullValues`,
    });
  }
  return findings;
}
